// Reading the block's page and naming its kind. Blocks may be hostile: numbers only.
#include "support.h"

#include <fmt/format.h>

#include <cstring>

#include "human.h"
#include "stasis/handshake.h"

namespace stasis::cli {

std::string support_words(const model::Image& image, model::PageSource& pages,
                          const model::Process& process) {
  const u64 address = process.control_block.value;
  if (address == 0 || address % kPageSize != 0) return {};
  if (process.memory.space >= image.spaces.size()) return {};
  Bytes page(kPageSize);
  const model::Run wanted{.offset = address, .length = kPageSize};
  if (!pages.read(process.memory.space, std::span(&wanted, 1), page)) return {};
  cri_block block = {};
  std::memcpy(&block, page.data(), offsetof(cri_block, destination));
  switch (block.kind) {
    case CRI_KIND_FULL:
      return fmt::format("libcr, {}",
                         count(block.registered, "callback or hook", "callbacks and hooks"));
    case CRI_KIND_RUN:
      return "libcr_run";
    case CRI_KIND_OMIT:
      return "libcr_omit";
    case CRI_KIND_RESTART:
      return "waits for the processes that it restarted (cr_restart)";
    default:
      return {};
  }
}

}  // namespace stasis::cli
