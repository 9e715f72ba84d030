/* How the full library finds a stub (libcr_run, libcr_omit) that was loaded too: through the symbol
 * that the stub exports so that programs can link it in by -u. */
#ifndef STASIS_LIBCR_STUB_H
#define STASIS_LIBCR_STUB_H

#include "stasis/handshake.h"

struct cri_stub_link {
  struct cri_block* block; /* NULL: it does not speak for the process */
};

/* In stub.c: makes the block, unless the full library is there. */
void cri_stub_start(struct cri_stub_link* link, uint32_t kind);

#endif
