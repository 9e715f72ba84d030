// cr_checkpoint's two processes; a third one writes (engine/writer.h). The child, the worker, does
// all the work and all the talking, in a session and under a name of its own, so that nothing that
// happens to the command happens to it: a target that it holds would stand still for ever. The
// parent only waits for it, so that the parent can be part of what is saved: a shell that waits for
// cr_checkpoint is saved with it, and in the restored copy the parent finds no child and ends with
// 0. For that the parent holds nothing of the child's: no pipe, no descriptor.
#pragma once

#include <csignal>
#include <functional>

#include "apart.h"
#include "base/result.h"
#include "base/types.h"

namespace stasis::cli {

// What the child gets when its parent has died: to give up and clean up.
inline constexpr int kParentDied = SIGUSR2;

// Runs `work` in a child and returns its value in both processes; the parent dies of the signal
// that its child died of. SIGINT, SIGTERM and SIGHUP are passed on; a child that was stopped is
// continued. `fd` (negative: none) is closed in the parent. The child is shown as `title`. The
// error is fork's.
Result<int> run_in_child(int fd, const std::string& title, ArgumentWords words,
                         const std::function<int()>& work);

// Whether a child of this process may not trace `pid`, though this process may: where Yama allows
// it to ancestors only, and this process is one. For such a target the work is done without a
// child.
bool is_for_us_alone(Pid pid);

}  // namespace stasis::cli
