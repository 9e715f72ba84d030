/* Taking part in a checkpoint, and leaving it. `present` counts every thread that looks whether
 * there is something to take part in: only the last one out may end the checkpoint for the process,
 * and while it does so it is still counted, so that it never ends the next one. A late thread, sent
 * here for a request that is over, is counted for a moment and finds nothing to do. Everything may
 * be interrupted by the engine, which sends the same thread to the entry point once more: nested
 * calls find the request served. Essay: docs/design/handshake.md. */
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

/* Nobody has killed us after a callback failed that ran after a checkpoint or restart. */
#define SECONDS_TO_LIVE 60

/* Threads whose callbacks have not all run; those that are held wait for 0. */
static uint32_t unfinished;

static int end_if_over(struct cri_block* block) {
  if (cri_load(&block->phase) == CRI_PHASE_IDLE) return 0;
  if (cri_load(&block->verdict) == CRI_VERDICT_NONE) return 0;
  cri_gate_open();
  cri_store(&block->phase, CRI_PHASE_IDLE);
  return 1;
}

/* A process that had been stopped is stopped again, by whoever ended the checkpoint for it, before
 * any thread is back in the program. SIGCONT lets them all go. It may be that of a later request,
 * which has a number of its own. A signal to the thread itself stops it before the call returns;
 * one to the process another thread may take, a little later. */
static void stop_process(struct cri_block* block, uint32_t number) {
  (void)syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), SIGSTOP);
  (void)cri_replace(&block->stop, &number, 0);
  cri_futex_wake(&block->stop);
}

static void step_out(struct cri_block* block) {
  const uint32_t stop = cri_load(&block->stop);
  uint32_t present = cri_load(&block->present);
  int ended = 0;
  do {
    if (present == 1) ended |= end_if_over(block);
  } while (!cri_replace(&block->present, &present, present - 1));
  if (ended && stop != 0) stop_process(block, stop);
}

int cri_join(uint32_t phase) {
  struct cri_block* block = cri_block_get();
  (void)cri_add(&block->present, 1);
  const uint64_t request = cri_load(&block->request);
  const int is_going_on = cri_load(&block->phase) == phase &&
                          cri_load(&block->verdict) == CRI_VERDICT_NONE &&
                          cri_load(&block->request) == request;
  if (is_going_on && cri_exchange(&cri_self.served, request) != request) {
    (void)cri_add(&unfinished, 1);
    cri_self.taking_part = 1;
    return 1;
  }
  step_out(block);
  return 0;
}

/* The engine has written a request, and nobody may have closed the gate yet. */
void cri_close_if_pending(void) {
  struct cri_block* block = cri_block_get();
  if (cri_load(&block->phase) == CRI_PHASE_IDLE) return;
  (void)cri_add(&block->present, 1);
  const int is_going_on =
      cri_load(&block->phase) != CRI_PHASE_IDLE && cri_load(&block->verdict) == CRI_VERDICT_NONE;
  if (is_going_on) cri_gate_close();
  step_out(block);
}

uint32_t cri_await_verdict(void) {
  struct cri_block* block = cri_block_get();
  uint32_t verdict;
  (void)cri_add(&block->parked, 1);
  while ((verdict = cri_load(&block->verdict)) == CRI_VERDICT_NONE) {
    if (cri_futex_wait_second(&block->verdict, CRI_VERDICT_NONE)) continue;
    /* Not parked while it has a descriptor open. */
    (void)cri_add(&block->parked, -1);
    cri_check_engine();
    (void)cri_add(&block->parked, 1);
  }
  (void)cri_add(&block->parked, -1);
  return verdict;
}

/* The last one opens the gate, so that held threads find it open; that of a later request it cannot
 * be, as this thread is present. */
static void finish_callbacks(void) {
  if (cri_add(&unfinished, -1) != 0) return;
  if (cri_load(&cri_block_get()->verdict) != CRI_VERDICT_NONE) cri_gate_open();
  cri_futex_wake(&unfinished);
}

int cri_is_idle(void) {
  const struct cri_block* block = cri_block_get();
  if (cri_load(&block->phase) == CRI_PHASE_IDLE) return 1;
  return cri_load(&block->verdict) != CRI_VERDICT_NONE && cri_load(&unfinished) == 0;
}

/* A callback has failed after the checkpoint or the restart: the engine kills us all, before more
 * of the program runs. After a checkpoint it may be gone already: then nobody waits for us. */
static void await_death(struct cri_block* block) {
  const int is_restarted = cri_load(&block->verdict) == CRI_VERDICT_RESTART;
  for (int second = 0; second < SECONDS_TO_LIVE && (is_restarted || !cri_engine_has_died());) {
    second += !cri_futex_wait_second((uint32_t*)&block->failed, (uint32_t)cri_load(&block->failed));
  }
  (void)syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

static void part(void) {
  struct cri_block* block = cri_block_get();
  const uint32_t stop = cri_load(&block->stop);
  const int is_aborted = cri_load(&block->failed) != 0;
  cri_self.was_deferred = 0;
  cri_self.taking_part = 0;
  step_out(block);
  if (is_aborted) await_death(block);
  while (stop != 0 && cri_load(&block->stop) == stop) cri_futex_wait(&block->stop, stop);
}

void cri_finish(int event) {
  const unsigned generation = cri_generation;
  const uint32_t verdict = cri_load(&cri_block_get()->verdict);
  cri_self.frame = NULL;
  if (event != CRI_NO_HOOK) cri_run_hook(event, verdict);
  if (cri_generation != generation) return;
  finish_callbacks();
  if (cri_is_held(verdict)) {
    uint32_t others;
    while ((others = cri_load(&unfinished)) != 0) cri_futex_wait(&unfinished, others);
  }
  part();
}

void cri_abandon(void) {
  cri_self.frame = NULL;
  finish_callbacks();
  part();
}

void cri_join_forked(void) {
  struct cri_block* block = cri_block_get();
  unfinished = 0;
  block->present = 0;
  block->parked = 0;
  block->gate = 0;
  block->verdict = CRI_VERDICT_NONE;
  block->answer = 0;
  block->forwards = 0;
  block->stop = 0;
  cri_store(&block->phase, CRI_PHASE_IDLE);
}
