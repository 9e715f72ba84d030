/*
 * cr_inc_persist() and cr_dec_persist(): the library's data of a thread outlives its destructors.
 */
#include "compat.h"

CP_CASE(counts_from_zero_and_returns_the_previous) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_inc_persist(), 0);
  CHECK_EQ(cr_inc_persist(), 1);
  CHECK_EQ(cr_dec_persist(), 2);
  CHECK_EQ(cr_inc_persist(), 1);
  CHECK_EQ(cr_dec_persist(), 2);
  CHECK_EQ(cr_dec_persist(), 1);
}

CP_CASE(below_zero_is_erange) {
  CHECK(cr_init() >= 0);
  CHECK_FAILS(cr_dec_persist(), ERANGE);
  CHECK_EQ(cr_inc_persist(), 0); /* unchanged by the failure */
  CHECK_EQ(cr_dec_persist(), 1);
  CHECK_FAILS(cr_dec_persist(), ERANGE);
}

CP_CASE(without_cr_init_is_enoinit) {
  CHECK_FAILS(cr_inc_persist(), CR_ENOINIT);
  CHECK_FAILS(cr_dec_persist(), CR_ENOINIT);
}

static void* has_its_own(void* unused) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_inc_persist(), 0);
  CHECK_EQ(cr_dec_persist(), 1);
  return unused;
}

CP_CASE(count_is_the_threads) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_inc_persist(), 0);
  cp_join(cp_thread(has_its_own, NULL));
  CHECK_EQ(cr_dec_persist(), 1);
}

/* Keys made before and after the library's own, so that in either order of destructors some of them
 * run after the library would have let go. */
enum { kKeys = 20 };
static pthread_key_t keys[kKeys];
static int destroyed;
static cr_client_id_t id_of_thread;

static void uses_the_library(void* unused) {
  (void)unused;
  CHECK_EQ(cr_status() >= 0, 1);
  CHECK_EQ(cr_enter_cs(id_of_thread), 0);
  CHECK_EQ(cr_leave_cs(id_of_thread), 0);
  CHECK(cr_register_callback(cp_noting, (void*)"a", CR_SIGNAL_CONTEXT) >= 0);
  destroyed++;
  CHECK(cr_dec_persist() > 0);
}

static void* has_destructors(void* ends_by_cancel) {
  for (int i = 0; i < kKeys / 2; i++) CHECK_EQ(pthread_key_create(&keys[i], uses_the_library), 0);
  id_of_thread = cr_init();
  CHECK(id_of_thread >= 0);
  for (int i = kKeys / 2; i < kKeys; i++)
    CHECK_EQ(pthread_key_create(&keys[i], uses_the_library), 0);
  for (int i = 0; i < kKeys; i++) {
    CHECK_EQ(cr_inc_persist(), i);
    CHECK_EQ(pthread_setspecific(keys[i], "value"), 0);
  }
  if (ends_by_cancel) {
    pthread_cancel(pthread_self());
    pthread_testcancel();
  }
  return NULL;
}

CP_CASE(destructors_use_the_library) {
  CHECK(cr_init() >= 0);
  cp_join(cp_thread(has_destructors, NULL));
  CHECK_EQ(destroyed, kKeys);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0); /* nothing of the thread is left */
  CHECK_NOTES("");
}

CP_CASE(destructors_of_a_cancelled_thread_use_the_library) {
  CHECK(cr_init() >= 0);
  cp_join(cp_thread(has_destructors, (void*)1));
  CHECK_EQ(destroyed, kKeys);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("");
}

/* A destructor that sets its value again runs again: the use count holds over several rounds. */
static int rounds;
static pthread_key_t again_key;
static void runs_again(void* unused) {
  (void)unused;
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
  if (++rounds < 3)
    pthread_setspecific(again_key, "value");
  else
    CHECK_EQ(cr_dec_persist(), 1);
}
static void* runs_rounds(void* unused) {
  CHECK_EQ(pthread_key_create(&again_key, runs_again), 0);
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_inc_persist(), 0);
  pthread_setspecific(again_key, "value");
  return unused;
}

CP_CASE(count_holds_over_rounds_of_destructors) {
  cp_join(cp_thread(runs_rounds, NULL));
  CHECK_EQ(rounds, 3);
}

/* An unbalanced thread: its data stays, the program and its checkpoints are none the worse. */
static void* never_decrements(void* unused) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, (void*)"a", CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cr_inc_persist(), 0);
  return unused;
}

CP_CASE(unbalanced_threads_do_no_harm) {
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 10; i++) cp_join(cp_thread(never_decrements, NULL));
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("");
  cp_restart("");
  CHECK_NOTES("");
}
