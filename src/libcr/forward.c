/* cr_forward_checkpoint(): asks the engine to have other processes saved with this one, and waits
 * for its answer, as the caller wants to know: the engine looks at the block now and then while
 * callbacks run. One call at a time; what can be seen from here is not asked. Called by callbacks,
 * so async-signal-safe. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "internal.h"

/* A session may outlive the process that it is named for: the engine looks. */
static int check_existence(cr_scope_t scope, pid_t target) {
  if (scope == CR_SCOPE_SESS) return 0;
  if (scope == CR_SCOPE_PGRP && target == 1) return 0; /* kill(2) has another meaning for it */
  return kill(scope == CR_SCOPE_PGRP ? -target : target, 0) == 0 ? 0 : errno;
}

static pid_t own_id(cr_scope_t scope) {
  if (scope == CR_SCOPE_PGRP) return getpgrp();
  return scope == CR_SCOPE_SESS ? getsid(0) : getpid();
}

/* Threads that call at once take turns. None is sent anywhere meanwhile, as all are in callbacks.
 */
static uint32_t busy;

void cri_forwards_forked(void) {
  busy = 0;
}

static void take_turn(void) {
  while (cri_exchange(&busy, 1)) cri_futex_wait_moment(&busy, 1);
}

static int abort_code(const struct cri_block* block) {
  return block->verdict_code > 0 ? block->verdict_code : CR_ETEMPFAIL;
}

/* What came of call number `call`. The request may be given up before it is looked at. */
static int await_answer(struct cri_block* block, uint32_t call) {
  enum { kMomentsOfASecond = 1000 };
  for (int moment = 1;; ++moment) {
    const uint32_t answered = cri_load(&block->forward_answered);
    if (answered == call) return cri_load(&block->forward_error);
    if (cri_load(&block->verdict) != CRI_VERDICT_NONE) return abort_code(block);
    cri_futex_wait_moment(&block->forward_answered, answered);
    if (moment % kMomentsOfASecond == 0) cri_check_engine();
  }
}

/* An engine of an older build takes what it finds when the callbacks have run, and finds no more
 * than there are entries. */
static int ask(struct cri_block* block, int32_t scope, int32_t target) {
  const int is_answered = block->forward_request == block->request;
  const uint32_t count = block->forwards;
  if (!is_answered && count >= CRI_MAX_FORWARDS) return ENOSPC;
  block->forward[count % CRI_MAX_FORWARDS].scope = scope;
  block->forward[count % CRI_MAX_FORWARDS].target = target;
  cri_store(&block->forwards, count + 1);
  return is_answered ? await_answer(block, count + 1) : 0;
}

CRI_PUBLIC int cr_forward_checkpoint(cr_scope_t cr_scope, pid_t cr_target) {
  if (cri_self.frame == NULL || cri_self.frame->called) return cri_error(CR_ENOTCB);
  if ((unsigned)cr_scope > CR_SCOPE_TREE || cr_target < 0) return cri_error(EINVAL);
  const pid_t target = cr_target == 0 ? own_id(cr_scope) : cr_target;
  int error = check_existence(cr_scope, target);
  if (error == 0) {
    take_turn();
    error = ask(cri_block_get(), (int32_t)cr_scope, target);
    cri_store(&busy, 0);
  }
  return error == 0 ? 0 : cri_error(error);
}
