// diff_contents: page by page, spaces matched as normalise() numbers them.
#include <fmt/format.h>

#include <algorithm>

#include "model/diff.h"
#include "model/normalise.h"

namespace stasis::model {
namespace {

bool has_page(const Space& space, u64 offset, RunKind kind) {
  const auto run = std::partition_point(space.runs.begin(), space.runs.end(), [&](const Run& each) {
    return each.offset + each.length <= offset;
  });
  return run != space.runs.end() && run->offset <= offset && run->kind == kind;
}

// One image's side of the comparison of one space.
struct Side {
  const Image& image;
  PageSource& pages;
  SpaceIndex index;

  [[nodiscard]] const Space& space() const { return image.spaces[index]; }
  // The private file area that lies over `address`, if this is an address space.
  [[nodiscard]] const Vma* file_area(u64 address) const {
    for (const Process& process : image.processes) {
      if (process.memory.space != index) continue;
      for (const Vma& vma : process.memory.vmas) {
        const bool inside = vma.start.value <= address && address < vma.end.value;
        if (inside) return vma.kind == VmaKind::kFile && !vma.shared ? &vma : nullptr;
      }
    }
    return nullptr;
  }
};

class Comparer {
 public:
  Comparer(Side a, Side b, const ContentsDiffOptions& options, std::vector<std::string>& lines)
      : a_(a), b_(b), options_(options), lines_(lines) {}

  Result<void> run() {
    TRY(compare_runs(a_.space().runs, false));
    return compare_runs(b_.space().runs, true);
  }

 private:
  static constexpr u64 kBlock = u64{1} << 20;

  // `rest`: only pages that a's runs do not cover, so that no page is looked at twice.
  Result<void> compare_runs(const std::vector<Run>& runs, bool rest) {
    for (const Run& run : runs) {
      if (run.kind == RunKind::kGuard) continue;
      for (u64 done = 0; done < run.length; done += kBlock) {
        TRY(compare_block({run.offset + done, std::min(kBlock, run.length - done)}, rest));
      }
    }
    return {};
  }

  Result<void> compare_block(const Run& block, bool rest) {
    Bytes left(block.length);
    Bytes right(block.length);
    TRY(a_.pages.read(a_.index, std::span(&block, 1), left));
    TRY(b_.pages.read(b_.index, std::span(&block, 1), right));
    for (u64 at = 0; at < block.length; at += kPageSize) {
      const u64 address = block.offset + at;
      const bool known = has_page(a_.space(), address, RunKind::kData) ||
                         has_page(a_.space(), address, RunKind::kZero);
      if (rest && known) continue;
      TRY(compare_page(address, ByteSpan(left).subspan(at, kPageSize),
                       ByteSpan(right).subspan(at, kPageSize)));
    }
    return {};
  }

  // Fills in what the file shows where this side has no run; false if that cannot be known.
  Result<bool> complete(const Side& side, u64 address, ByteSpan page) const {
    const bool stored = has_page(side.space(), address, RunKind::kData) ||
                        has_page(side.space(), address, RunKind::kZero);
    const Vma* area = stored ? nullptr : side.file_area(address);
    if (area == nullptr) return true;
    if (!options_.file_page) return false;
    TRY(options_.file_page(side.image, *area, address, page));
    return true;
  }

  Result<void> compare_page(u64 address, ByteSpan left, ByteSpan right) {
    if (!TRY(complete(a_, address, left)) || !TRY(complete(b_, address, right))) return {};
    if (std::equal(left.begin(), left.end(), right.begin())) return {};
    for (size_t i = 0; i < left.size(); ++i) {
      if (left[i] == right[i] || is_ignored(address + i)) continue;
      report(address, address + i, left[i], right[i]);
      break;
    }
    return {};
  }

  [[nodiscard]] bool is_ignored(u64 address) const {
    if (a_.space().size != 0) return false;  // not an address space
    return std::ranges::any_of(options_.ignored, [&](const Run& each) {
      return each.offset <= address && address < each.offset + each.length;
    });
  }

  void report(u64 page, u64 address, std::byte left, std::byte right) {
    if (lines_.size() > options_.most_lines) return;
    if (lines_.size() == options_.most_lines) {
      lines_.push_back("and more");
      return;
    }
    lines_.push_back(fmt::format("contents of {}: page {:#x}: byte {:#x}: {:02x} != {:02x}",
                                 a_.space().label, page, address, std::to_integer<u8>(left),
                                 std::to_integer<u8>(right)));
  }

  Side a_, b_;
  const ContentsDiffOptions& options_;
  std::vector<std::string>& lines_;
};

}  // namespace

Result<std::vector<std::string>> diff_contents(const Image& a, PageSource& pages_a, const Image& b,
                                               PageSource& pages_b,
                                               const ContentsDiffOptions& options) {
  const auto order_a = normalise(a).origins;
  const auto order_b = normalise(b).origins;
  std::vector<std::string> lines;
  if (order_a.size() != order_b.size()) {
    lines.push_back(fmt::format("spaces: {} != {}", order_a.size(), order_b.size()));
    return lines;
  }
  for (size_t i = 0; i < order_a.size(); ++i) {
    TRY(Comparer({a, pages_a, order_a[i]}, {b, pages_b, order_b[i]}, options, lines).run());
  }
  return lines;
}

}  // namespace stasis::model
