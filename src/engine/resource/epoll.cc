// epoll instances. An item is known to the kernel by an open file AND the number it had when it was
// added; the number may mean something else by now, or nothing. kcmp tells which descriptor is the
// open file. Items are added again inside the target, under the same numbers (settle).
//
// Not kept: which items were ready in which order, and whether an edge-triggered item had already
// told its edge: it tells it once more, which programs must bear anyway (epoll(7)).
// Essay: docs/design/restart.md.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <tuple>
#include <vector>

#include "base/sys.h"
#include "resource/descriptor_table.h"
#include "resource/kinds.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

using model::Epoll;
using model::EpollItem;

bool recognises(const FdFacts& facts) {
  return facts.link == "anon_inode:[eventpoll]";
}

struct Place {
  Pid pid = 0;
  int number = 0;
};

// Whether descriptor `place` is the open file that the item watches. `nth`: which of the items with
// this number, in the order of fdinfo.
bool watches(const FdFacts& facts, const proc::EpollEntry& entry, u32 nth, Place place) {
  const struct kcmp_epoll_slot slot = {static_cast<u32>(facts.number),
                                       static_cast<u32>(entry.number), nth};
  const auto answer = sys::raw("compare", facts.describe(), SYS_kcmp, place.pid, facts.pid,
                               KCMP_EPOLL_TFD, place.number, &slot);
  if (answer) return *answer == 0;
  if (answer.error().code != ENOSYS && answer.error().code != EOPNOTSUPP) return false;
  // Without kcmp: the number still leads to the same inode.
  const auto now = sys::stat(fmt::format("/proc/{}/fd/{}", place.pid, place.number));
  return now.ok() && place.number == entry.number && now->st_ino == entry.inode;
}

// A descriptor of the image that is the item's open file: under its own number, else under any.
std::optional<Place> find(const FdFacts& facts, const proc::EpollEntry& entry, u32 nth,
                          CaptureContext& context) {
  std::vector<Pid> pids = {facts.pid};
  for (const Pid pid : context.processes()) {
    if (pid != facts.pid) pids.push_back(pid);
  }
  for (const Pid pid : pids) {
    const Place usual{pid, entry.number};
    if (watches(facts, entry, nth, usual)) return usual;
  }
  for (const Pid pid : pids) {
    const auto numbers = proc::read_descriptors(pid);
    if (!numbers) continue;
    for (const int number : *numbers) {
      if (watches(facts, entry, nth, {pid, number})) return Place{pid, number};
    }
  }
  return std::nullopt;
}

Refusal lost_item(const FdFacts& facts, const proc::EpollEntry& entry) {
  return {facts.describe(),
          fmt::format("it watches a file that was added as descriptor {} and that no descriptor of "
                      "the saved processes refers to any more",
                      entry.number),
          "save all processes that share the file together"};
}

// Whether the item's number leads to a file with the same inode in its process.
bool seems_in_place(const FdFacts& facts, const proc::EpollEntry& entry) {
  const auto now = sys::stat(fmt::format("/proc/{}/fd/{}", facts.pid, entry.number));
  return now.ok() && now->st_ino == entry.inode;
}

