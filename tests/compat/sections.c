/*
 * Critical sections: cr_enter_cs(), cr_tryenter_cs(), cr_leave_cs(), cr_status().
 */
#include "compat.h"

static char* const letters[] = {(char*)"a", (char*)"b"};
static cr_client_id_t id;

static void begin(int context) {
  id = cr_init();
  CHECK(id >= 0);
  if (context) CHECK(cr_register_callback(cp_noting, letters[0], context) >= 0);
}

CP_CASE(enter_and_leave_return_zero) {
  begin(0);
  CHECK_EQ(cr_enter_cs(id), 0);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cr_tryenter_cs(id), 0);
  CHECK_EQ(cr_leave_cs(id), 0);
}

CP_CASE(unknown_ids_are_invalid) {
  begin(0);
  CHECK_FAILS(cr_enter_cs(id + 1), EINVAL);
  CHECK_FAILS(cr_tryenter_cs(id + 1), EINVAL);
  CHECK_FAILS(cr_leave_cs(id + 1), EINVAL);
  CHECK_FAILS(cr_enter_cs(-2), EINVAL);
  CHECK_FAILS(cr_tryenter_cs(-2), EINVAL);
  CHECK_FAILS(cr_leave_cs(-2), EINVAL);
}

CP_CASE(callback_id_outside_a_callback_is_invalid) {
  begin(0);
  CHECK_FAILS(cr_enter_cs(CR_ID_CALLBACK), EINVAL);
  CHECK_FAILS(cr_tryenter_cs(CR_ID_CALLBACK), EINVAL);
  CHECK_FAILS(cr_leave_cs(CR_ID_CALLBACK), EINVAL);
}

