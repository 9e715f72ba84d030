/* Which threads wait, after their own callbacks, for those of all others. */
#include <errno.h>

#include "internal.h"

static int hold_known = CR_HOLD_BOTH;   /* threads that have called cr_init() */
static int hold_unknown = CR_HOLD_BOTH; /* the others */

CRI_PUBLIC int cr_hold_ctrl(int scope, int flags) {
  if (!cri_thread_known()) return cri_error(CR_ENOINIT);
  int* variable = NULL;
  int highest = CR_HOLD_BOTH;
  switch (scope) {
    case CR_HOLD_SCOPE_THREAD:
      variable = &cri_self.hold;
      highest = CR_HOLD_DFLT;
      break;
    case CR_HOLD_SCOPE_INIT:
      variable = &hold_known;
      break;
    case CR_HOLD_SCOPE_UNINIT:
      variable = &hold_unknown;
      break;
    default:
      return cri_error(EINVAL);
  }
  if (flags < CR_HOLD_READ || flags > highest) return cri_error(EINVAL);
  return flags == CR_HOLD_READ ? cri_load(variable) : cri_exchange(variable, flags);
}

static int flags_here(void) {
  if (!cri_thread_known()) return cri_load(&hold_unknown);
  const int own = cri_load(&cri_self.hold);
  return own == CR_HOLD_DFLT ? cri_load(&hold_known) : own;
}

/* Those who are left out go on as after a checkpoint. When there is none, nobody waits: threads may
 * still be in their callbacks, which is why it was given up. */
int cri_is_held(uint32_t verdict) {
  switch (verdict) {
    case CRI_VERDICT_RESTART:
      return (flags_here() & CR_HOLD_RSTRT) != 0;
    case CRI_VERDICT_CONTINUE:
    case CRI_VERDICT_OMITTED:
      return (flags_here() & CR_HOLD_CONT) != 0;
    default:
      return 0;
  }
}

void cri_hold_forked(void) {
  hold_known = CR_HOLD_BOTH;
  hold_unknown = CR_HOLD_BOTH;
}
