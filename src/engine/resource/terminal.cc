// Terminals follow cr_restart: descriptor N gets cr_restart's descriptor N, whatever that is, else
// cr_restart's controlling terminal. Modes (termios) and window size are the terminal's own and
// stay as they are. One that was hung up (its window closed, its connection lost) is hung up again
// where cr_restart has no descriptor of that number. Masters of pseudo-terminals are not terminals
// and are refused (refuse.cc).
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include <cerrno>

#include "base/sys.h"
#include "resource/follow.h"
#include "resource/kinds.h"
#include "resource/path.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

using model::Terminal;

// Documentation/admin-guide/devices.txt: 4 virtual consoles and serial lines, 5/0 /dev/tty,
// 5/1 /dev/console, 136-143 slaves of pseudo-terminals. Others (USB serial, ...) answer TCGETS.
bool is_terminal_number(u64 device) {
  const unsigned m = major(device);
  return m == 4 || (m == 5 && minor(device) <= 1) || (m >= 136 && m <= 143);
}

bool is_master(const FdFacts& facts) {
  return facts.link.ends_with("/ptmx") ||
         (major(facts.status.st_rdev) == 5 && minor(facts.status.st_rdev) == 2);
}

bool recognises(const FdFacts& facts) {
  if (!S_ISCHR(facts.status.st_mode) || is_master(facts)) return false;
  if (is_terminal_number(facts.status.st_rdev)) return true;
  struct termios modes = {};
  return facts.duplicate && ::tcgetattr(facts.duplicate.get(), &modes) == 0;
}

// The kernel answers EIO to every ioctl of a terminal that was hung up.
bool is_hung_up(const FdFacts& facts) {
  if (!facts.duplicate) return false;
  struct termios modes = {};
  const auto asked = sys::check(::tcgetattr(facts.duplicate.get(), &modes), "look at", facts.link);
  return !asked && asked.error().code == EIO;
}

std::string identity(const FdFacts& facts) {
  return fmt::format("terminal:{}{}", facts.status.st_rdev, is_hung_up(facts) ? ":hung up" : "");
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext& context) {
  const u64 own = context.controlling_terminal(facts.pid);
  const bool is_dev_tty = facts.status.st_rdev == makedev(5, 0);
  const bool controlling = is_dev_tty || (own != 0 && facts.status.st_rdev == own);
  return model::Resource(
      Terminal{facts.link, facts.status.st_rdev, controlling, is_hung_up(facts)});
}

constexpr const char* kAdvice =
    "give cr_restart something in its place: cr_restart FILE N</dev/null";

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  const auto& terminal = std::get<Terminal>(resource);
  if (terminal.hung_up && sys::stat("/dev/ptmx")) return {};
  const model::ResourceIndex index = index_of(context.image, resource);
  const bool has_terminal = sys::open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK).ok();
  std::vector<Refusal> refusals;
  for (model::OpenFileIndex i = 0; i < context.image.open_files.size(); ++i) {
    if (context.image.open_files[i].resource != index || has_terminal) continue;
    if (followed_number(context.image, i)) continue;
    refusals.push_back({subject_of(context.image, i, terminal.path),
                        "cr_restart has no descriptor of that number and no terminal to offer",
                        kAdvice});
  }
  return refusals;
}

// The slave of a pseudo-terminal whose master is closed: that hangs it up.
Result<UniqueFd> make_hung_up(int flags, const std::string& subject) {
  const UniqueFd master = TRY(sys::open("/dev/ptmx", O_RDWR | O_NOCTTY).context(subject));
  TRY(sys::check(::unlockpt(master.get()), "unlock", subject));
  const UniqueFd slave(TRY(sys::check(
      ::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), "make", subject)));
  // Again, by open(2), which leaves the marks in its flags that the saved one has.
  return sys::open(fd_path(slave.get()), flags | O_NOCTTY).context(subject);
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& terminal = std::get<Terminal>(context.image.resources[open_file.resource]);
  const std::string subject = subject_of(context.image, index, terminal.path);
  const auto number = followed_number(context.image, index);
  if (number) return follow(*number, open_file.flags, subject, context);
  const u32 flags = open_file.flags & (O_ACCMODE | O_NONBLOCK | O_APPEND);
  if (terminal.hung_up) return make_hung_up(static_cast<int>(flags), subject);
  return sys::open("/dev/tty", static_cast<int>(flags) | O_NOCTTY).context(subject);
}

}  // namespace

const Handler kTerminalHandler = {
    .kind = Terminal::kKind,
    .recognises = recognises,
    .obstacle = [](const FdFacts&, CaptureContext&) { return std::optional<Refusal>(); },
    .identity = identity,
    .capture = capture,
    .restore_obstacles = restore_obstacles,
    .create = create,
    .settle = nullptr};

}  // namespace stasis::resource
