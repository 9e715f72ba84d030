// A short scheduling slice for the calling thread, so that it gets its turn among hundreds of
// threads that never sleep: with it 1,000 spinning threads on two CPUs stop in 4-29 ms instead of
// seconds. Needs no privilege; kernels before 6.12 ignore it. Put back by the destructor. Internal
// to trace/.
#pragma once

#include "base/types.h"

namespace stasis::trace {

class ShortSlice {
 public:
  ShortSlice();
  ShortSlice(const ShortSlice&) = delete;
  ShortSlice& operator=(const ShortSlice&) = delete;
  ~ShortSlice();

 private:
  struct Attributes {  // struct sched_attr, first version
    u32 size = 48, policy = 0;
    u64 flags = 0;
    i32 nice = 0;
    u32 priority = 0;
    u64 runtime = 0, deadline = 0, period = 0;
  };
  Attributes before_;
  bool changed_ = false;
};

}  // namespace stasis::trace
