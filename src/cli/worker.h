// cr_checkpoint's two processes. The child does all the work and all the talking; the parent only
// waits for it, so that the parent can be part of what is saved: a shell that waits for
// cr_checkpoint is saved with it, and in the restored copy the parent finds no child and ends with
// 0. For that the parent holds nothing of the child's: no pipe, no descriptor.
#pragma once

#include <csignal>
#include <functional>

#include "base/result.h"
#include "base/types.h"

namespace stasis::cli {

// What the child gets when its parent has died: to give up and clean up.
inline constexpr int kParentDied = SIGUSR2;

// Runs `work` in a child and returns its value in both processes; the parent dies of the signal
// that its child died of. SIGINT, SIGTERM and SIGHUP that reach the parent alone are passed on.
// `fd` (negative: none) is closed in the parent. The error is fork's.
Result<int> run_in_child(int fd, const std::function<int()>& work);

// Whether `pid` descends from this process. Such a target is outside of nobody's reach but a
// child's, which Yama takes for a stranger: for it the work is done without a child.
bool is_our_descendant(Pid pid);

}  // namespace stasis::cli
