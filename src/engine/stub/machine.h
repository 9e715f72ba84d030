// Chooses the instructions of the architecture for the stub. This directory and arch/ are the only
// ones with such a choice; it does nothing else.
#pragma once

#if defined(__x86_64__)
#include "machine_x86_64.h"
#else
#error "the stub has no instructions for this architecture yet"
#endif
