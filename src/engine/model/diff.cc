// diff: a walk over two images at once, along the field lists.
#include "model/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "model/json.h"
#include "model/names.h"
#include "model/normalise.h"
#include "model/shapes.h"

namespace stasis::model {
namespace {

// By what the elements of a list are matched, where they have a key of their own.
u64 key_of(const Vma& v) {
  return v.start.value;
}
u64 key_of(const Descriptor& v) {
  return static_cast<u64>(v.number);
}
u64 key_of(const Thread& v) {
  return static_cast<u64>(v.tid);
}
u64 key_of(const Process& v) {
  return static_cast<u64>(v.pid);
}
u64 key_of(const Zombie& v) {
  return static_cast<u64>(v.pid);
}
u64 key_of(const SignalAction& v) {
  return static_cast<u64>(v.signal);
}
u64 key_of(const ResourceLimit& v) {
  return static_cast<u64>(v.which);
}
u64 key_of(const IntervalTimer& v) {
  return static_cast<u64>(v.which);
}
u64 key_of(const PosixTimer& v) {
  return static_cast<u64>(v.id);
}

template <class T>
concept Keyed = requires(const T& value) {
  key_of(value);
};

std::string words(u64 value) {
  return value > 0xffff ? fmt::format("{:#x}", value) : fmt::format("{}", value);
}

template <class T>
std::string key_words(const T& value) {
  return std::is_same_v<T, Vma> ? fmt::format("{:#x}", key_of(value))
                                : fmt::format("{}", key_of(value));
}

class Walk {
 public:
  explicit Walk(const DiffOptions& options) : options_(options) {}

  template <class T>
  void compare(const T& a, const T& b) {
    if (a == b || is_ignored()) return;
    if constexpr (HasFields<T>) {
      compare_struct(a, b);
    } else if constexpr (Sequence<T>) {
      compare_lists(a, b);
    } else if constexpr (Choice<T>) {
      compare_choice(a, b);
    } else if constexpr (Optional<T>) {
      if (a && b) return compare(*a, *b);
      report(a ? "there" : "absent", b ? "there" : "absent");
    } else if constexpr (Blob<T>) {
      compare_bytes(a, b);
    } else if constexpr (Text<T>) {
      report(fmt::format("\"{}\"", a), fmt::format("\"{}\"", b));
    } else if constexpr (Enumeration<T>) {
      report(std::string(name_of(a)), std::string(name_of(b)));
    } else if constexpr (Address<T>) {
      report(fmt::format("{:#x}", a.value), fmt::format("{:#x}", b.value));
    } else if constexpr (std::is_unsigned_v<T> && !Boolean<T>) {
      report(words(a), words(b));
    } else {
      report(fmt::format("{}", a), fmt::format("{}", b));
    }
  }

  std::vector<std::string> take_lines() {
    if (more_ > 0) lines_.push_back(fmt::format("and {} more", more_));
    return std::move(lines_);
  }

 private:
  // Goes one step down for the time of one call.
  template <class Visit>
  void below(const std::string& step, const std::string& plain_step, Visit visit) {
    const size_t length = path_.size();
    const size_t plain_length = plain_.size();
    path_ += step;
    plain_ += plain_step;
    visit();
    path_.resize(length);
    plain_.resize(plain_length);
  }

  [[nodiscard]] bool is_ignored() const {
    return std::ranges::any_of(options_.ignored, [&](const std::string& end) {
      return ("." + plain_).ends_with("." + end);
    });
  }

  void report(const std::string& a, const std::string& b) {
    if (lines_.size() >= options_.most_lines) {
      ++more_;
      return;
    }
    lines_.push_back(fmt::format("{}: {} != {}", path_, a, b));
  }

  template <class T>
  void compare_struct(const T& a, const T& b) {
    for_each_field(a, [&](const auto& field, const auto& member) {
      const std::string name(field.name);
      const std::string step = (path_.empty() ? "" : ".") + name;
      below(step, (plain_.empty() ? "" : ".") + name, [&] {
        if (!options_.exact && close_enough(a, b, field.name)) return;
        compare(member, b.*(field.member));
      });
    });
  }

