/*
 * cr_register_callback(): contexts, order, arguments, ids. What cr_checkpoint() returns is in
 * values.c, replacing in replace.c.
 */
#include "compat.h"

static char* const letters[] = {(char*)"a", (char*)"b", (char*)"c", (char*)"d", (char*)"e"};

CP_CASE(signal_context_runs_in_reverse_order) {
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 3; i++)
    CHECK(cr_register_callback(cp_noting, letters[i], CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("cbaABC");
  cp_restart("");
  CHECK_NOTES("cbaABCcba123");
}

CP_CASE(thread_context_runs_each_once) {
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 3; i++)
    CHECK(cr_register_callback(cp_noting, letters[i], CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("cbaABC");
  cp_restart("");
  CHECK_NOTES("cbaABCcba123");
}

/* All THREAD callbacks are in their cr_checkpoint() before a SIGNAL callback begins, in whichever
 * order they were registered. */
CP_CASE(thread_context_before_signal_context) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(cp_noting, letters[1], CR_THREAD_CONTEXT) >= 0);
  CHECK(cr_register_callback(cp_noting, letters[2], CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(cp_noting, letters[3], CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK(!strncmp(cp_notes(), "dbca", 4));
  CHECK_EQ(strlen(cp_notes()), 8);
  CHECK(strchr(cp_notes(), 'B') < strchr(cp_notes(), 'D'));
  CHECK(strchr(cp_notes(), 'A') < strchr(cp_notes(), 'C'));
  cp_forget_notes();
  cp_restart("");
  CHECK(!strncmp(cp_notes(), "dbca", 4));
  CHECK(cp_noted('1') == 1 && cp_noted('2') == 1 && cp_noted('3') == 1 && cp_noted('4') == 1);
}

static pid_t ran_in;
static sigset_t mask_there;
static int notes_thread(void* argument) {
  ran_in = cp_tid();
  pthread_sigmask(SIG_BLOCK, NULL, &mask_there);
  *(int*)argument += 1;
  return 0;
}

CP_CASE(signal_context_runs_in_the_thread_that_registered) {
  int calls = 0;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(notes_thread, &calls, CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(calls, 1);
  CHECK_EQ(ran_in, cp_tid());
}

CP_CASE(thread_context_runs_in_a_thread_of_its_own) {
  int calls = 0;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(notes_thread, &calls, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(calls, 1);
  CHECK(ran_in && ran_in != cp_tid());
  for (int number = 1; number < 32; number++) /* no handler of the program may run there */
    if (number != SIGKILL && number != SIGSTOP) CHECK_EQ(sigismember(&mask_there, number), 1);
}

/* The callback thread may do what no signal handler may: malloc, stdio, locks, threads. */
static void* nothing(void* unused) {
  return unused;
}
static int does_much(void* argument) {
  char* text = (char*)malloc(100000);
  snprintf(text, 100000, "%s %d", "anything", 1);
  free(text);
  cp_join(cp_thread(nothing, NULL));
  cp_dawdle();
  *(int*)argument += cr_checkpoint(0) >= 0;
  cp_join(cp_thread(nothing, NULL));
  return 0;
}
CP_CASE(thread_context_is_never_a_handler) {
  int calls = 0;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(does_much, &calls, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(calls, 1);
  cp_restart("");
  CHECK_EQ(calls, 2);
}

static void* registers_and_ends(void* context) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, letters[0], (int)(long)context) >= 0);
  return NULL;
}

CP_CASE(thread_context_is_shared_by_all_threads) {
  cp_join(cp_thread(registers_and_ends, (void*)(long)CR_THREAD_CONTEXT));
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("aA");
}

CP_CASE(signal_context_ends_with_its_thread) {
  cp_join(cp_thread(registers_and_ends, (void*)(long)CR_SIGNAL_CONTEXT));
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("");
}

struct worker {
  struct cp_pipe down, up;
  int calls[3];
  pid_t tid;
};

static int counts(void* argument) {
  int* calls = (int*)argument;
  CHECK_EQ(cr_checkpoint(0) < 0, 0);
  *calls += 1;
  return 0;
}

static void* registers_three(void* argument) {
  struct worker* self = (struct worker*)argument;
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 3; i++)
    CHECK(cr_register_callback(counts, &self->calls[i], CR_SIGNAL_CONTEXT) >= 0);
  cp_tell(self->up.write_end, 'r');
  cp_expect(self->down.read_end, 'q');
  return NULL;
}

CP_CASE(callbacks_of_many_threads) {
  enum { kWorkers = 12 };
  static struct worker workers[kWorkers];
  pthread_t threads[kWorkers];
  for (int i = 0; i < kWorkers; i++) {
    workers[i].down = cp_new_pipe();
    workers[i].up = cp_new_pipe();
    threads[i] = cp_thread(registers_three, &workers[i]);
  }
  for (int i = 0; i < kWorkers; i++) cp_expect(workers[i].up.read_end, 'r');
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  for (int i = 0; i < kWorkers; i++) {
    cp_tell(workers[i].down.write_end, 'q');
    cp_join(threads[i]);
    for (int k = 0; k < 3; k++) CHECK_EQ(workers[i].calls[k], 3);
  }
}

static int gets_argument(void* argument) {
  CHECK(argument == (void*)0x1234567890UL || argument == NULL);
  cp_note(argument ? 'x' : 'n');
  return 0;
}

CP_CASE(argument_is_passed) {
  static const int contexts[] = {CR_THREAD_CONTEXT, CR_SIGNAL_CONTEXT};
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 2; i++) {
    CHECK(cr_register_callback(gets_argument, (void*)0x1234567890UL, contexts[i]) >= 0);
    CHECK(cr_register_callback(gets_argument, NULL, contexts[i]) >= 0);
  }
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("nxnx");
}

/* A callback that returns without cr_checkpoint(): the library calls it then. */
CP_CASE(missing_call_is_made_up_for) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(gets_argument, NULL, CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(cp_noting, letters[1], CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(gets_argument, NULL, CR_THREAD_CONTEXT) >= 0);
  CHECK(cr_register_callback(cp_noting, letters[2], CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK(!strncmp(cp_notes(), "cnbna", 5));
  CHECK(cp_noted('A') == 1 && cp_noted('B') == 1 && cp_noted('C') == 1);
  cp_forget_notes();
  cp_restart("");
  CHECK(!strncmp(cp_notes(), "cnbna", 5));
  CHECK(cp_noted('1') == 1 && cp_noted('2') == 1 && cp_noted('3') == 1);
}

CP_CASE(registrations_outlive_checkpoints_and_restarts) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  for (int i = 0; i < 3; i++) CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_NOTES("aAaAaAa1aAa1");
}

CP_CASE(ids_differ) {
  cr_callback_id_t ids[40];
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 40; i++) {
    ids[i] =
        cr_register_callback(cp_noting, letters[0], i % 2 ? CR_THREAD_CONTEXT : CR_SIGNAL_CONTEXT);
    CHECK(ids[i] >= 0);
    for (int k = 0; k < i; k++) CHECK(ids[k] != ids[i]);
  }
}

CP_CASE(context_must_be_one_of_two) {
  CHECK(cr_init() >= 0);
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, 0), EINVAL);
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, CR_THREAD_CONTEXT | CR_SIGNAL_CONTEXT), EINVAL);
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, 1), EINVAL);
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, CR_SIGNAL_CONTEXT | 1), EINVAL);
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, -1), EINVAL);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("");
}

static int registers_inside(void* letter) {
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, CR_THREAD_CONTEXT), EBUSY);
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, CR_SIGNAL_CONTEXT), EBUSY);
  CHECK(cr_checkpoint(0) >= 0);
  CHECK_FAILS(cr_register_callback(cp_noting, NULL, CR_SIGNAL_CONTEXT), EBUSY);
  cp_note(*(char*)letter);
  return 0;
}

CP_CASE(registering_inside_a_callback_is_busy) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(registers_inside, letters[0], CR_THREAD_CONTEXT) >= 0);
  CHECK(cr_register_callback(registers_inside, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("aa");
}

CP_CASE(a_thousand_callbacks) {
  static int calls[1000];
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 1000; i++)
    CHECK(cr_register_callback(counts, &calls[i], i % 2 ? CR_THREAD_CONTEXT : CR_SIGNAL_CONTEXT) >=
          0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  for (int i = 0; i < 1000; i++) CHECK_EQ(calls[i], 1);
}