// kcmp walks all items of the instance each time that it is asked about one, which takes seconds
// where there are tens of thousands. This is asked several times, so that kcmp is asked only about
// items that are not where they were; capture asks about each, and refuses in the same words.
std::optional<Refusal> obstacle(const FdFacts& facts, CaptureContext& context) {
  if (!facts.duplicate) return std::nullopt;  // kcmp has the same rule; capture will tell
  std::map<int, u32> count;
  for (const proc::EpollEntry& entry : facts.info.epoll) {
    const u32 nth = count[entry.number]++;
    if (seems_in_place(facts, entry) || find(facts, entry, nth, context)) continue;
    return lost_item(facts, entry);
  }
  return std::nullopt;
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext& context) {
  Epoll epoll;
  std::map<int, u32> count;
  for (const proc::EpollEntry& entry : facts.info.epoll) {
    const auto place = find(facts, entry, count[entry.number]++, context);
    const auto open_file = place ? context.open_file(place->pid, place->number) : std::nullopt;
    if (!open_file) {
      Refusal lost = lost_item(facts, entry);
      return fail(EOPNOTSUPP, lost.subject + ": " + lost.reason, std::move(lost.advice));
    }
    epoll.items.push_back(EpollItem{entry.number, *open_file, entry.events, entry.data});
  }
  // fdinfo lists them by the addresses of kernel objects, which mean nothing to anybody.
  std::ranges::sort(epoll.items, [](const EpollItem& a, const EpollItem& b) {
    return std::tie(a.number, a.data, a.open_file) < std::tie(b.number, b.data, b.open_file);
  });
  return model::Resource(epoll);
}

// ------------------------------------------------------------------ restart

// Those of the processes that have the instance.
std::vector<DescriptorTable> holders_of(const model::Image& image, model::OpenFileIndex epoll) {
  std::vector<DescriptorTable> tables;
  for (const model::Process& process : image.processes) {
    if (first_descriptor(process, epoll) != nullptr) tables.emplace_back(image, process);
  }
  return tables;
}

// The first process that has both the instance and the watched file: it adds the item.
const DescriptorTable* who_adds(const std::vector<DescriptorTable>& holders,
                                const EpollItem& item) {
  for (const DescriptorTable& table : holders) {
    if (table.first_of(item.open_file) != nullptr) return &table;
  }
  return nullptr;
}

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  std::vector<Refusal> refusals;
  const model::ResourceIndex index = index_of(context.image, resource);
  for (model::OpenFileIndex i = 0; i < context.image.open_files.size(); ++i) {
    if (context.image.open_files[i].resource != index) continue;
    const std::vector<DescriptorTable> holders = holders_of(context.image, i);
    for (const EpollItem& item : std::get<Epoll>(resource).items) {
      if (who_adds(holders, item) != nullptr) continue;
      refusals.push_back({subject_of(context.image, i, "epoll"),
                          fmt::format("no process has both it and the file that it watches as "
                                      "descriptor {}",
                                      item.number),
                          ""});
    }
  }
  return refusals;
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  return UniqueFd(TRY(sys::check(::epoll_create1(EPOLL_CLOEXEC), "make",
                                 subject_of(context.image, index, "epoll"))));
}

// One item being added by a target's script.
struct Adding {
  const EpollItem& item;
  trace::Script& script;
  std::string what;
  trace::Argument instance;  // the epoll descriptor

  [[nodiscard]] u64 number() const { return static_cast<u64>(item.number); }
  trace::DataRef event(u32 events) {
    struct epoll_event event = {};
    event.events = events;
    event.data.u64 = item.data;
    return script.object(event);
  }
  size_t control(u64 operation, trace::Argument number, u32 events) {
    return script.attempt(what, SYS_epoll_ctl, {instance, operation, number, event(events)});
  }
  void add(u32 events) {
    script.call(what, SYS_epoll_ctl, {instance, u64{EPOLL_CTL_ADD}, number(), event(events)});
  }
};

