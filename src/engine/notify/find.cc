// find_blocks(): looks at areas of just the size and surroundings of a control block, and reads the
// few that there are.
#include <sys/mman.h>

#include <optional>

#include "notify/block.h"
#include "notify/notify.h"
#include "proc/maps.h"
#include "proc/status.h"

namespace stasis::notify {
namespace {

bool is_candidate(const proc::Area& area) {
  return area.length() == CRI_BLOCK_AREA && !area.shared && area.inode == 0 &&
         area.protection == (PROT_READ | PROT_WRITE) &&
         (area.path.empty() || area.path.starts_with("[anon:"));
}

// Between two areas that nobody may touch.
bool is_guarded(const proc::Area& below, const proc::Area& area, const proc::Area& above) {
  return below.protection == PROT_NONE && below.end == area.start &&
         above.protection == PROT_NONE && above.start == area.end;
}

std::optional<Block> find_block(Pid pid) {
  const Pid live = proc::live_thread(pid);
  const auto areas = proc::read_maps(live);
  if (!areas) return std::nullopt;  // gone, or about to be
  for (size_t i = 1; i + 1 < areas->size(); ++i) {
    const proc::Area& area = (*areas)[i];
    if (!is_candidate(area) || !is_guarded((*areas)[i - 1], area, (*areas)[i + 1])) continue;
    const auto head = read_head(live, area.start);
    if (!head || !is_block(*head, area.start, inner_id(pid, pid))) continue;
    Block block{.pid = pid,
                .address = area.start,
                .kind = head->fields.kind,
                .omit_rule = head->fields.omit_rule,
                .takes_part = takes_part(*head),
                .handles = {}};
    for (const u64 inode : head->fields.handle) {
      if (inode != 0) block.handles.push_back(inode);
    }
    return block;
  }
  return std::nullopt;
}

}  // namespace

std::vector<Block> find_blocks(std::span<const Pid> pids) {
  std::vector<Block> blocks;
  for (const Pid pid : pids) {
    if (const auto block = find_block(pid)) blocks.push_back(*block);
  }
  return blocks;
}

}  // namespace stasis::notify
