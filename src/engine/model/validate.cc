// The model's own rules, checked one noun at a time. Reading stops at the first that is broken.
#include "model/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <set>

namespace stasis::model {
namespace {

constexpr i32 kLastSignal = 64;
constexpr u64 kTopOfAddresses = u64{1} << 63;

Error broken(std::string what) {
  return fail(EINVAL, std::move(what));
}

Result<void> check_index(u64 index, size_t count, std::string_view what) {
  if (index < count) return {};
  return broken(fmt::format("{} is {}, but there are {}", what, index, count));
}

bool aligned(u64 value) {
  return value % kPageSize == 0;
}

Result<void> check_runs(const Space& space) {
  u64 end = 0;
  for (const Run& run : space.runs) {
    if (run.length == 0 || !aligned(run.offset) || !aligned(run.length)) {
      return broken(fmt::format("run {:#x}+{:#x} is not whole pages", run.offset, run.length));
    }
    if (run.offset >= kTopOfAddresses || run.length > kTopOfAddresses - run.offset) {
      return broken(fmt::format("run {:#x}+{:#x} is too large", run.offset, run.length));
    }
    if (run.offset < end)
      return broken(fmt::format("run {:#x} overlaps or is unordered", run.offset));
    end = run.offset + run.length;
  }
  return {};
}

class Checker {
 public:
  explicit Checker(const Image& image) : image_(image), use_(image.spaces.size(), Use::kNone) {
    for (const Process& each : image.processes) all_pids_.insert(each.pid);
  }

  Result<void> run() {
    if (image_.processes.empty()) return broken("no process is in it");
    for (size_t i = 0; i < image_.spaces.size(); ++i) {
      TRY(check_runs(image_.spaces[i]).context(fmt::format("spaces[{}]", i)));
    }
    for (size_t i = 0; i < image_.resources.size(); ++i) {
      TRY(std::visit([&](const auto& each) { return resource(each); }, image_.resources[i])
              .context(fmt::format("resources[{}]", i)));
    }
    for (size_t i = 0; i < image_.open_files.size(); ++i) {
      TRY(check_index(image_.open_files[i].resource, image_.resources.size(), "resource")
              .context(fmt::format("open_files[{}]", i)));
    }
    for (size_t i = 0; i < image_.processes.size(); ++i) {
      TRY(process(i).context(fmt::format("processes[{}]", i)));
    }
    for (size_t i = 0; i < image_.zombies.size(); ++i) {
      TRY(zombie(image_.zombies[i]).context(fmt::format("zombies[{}]", i)));
    }
    return {};
  }

 private:
  enum class Use { kNone, kContent, kMemory };

  Result<void> resource(const auto&) { return {}; }
  Result<void> resource(const Memfd& each) { return content(each.content); }
  Result<void> resource(const SharedMemory& each) { return content(each.content); }
  Result<void> resource(const RegularFile& each) {
    return each.content ? content(*each.content) : Result<void>();
  }
  Result<void> resource(const Epoll& each) {
    for (const EpollItem& item : each.items) {
      TRY(check_index(item.open_file, image_.open_files.size(), "open_file of an epoll item"));
    }
    return {};
  }

  Result<void> content(SpaceIndex index) {
    TRY(check_index(index, image_.spaces.size(), "content"));
    if (use_[index] != Use::kNone) return broken(fmt::format("spaces[{}] is used twice", index));
    use_[index] = Use::kContent;
    const Space& space = image_.spaces[index];
    if (space.size >= kTopOfAddresses) return broken("content is too large");
    if (!space.runs.empty() &&
        space.runs.back().offset + space.runs.back().length > page_up(space.size)) {
      return broken(fmt::format("spaces[{}] has runs beyond its size", index));
    }
    return {};
  }

  Result<void> process(size_t index) {
    const Process& process = image_.processes[index];
    if (process.executable) {
      TRY(check_index(*process.executable, image_.resources.size(), "executable"));
      if (!std::holds_alternative<RegularFile>(image_.resources[*process.executable])) {
        return broken("executable is not a regular file");
      }
    }
    pids_.insert(process.pid);
    if (all_pids_.contains(process.parent) && !pids_.contains(process.parent)) {
      return broken(fmt::format("parent {} does not come before its child", process.parent));
    }
    if (process.parent == process.pid) return broken("it is its own parent");
    TRY(exit_signal(process.exit_signal));
    TRY(credentials(process.credentials));
    TRY(signals(process));
    TRY(threads(process));
    TRY(descriptors(process));
    return memory(process.memory).context("memory");
  }

