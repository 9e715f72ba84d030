// Finding the bytes of a page.
#include "backtrace/saved_memory.h"

#include <algorithm>
#include <cstring>

namespace stasis::cli {
namespace {

constexpr size_t kMostCachedPages = 8192;  // 32 MiB

}  // namespace

const model::Vma* SavedMemory::area_at(u64 address) const {
  const auto after =
      std::upper_bound(memory_.vmas.begin(), memory_.vmas.end(), address,
                       [](u64 at, const model::Vma& vma) { return at < vma.start.value; });
  if (after == memory_.vmas.begin()) return nullptr;
  const model::Vma& vma = *std::prev(after);
  return address < vma.end.value ? &vma : nullptr;
}

std::optional<u64> SavedMemory::word(u64 address) {
  const u64 within = address % kPageSize;
  if (within + sizeof(u64) <= kPageSize) return word_within_page(address);
  // Across two pages: shift the parts of two aligned words together (little end first).
  const u64 low_at = address & ~u64{7};
  const auto low = word_within_page(low_at);
  const auto high = word_within_page(low_at + 8);
  if (!low || !high) return std::nullopt;
  const u64 shift = (address - low_at) * 8;
  return (*low >> shift) | (*high << (64 - shift));
}

std::optional<u64> SavedMemory::word_within_page(u64 address) {
  const u64 page = page_down(address);
  auto found = pages_.find(page);
  if (found == pages_.end()) {
    if (pages_.size() >= kMostCachedPages) pages_.clear();
    Bytes bytes(kPageSize);
    if (!fill(page, bytes)) bytes.clear();
    found = pages_.emplace(page, std::move(bytes)).first;
  }
  if (found->second.empty()) return std::nullopt;
  u64 value = 0;
  std::memcpy(&value, found->second.data() + (address - page), sizeof value);
  return value;
}

bool SavedMemory::fill(u64 page, Bytes& bytes) {
  const model::Vma* vma = area_at(page);
  if (vma == nullptr) return false;
  const model::Image& image = modules_.image();
  const bool own = !vma->shared && memory_.space < image.spaces.size();
  if (own && vma->kind != model::VmaKind::kVdso) {
    const Stretch stretch = stretch_at(image.spaces[memory_.space], page);
    if (stretch.run != nullptr) return modules_.read_space(memory_.space, page, bytes);
  }
  switch (vma->kind) {
    case model::VmaKind::kAnonymous:
    case model::VmaKind::kStack:
      return true;  // not in the image: zeros
    case model::VmaKind::kFile:
    case model::VmaKind::kVdso:
      break;
    case model::VmaKind::kVvar:
    case model::VmaKind::kVsyscall:
      return false;
  }
  const Module* module = modules_.of(*vma);
  if (module == nullptr || !module->read) return false;
  const u64 base = vma->kind == model::VmaKind::kVdso ? 0 : vma->offset;
  return module->read(base + (page - vma->start.value), bytes);
}

}  // namespace stasis::cli
