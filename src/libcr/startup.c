/* What happens when the library is loaded, and in the child of a fork: the control block, and which
 * of our libraries speaks for the process if there are several. Linked statically, a program pulls
 * this file in by -u cr_link_me or by any call. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "stub.h"

CRI_PUBLIC int cr_link_me = 1;

extern struct cri_stub_link cr_run_link_me __attribute__((weak));
extern struct cri_stub_link cr_omit_link_me __attribute__((weak));

static struct cri_block* block;
unsigned cri_generation;

struct cri_block* cri_block_get(void) {
  return block;
}

/* The stubs leave the process to the full library, whichever was loaded first. */
static void replace_stub(struct cri_stub_link* stub) {
  if (stub == NULL || stub->block == NULL) return;
  cri_block_destroy(stub->block);
  stub->block = NULL;
}

static void begin_anew_in_child(void) {
  if (block == NULL) return;
  ++cri_generation;
  cri_join_forked();
  cri_hooks_forked();
  cri_hold_forked();
  cri_callbacks_forked();
  cri_callback_thread_forked();
  cri_thread_data_forked();
  cri_requests_forked();
  cri_forwards_forked();
  block->registered = 0;
  memset(block->handle, 0, sizeof block->handle);
  cri_allow_tracing();
  /* Last: until now the engine has taken the child for a process without libcr. */
  cri_store(&block->pid, getpid());
}

void cri_adopt_process(void) {
  if (block != NULL && block->pid != getpid()) begin_anew_in_child();
}

__attribute__((constructor(101))) static void start(void) {
  if (block != NULL) return;
  replace_stub(&cr_run_link_me);
  replace_stub(&cr_omit_link_me);
  block = cri_block_create(CRI_KIND_FULL, CRI_OMIT_NEVER);
  if (block == NULL) return;
  block->entry = (uint64_t)(uintptr_t)cri_entry;
  block->restorer = (uint64_t)(uintptr_t)cri_restorer;
  cri_reserve_signal();
  cri_allow_tracing();
  (void)pthread_atfork(NULL, NULL, begin_anew_in_child);
}
