/* cr_forward_checkpoint(): notes which processes are to be saved with this one; the engine reads it
 * when the callbacks have run. What can be known of their existence is looked at here, as the
 * caller wants to know. Called by callbacks, so async-signal-safe. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "internal.h"

static int check_existence(cr_scope_t scope, pid_t target) {
  if (scope == CR_SCOPE_SESS) return getsid(target) >= 0 || errno != ESRCH ? 0 : ESRCH;
  if (scope == CR_SCOPE_PGRP && target == 1) return 0; /* kill(2) has another meaning for it */
  return kill(scope == CR_SCOPE_PGRP ? -target : target, 0) == 0 ? 0 : errno;
}

static pid_t own_id(cr_scope_t scope) {
  if (scope == CR_SCOPE_PGRP) return getpgrp();
  return scope == CR_SCOPE_SESS ? getsid(0) : getpid();
}

/* Several threads may be at it, all in callbacks: nobody is sent anywhere while it has the lock. */
static int note(struct cri_block* block, int32_t scope, int32_t target) {
  static cr_spinlock_t lock = CR_SPINLOCK_INITIALIZER;
  int error = 0;
  cr_spinlock_lock(&lock);
  uint32_t count = block->forwards, at = 0;
  while (at < count && (block->forward[at].scope != scope || block->forward[at].target != target)) {
    ++at;
  }
  if (at == CRI_MAX_FORWARDS) {
    error = ENOSPC;
  } else if (at == count) {
    block->forward[at].scope = scope;
    block->forward[at].target = target;
    cri_store(&block->forwards, count + 1);
  }
  cr_spinlock_unlock(&lock);
  return error;
}

CRI_PUBLIC int cr_forward_checkpoint(cr_scope_t cr_scope, pid_t cr_target) {
  if (cri_self.frame == NULL || cri_self.frame->called) return cri_error(CR_ENOTCB);
  if ((unsigned)cr_scope > CR_SCOPE_TREE || cr_target < 0) return cri_error(EINVAL);
  const pid_t target = cr_target == 0 ? own_id(cr_scope) : cr_target;
  int error = check_existence(cr_scope, target);
  if (error == 0) error = note(cri_block_get(), (int32_t)cr_scope, target);
  return error == 0 ? 0 : cri_error(error);
}
