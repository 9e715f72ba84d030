/*
 * cr_register_hook(): which thread gets which event, each once.
 */
#include "compat.h"

#define MAX_SEEN 256
static struct {
  cr_hook_event_t event;
  pid_t tid;
} seen[MAX_SEEN];
static int seen_count;
static int callbacks_in_progress;

static void hook(cr_hook_event_t event) {
  int index = __atomic_fetch_add(&seen_count, 1, __ATOMIC_SEQ_CST);
  if (index >= MAX_SEEN) cp_fail("too many events");
  seen[index].event = event;
  seen[index].tid = cp_tid();
}

static void other_hook(cr_hook_event_t event) {
  (void)event;
}

static void hook_all(void) {
  for (int event = 0; event < CR_NUM_HOOKS; event++)
    CHECK(cr_register_hook((cr_hook_event_t)event, hook) == NULL);
}

static int times(cr_hook_event_t event, pid_t tid) {
  int count = 0;
  for (int i = 0; i < seen_count; i++) count += seen[i].event == event && seen[i].tid == tid;
  return count;
}

static int times_elsewhere(cr_hook_event_t event, pid_t tid) {
  int count = 0;
  for (int i = 0; i < seen_count; i++) count += seen[i].event == event && seen[i].tid != tid;
  return count;
}

CP_CASE(none_at_first_and_returns_the_previous) {
  CHECK(cr_init() >= 0);
  for (int event = 0; event < CR_NUM_HOOKS; event++) {
    CHECK(cr_register_hook((cr_hook_event_t)event, hook) == NULL);
    CHECK(cr_register_hook((cr_hook_event_t)event, other_hook) == hook);
    CHECK(cr_register_hook((cr_hook_event_t)event, NULL) == other_hook);
    CHECK(cr_register_hook((cr_hook_event_t)event, NULL) == NULL);
  }
}

static void invalid(int event, cr_hook_fn_t function) {
  errno = 0;
  CHECK(cr_register_hook((cr_hook_event_t)event, function) == CR_HOOK_FN_ERROR);
  CHECK_EQ(errno, EINVAL);
}

CP_CASE(unknown_events_and_the_error_value_are_invalid) {
  CHECK(cr_init() >= 0);
  invalid(CR_NUM_HOOKS, hook);
  invalid(CR_NUM_HOOKS, NULL);
  invalid(1000, hook);
  invalid(-1, hook);
  invalid(CR_HOOK_CONT_SIGNAL_CONTEXT, CR_HOOK_FN_ERROR);
}

CP_CASE(without_cr_init_is_enoinit) {
  errno = 0;
  CHECK(cr_register_hook(CR_HOOK_CONT_SIGNAL_CONTEXT, hook) == CR_HOOK_FN_ERROR);
  CHECK_EQ(errno, CR_ENOINIT);
}

/* ---- who gets what */

struct thread {
  struct cp_pipe down, up;
  pid_t tid;
  int with_init, with_callback;
};

static pid_t callback_thread;
static int notes_callback_thread(void* unused) {
  callback_thread = cp_tid();
  return unused != NULL;
}

static void* waits(void* argument) {
  struct thread* self = (struct thread*)argument;
  self->tid = cp_tid();
  if (self->with_init) CHECK(cr_init() >= 0);
  if (self->with_callback)
    CHECK(cr_register_callback(cp_noting, (void*)"a", CR_SIGNAL_CONTEXT) >= 0);
  cp_tell(self->up.write_end, 'r');
  cp_expect(self->down.read_end, 'q');
  return NULL;
}

static void check_events(struct thread* threads, int offset) {
  cr_hook_event_t with_signal = (cr_hook_event_t)(CR_HOOK_CONT_SIGNAL_CONTEXT + offset);
  cr_hook_event_t in_thread = (cr_hook_event_t)(CR_HOOK_CONT_THREAD_CONTEXT + offset);
  cr_hook_event_t none = (cr_hook_event_t)(CR_HOOK_CONT_NO_CALLBACKS + offset);
  CHECK_EQ(times(with_signal, threads[0].tid), 1);
  CHECK_EQ(times(none, threads[1].tid), 1);
  CHECK_EQ(times(none, threads[2].tid), 1);
  CHECK_EQ(times(none, getpid()), 1);
  CHECK_EQ(times(in_thread, callback_thread), 1);
  CHECK_EQ(seen_count, 5); /* and nobody else gets anything */
  seen_count = 0;
}

