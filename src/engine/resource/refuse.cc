// What no handler knows, named for the user: the reason says what it is, not what it is called.
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>

#include <array>
#include <utility>

#include "base/sys.h"
#include "resource/file_check.h"
#include "resource/handler.h"
#include "resource/sockets.h"

namespace stasis::resource {
namespace {

// How the link begins, and what that is.
constexpr std::array<std::pair<std::string_view, std::string_view>, 24> kKnown = {{
    {"anon_inode:[userfaultfd]", "a userfaultfd"},
    {"anon_inode:[io_uring]", "an io_uring instance"},
    {"anon_inode:[perf_event]", "a performance counter (perf_event_open)"},
    {"anon_inode:[fanotify]", "a fanotify group"},
    {"anon_inode:bpf", "a BPF object"},
    {"anon_inode:btf", "a BPF object"},
    {"anon_inode:[bpf", "a BPF object"},
    {"anon_inode:kvm", "a virtual machine (KVM)"},
    {"anon_inode:[kvm", "a virtual machine (KVM)"},
    {"anon_inode:seccomp", "a seccomp listener"},
    {"anon_inode:[landlock", "a landlock ruleset"},
    {"anon_inode:[fscontext]", "a filesystem context (fsopen)"},
    {"anon_inode:dmabuf", "a DMA buffer"},
    {"anon_inode:sync_file", "a graphics fence"},
    {"anon_inode:i915", "a graphics object"},
    {"anon_inode:[secretmem]", "secret memory (memfd_secret)"},
    {"/secretmem", "secret memory (memfd_secret)"},
    {"/dmabuf:", "a DMA buffer"},
    {"/dev/ptmx", "the master of a pseudo-terminal"},
    {"/dev/pts/ptmx", "the master of a pseudo-terminal"},
    {"/dev/dri/", "a graphics device"},
    {"/dev/nvidia", "a graphics device"},
    {"/dev/fuse", "a FUSE connection"},
    {"(unreachable)", "a file that has no path here (another mount namespace, or unmounted)"},
}};

std::string name_device(const FdFacts& facts, std::string_view what) {
  return fmt::format("{} ({}:{})", what, major(facts.status.st_rdev), minor(facts.status.st_rdev));
}

std::string what_it_is(const FdFacts& facts) {
  for (const auto& [beginning, name] : kKnown) {
    if (facts.link.starts_with(beginning)) return std::string(name);
  }
  const u32 mode = facts.status.st_mode;
  if (S_ISSOCK(mode)) return describe_socket(facts);
  if (S_ISCHR(mode)) return name_device(facts, "a character device");
  if (S_ISBLK(mode)) return name_device(facts, "a block device");
  if (facts.link.find(":[") != std::string::npos && !facts.link.starts_with("anon_inode:")) {
    return "a namespace or another file of the kernel's own";
  }
  if (S_ISREG(mode) && facts.link.starts_with('/')) return "a POSIX message queue or its like";
  if (S_ISDIR(mode) || S_ISREG(mode)) return fmt::format("{} without a path", type_name(mode));
  return "a kind of descriptor that Stasis does not know";
}

}  // namespace

Refusal refuse_unknown(const FdFacts& facts) {
  return {facts.describe(), fmt::format("{} cannot be saved yet", what_it_is(facts)),
          "only the program can close it, in a callback if it uses libcr"};
}

}  // namespace stasis::resource
