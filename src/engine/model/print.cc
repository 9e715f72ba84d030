// print_text and print_json.
#include "model/print.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "model/json.h"
#include "model/names.h"
#include "model/print_words.h"

namespace stasis::model {
namespace {

// Bytes of data runs between start and end.
u64 saved_between(const Space& space, u64 start, u64 end) {
  u64 bytes = 0;
  auto run = std::partition_point(space.runs.begin(), space.runs.end(), [&](const Run& each) {
    return each.offset + each.length <= start;
  });
  for (; run != space.runs.end() && run->offset < end; ++run) {
    if (run->kind != RunKind::kData) continue;
    bytes += std::min(end, run->offset + run->length) - std::max(start, run->offset);
  }
  return bytes;
}

// An image may hold any number, also one that does not fit.
i64 from_us(i64 time_us) {
  constexpr i64 kMost = std::numeric_limits<i64>::max() / 1000;
  return std::clamp(time_us, -kMost, kMost) * 1000;
}

std::string permissions(const Vma& vma) {
  std::string text = "---p";
  if ((vma.protection & PROT_READ) != 0) text[0] = 'r';
  if ((vma.protection & PROT_WRITE) != 0) text[1] = 'w';
  if ((vma.protection & PROT_EXEC) != 0) text[2] = 'x';
  if (vma.shared) text[3] = 's';
  return text;
}

class Printer {
 public:
  Printer(const Image& image, const PrintOptions& options) : image_(image), options_(options) {}

  std::string run() {
    summary();
    for (const Process& each : image_.processes) process(each);
    for (const Zombie& each : image_.zombies) zombie(each);
    return std::move(out_);
  }

 private:
  void line(const std::string& text) { out_ += text + "\n"; }
  void fact(std::string_view name, const std::string& value) {
    line(fmt::format("  {:<12} {}", name, value));
  }

  [[nodiscard]] std::string program(const Process& process) const {
    if (!process.executable) return "unknown program";
    return safe_words(std::get<RegularFile>(image_.resources[*process.executable]).path);
  }

  void summary() {
    u64 threads = 0;
    u64 mapped = 0;
    u64 saved = 0;
    for (const Process& each : image_.processes) {
      threads += each.threads.size();
      for (const Vma& vma : each.memory.vmas) mapped += vma.length();
    }
    for (const Space& each : image_.spaces) saved += saved_between(each, 0, ~u64{0});
    const Origin& origin = image_.origin;
    const Process* root = image_.processes.empty() ? nullptr : &image_.processes[0];
    line(root == nullptr ? "An image without processes"
                         : fmt::format("{}, process {}: {}, {}", program(*root), root->pid,
                                       count_words(image_.processes.size(), "process"),
                                       count_words(threads, "thread")));
    fact("taken", fmt::format("{} on {} (Linux {}, {}) by Stasis {}", date_words(origin.created_ns),
                              safe_words(origin.hostname), safe_words(origin.kernel_release),
                              safe_words(origin.architecture), safe_words(origin.stasis_version)));
    fact("memory", fmt::format("{} saved of {} mapped", size_words(saved), size_words(mapped)));
    if (options_.file_bytes > 0) {
      const std::string name = options_.file.empty() ? "" : safe_words(options_.file) + ", ";
      const double part = static_cast<double>(options_.file_bytes) / static_cast<double>(saved);
      fact("file", name + size_words(options_.file_bytes) +
                       (saved > 0 ? fmt::format(" ({:.0f} % of what is saved)", 100 * part) : ""));
    }
  }

  void process(const Process& p) {
    const std::string name = p.threads.empty() ? "" : " " + safe_words(p.threads[0].name);
    line(fmt::format("\nProcess {}{}", p.pid, name));
    fact("program", program(p));
    fact("directory", safe_words(p.working_directory));
    fact("ids",
         fmt::format(
             "parent {}, group {}, session {}{}", p.parent, p.group, p.session,
             p.credentials.uids.empty() ? "" : fmt::format(", user {}", p.credentials.uids[0])));
    if (p.stopped) fact("state", "stopped by a signal");
    if (options_.support) {
      if (const std::string words = options_.support(p); !words.empty()) fact("libcr", words);
    }
    signals(p);
    timers(p);
    line(fmt::format("\n  {}", count_words(p.threads.size(), "thread")));
    threads(p);
    line(fmt::format("\n  {}", count_words(p.descriptors.size(), "descriptor")));
    descriptors(p);
    if (options_.memory) memory(p.memory);
  }

