/* Where the engine sends threads, as if into a signal handler with all signals blocked
 * (docs/handshake.md). The thread may have been anywhere: in malloc, in the dynamic linker, in this
 * library, on its way out. All that is called from here, callbacks apart, is async-signal-safe: no
 * memory is allocated, no lock taken that the interrupted code may have, nothing bound lazily, no
 * cancellation point passed. That covers checkpoint.c, join.c, engine_watch.c, hooks.c, hold.c,
 * futex.c and the gate in critical.c.
 *
 * The same thread may be sent here several times for one request; it serves it once. */
#include <errno.h>

#include "internal.h"

static void take_part(void) {
  const unsigned generation = cri_generation;
  const int is_of_signals = cri_self.signal_callbacks.count > 0 || cri_self.was_deferred;
  const int event = is_of_signals ? CR_HOOK_CONT_SIGNAL_CONTEXT : CR_HOOK_CONT_NO_CALLBACKS;
  cri_gate_close();
  cri_run_callbacks(&cri_self.signal_callbacks);
  if (cri_generation == generation) cri_finish(event);
}

void cri_stand_by(void) {
  if (!cri_join(CRI_PHASE_SIGNALS)) return;
  cri_gate_close();
  (void)cri_await_verdict();
  cri_finish(CRI_NO_HOOK);
}

void cri_entry(int signal, void* info, void* context) {
  (void)signal;
  (void)info;
  (void)context;
  const int before = errno;
  if (cri_self.is_callback_thread || cri_on_callback_stack()) {
    cri_stand_by();
  } else if (cri_self.sections > 0) {
    cri_self.pending = cri_load(&cri_block_get()->request);
  } else if (cri_join(CRI_PHASE_SIGNALS)) {
    take_part();
  }
  errno = before;
}

void cri_take_pending(void) {
  const int before = errno;
  cri_self.was_deferred = 1;
  cri_self.pending = 0;
  if (cri_join(CRI_PHASE_SIGNALS)) take_part();
  cri_self.was_deferred = 0;
  errno = before;
}
