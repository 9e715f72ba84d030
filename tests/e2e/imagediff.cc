// imagediff A B: whether two context files hold the same state but for what time and restart may
// change (model/normalise.h). Prints a line a difference. Exit: 0 the same, 1 different, 2 trouble.
// The oracle of capture -> restart -> capture; it never looks at processes.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <span>
#include <string>

#include "arch/cpu_features.h"
#include "arch/registers.h"
#include "base/sys.h"
#include "format/image_file.h"
#include "model/diff.h"

namespace stasis {
namespace {

constexpr u64 kRedZone = 128;  // bytes below the stack pointer that belong to the program
constexpr std::string_view kUsage =
    "usage: imagediff [--exact] [--no-contents] [--ignore MEMBER]... A B\n"
    "MEMBER: the end of a path without indices, like threads.registers\n";

struct Settings {
  model::DiffOptions diff;
  bool contents = true;
  std::vector<std::string> files;
};

Result<Settings> parse(std::span<char* const> arguments) {
  Settings settings;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string word = arguments[i];
    if (word == "--exact") {
      settings.diff.exact = true;
    } else if (word == "--no-contents") {
      settings.contents = false;
    } else if (word == "--ignore" && i + 1 < arguments.size()) {
      settings.diff.ignored.emplace_back(arguments[++i]);
    } else {
      settings.files.push_back(word);
    }
  }
  if (settings.files.size() != 2) return fail(EINVAL, std::string(kUsage));
  return settings;
}

// Dead bytes: below the stack pointer, and what the kernel keeps writing (the rseq area).
std::vector<model::Run> dead_stretches(const model::Image& image) {
  std::vector<model::Run> dead;
  for (const model::Process& process : image.processes) {
    for (const model::Thread& thread : process.threads) {
      if (thread.rseq) dead.push_back({thread.rseq->address.value, thread.rseq->size});
      const auto registers = arch::from_bytes(thread.registers.general);
      if (!registers) continue;
      const RemoteAddr live = arch::stack_pointer(*registers) - kRedZone;
      for (const model::Vma& vma : process.memory.vmas) {
        if (vma.start <= live && live < vma.end)
          dead.push_back({vma.start.value, live - vma.start});
      }
    }
  }
  return dead;
}

// A page of a mapped file as it is on disk now, zeros behind its end.
Result<void> file_page(const model::Image& image, const model::Vma& vma, u64 address,
                       ByteSpan page) {
  const auto* file = std::get_if<model::RegularFile>(&image.resources[*vma.resource]);
  std::fill(page.begin(), page.end(), std::byte{});
  if (file == nullptr || file->deleted) return {};
  const UniqueFd fd = TRY(sys::open(file->path, O_RDONLY));
  TRY(sys::pread_full(fd.get(), page, vma.offset + (address - vma.start.value)));
  return {};
}

// Whether a result asks the kernel to make the call again (ERESTARTSYS to ERESTART_RESTARTBLOCK).
bool asks_for_restart(i64 result) {
  return result <= -512 && result >= -516;
}

// A call that goes on after a restart shows as restart_syscall the next time; the model also has
// the number that it is really in. That of a call which is over means nothing to anybody: a thread
// that is stopped on its way out of a call shows it, one that a timer interrupts right there not.
// Extended state is brought into its one spelling.
void normalise_threads(model::Image& image) {
  constexpr i64 kNone = -1;
  for (model::Process& process : image.processes) {
    for (model::Thread& thread : process.threads) {
      auto registers = arch::from_bytes(thread.registers.general);
      if (!registers) continue;
      if (thread.interrupted) {
        arch::set_call_number(*registers, thread.interrupted->number);
      } else if (!asks_for_restart(arch::result(*registers))) {
        arch::set_call_number(*registers, kNone);
      }
      thread.registers.general = arch::to_bytes(*registers);
      if (!thread.registers.legacy) {
        thread.registers.extended = arch::canonical_extended_state(thread.registers.extended);
      }
    }
  }
}

Result<format::OpenedImage> open_file(const std::string& path) {
  return format::open_image(TRY(sys::open(path, O_RDONLY))).context(path);
}

Result<std::vector<std::string>> compare(const Settings& settings) {
  auto a = TRY(open_file(settings.files[0]));
  auto b = TRY(open_file(settings.files[1]));
  normalise_threads(a.image);
  normalise_threads(b.image);
  auto lines = model::diff(a.image, b.image, settings.diff);
  if (!settings.contents) return lines;
  model::ContentsDiffOptions options;
  options.ignored = dead_stretches(a.image);
  options.file_page = file_page;
  const auto more = TRY(model::diff_contents(a.image, *a.pages, b.image, *b.pages, options));
  lines.insert(lines.end(), more.begin(), more.end());
  return lines;
}

int run(std::span<char* const> arguments) {
  constexpr int kTrouble = 2;
  const auto settings = parse(arguments);
  if (!settings) {
    fmt::print(stderr, "{}", settings.error().message());
    return kTrouble;
  }
  const auto lines = compare(*settings);
  if (!lines) {
    fmt::print(stderr, "imagediff: {}\n", lines.error().message());
    return kTrouble;
  }
  for (const std::string& each : *lines) fmt::print("{}\n", each);
  return lines->empty() ? 0 : 1;
}

}  // namespace
}  // namespace stasis

int main(int argc, char** argv) {
  return stasis::run(std::span<char* const>(argv, static_cast<size_t>(argc)));
}
