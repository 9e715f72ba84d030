/*
 * cr_init(): who calls it, what it returns, and what others return to a thread that has not.
 */
#include "compat.h"

CP_CASE(ids_are_not_negative) {
  for (int i = 0; i < 5; i++) CHECK(cr_init() >= 0);
}

CP_CASE(ids_count_up_from_zero) {
  for (int i = 0; i < 5; i++) CHECK_EQ(cr_init(), i);
}

/* Every function that says so fails in a thread without cr_init(). */
static void* is_told(void* unused) {
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, CR_SIGNAL_CONTEXT), CR_ENOINIT);
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, CR_THREAD_CONTEXT), CR_ENOINIT);
  CHECK_FAILS(cr_replace_callback(0, cp_noting, NULL, CR_SIGNAL_CONTEXT), CR_ENOINIT);
  CHECK_FAILS(cr_enter_cs(0), CR_ENOINIT);
  CHECK_FAILS(cr_tryenter_cs(0), CR_ENOINIT);
  CHECK_FAILS(cr_leave_cs(0), CR_ENOINIT);
  CHECK_FAILS(cr_status(), CR_ENOINIT);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_READ), CR_ENOINIT);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_INIT, CR_HOLD_READ), CR_ENOINIT);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_UNINIT, CR_HOLD_READ), CR_ENOINIT);
  CHECK_FAILS(cr_inc_persist(), CR_ENOINIT);
  CHECK_FAILS(cr_dec_persist(), CR_ENOINIT);
  errno = 0;
  CHECK(cr_register_hook(CR_HOOK_CONT_NO_CALLBACKS, NULL) == CR_HOOK_FN_ERROR);
  CHECK_EQ(errno, CR_ENOINIT);
  return unused;
}

CP_CASE(without_it_calls_fail_with_enoinit) {
  is_told(NULL);
}

CP_CASE(other_threads_calls_count_for_them_only) {
  CHECK(cr_init() >= 0);
  cp_join(cp_thread(is_told, NULL));
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
}

static void* uses_own_id(void* unused) {
  cr_client_id_t id = cr_init();
  CHECK(id >= 0);
  for (int i = 0; i < 1000; i++) {
    CHECK_EQ(cr_enter_cs(id), 0);
    CHECK_EQ(cr_leave_cs(id), 0);
  }
  return unused;
}

CP_CASE(threads_may_call_it_at_once) {
  pthread_t threads[16];
  for (int i = 0; i < 16; i++) threads[i] = cp_thread(uses_own_id, NULL);
  for (int i = 0; i < 16; i++) cp_join(threads[i]);
}

static int without_cr_init(void* unused) {
  CHECK_EQ(cr_status(), CR_STATE_ACTIVE);
  CHECK_EQ(cr_enter_cs(CR_ID_CALLBACK), 0);
  CHECK_EQ(cr_leave_cs(CR_ID_CALLBACK), 0);
  CHECK_EQ(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_READ), CR_HOLD_DFLT);
  cp_note('t');
  return unused != NULL;
}

CP_CASE(not_needed_in_the_callback_thread) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(without_cr_init, NULL, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("t");
}

struct silent {
  struct cp_pipe down, up;
};

static void* echoes(void* argument) {
  struct silent* silent = (struct silent*)argument;
  cp_tell(silent->up.write_end, 'r');
  for (char word; (word = cp_hear(silent->down.read_end)) != 'q';)
    cp_tell(silent->up.write_end, word);
  return NULL;
}

/* Threads that never call the library are saved and restored like any other. */
CP_CASE(not_needed_in_threads_that_call_nothing) {
  struct silent silent = {cp_new_pipe(), cp_new_pipe()};
  pthread_t thread = cp_thread(echoes, &silent);
  cp_expect(silent.up.read_end, 'r');
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, (void*)"a", CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_tell(silent.down.write_end, '1');
  cp_expect(silent.up.read_end, '1');
  cp_restart("");
  cp_tell(silent.down.write_end, '2');
  cp_expect(silent.up.read_end, '2');
  cp_tell(silent.down.write_end, 'q');
  cp_join(thread);
  CHECK_NOTES("aAa1");
}

static void begins_anew(int in, int out) {
  (void)in, (void)out;
  is_told(NULL);
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
}

CP_CASE(forked_child_calls_it_again) {
  CHECK(cr_init() >= 0);
  struct cp_child child = cp_fork(begins_anew);
  cp_ends_well(&child);
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
}

static void* inits_and_ends(void* unused) {
  CHECK(cr_init() >= 0);
  return unused;
}

CP_CASE(ended_threads_leave_nothing) {
  CHECK(cr_init() >= 0);
  int threads = cp_threads(), descriptors = cp_descriptors();
  for (int i = 0; i < 3000; i++) cp_join(cp_thread(inits_and_ends, NULL));
  CHECK_EQ(cp_descriptors(), descriptors);
  UNTIL(cp_threads() == threads); /* the kernel's part of an end comes a little after the join */
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
}
