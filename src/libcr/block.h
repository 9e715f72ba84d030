/* Making a control block (include/stasis/handshake.h). Apart from libcr, so that cr_restart has one
 * as well: C and C++, needs nothing but libc. */
#ifndef STASIS_LIBCR_BLOCK_H
#define STASIS_LIBCR_BLOCK_H

#include <stdint.h>

#include "stasis/handshake.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A block of this process, which is findable from now on; NULL if there is no memory. The caller
 * sets `pid` in forked children, and `entry` and `restorer` if it wants to be called. */
struct cri_block* cri_block_create(uint32_t kind, uint32_t omit_rule);
void cri_block_destroy(struct cri_block* block);

/* Lets processes of this user trace this one although Yama restricts it. Lost over fork(2). */
void cri_allow_tracing(void);

/* Takes CR_SIGNUM out of what the C library gives away, and handles it by doing nothing. */
void cri_reserve_signal(void);

#ifdef __cplusplus
}
#endif

#endif