// A one-shot item that has fired reports nothing at all, not even errors, but none can be added in
// that state. So it is added for every event and fires at once if the file is ready for any; its
// event is thrown away. If it was not ready (epoll_wait gave 0) it is told to wait for errors only,
// which is as near as one comes. A script has no branches: dup3 takes the answer as its flags and
// refuses 1, and epoll_ctl refuses the descriptor that dup3 then does not give.
void add_fired(Adding& adding, bool close_on_exec) {
  trace::Script& script = adding.script;
  constexpr u32 kEverything = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP;
  adding.add(adding.item.events | kEverything);
  const auto room = script.room(sizeof(struct epoll_event));
  const size_t fired =
      script.call(adding.what, SYS_epoll_wait, {adding.instance, room, u64{1}, u64{0}});
  const size_t copy =
      script.call(adding.what, SYS_fcntl, {adding.number(), u64{F_DUPFD_CLOEXEC}, u64{0}});
  const size_t unless_fired = script.attempt(
      adding.what, SYS_dup3, {trace::ResultOf{copy}, adding.number(), trace::ResultOf{fired}});
  adding.control(EPOLL_CTL_MOD, trace::ResultOf{unless_fired}, adding.item.events);
  script.call(adding.what, SYS_close, {trace::ResultOf{copy}});
  const u64 flag = close_on_exec ? FD_CLOEXEC : 0;
  script.call(adding.what, SYS_fcntl, {adding.number(), u64{F_SETFD}, flag});
}

bool has_fired(const EpollItem& item) {
  constexpr u32 kModes = EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE;
  return (item.events & EPOLLONESHOT) != 0 && (item.events & ~kModes) == 0;
}

void add_at_number(Adding& adding, bool close_on_exec) {
  if (has_fired(adding.item)) {
    add_fired(adding, close_on_exec);
  } else {
    adding.add(adding.item.events);
  }
}

// Adds one item. If its number means another file by now, that one steps aside for a moment.
void add_item(const model::Descriptor& epoll, const EpollItem& item, const DescriptorTable& table,
              SettleCalls& calls) {
  trace::Script& script = *calls.script;
  Adding adding{item, script,
                fmt::format("watch descriptor {} in epoll {}", item.number, epoll.number),
                static_cast<u64>(epoll.number)};
  const u64 number = adding.number();
  const model::Descriptor* holder = table.at(item.number);
  if (holder != nullptr && holder->open_file == item.open_file) {
    return add_at_number(adding, holder->close_on_exec);
  }
  const auto source = static_cast<u64>(table.first_of(item.open_file)->number);
  if (holder == nullptr) {
    script.call(adding.what, SYS_dup3, {source, number, u64{O_CLOEXEC}});
    add_at_number(adding, true);
    script.call(adding.what, SYS_close, {number});
    return;
  }
  const size_t aside = script.call(adding.what, SYS_fcntl, {number, u64{F_DUPFD_CLOEXEC}, u64{0}});
  if (holder->number == epoll.number) adding.instance = trace::ResultOf{aside};
  script.call(adding.what, SYS_dup3, {source, number, u64{O_CLOEXEC}});
  add_at_number(adding, true);
  const u64 close_on_exec = holder->close_on_exec ? O_CLOEXEC : 0;
  script.call(adding.what, SYS_dup3, {trace::ResultOf{aside}, number, close_on_exec});
  script.call(adding.what, SYS_close, {trace::ResultOf{aside}});
}

// Those that have fired come first: nothing else may be ready while they are made to fire.
void settle(const model::Descriptor& descriptor, RestoreContext& context, SettleCalls& calls) {
  const model::OpenFile& file = context.image.open_files[descriptor.open_file];
  const auto& items = std::get<Epoll>(context.image.resources[file.resource]).items;
  const std::vector<DescriptorTable> holders = holders_of(context.image, descriptor.open_file);
  for (const bool fired : {true, false}) {
    for (const EpollItem& item : items) {
      const DescriptorTable* table = who_adds(holders, item);
      if (table == nullptr || table->process().pid != calls.process.pid) continue;
      if (has_fired(item) == fired) add_item(descriptor, item, *table, calls);
    }
  }
}

}  // namespace

const Handler kEpollHandler = {.kind = Epoll::kKind,
                               .recognises = recognises,
                               .obstacle = obstacle,
                               .identity = [](const FdFacts&) { return std::string(); },
                               .capture = capture,
                               .restore_obstacles = restore_obstacles,
                               .create = create,
                               .settle = settle,
                               .settle_in_each_process = true};

}  // namespace stasis::resource
