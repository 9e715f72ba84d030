/* Hooks: functions of the program that run in every thread when its callbacks have run. */
#include <errno.h>

#include "internal.h"

static cr_hook_fn_t hooks[CR_NUM_HOOKS];

CRI_PUBLIC cr_hook_fn_t cr_register_hook(cr_hook_event_t event, cr_hook_fn_t hook_fn) {
  if (!cri_thread_known()) {
    errno = CR_ENOINIT;
    return CR_HOOK_FN_ERROR;
  }
  if ((unsigned)event >= CR_NUM_HOOKS || hook_fn == CR_HOOK_FN_ERROR) {
    errno = EINVAL;
    return CR_HOOK_FN_ERROR;
  }
  cri_enter();
  const cr_hook_fn_t before = cri_exchange(&hooks[event], hook_fn);
  cri_count_registered(before != NULL, hook_fn != NULL);
  cri_leave();
  return before;
}

void cri_run_hook(int event, uint32_t verdict) {
  const int to_restart = CR_HOOK_RSTRT_SIGNAL_CONTEXT - CR_HOOK_CONT_SIGNAL_CONTEXT;
  if (verdict == CRI_VERDICT_RESTART) {
    event += to_restart;
  } else if (verdict != CRI_VERDICT_CONTINUE) {
    return;
  }
  const cr_hook_fn_t hook = cri_load(&hooks[event]);
  if (hook != NULL) hook((cr_hook_event_t)event);
}

void cri_hooks_forked(void) {
  for (int event = 0; event < CR_NUM_HOOKS; ++event) hooks[event] = NULL;
}