  // Times left run on between two captures.
  template <class T>
  bool close_enough(const T&, const T&, std::string_view) const {
    return false;
  }
  bool close_enough(const InterruptedCall& a, const InterruptedCall& b,
                    std::string_view name) const {
    return name == "remaining_ns" && near(a.remaining_ns, b.remaining_ns, 1);
  }
  bool close_enough(const IntervalTimer& a, const IntervalTimer& b, std::string_view name) const {
    return name == "value_us" && armed_alike(a.value_us, b.value_us, a.interval_us, 1000);
  }
  bool close_enough(const PosixTimer& a, const PosixTimer& b, std::string_view name) const {
    return name == "value_ns" && armed_alike(a.value_ns, b.value_ns, a.interval_ns, 1);
  }
  bool close_enough(const TimerFd& a, const TimerFd& b, std::string_view name) const {
    if (name == "ticks") return a.interval_ns != 0;
    return name == "value_ns" && armed_alike(a.value_ns, b.value_ns, a.interval_ns, 1);
  }
  [[nodiscard]] bool armed_alike(i64 a, i64 b, i64 interval, i64 unit_ns) const {
    if ((a == 0) != (b == 0)) return false;
    return interval != 0 || near(a, b, unit_ns);
  }
  [[nodiscard]] bool near(i64 a, i64 b, i64 unit_ns) const {
    const u64 apart = static_cast<u64>(std::max(a, b)) - static_cast<u64>(std::min(a, b));
    return (a < 0) == (b < 0) && apart <= static_cast<u64>(options_.time_tolerance_ns / unit_ns);
  }

  template <class T>
  void compare_lists(const std::vector<T>& a, const std::vector<T>& b) {
    if constexpr (Keyed<T>) {
      compare_keyed(a, b);
    } else {
      if (a.size() != b.size()) {
        report(fmt::format("{} elements", a.size()), fmt::format("{}", b.size()));
      }
      for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        below(fmt::format("[{}]", i), "", [&] { compare(a[i], b[i]); });
      }
    }
  }

  template <Keyed T>
  void compare_keyed(const std::vector<T>& a, const std::vector<T>& b) {
    std::map<u64, std::pair<const T*, const T*>> pairs;
    for (const T& each : a) pairs[key_of(each)].first = &each;
    for (const T& each : b) pairs[key_of(each)].second = &each;
    for (const auto& [key, pair] : pairs) {
      const T* left = pair.first;
      const T* right = pair.second;
      const T& either = left != nullptr ? *left : *right;
      below(fmt::format("[{}]", key_words(either)), "", [&] {
        if (left != nullptr && right != nullptr) return compare(*left, *right);
        report(left != nullptr ? "there" : "absent", right != nullptr ? "there" : "absent");
      });
    }
  }

  template <Choice T>
  void compare_choice(const T& a, const T& b) {
    const auto kind = [](const auto& each) { return std::string(each.kKind); };
    if (a.index() != b.index()) return report(std::visit(kind, a), std::visit(kind, b));
    std::visit([&](const auto& each) { compare(each, std::get<std::decay_t<decltype(each)>>(b)); },
               a);
  }

  // The first eight bytes that differ, with their position.
  void compare_bytes(const Bytes& a, const Bytes& b) {
    if (a.size() != b.size()) {
      return report(fmt::format("{} bytes", a.size()), fmt::format("{}", b.size()));
    }
    constexpr size_t kWord = 8;
    size_t at = 0;
    size_t words_apart = 0;
    for (size_t i = 0; i < a.size(); i += kWord) {
      const size_t end = std::min(a.size(), i + kWord);
      if (std::equal(a.begin() + static_cast<i64>(i), a.begin() + static_cast<i64>(end),
                     b.begin() + static_cast<i64>(i))) {
        continue;
      }
      if (words_apart++ == 0) at = i;
    }
    const auto hex = [&](const Bytes& of) {
      return to_hex(ByteView(of).subspan(at, std::min(kWord, of.size() - at)));
    };
    below(fmt::format(" at byte {} ({} words differ)", at, words_apart), "",
          [&] { report(hex(a), hex(b)); });
  }

  const DiffOptions& options_;
  std::string path_;
  std::string plain_;  // the path without indices
  std::vector<std::string> lines_;
  size_t more_ = 0;
};

}  // namespace

std::vector<std::string> diff(const Image& a, const Image& b, const DiffOptions& options) {
  Walk walk(options);
  if (options.exact) {
    walk.compare(a, b);
  } else {
    walk.compare(normalise(a).image, normalise(b).image);
  }
  return walk.take_lines();
}

}  // namespace stasis::model