  static Result<void> exit_signal(i32 signal) {
    if (signal >= 0 && signal <= kLastSignal) return {};
    return broken(fmt::format("exit signal {} is no signal", signal));
  }

  Result<void> zombie(const Zombie& zombie) {
    if (zombie.pid <= 0 || !tids_.insert(zombie.pid).second) {
      return broken(fmt::format("process id {} is used twice or no id", zombie.pid));
    }
    if (!all_pids_.contains(zombie.parent)) return broken("its parent is not in the image");
    const int status = zombie.wait_status;
    const int signal = status & 0x7f;  // the layout of wait(2)'s status
    const bool exited = signal == 0 && status >= 0 && status <= 0xff00 && (status & 0xff) == 0;
    const bool killed = signal != 0 && signal <= kLastSignal && (status & ~0xff) == 0;
    if (!exited && !killed) return broken(fmt::format("wait status {:#x} is no end", status));
    return exit_signal(zombie.exit_signal);
  }

  static Result<void> credentials(const Credentials& each) {
    const auto fits = [](const auto& ids) { return ids.empty() || ids.size() == 4; };
    if (fits(each.uids) && fits(each.gids)) return {};
    return broken("credentials do not have four user and group ids");
  }

  static Result<void> signals(const Process& process) {
    i32 previous = 0;
    for (const SignalAction& action : process.actions) {
      if (action.signal <= previous || action.signal > kLastSignal) {
        return broken(fmt::format("action of signal {} is unordered or no signal", action.signal));
      }
      previous = action.signal;
    }
    return {};
  }

  Result<void> threads(const Process& process) {
    if (process.threads.empty() || process.threads[0].tid != process.pid) {
      return broken("the leader is not the first thread");
    }
    // Behind the leader in any order: ids say nothing about age, as their counter wraps.
    for (const Thread& thread : process.threads) {
      const Pid tid = thread.tid;
      if (tid <= 0 || !tids_.insert(tid).second) {
        return broken(fmt::format("thread id {} is used twice or no id", tid));
      }
    }
    return {};
  }

  Result<void> descriptors(const Process& process) {
    i64 previous = -1;
    for (const Descriptor& each : process.descriptors) {
      if (each.number <= previous) {
        return broken(fmt::format("descriptor {} is out of order", each.number));
      }
      previous = each.number;
      TRY(check_index(each.open_file, image_.open_files.size(), "open_file")
              .context(fmt::format("descriptor {}", each.number)));
    }
    return {};
  }

  Result<void> memory(const Memory& memory) {
    TRY(check_index(memory.space, image_.spaces.size(), "space"));
    if (use_[memory.space] == Use::kContent) return broken("its space is the content of a file");
    use_[memory.space] = Use::kMemory;
    u64 end = 0;
    for (const Vma& vma : memory.vmas) {
      TRY(area(vma, end).context(fmt::format("area {:#x}-{:#x}", vma.start.value, vma.end.value)));
      end = vma.end.value;
    }
    return runs_inside(image_.spaces[memory.space], memory.vmas);
  }

  Result<void> area(const Vma& vma, u64 previous_end) {
    const bool ordered = vma.start.value >= previous_end && vma.start < vma.end;
    if (!ordered || !aligned(vma.start.value) || !aligned(vma.end.value)) {
      return broken("overlaps, is unordered, or not whole pages");
    }
    if ((vma.kind == VmaKind::kFile) != vma.resource.has_value()) {
      return broken("a resource must be there exactly for file areas");
    }
    if (vma.resource) TRY(check_index(*vma.resource, image_.resources.size(), "resource"));
    return {};
  }

  // Every run lies in areas without a gap.
  static Result<void> runs_inside(const Space& space, const std::vector<Vma>& vmas) {
    auto vma = vmas.begin();
    for (const Run& run : space.runs) {
      u64 at = run.offset;
      while (at < run.offset + run.length) {
        while (vma != vmas.end() && vma->end.value <= at) ++vma;
        if (vma == vmas.end() || vma->start.value > at) {
          return broken(fmt::format("contents at {:#x}, where no area is", at));
        }
        at = vma->end.value;
      }
    }
    return {};
  }

  const Image& image_;
  std::vector<Use> use_;
  std::set<Pid> all_pids_;
  std::set<Pid> pids_;  // of the processes checked so far
  std::set<Pid> tids_;
};

}  // namespace

Result<void> validate(const Image& image) {
  return Checker(image).run();
}

}  // namespace stasis::model
