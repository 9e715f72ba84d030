// How single things read.
#include "model/print_words.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <ctime>

namespace stasis::model {
namespace {

constexpr i64 kSecond = 1'000'000'000;

struct FlagName {
  u32 flag;
  std::string_view name;
};

// O_TMPFILE contains O_DIRECTORY, O_SYNC contains O_DSYNC: the larger ones come first.
constexpr FlagName kFlagNames[] = {
    {O_PATH, "path"},       {O_APPEND, "append"}, {O_NONBLOCK, "nonblock"}, {O_TMPFILE, "tmpfile"},
    {O_DIRECTORY, "dir"},   {O_SYNC, "sync"},     {O_DSYNC, "dsync"},       {O_DIRECT, "direct"},
    {O_NOATIME, "noatime"}, {O_ASYNC, "async"},
};

std::string named(std::string_view kind, const std::string& name) {
  return fmt::format("{} {}", kind, safe_words(name));
}

class Describe {
 public:
  explicit Describe(const Image& image) : image_(image) {}

  std::string operator()(const RegularFile& r) const {
    std::string text = safe_words(r.path);
    if (r.deleted) text += " (deleted)";
    if (r.content)
      text += fmt::format(", {} carried along", size_words(image_.spaces[*r.content].size));
    return text;
  }
  std::string operator()(const Directory& r) const { return named("directory", r.path); }
  std::string operator()(const Device& r) const { return named("device", r.path); }
  std::string operator()(const Terminal& r) const {
    return named("terminal", r.path) + (r.controlling ? ", controlling" : "") +
           (r.hung_up ? ", hung up" : "");
  }
  std::string operator()(const Pipe& r) const {
    u64 buffered = 0;
    for (const Bytes& each : r.packets) buffered += each.size();
    return (r.path.empty() ? fmt::format("pipe [{}]", r.inode) : named("fifo", r.path)) +
           (buffered > 0 ? fmt::format(", {} buffered", size_words(buffered)) : "") +
           (r.external ? ", its other end is not in the image" : "");
  }
  std::string operator()(const EventFd& r) const {
    return fmt::format("eventfd, count {}", r.count);
  }
  std::string operator()(const Epoll& r) const {
    std::string text = "epoll";
    for (size_t i = 0; i < r.items.size(); ++i) {
      text += fmt::format("{} {}", i == 0 ? " of" : ",", r.items[i].number);
    }
    return text;
  }
  std::string operator()(const TimerFd& r) const {
    if (r.value_ns == 0) return "timerfd, disarmed";
    return fmt::format("timerfd, {} left", time_words(r.value_ns));
  }
  std::string operator()(const SignalFd& r) const {
    return fmt::format("signalfd of {}", signal_words(r.mask));
  }
  std::string operator()(const Memfd& r) const {
    return fmt::format("{}, {}", named("memfd", r.name), size_words(r.size));
  }
  std::string operator()(const SharedMemory& r) const {
    return fmt::format("shared memory [{}], {}", r.inode, size_words(r.size));
  }
  std::string operator()(const Inotify& r) const {
    std::string text = "inotify";
    for (size_t i = 0; i < r.watches.size(); ++i) {
      text += (i == 0 ? " of " : ", ") + safe_words(r.watches[i].path);
    }
    return text;
  }
  std::string operator()(const PidFd& r) const { return fmt::format("pidfd of {}", r.pid); }
  // A kind that has no words yet still says which kind it is.
  template <class Kind>
  std::string operator()(const Kind&) const {
    return std::string(Kind::kKind);
  }

 private:
  const Image& image_;
};

}  // namespace

std::string size_words(u64 bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1023.95 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string time_words(i64 time_ns) {
  const auto value = static_cast<double>(time_ns);
  if (time_ns < kSecond / 1000) return fmt::format("{:.0f} us", value / 1e3);
  if (time_ns < kSecond) return fmt::format("{:.1f} ms", value / 1e6);
  return fmt::format("{:.1f} s", value / 1e9);
}

std::string date_words(i64 realtime_ns) {
  const time_t seconds = realtime_ns / kSecond;
  tm broken{};
  std::array<char, 64> text{};
  ::gmtime_r(&seconds, &broken);
  const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &broken);
  return {text.data(), length};
}

std::string count_words(u64 count, const std::string& noun) {
  if (count == 1) return "1 " + noun;
  const bool es = noun.ends_with('s');
  return fmt::format("{} {}{}", count, noun, es ? "es" : "s");
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

std::string signal_words(u64 mask) {
  std::string text;
  for (int signal = 1; signal <= 64; ++signal) {
    if ((mask >> (signal - 1) & 1) == 0) continue;
    if (!text.empty()) text += ", ";
    text += signal_name(signal);
  }
  return text.empty() ? "none" : text;
}

std::string resource_words(const Image& image, const Resource& resource) {
  return std::visit(Describe(image), resource);
}

std::string open_flags_words(u32 flags) {
  constexpr std::array<std::string_view, 4> kModes{"r", "w", "rw", "-"};
  std::string text(kModes[flags & O_ACCMODE]);
  for (const auto& [flag, name] : kFlagNames) {
    if ((flags & flag) != flag) continue;
    flags &= ~flag;
    text += fmt::format(" {}", name);
  }
  return text;
}

std::string safe_words(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

Table::Table(std::string alignment, std::vector<std::string> head)
    : alignment_(std::move(alignment)) {
  rows_.push_back(std::move(head));
}

std::string Table::text(const std::string& indent) const {
  std::vector<size_t> widths(alignment_.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line = indent;
    for (size_t i = 0; i < widths.size(); ++i) {
      if (i > 0) line += "  ";
      line += alignment_[i] == 'r' ? fmt::format("{:>{}}", row[i], widths[i])
                                   : fmt::format("{:<{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace stasis::model
