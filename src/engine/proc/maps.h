// /proc/PID/maps, smaps and pagemap: what a process has mapped, how, and which pages hold data.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace stasis::proc {

// One area. From maps alone `flags`, `rss_kb` and `swap_kb` stay empty.
struct Area {
  RemoteAddr start, end;
  u32 protection = 0;  // PROT_*
  bool shared = false;
  u64 offset = 0;  // bytes
  u32 device_major = 0, device_minor = 0;
  u64 inode = 0;
  std::string path;      // unescaped; without " (deleted)"; "[heap]", "[anon:x]", ... as written
  bool deleted = false;  // the line ended in " (deleted)"
  std::vector<std::string> flags;  // VmFlags, sorted
  u64 rss_kb = 0, swap_kb = 0;
  u32 protection_key = 0;      // pkeys(7); 0: the default one, or none
  bool has_anonymous = false;  // Anonymous: or Swap: above 0: private copies exist

  [[nodiscard]] u64 length() const { return end - start; }
  [[nodiscard]] bool has_flag(std::string_view flag) const;
};

Result<std::vector<Area>> parse_maps(std::string_view text);
Result<std::vector<Area>> parse_smaps(std::string_view text);
// `pid` may be a thread id of a process whose leader is gone (its maps are empty).
Result<std::vector<Area>> read_maps(Pid pid);
Result<std::vector<Area>> read_smaps(Pid pid);

// Which pages of areas hold something of the process's own: PAGEMAP_SCAN (Linux 6.7) where it
// works, else reading pagemap; probed at run time. Ranges come back ascending and merged.
struct PageRange {
  RemoteAddr start;
  u64 length = 0;
  bool zero = false;   // known to be the zero page: need not be read
  bool guard = false;  // MADV_GUARD_INSTALL (Linux 6.13; seen from 6.15 on): cannot be read
  bool operator==(const PageRange&) const = default;
};
class Pagemap {
 public:
  static Result<Pagemap> open(Pid pid);
  // Pages of a private area that differ from what a fresh mapping would show: anonymous pages and
  // private copies of file pages, present or swapped.
  Result<std::vector<PageRange>> private_pages(const Area& area);
  // Pages of a shared mapping that are present or swapped in this process. Memory that this process
  // has not touched (or that was reclaimed) does not show, though the object may hold data there.
  Result<std::vector<PageRange>> present_pages(const Area& area);
  // Uses the reading of pagemap even where PAGEMAP_SCAN works (tests compare both).
  void forbid_scan() { scan_ = false; }

 private:
  enum class Wanted { kPrivate, kPresent };

  Result<std::vector<PageRange>> pages(const Area& area, Wanted wanted);
  Result<std::vector<PageRange>> scan(const Area& area, Wanted wanted);
  Result<std::vector<PageRange>> read_entries(const Area& area, Wanted wanted) const;

  UniqueFd fd_;
  bool scan_ = true;        // PAGEMAP_SCAN works, as far as we know
  bool guard_seen_ = true;  // and it knows the guard category
};

// /proc/PID/auxv as bytes.
Result<Bytes> read_auxv(Pid pid);

}  // namespace stasis::proc
