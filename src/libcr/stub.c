/* What both stubs do: be found. A process with libcr_run is saved without a word, one with
 * libcr_omit is left out; there are no callbacks, and no code of ours runs in a checkpoint. */
#include "stub.h"

#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

#include "block.h"

extern int cr_link_me __attribute__((weak)); /* the full library's */

static struct cri_stub_link* own;

static void begin_anew_in_child(void) {
  if (own->block == NULL) return;
  cri_allow_tracing();
  __atomic_store_n(&own->block->pid, getpid(), __ATOMIC_SEQ_CST);
}

void cri_stub_start(struct cri_stub_link* link, uint32_t kind) {
  if (&cr_link_me != NULL || own != NULL) return;
  link->block = cri_block_create(kind, CRI_OMIT_NEVER);
  cri_reserve_signal();
  cri_allow_tracing();
  own = link;
  (void)pthread_atfork(NULL, NULL, begin_anew_in_child);
}
