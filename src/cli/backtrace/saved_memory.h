// The memory of one saved process as it would see it: pages of the image, or, where the image has
// none, of the mapped file. Words only, through a bounded cache of pages.
#pragma once

#include <optional>
#include <unordered_map>

#include "backtrace/modules.h"

namespace stasis::cli {

class SavedMemory {
 public:
  SavedMemory(const model::Memory& memory, Modules& modules) : memory_(memory), modules_(modules) {}

  // The area that contains `address`; nullptr if none does.
  [[nodiscard]] const model::Vma* area_at(u64 address) const;
  // Eight bytes at any address; nullopt where nothing is mapped or nothing is known.
  std::optional<u64> word(u64 address);

 private:
  std::optional<u64> word_within_page(u64 address);
  bool fill(u64 page, Bytes& bytes);

  const model::Memory& memory_;
  Modules& modules_;
  std::unordered_map<u64, Bytes> pages_;  // by page; an empty one: not readable
};

}  // namespace stasis::cli