  void zombie(const Zombie& z) {
    const int signal = z.wait_status & 0x7f;  // the layout of wait(2)'s status
    const std::string end = signal != 0 ? fmt::format("killed by signal {}", signal)
                                        : fmt::format("exited with {}", z.wait_status >> 8);
    line(fmt::format("\nZombie {} {}: {}; process {} has not waited for it", z.pid,
                     safe_words(z.name), end, z.parent));
  }

  void signals(const Process& p) {
    u64 handled = 0;
    u64 ignored = 0;
    for (const SignalAction& each : p.actions) {
      const u64 bit = u64{1} << ((each.signal - 1) & 63);
      (each.handler.value == 1 ? ignored : handled) |= bit;
    }
    if (handled != 0) fact("handles", signal_words(handled));
    if (ignored != 0) fact("ignores", signal_words(ignored));
    if (!p.pending.empty()) fact("pending", count_words(p.pending.size(), "signal"));
  }

  void timers(const Process& p) {
    for (const IntervalTimer& each : p.interval_timers) {
      if (each.value_us == 0) continue;
      fact("timer", fmt::format("interval timer {}, {} left", each.which,
                                time_words(from_us(each.value_us))));
    }
    for (const PosixTimer& each : p.posix_timers) {
      fact("timer",
           fmt::format("POSIX timer {}, {}", each.id,
                       each.value_ns == 0 ? "disarmed" : time_words(each.value_ns) + " left"));
    }
  }

  static std::string doing(const Thread& thread) {
    if (thread.zombie) return "has exited";
    if (!thread.interrupted) return "running";
    std::string text = fmt::format("in system call {}", thread.interrupted->number);
    if (thread.interrupted->remaining_ns >= 0) {
      text += fmt::format(", {} left", time_words(thread.interrupted->remaining_ns));
    }
    return text;
  }

  void threads(const Process& p) {
    Table table("rlll", {"tid", "name", "state", "blocks"});
    for (const Thread& each : p.threads) {
      const std::string blocked =
          each.blocked_signals == 0 ? "" : signal_words(each.blocked_signals);
      table.add({std::to_string(each.tid), safe_words(each.name), doing(each), blocked});
    }
    out_ += table.text("    ");
  }

  void descriptors(const Process& p) {
    if (p.descriptors.empty()) return;
    Table table("rlrll", {"fd", "flags", "offset", "", "what"});
    for (const Descriptor& each : p.descriptors) {
      const OpenFile& file = image_.open_files[each.open_file];
      table.add({std::to_string(each.number), open_flags_words(file.flags),
                 std::to_string(file.offset), each.close_on_exec ? "cloexec" : "",
                 resource_words(image_, image_.resources[file.resource])});
    }
    out_ += table.text("    ");
  }

  void memory(const Memory& memory) {
    line(fmt::format("\n  {}", count_words(memory.vmas.size(), "memory area")));
    Table table("rrlrl", {"start", "size", "", "saved", "what"});
    const Space& space = image_.spaces[memory.space];
    for (const Vma& each : memory.vmas) {
      const u64 saved = saved_between(space, each.start.value, each.end.value);
      table.add({fmt::format("{:x}", each.start.value), size_words(each.length()),
                 permissions(each), saved == 0 ? "" : size_words(saved), area_words(each)});
    }
    out_ += table.text("    ");
  }

  [[nodiscard]] std::string area_words(const Vma& vma) const {
    if (vma.resource) return resource_words(image_, image_.resources[*vma.resource]);
    if (!vma.name.empty()) return safe_words(vma.name);
    return vma.kind == VmaKind::kAnonymous ? "" : fmt::format("[{}]", name_of(vma.kind));
  }

  const Image& image_;
  const PrintOptions& options_;
  std::string out_;
};

}  // namespace

std::string print_text(const Image& image, const PrintOptions& options) {
  return Printer(image, options).run();
}

std::string print_json(const Image& image) {
  constexpr int kIndent = 2;
  return to_json(image, JsonStyle::kPeople)
             .dump(kIndent, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

}  // namespace stasis::model
