/*
 * What sources include for BLCR's kernel interface. There is no such interface here: libcr starts a
 * helper process instead. The argument types are names only, so that code which passes pointers
 * to them compiles, while code that would talk to the module itself does not.
 */
#ifndef STASIS_BLCR_IOCTL_H
#define STASIS_BLCR_IOCTL_H

#include "blcr_common.h"
#include "blcr_proc.h"

struct cr_chkpt_args;
struct cr_rstrt_args;

#endif /* STASIS_BLCR_IOCTL_H */
