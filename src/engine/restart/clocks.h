// The clocks of the restarted processes. CLOCK_MONOTONIC and CLOCK_BOOTTIME count from the boot of
// a machine, and programs keep points in time by them in their memory: where they stand behind
// those of the image (another boot, another machine) such a point is never reached within reason. A
// time namespace puts them forward. Where they are ahead nothing is done: time has passed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "model/image.h"
#include "proc/status.h"
#include "resource/handler.h"

namespace stasis::restart {

// This machine's clocks, as this process sees them.
struct ClocksHere {
  std::string boot_id;
  proc::TimeOffsets offsets;  // in them
  i64 monotonic_ns = 0, boottime_ns = 0;
};
ClocksHere clocks_here();

// Offsets of a time namespace in which no clock stands behind those of the image; nullopt: none is
// needed. Within one boot the clocks go on as if they had never stopped. Pure.
std::optional<proc::TimeOffsets> wanted_offsets(const model::Origin& origin,
                                                const ClocksHere& here);
// How the clocks that processes see with `offsets` stand to those of the image and to ours. Pure.
resource::Clocks clocks_with(const model::Origin& origin, const ClocksHere& here,
                             const proc::TimeOffsets& offsets);
// How far they stand behind otherwise, and what may come of it. Pure.
std::string behind_note(const model::Origin& origin, const ClocksHere& here,
                        const std::string& why_not);

// The two lines for /proc/PID/timens_offsets.
std::string offsets_text(const proc::TimeOffsets& offsets);

// While it lives, children of ours are born into a new time namespace; we stay in our own.
class TimeForChildren {
 public:
  // Needs CAP_SYS_ADMIN and CAP_SYS_TIME.
  static Result<TimeForChildren> begin(const proc::TimeOffsets& offsets);
  TimeForChildren(TimeForChildren&&) noexcept = default;
  TimeForChildren& operator=(TimeForChildren&&) noexcept = default;
  ~TimeForChildren();

 private:
  explicit TimeForChildren(UniqueFd own) : own_(std::move(own)) {}
  UniqueFd own_;
};

}  // namespace stasis::restart