CP_CASE(each_thread_gets_its_event_once) {
  static struct thread threads[3] = {
      {.with_init = 1, .with_callback = 1}, {.with_init = 1}, {.with_init = 0}};
  pthread_t handles[3];
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(notes_callback_thread, NULL, CR_THREAD_CONTEXT) >= 0);
  hook_all();
  for (int i = 0; i < 3; i++) {
    threads[i].down = cp_new_pipe();
    threads[i].up = cp_new_pipe();
    handles[i] = cp_thread(waits, &threads[i]);
    cp_expect(threads[i].up.read_end, 'r');
  }
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  UNTIL(seen_count == 5);
  check_events(threads, 0);
  cp_restart("");
  UNTIL(seen_count == 5);
  check_events(threads, CR_HOOK_RSTRT_SIGNAL_CONTEXT - CR_HOOK_CONT_SIGNAL_CONTEXT);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0); /* registrations last */
  UNTIL(seen_count == 5);
  check_events(threads, 0);
  for (int i = 0; i < 3; i++) {
    cp_tell(threads[i].down.write_end, 'q');
    cp_join(handles[i]);
  }
}

CP_CASE(a_thread_in_a_critical_section_counts_as_signal_context) {
  cr_client_id_t id = cr_init();
  CHECK(id >= 0);
  hook_all();
  CHECK_EQ(cr_enter_cs(id), 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cp_finish(command), 0);
  CHECK_EQ(times(CR_HOOK_CONT_SIGNAL_CONTEXT, getpid()), 1);
  CHECK_EQ(seen_count, 1);
}

CP_CASE(run_without_any_callback) {
  CHECK(cr_init() >= 0);
  hook_all();
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(times(CR_HOOK_CONT_NO_CALLBACKS, getpid()), 1);
  CHECK_EQ(seen_count, 1);
  cp_restart("");
  CHECK_EQ(times(CR_HOOK_RSTRT_NO_CALLBACKS, getpid()), 1);
  CHECK_EQ(seen_count, 2);
}

CP_CASE(null_runs_none) {
  CHECK(cr_init() >= 0);
  hook_all();
  CHECK(cr_register_hook(CR_HOOK_CONT_NO_CALLBACKS, NULL) == hook);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(seen_count, 0);
  cp_restart("");
  CHECK_EQ(times(CR_HOOK_RSTRT_NO_CALLBACKS, getpid()), 1);
  CHECK_EQ(seen_count, 1);
}

/* Registered by any thread, run in all. */
static void* registers(void* unused) {
  CHECK(cr_init() >= 0);
  hook_all();
  return unused;
}

CP_CASE(registration_is_the_processs) {
  CHECK(cr_init() >= 0);
  cp_join(cp_thread(registers, NULL));
  CHECK(cr_register_callback(cp_noting, (void*)"a", CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(times(CR_HOOK_CONT_SIGNAL_CONTEXT, getpid()), 1);
  CHECK_EQ(times_elsewhere(CR_HOOK_CONT_SIGNAL_CONTEXT, getpid()), 0);
  CHECK_EQ(seen_count, 1);
}

/* The hook of a thread runs when its own callbacks have come to their end. */
static void after_callbacks(cr_hook_event_t event) {
  CHECK_EQ(callbacks_in_progress, 0);
  cp_note(event == CR_HOOK_CONT_SIGNAL_CONTEXT ? 'h' : 'H');
}
static int in_progress(void* letter) {
  callbacks_in_progress++;
  cp_noting(letter);
  callbacks_in_progress--;
  return 0;
}
CP_CASE(run_after_the_callbacks_of_their_thread) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(in_progress, (void*)"a", CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(in_progress, (void*)"b", CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_hook(CR_HOOK_CONT_SIGNAL_CONTEXT, after_callbacks) == NULL);
  CHECK(cr_register_hook(CR_HOOK_RSTRT_SIGNAL_CONTEXT, after_callbacks) == NULL);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("baABh");
  cp_forget_notes();
  cp_restart("");
  CHECK_NOTES("ba12H");
}

static int refuses(void* unused) {
  CHECK_EQ(cr_checkpoint(CR_CHECKPOINT_TEMP_FAILURE), -CR_ETEMPFAIL);
  return unused != NULL;
}
CP_CASE(none_after_a_checkpoint_that_failed) {
  CHECK(cr_init() >= 0);
  hook_all();
  CHECK(cr_register_callback(refuses, NULL, CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 50);
  CHECK_EQ(seen_count, 0);
}
