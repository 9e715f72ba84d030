// A member of a pipeline that is saved alone is not a pipeline: after a restart its pipes follow
// cr_restart's standard input and output (resource/pipe.cc), as with BLCR. Often that is what is
// wanted (`program | tee log`), so it is told, not refused.
#include "capture/outside_pipes.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/sys.h"
#include "proc/fdinfo.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

struct End {
  Pid pid = 0;
  int number = -1;
};
struct Ends {
  End reader, writer;  // the first that was found of each; pid 0: none
};
using Pipes = std::map<std::string, Ends>;  // by link: "pipe:[8123]"

// Adds the ends that a process holds; of all pipes, or of those that are known already.
void add_ends(Pid pid, bool known_only, Pipes& pipes) {
  const Pid live = proc::live_thread(pid);
  const auto numbers = proc::read_descriptors(live);
  if (!numbers) return;  // gone, or another user's
  for (const int number : *numbers) {
    const auto link = proc::read_fd_link(live, number);
    if (!link || !link->starts_with("pipe:")) continue;
    if (known_only && !pipes.contains(*link)) continue;
    const auto info = proc::read_fdinfo(live, number);
    if (!info) continue;
    const u32 mode = info->flags & O_ACCMODE;
    Ends& ends = pipes[*link];
    if (mode != O_WRONLY && ends.reader.pid == 0) ends.reader = {pid, number};
    if (mode != O_RDONLY && ends.writer.pid == 0) ends.writer = {pid, number};
  }
}

std::string describe(const End& ours, const End& theirs, bool reads) {
  return fmt::format(
      "descriptor {} of process {} is a pipe {} process {}, which is not being saved: after a "
      "restart it is cr_restart's {}{}",
      ours.number, proc::describe(ours.pid), reads ? "from" : "to", proc::describe(theirs.pid),
      reads ? "input" : "output", option_for_both(ours.pid, theirs.pid));
}

}  // namespace

std::string option_for_both(Pid ours, Pid theirs) {
  const auto one = proc::read_stat(ours);
  const auto other = proc::read_stat(theirs);
  if (!one || !other) return {};
  if (one->group == other->group) {
    return fmt::format("; `cr_checkpoint -g {}` saves both", one->group);
  }
  if (one->session == other->session) {
    return fmt::format("; `cr_checkpoint -s {}` saves both", one->session);
  }
  return {};
}

std::vector<std::string> describe_outside_pipes(std::span<const Pid> pids) {
  Pipes own;
  for (const Pid pid : pids) add_ends(pid, false, own);
  std::erase_if(own, [](const auto& entry) {
    return entry.second.reader.pid != 0 && entry.second.writer.pid != 0;
  });
  if (own.empty()) return {};
  Pipes theirs;
  for (const auto& [link, ends] : own) theirs[link] = {};
  const auto all = sys::list_numbers("/proc");
  for (const Pid pid : all ? *all : std::vector<Pid>()) {
    if (std::ranges::find(pids, pid) == pids.end()) add_ends(pid, true, theirs);
  }
  std::vector<std::string> sentences;
  for (const auto& [link, ends] : own) {
    const bool reads = ends.reader.pid != 0;
    const End& other = reads ? theirs[link].writer : theirs[link].reader;
    if (other.pid == 0) continue;  // the other end is closed, or its holder cannot be seen
    sentences.push_back(describe(reads ? ends.reader : ends.writer, other, reads));
  }
  return sentences;
}

}  // namespace stasis::capture
