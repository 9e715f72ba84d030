/*
 * cr_hold_ctrl(): who waits after a checkpoint or a restart until all callbacks have run.
 *
 * A bystander counts while a callback is in its second half. If it is held, the count stands still
 * there; if not, it goes on, and the callback waits to see that.
 */
#include "compat.h"

CP_CASE(values_at_first) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_READ), CR_HOLD_DFLT);
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_INIT, CR_HOLD_READ), CR_HOLD_BOTH);
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_UNINIT, CR_HOLD_READ), CR_HOLD_BOTH);
}

CP_CASE(returns_the_previous_value) {
  static const int flags[] = {CR_HOLD_NONE, CR_HOLD_CONT, CR_HOLD_RSTRT, CR_HOLD_BOTH};
  CHECK(cr_init() >= 0);
  for (int scope = CR_HOLD_SCOPE_THREAD; scope <= CR_HOLD_SCOPE_UNINIT; scope++) {
    int previous = cr_hold_ctrl(scope, CR_HOLD_READ);
    for (int i = 0; i < 4; i++) {
      CHECK_EQ(cr_hold_ctrl(scope, flags[i]), previous);
      CHECK_EQ(cr_hold_ctrl(scope, CR_HOLD_READ), flags[i]);
      previous = flags[i];
    }
  }
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_DFLT), CR_HOLD_BOTH);
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_READ), CR_HOLD_DFLT);
}

CP_CASE(unknown_scopes_and_flags_are_invalid) {
  CHECK(cr_init() >= 0);
  CHECK_FAILS(cr_hold_ctrl(3, CR_HOLD_READ), EINVAL);
  CHECK_FAILS(cr_hold_ctrl(-1, CR_HOLD_READ), EINVAL);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, 5), EINVAL);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_INIT, -2), EINVAL);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_INIT, 8), EINVAL);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_INIT, CR_HOLD_DFLT), EINVAL);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_UNINIT, CR_HOLD_DFLT), EINVAL);
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_INIT, CR_HOLD_READ), CR_HOLD_BOTH);
}

CP_CASE(without_cr_init_is_enoinit) {
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_INIT, CR_HOLD_READ), CR_ENOINIT);
}

static int thread_value;
static void* sets_its_own(void* unused) {
  CHECK(cr_init() >= 0);
  thread_value = cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_NONE);
  return unused;
}

CP_CASE(thread_scope_is_the_threads) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_CONT), CR_HOLD_DFLT);
  cp_join(cp_thread(sets_its_own, NULL));
  CHECK_EQ(thread_value, CR_HOLD_DFLT);
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_READ), CR_HOLD_CONT);
}

/* ---- what it does */

static int stop, counter, bystander_ready;
static int bystander_inits, bystander_flags = CR_HOLD_READ;
static int expect_held; /* in the coming second half: 1, 0, or -1 for whatever */
static int expect_held_restart;

static int load(int* value) {
  return __atomic_load_n(value, __ATOMIC_SEQ_CST);
}

static void* counts(void* unused) {
  if (bystander_inits) CHECK(cr_init() >= 0);
  if (bystander_flags != CR_HOLD_READ)
    CHECK(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, bystander_flags) >= 0);
  __atomic_store_n(&bystander_ready, 1, __ATOMIC_SEQ_CST);
  while (!load(&stop)) {
    __atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST);
    sched_yield();
  }
  return unused;
}

static int watches(void* unused) {
  int result = cr_checkpoint(0);
  CHECK(result >= 0);
  int before = load(&counter);
  int held = result ? expect_held_restart : expect_held;
  if (held) {
    for (int i = 0; i < 10; i++) cp_dawdle();
    CHECK_EQ(load(&counter), before);
  } else {
    UNTIL(load(&counter) > before + 10);
  }
  cp_note(result ? 'R' : 'C');
  return unused != NULL;
}

static void look(int scope, int flags, int inits, int own_flags) {
  bystander_inits = inits;
  bystander_flags = own_flags;
  CHECK(cr_init() >= 0);
  if (flags != CR_HOLD_READ) CHECK(cr_hold_ctrl(scope, flags) >= 0);
  CHECK(cr_register_callback(watches, NULL, CR_THREAD_CONTEXT) >= 0);
  pthread_t thread = cp_thread(counts, NULL);
  UNTIL(load(&bystander_ready));
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  UNTIL(cp_noted('R')); /* we ourselves may not be held */
  CHECK_NOTES("CR");
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  cp_join(thread);
}

CP_CASE(all_are_held_by_default) {
  expect_held = expect_held_restart = 1;
  look(0, CR_HOLD_READ, 1, CR_HOLD_READ);
}

CP_CASE(threads_without_cr_init_are_held_by_default) {
  expect_held = expect_held_restart = 1;
  look(0, CR_HOLD_READ, 0, CR_HOLD_READ);
}

CP_CASE(init_none_holds_nobody) {
  look(CR_HOLD_SCOPE_INIT, CR_HOLD_NONE, 1, CR_HOLD_READ);
}

CP_CASE(init_cont_holds_after_a_checkpoint_only) {
  expect_held = 1;
  look(CR_HOLD_SCOPE_INIT, CR_HOLD_CONT, 1, CR_HOLD_READ);
}

CP_CASE(init_rstrt_holds_after_a_restart_only) {
  expect_held_restart = 1;
  look(CR_HOLD_SCOPE_INIT, CR_HOLD_RSTRT, 1, CR_HOLD_READ);
}

CP_CASE(uninit_none_holds_nobody) {
  look(CR_HOLD_SCOPE_UNINIT, CR_HOLD_NONE, 0, CR_HOLD_READ);
}

CP_CASE(uninit_cont_holds_after_a_checkpoint_only) {
  expect_held = 1;
  look(CR_HOLD_SCOPE_UNINIT, CR_HOLD_CONT, 0, CR_HOLD_READ);
}

CP_CASE(uninit_rstrt_holds_after_a_restart_only) {
  expect_held_restart = 1;
  look(CR_HOLD_SCOPE_UNINIT, CR_HOLD_RSTRT, 0, CR_HOLD_READ);
}

CP_CASE(thread_value_goes_before_that_of_init) {
  look(CR_HOLD_SCOPE_INIT, CR_HOLD_BOTH, 1, CR_HOLD_NONE);
}

CP_CASE(thread_value_both_goes_before_that_of_init) {
  expect_held = expect_held_restart = 1;
  look(CR_HOLD_SCOPE_INIT, CR_HOLD_NONE, 1, CR_HOLD_BOTH);
}

CP_CASE(thread_default_follows_init) {
  look(CR_HOLD_SCOPE_INIT, CR_HOLD_NONE, 1, CR_HOLD_DFLT);
}

/* A call in a callback before cr_checkpoint() holds for this very checkpoint. */
static int changes_and_watches(void* unused) {
  CHECK(cr_hold_ctrl(CR_HOLD_SCOPE_UNINIT, CR_HOLD_NONE) >= 0);
  return watches(unused);
}

CP_CASE(set_in_a_callback_for_this_checkpoint) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(changes_and_watches, NULL, CR_THREAD_CONTEXT) >= 0);
  pthread_t thread = cp_thread(counts, NULL);
  UNTIL(load(&bystander_ready));
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("C");
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  cp_join(thread);
}
