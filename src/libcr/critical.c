/* Critical sections. The control block's `gate` counts the threads that are in one and tells
 * whether it is closed, which it is from the beginning of a checkpoint to its end: nobody enters a
 * closed gate, so that those inside become fewer. Nested sections are the thread's own business.
 *
 * A thread may be interrupted anywhere: by a signal whose handler enters and leaves sections of its
 * own, and by the engine, which sends it to cri_entry(). The count and the thread's `sections`
 * therefore change together as far as handlers can tell (signals are blocked), and `sections` is
 * not above 0 unless the thread is counted, as far as the entry can tell. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "internal.h"

static void block_signals(sigset_t* before) {
  sigset_t all;
  sigfillset(&all); /* without those that the C library needs itself */
  (void)pthread_sigmask(SIG_SETMASK, &all, before);
}

static int count_in(uint32_t* gate) {
  uint32_t value = cri_load(gate);
  while ((value & CRI_GATE_CLOSED) == 0) {
    if (cri_replace(gate, &value, value + 1)) return 1;
  }
  return 0;
}

int cri_tryenter(void) {
  if (cri_self.taking_part) return 1;
  sigset_t before;
  block_signals(&before);
  if (cri_self.sections == 0) cri_close_if_pending();
  const int entered = cri_self.sections > 0 || count_in(&cri_block_get()->gate);
  if (entered) ++cri_self.sections;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return entered;
}

/* Signals are handled while it waits. */
void cri_enter(void) {
  uint32_t* gate = &cri_block_get()->gate;
  while (!cri_tryenter()) {
    const uint32_t value = cri_load(gate);
    if ((value & CRI_GATE_CLOSED) != 0) cri_futex_wait(gate, value);
  }
}

/* Whether a checkpoint waited for this thread as the last one. */
static int count_out(uint32_t* gate) {
  if (cri_add(gate, -1) != CRI_GATE_CLOSED) return 0;
  cri_futex_wake(gate);
  return 1;
}

/* Until this thread has taken part in it, or it has been given up. Being sent to the entry point
 * does not end a wait for the gate: hence the look once a second, for threads that are not held. */
static void wait_for_checkpoint(uint64_t request) {
  uint32_t* gate = &cri_block_get()->gate;
  uint32_t value;
  while (((value = cri_load(gate)) & CRI_GATE_CLOSED) != 0 && cri_self.served != request) {
    (void)cri_futex_wait_second(gate, value);
  }
}

void cri_leave(void) {
  if (cri_self.taking_part) return;
  const uint64_t request = cri_load(&cri_block_get()->request);
  int was_last = 0;
  sigset_t before;
  block_signals(&before);
  if (cri_self.sections == 1) cri_close_if_pending();
  if (--cri_self.sections == 0) {
    was_last = count_out(&cri_block_get()->gate);
    if (cri_self.pending != 0) cri_take_pending();
  }
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (was_last) wait_for_checkpoint(request);
}

void cri_gate_close(void) {
  (void)__atomic_or_fetch(&cri_block_get()->gate, CRI_GATE_CLOSED, __ATOMIC_SEQ_CST);
}

void cri_gate_open(void) {
  uint32_t* gate = &cri_block_get()->gate;
  (void)__atomic_and_fetch(gate, ~CRI_GATE_CLOSED, __ATOMIC_SEQ_CST);
  cri_futex_wake(gate);
}

void cri_gate_wait_empty(void) {
  struct cri_block* block = cri_block_get();
  while (cri_load(&block->verdict) == CRI_VERDICT_NONE) {
    const uint32_t value = cri_load(&block->gate);
    if (value == CRI_GATE_CLOSED) return;
    if (!cri_futex_wait_second(&block->gate, value)) cri_check_engine();
  }
}

/* What is wrong with a client's id; 0: nothing. Callbacks may use any that there can be. */
static int check_id(cr_client_id_t id) {
  if (!cri_thread_known() && !cri_in_callback()) return CR_ENOINIT;
  if (cri_in_callback()) return id < CR_ID_CALLBACK ? EINVAL : 0;
  return id < 0 || id >= cri_self.next_id ? EINVAL : 0;
}

CRI_PUBLIC int cr_enter_cs(cr_client_id_t id) {
  const int error = check_id(id);
  if (error != 0) return cri_error(error);
  cri_enter();
  return 0;
}

CRI_PUBLIC int cr_tryenter_cs(cr_client_id_t id) {
  const int error = check_id(id);
  if (error != 0) return cri_error(error);
  return cri_tryenter() ? 0 : 1;
}

CRI_PUBLIC int cr_leave_cs(cr_client_id_t id) {
  const int error = check_id(id);
  if (error != 0) return cri_error(error);
  if (!cri_in_callback() && !cri_in_critical_section()) return cri_error(EINVAL);
  cri_leave();
  return 0;
}

CRI_PUBLIC int cr_status(void) {
  if (cri_in_callback()) return CR_STATE_ACTIVE;
  if (!cri_thread_known()) return cri_error(CR_ENOINIT);
  return cri_is_idle() ? CR_STATE_IDLE : CR_STATE_PENDING;
}
