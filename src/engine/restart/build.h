// Image -> running processes: the passes of a restart, from the first fork to letting go.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "model/image.h"
#include "model/page_source.h"
#include "resource/handler.h"

namespace stasis::restart {

// Where data lies raw in the image file, so that the target can pread it itself.
struct RawAccess {
  int fd = -1;  // -1: none
  std::function<std::optional<u64>(model::SpaceIndex, u64 offset, u64 length)> position;
};

// How the ids of an image are had again (docs/design/pids.md: the ladder, in this order).
enum class IdWay { kSetTid, kCounter, kNamespaces, kNew };

inline constexpr i64 kShortWalkMs = 5'000;
inline constexpr i64 kLongWalkMs = 600'000;

struct BuildOptions {
  bool restore_pids = true;
  bool allow_namespaces = true;
  bool namespaces_if_held = false;       // ... when an id is in use here, too
  bool namespaces_if_strangers = false;  // ... if not by what may be the original of the image
  // How long a walk of the pid counter may take where namespaces would do, and where nothing else
  // does. 0: no walk.
  i64 short_walk_ms = kShortWalkMs, long_walk_ms = kLongWalkMs;
  // To be held by namespaces as long as somebody lives there; -1: none.
  int image_lock = -1;
  bool restore_group = false, restore_session = false;
  bool ignore_cpu_features = false;
  // False: the image is not root's (restart/trust.h). Its processes take its user's ids as soon as
  // they exist and get nothing that he could not have had by himself.
  bool trusted = true;
  bool parent_is_caller = false;  // CLONE_PARENT: the root becomes our parent's child
  int signal = 0;                 // BLCR's signal after restart; 0: none
  Pid requester = 0;              // whom callbacks are told of; 0: this process
  std::string source;             // path of the context file, for callbacks; may be empty
  std::function<bool(u64 done, u64 total)> progress;
  // The same, while the pid counter is walked, in ids.
  std::function<bool(u64 done, u64 total)> walk_progress;
  // With parent_is_caller, each child that our parent gets, also one that is killed again, which
  // only our parent can reap.
  std::function<void(Pid)> made_for_parent;
};

// A process that runs callbacks of libcr as it goes on, and what is owed to it afterwards.
struct ParkedProcess {
  size_t process = 0;  // in the image
  Pid pid = 0;
  RemoteAddr address;  // of its control block
  UniqueFd memory;     // /proc/PID/mem
  int signal = 0;      // when its callbacks have returned; 0: none
};

struct Built {
  Pid root = 0;         // in our pid namespace; our child (or our parent's)
  Pid root_inside = 0;  // in its own
  IdWay way = IdWay::kSetTid;
  std::vector<Pid> pids;
  std::vector<ParkedProcess> blocks;
};

// What this machine lacks for the image: architecture, page size, CPU features, vdso, address
// space, limits, credentials. Nothing exists yet.
std::vector<Refusal> validate(const model::Image& image, const BuildOptions& options);

// What will be otherwise than it was, without harm, a sentence each.
std::vector<std::string> differences(const model::Image& image);

// Makes everything and lets it run. On error everything made is killed and reaped.
Result<Built> build(resource::RestoreContext& context, const RawAccess& raw,
                    const BuildOptions& options);

}  // namespace stasis::restart
