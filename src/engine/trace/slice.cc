// sched_setattr(2) with SCHED_OTHER and a runtime: the slice that EEVDF grants.
#include "trace/slice.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace stasis::trace {
namespace {

constexpr u64 kSliceNs = 100'000;  // the least that the kernel accepts

}  // namespace

ShortSlice::ShortSlice() {
  if (::syscall(SYS_sched_getattr, 0, &before_, sizeof before_, 0) != 0) return;
  if (before_.policy != SCHED_OTHER) return;  // whoever chose another knew why
  before_.size = sizeof before_;
  Attributes wanted = before_;
  wanted.runtime = kSliceNs;
  changed_ = ::syscall(SYS_sched_setattr, 0, &wanted, 0) == 0;
}

ShortSlice::~ShortSlice() {
  // Reading gave the slice in effect; 0 asks for the default again, also on older kernels.
  before_.runtime = 0;
  if (changed_) (void)::syscall(SYS_sched_setattr, 0, &before_, 0);  // at worst a short slice stays
}

}  // namespace stasis::trace