/* A request that comes during a critical section waits, and is taken before leave returns. */
static void deferred(int context) {
  begin(context);
  CHECK_EQ(cr_enter_cs(id), 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  cp_dawdle();
  CHECK_NOTES("");
  CHECK(access(cp_image(), F_OK) != 0);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_NOTES("aA");
  CHECK_EQ(cp_finish(command), 0);
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
}

CP_CASE(request_waits_for_leave_signal_context) {
  deferred(CR_SIGNAL_CONTEXT);
}

CP_CASE(request_waits_for_leave_thread_context) {
  deferred(CR_THREAD_CONTEXT);
}

CP_CASE(request_waits_for_leave_without_callbacks) {
  begin(0);
  CHECK_EQ(cr_enter_cs(id), 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  cp_dawdle();
  int status;
  CHECK_EQ(waitpid(command, &status, WNOHANG), 0);
  CHECK(access(cp_image(), F_OK) != 0);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cp_finish(command), 0);
}

/* The restarted program goes on out of cr_leave_cs(). */
CP_CASE(leave_returns_in_the_restarted_program) {
  begin(CR_SIGNAL_CONTEXT);
  FILE* file = fopen("restart", "w");
  CHECK_EQ(cr_enter_cs(id), 0);
  pid_t command = cp_start(getpid(), "--kill");
  fprintf(file, "%s\n", cp_image());
  fclose(file);
  UNTIL(cr_status() == CR_STATE_PENDING);
  CHECK_EQ(cr_leave_cs(id), 0);
  UNTIL(waitpid(command, NULL, WNOHANG) == -1 && errno == ECHILD); /* killed meanwhile, or back */
  CHECK_NOTES("a1");
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
  CHECK_EQ(cr_enter_cs(id), 0);
  CHECK_EQ(cr_leave_cs(id), 0);
}

CP_CASE(only_the_outermost_leave_counts) {
  begin(CR_SIGNAL_CONTEXT);
  for (int i = 0; i < 3; i++) CHECK_EQ(cr_enter_cs(id), 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_NOTES("");
  CHECK_EQ(cr_status(), CR_STATE_PENDING);
  CHECK_EQ(cr_enter_cs(id), 0); /* a nested one is entered although a request waits */
  CHECK_EQ(cr_tryenter_cs(id), 0);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_NOTES("");
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_NOTES("aA");
  CHECK_EQ(cp_finish(command), 0);
}

CP_CASE(distinct_ids_may_overlap) {
  begin(CR_SIGNAL_CONTEXT);
  cr_client_id_t other = cr_init();
  CHECK(other != id);
  CHECK_EQ(cr_enter_cs(id), 0);
  CHECK_EQ(cr_enter_cs(other), 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_NOTES("");
  CHECK_EQ(cr_enter_cs(id), 0);
  CHECK_EQ(cr_leave_cs(other), 0);
  CHECK_NOTES("");
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_NOTES("aA");
  CHECK_EQ(cp_finish(command), 0);
}

/* ---- several threads */

struct other {
  struct cp_pipe down, up;
  char notes_when_inside[16];
};

static void* enters_when_told(void* argument) {
  struct other* self = (struct other*)argument;
  cr_client_id_t mine = cr_init();
  CHECK(mine >= 0);
  cp_tell(self->up.write_end, 'r');
  cp_expect(self->down.read_end, 't');
  CHECK_EQ(cr_status(), CR_STATE_PENDING);
  CHECK(cr_tryenter_cs(mine) > 0);
  CHECK(cr_tryenter_cs(mine) > 0); /* did not enter, so need not leave */
  cp_tell(self->up.write_end, 't');
  CHECK_EQ(cr_enter_cs(mine), 0);
  snprintf(self->notes_when_inside, sizeof self->notes_when_inside, "%s", cp_notes());
  CHECK_EQ(cr_leave_cs(mine), 0);
  CHECK_EQ(cr_tryenter_cs(mine), 0);
  CHECK_EQ(cr_leave_cs(mine), 0);
  return NULL;
}

CP_CASE(others_do_not_enter_while_a_request_waits) {
  struct other other = {cp_new_pipe(), cp_new_pipe(), ""};
  begin(CR_THREAD_CONTEXT);
  pthread_t thread = cp_thread(enters_when_told, &other);
  cp_expect(other.up.read_end, 'r');
  CHECK_EQ(cr_enter_cs(id), 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  cp_tell(other.down.write_end, 't');
  cp_expect(other.up.read_end, 't');
  cp_dawdle(); /* time enough for the other one to enter, if it could */
  CHECK(!other.notes_when_inside[0]);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cp_finish(command), 0);
  cp_join(thread);
  CHECK(strchr(other.notes_when_inside, 'a'));
}

/* Without THREAD callbacks a thread that is in no section stands still while others are in theirs.
 */
static void* enters_again_and_again(void* argument) {
  struct other* self = (struct other*)argument;
  cr_client_id_t mine = cr_init();
  cp_tell(self->up.write_end, 'r');
  while (cp_silent(self->down.read_end)) {
    CHECK_EQ(cr_enter_cs(mine), 0);
    CHECK(cr_status() == CR_STATE_IDLE || !cp_notes()[0]);
    CHECK_EQ(cr_leave_cs(mine), 0);
    int inside = cr_tryenter_cs(mine);
    CHECK(inside >= 0);
    if (!inside) CHECK_EQ(cr_leave_cs(mine), 0);
  }
  return NULL;
}

CP_CASE(others_do_not_enter_while_a_request_waits_signal_context) {
  struct other other = {cp_new_pipe(), cp_new_pipe(), ""};
  begin(CR_SIGNAL_CONTEXT);
  pthread_t thread = cp_thread(enters_again_and_again, &other);
  cp_expect(other.up.read_end, 'r');
  CHECK_EQ(cr_enter_cs(id), 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  cp_dawdle();
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_NOTES("aA");
  CHECK_EQ(cp_finish(command), 0);
  cp_tell(other.down.write_end, 'q');
  cp_join(thread);
}

/* A THREAD callback waits until no thread is in a critical section, not just its own. */
static void* holds_a_section(void* argument) {
  struct other* self = (struct other*)argument;
  cr_client_id_t mine = cr_init();
  CHECK_EQ(cr_enter_cs(mine), 0);
  cp_tell(self->up.write_end, 'r');
  cp_expect(self->down.read_end, 'l');
  CHECK_NOTES("");
  CHECK_EQ(cr_leave_cs(mine), 0);
  CHECK(cp_notes()[0]);
  return NULL;
}

static void held_by_another(int context) {
  struct other other = {cp_new_pipe(), cp_new_pipe(), ""};
  pthread_t thread = cp_thread(holds_a_section, &other);
  cp_expect(other.up.read_end, 'r');
  begin(0);
  CHECK(cr_register_callback(cp_noting, letters[0], CR_THREAD_CONTEXT) >= 0);
  if (context) CHECK(cr_register_callback(cp_noting, letters[1], context) >= 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  cp_dawdle();
  CHECK_NOTES("");
  cp_tell(other.down.write_end, 'l');
  CHECK_EQ(cp_finish(command), 0);
  cp_join(thread);
}

CP_CASE(thread_callback_waits_for_all_sections) {
  held_by_another(0);
}

CP_CASE(all_callbacks_wait_for_all_sections) {
  held_by_another(CR_SIGNAL_CONTEXT);
}

/* Two threads whose sections always overlap: the request is taken all the same. */
struct relay {
  int stop, inside[2];
};
static struct relay relay;
static void* overlaps(void* argument) {
  int me = (int)(long)argument;
  cr_client_id_t mine = cr_init();
  while (!__atomic_load_n(&relay.stop, __ATOMIC_SEQ_CST)) {
    CHECK_EQ(cr_enter_cs(mine), 0);
    __atomic_store_n(&relay.inside[me], 1, __ATOMIC_SEQ_CST);
    /* Stays until the other one is inside as well, or waits at its door for a checkpoint. */
    while (!__atomic_load_n(&relay.inside[!me], __ATOMIC_SEQ_CST) && cr_status() == CR_STATE_IDLE &&
           !__atomic_load_n(&relay.stop, __ATOMIC_SEQ_CST))
      sched_yield();
    __atomic_store_n(&relay.inside[me], 0, __ATOMIC_SEQ_CST);
    CHECK_EQ(cr_leave_cs(mine), 0);
  }
  return NULL;
}

static void no_starvation(int context) {
  begin(context);
  pthread_t threads[2];
  for (long i = 0; i < 2; i++) threads[i] = cp_thread(overlaps, (void*)i);
  for (int i = 0; i < 5; i++) CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  __atomic_store_n(&relay.stop, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < 2; i++) cp_join(threads[i]);
  if (context) CHECK_NOTES("aAaAaAaAaA");
}

CP_CASE(requests_do_not_starve_signal_context) {
  no_starvation(CR_SIGNAL_CONTEXT);
}

CP_CASE(requests_do_not_starve_thread_context) {
  no_starvation(CR_THREAD_CONTEXT);
}

CP_CASE(requests_do_not_starve_without_callbacks) {
  no_starvation(0);
}

/* ---- in callbacks */

static int enters_inside(void* letter) {
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(cr_enter_cs(CR_ID_CALLBACK), 0);
    CHECK_EQ(cr_enter_cs(CR_ID_CALLBACK), 0);
    CHECK_EQ(cr_tryenter_cs(CR_ID_CALLBACK), 0);
    for (int k = 0; k < 3; k++) CHECK_EQ(cr_leave_cs(CR_ID_CALLBACK), 0);
    CHECK_EQ(cr_status(), CR_STATE_ACTIVE);
    if (i == 0) CHECK(cr_checkpoint(0) >= 0);
  }
  cp_note(*(char*)letter);
  return 0;
}

CP_CASE(callbacks_enter_at_once) {
  begin(0);
  CHECK(cr_register_callback(enters_inside, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(enters_inside, letters[0], CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_NOTES("aaaa");
}

/* ---- status */

CP_CASE(status_is_idle_without_a_request) {
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
  CHECK_EQ(cr_enter_cs(id), 0);
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
  cp_restart("");
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
}

/* ---- in signal handlers */

static volatile int handled;
static void enters_in_handler(int unused) {
  (void)unused;
  int error = errno;
  CHECK_EQ(cr_enter_cs(id), 0);
  CHECK(cr_status() >= 0);
  CHECK_EQ(cr_leave_cs(id), 0);
  if (cr_tryenter_cs(id) == 0) CHECK_EQ(cr_leave_cs(id), 0);
  handled++;
  errno = error;
}

CP_CASE(sections_in_signal_handlers) {
  struct sigaction action = {0};
  struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  action.sa_handler = enters_in_handler;
  action.sa_flags = SA_RESTART;
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
  CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
  for (int i = 0; i < 5; i++) {
    pid_t command = cp_start(getpid(), "");
    for (int status = -1, before = handled; status < 0 || handled < before + 10;) {
      CHECK_EQ(cr_enter_cs(id), 0);
      CHECK_EQ(cr_leave_cs(id), 0);
      int ended;
      if (status < 0 && waitpid(command, &ended, WNOHANG) == command) CHECK_EQ(status = ended, 0);
    }
  }
  CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
  CHECK_NOTES("aAaAaAaAaA");
}
