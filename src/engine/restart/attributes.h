// Scripts for what belongs to a process as a whole. Pure.
#pragma once

#include <string>

#include "model/process.h"
#include "trace/script.h"

namespace stasis::restart {

// Working directory, umask, personality, subreaper, signal actions (but SIGTRAP's).
trace::Script attributes_script(const model::Process& process);
// Resource limits: late, as they may hinder the build itself.
trace::Script limits_script(const model::Process& process);

}  // namespace stasis::restart
