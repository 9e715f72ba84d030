/* libcr's side of the handshake: order of callbacks, what they are told, hooks, sections, hold. */
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "conductor.h"

static char letters[][2] = {"a", "b", "c", "d"};

static void thread_callbacks_before_signal_callbacks_each_nested(void) {
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(noting, letters[0], CR_SIGNAL_CONTEXT) == (0 | CR_SIGNAL_CONTEXT));
  CHECK(cr_register_callback(noting, letters[1], CR_SIGNAL_CONTEXT) == (1 | CR_SIGNAL_CONTEXT));
  CHECK(cr_register_callback(noting, letters[2], CR_THREAD_CONTEXT) == (0 | CR_THREAD_CONTEXT));
  CHECK(cr_register_callback(noting, letters[3], CR_THREAD_CONTEXT) == (1 | CR_THREAD_CONTEXT));
  CHECK(find_block()->registered == 4);
  conduct(CRI_VERDICT_CONTINUE, 0);
  conducted();
  CHECK(strncmp(notes(), "dcba", 4) == 0);
  CHECK(strcmp(notes() + 4, "0000") == 0);
  conduct(CRI_VERDICT_RESTART, 0);
  conducted();
  CHECK(strcmp(notes() + 8, "dcba1111") == 0);
}

static int results[4];
static int answering(void* flags) {
  results[*(const int*)flags & 3] = cr_checkpoint(*(const int*)flags);
  return 0;
}

static void answers_reach_the_block_and_the_code_comes_back(void) {
  int temporary = CR_CHECKPOINT_TEMP_FAILURE_CODE(77);
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(answering, &temporary, CR_SIGNAL_CONTEXT) >= 0);
  conduct(CRI_VERDICT_ABORT, 77);
  conducted();
  CHECK(results[1] == -77);
  CHECK(strcmp(notes(), "") == 0); /* the other one was not begun */
  CHECK(find_block()->answer == (77U << 16 | CR_CHECKPOINT_TEMP_FAILURE));
  CHECK(find_block()->answer_tid == getpid());
}

static int failing(void* value) {
  return (int)(intptr_t)value;
}

static void failing_before_cr_checkpoint_is_permanent(void) {
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(failing, (void*)3, CR_THREAD_CONTEXT) >= 0);
  conduct(CRI_VERDICT_ABORT, CR_EPERMFAIL);
  conducted();
  CHECK(find_block()->answer == CR_CHECKPOINT_PERM_FAILURE);
}

static int failing_late(void* value) {
  cr_checkpoint(CR_CHECKPOINT_READY);
  return (int)(intptr_t)value;
}

/* Nothing of the program runs any more: it waits to be killed. */
static void failing_after_the_verdict(enum cri_verdict verdict) {
  int status = 0, ends[2];
  char byte;
  CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    CHECK(cr_init() == 0);
    CHECK(cr_register_callback(failing_late, (void*)3, CR_SIGNAL_CONTEXT) >= 0);
    conduct(verdict, 0);
    conducted(); /* interrupted there, or before */
    CHECK(write(ends[1], "x", 1) == 1);
    _exit(5);
  }
  close(ends[1]);
  struct timeval a_moment = {.tv_usec = 300000};
  fd_set readable;
  FD_ZERO(&readable);
  FD_SET(ends[0], &readable);
  CHECK(select(ends[0] + 1, &readable, NULL, NULL, &a_moment) == 0);
  CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
  CHECK(read(ends[0], &byte, 1) == 0);
}

static void failing_after_a_checkpoint_ends_the_program(void) {
  failing_after_the_verdict(CRI_VERDICT_CONTINUE);
}

static void failing_after_a_restart_ends_the_program(void) {
  failing_after_the_verdict(CRI_VERDICT_RESTART);
}

static int asking(void* unused) {
  const struct cr_checkpoint_info* info = cr_get_checkpoint_info();
  CHECK(info != NULL && info->requester == 11 && info->target == 12);
  CHECK(info->scope == CR_SCOPE_TREE && info->signal == 13);
  CHECK(strcmp(info->dest, "/some/where") == 0);
  CHECK(cr_status() == CR_STATE_ACTIVE);
  CHECK(cr_enter_cs(CR_ID_CALLBACK) == 0 && cr_leave_cs(CR_ID_CALLBACK) == 0);
  CHECK_FAILS(cr_register_callback(asking, NULL, CR_SIGNAL_CONTEXT), EBUSY);
  CHECK_FAILS(cr_replace_callback(0, asking, NULL, CR_SIGNAL_CONTEXT), EBUSY);
  CHECK_FAILS(cr_forward_checkpoint(CR_SCOPE_PROC, -2), EINVAL);
  CHECK_FAILS(cr_forward_checkpoint((cr_scope_t)9, 1), EINVAL);
  CHECK_FAILS(cr_forward_checkpoint(CR_SCOPE_PROC, 0x7ffffff0), ESRCH);
  CHECK(cr_forward_checkpoint(CR_SCOPE_PROC, getppid()) == 0);
  CHECK(cr_forward_checkpoint(CR_SCOPE_PROC, getppid()) == 0);
  CHECK_FAILS(cr_forward_checkpoint(CR_SCOPE_SESS, 4242), EBUSY);
  CHECK(cr_checkpoint(3) == -EINVAL);
  CHECK(cr_checkpoint(CR_CHECKPOINT_READY) == 0);
  CHECK(cr_checkpoint(CR_CHECKPOINT_READY) == 0);
  CHECK_FAILS(cr_forward_checkpoint(CR_SCOPE_PROC, getppid()), CR_ENOTCB);
  note('q');
  return unused != NULL;
}

static void what_callbacks_can_ask(int context) {
  CHECK(cr_init() == 0);
  CHECK(cr_get_checkpoint_info() == NULL && cr_get_restart_info() == NULL);
  CHECK(cr_checkpoint(0) == -CR_ENOTCB);
  CHECK_FAILS(cr_forward_checkpoint(CR_SCOPE_PROC, getpid()), CR_ENOTCB);
  CHECK(cr_register_callback(asking, NULL, context) >= 0);
  conduct(CRI_VERDICT_CONTINUE, 0);
  conducted();
  CHECK(strcmp(notes(), "q") == 0);
  CHECK(find_block()->forwards == 3 && find_block()->forward[0].target == getppid());
}

static void what_thread_callbacks_can_ask(void) {
  what_callbacks_can_ask(CR_THREAD_CONTEXT);
}

static void what_signal_callbacks_can_ask(void) {
  what_callbacks_can_ask(CR_SIGNAL_CONTEXT);
}

/* A thread that ends when `stop` is set; it knows the library or not. */
static uint32_t stop, known;
static void* idle(void* known_to_library) {
  if (known_to_library != NULL) CHECK(cr_init() == 0);
  __atomic_add_fetch(&known, 1, __ATOMIC_SEQ_CST);
  AWAIT(__atomic_load_n(&stop, __ATOMIC_SEQ_CST));
  return NULL;
}

static unsigned events[CR_NUM_HOOKS];
static void count(cr_hook_event_t event) {
  __atomic_add_fetch(&events[event], 1, __ATOMIC_SEQ_CST);
}

static void each_thread_fires_one_hook(void) {
  pthread_t threads[2];
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(noting, letters[1], CR_THREAD_CONTEXT) >= 0);
  for (int event = 0; event < CR_NUM_HOOKS; ++event) {
    CHECK(cr_register_hook((cr_hook_event_t)event, count) == NULL);
  }
  for (intptr_t i = 0; i < 2; ++i) {
    CHECK(pthread_create(&threads[i], NULL, idle, (void*)i) == 0);
  }
  AWAIT(__atomic_load_n(&known, __ATOMIC_SEQ_CST) == 2);
  conduct(CRI_VERDICT_CONTINUE, 0);
  conducted();
  conduct(CRI_VERDICT_RESTART, 0);
  conducted();
  conduct(CRI_VERDICT_ABORT, CR_ETEMPFAIL);
  conducted();
  conduct(CRI_VERDICT_OMITTED, 0);
  conducted();
  for (int event = 0; event < CR_NUM_HOOKS; ++event) {
    const int is_no_callbacks =
        event == CR_HOOK_CONT_NO_CALLBACKS || event == CR_HOOK_RSTRT_NO_CALLBACKS;
    CHECK(events[event] == (is_no_callbacks ? 2U : 1U));
  }
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  CHECK(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[1], NULL) == 0);
}

static void sections_defer_the_callbacks(int context) {
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(noting, letters[0], context) >= 0);
  CHECK(cr_register_hook(CR_HOOK_CONT_SIGNAL_CONTEXT, count) == NULL);
  CHECK(cr_enter_cs(0) == 0 && cr_enter_cs(0) == 0);
  CHECK(find_block()->gate == 1);
  CHECK(cr_status() == CR_STATE_IDLE);
  conduct(CRI_VERDICT_CONTINUE, 0);
  AWAIT(cr_status() == CR_STATE_PENDING);
  CHECK(cr_leave_cs(0) == 0);
  CHECK(strcmp(notes(), "") == 0);
  CHECK(cr_tryenter_cs(0) == 0); /* nested: goes on */
  CHECK(cr_leave_cs(0) == 0);
  CHECK(cr_leave_cs(0) == 0);
  if (context == CR_SIGNAL_CONTEXT) CHECK(strcmp(notes(), "a0") == 0);
  CHECK(cr_enter_cs(0) == 0); /* waits for its end */
  CHECK(strcmp(notes(), "a0") == 0 && cr_status() == CR_STATE_IDLE);
  CHECK(cr_leave_cs(0) == 0);
  CHECK_FAILS(cr_leave_cs(0), EINVAL);
  conducted();
  CHECK(events[CR_HOOK_CONT_SIGNAL_CONTEXT] == (context == CR_SIGNAL_CONTEXT));
  CHECK(find_block()->gate == 0);
}

static void sections_defer_signal_callbacks(void) {
  sections_defer_the_callbacks(CR_SIGNAL_CONTEXT);
}

static void sections_defer_thread_callbacks(void) {
  sections_defer_the_callbacks(CR_THREAD_CONTEXT);
}

static void a_closed_gate_is_not_entered(void) {
  struct cri_block* block = find_block();
  CHECK(cr_init() == 0);
  __atomic_or_fetch(&block->gate, CRI_GATE_CLOSED, __ATOMIC_SEQ_CST);
  CHECK(cr_tryenter_cs(0) > 0);
  __atomic_store_n(&block->gate, 0, __ATOMIC_SEQ_CST);
  CHECK(cr_tryenter_cs(0) == 0);
  __atomic_or_fetch(&block->gate, CRI_GATE_CLOSED, __ATOMIC_SEQ_CST);
  CHECK(cr_tryenter_cs(0) == 0); /* nested */
}

static int slow(void* unused) {
  cr_checkpoint(CR_CHECKPOINT_READY);
  AWAIT(__atomic_load_n(&known, __ATOMIC_SEQ_CST) == 2);
  note('s');
  return unused != NULL;
}

static void* unheld(void* unused) {
  CHECK(cr_init() == 0);
  CHECK(cr_hold_ctrl(CR_HOLD_SCOPE_THREAD, CR_HOLD_NONE) == CR_HOLD_DFLT);
  __atomic_store_n(&known, 1, __ATOMIC_SEQ_CST);
  AWAIT(__atomic_load_n(&events[CR_HOOK_CONT_NO_CALLBACKS], __ATOMIC_SEQ_CST) >= 1);
  note('u');
  __atomic_store_n(&known, 2, __ATOMIC_SEQ_CST); /* the callback still runs */
  return unused;
}

static void held_threads_wait_for_all_callbacks_and_others_do_not(void) {
  pthread_t thread;
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(slow, NULL, CR_THREAD_CONTEXT) >= 0);
  CHECK(cr_register_hook(CR_HOOK_CONT_NO_CALLBACKS, count) == NULL);
  CHECK(cr_hold_ctrl(CR_HOLD_SCOPE_UNINIT, CR_HOLD_READ) == CR_HOLD_BOTH);
  CHECK_FAILS(cr_hold_ctrl(CR_HOLD_SCOPE_INIT, CR_HOLD_DFLT), EINVAL);
  CHECK_FAILS(cr_hold_ctrl(3, CR_HOLD_READ), EINVAL);
  CHECK(pthread_create(&thread, NULL, unheld, NULL) == 0);
  AWAIT(__atomic_load_n(&known, __ATOMIC_SEQ_CST) == 1);
  conduct(CRI_VERDICT_CONTINUE, 0);
  AWAIT(cr_status() == CR_STATE_IDLE || notes()[0] != '\0');
  conducted();
  CHECK(strcmp(notes(), "us") == 0);
  CHECK(pthread_join(thread, NULL) == 0);
}

/* The engine died: a process that is not there any more. */
static void parked_threads_give_up_when_the_engine_is_gone(void) {
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  CHECK(waitpid(gone, NULL, 0) == gone);
  struct cri_block* block = find_block();
  block->engine_pid = gone;
  be_conductor();
  announce(block);
  send_threads(block); /* not to ourselves: called here */
  ((void (*)(int, siginfo_t*, void*))(uintptr_t)block->entry)(0, NULL, NULL);
  CHECK(strcmp(notes(), "ax") == 0);
  CHECK(block->phase == CRI_PHASE_IDLE && block->verdict_code == CR_ETEMPFAIL);
}

/* ... or its number belongs to another process by now. */
static void an_engine_with_another_start_time_is_gone(void) {
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  struct cri_block* block = find_block();
  block->engine_pid = getppid();
  block->engine_start = 1;
  be_conductor();
  announce(block);
  send_threads(block);
  ((void (*)(int, siginfo_t*, void*))(uintptr_t)block->entry)(0, NULL, NULL);
  CHECK(strcmp(notes(), "ax") == 0);
}

static void late_threads_find_nothing_to_do(void) {
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  struct cri_block* block = find_block();
  void (*entry)(int, siginfo_t*, void*) = (void (*)(int, siginfo_t*, void*))(uintptr_t)block->entry;
  errno = 99;
  entry(0, NULL, NULL); /* idle */
  be_conductor();
  announce(block);
  entry(0, NULL, NULL); /* not yet */
  CHECK(block->present == 0 && block->phase == CRI_PHASE_IDLE);
  send_threads(block);
  give_verdict(block, CRI_VERDICT_ABORT, ETIMEDOUT);
  entry(0, NULL, NULL); /* too late: and the last one out */
  CHECK(block->present == 0 && block->phase == CRI_PHASE_IDLE && strcmp(notes(), "") == 0);
  CHECK(errno == 99);
}

static void a_forked_child_begins_anew(void) {
  CHECK(cr_init() == 0 && cr_init() == 1);
  CHECK(cr_register_callback(noting, letters[0], CR_THREAD_CONTEXT) >= 0);
  CHECK(cr_enter_cs(1) == 0);
  CHECK(find_block()->callback_tid != 0);
  const pid_t child = fork();
  if (child == 0) {
    const struct cri_block* block = find_block();
    CHECK(block != NULL && block->registered == 0 && block->gate == 0 && block->callback_tid == 0);
    CHECK_FAILS(cr_leave_cs(1), CR_ENOINIT);
    CHECK(cr_init() == 0);
    CHECK(cr_register_callback(noting, letters[1], CR_THREAD_CONTEXT) == CR_THREAD_CONTEXT);
    conduct(CRI_VERDICT_CONTINUE, 0);
    conducted();
    CHECK(strcmp(notes(), "b0") == 0);
    _exit(7);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
  CHECK(cr_leave_cs(1) == 0);
}

static void* register_and_end(void* unused) {
  CHECK(cr_init() == 0);
  CHECK(cr_register_callback(noting, letters[0], CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_enter_cs(0) == 0); /* and never leaves it */
  return unused;
}

static void a_thread_takes_its_registrations_and_sections_with_it(void) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, register_and_end, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(find_block()->registered == 0 && find_block()->gate == 0);
}

/* The library's own thread does not keep a program alive whose threads have all ended. */
static void a_program_ends_with_its_last_thread(void) {
  int status = -1;
  const pid_t child = fork();
  if (child == 0) {
    CHECK(cr_init() == 0);
    CHECK(cr_register_callback(noting, letters[0], CR_THREAD_CONTEXT) >= 0);
    pthread_exit(NULL);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

#define CASE(function) \
  { #function, function }
int main(int argc, char** argv) {
  static const struct test_case cases[] = {
      CASE(thread_callbacks_before_signal_callbacks_each_nested),
      CASE(answers_reach_the_block_and_the_code_comes_back),
      CASE(failing_before_cr_checkpoint_is_permanent),
      CASE(failing_after_a_checkpoint_ends_the_program),
      CASE(failing_after_a_restart_ends_the_program),
      CASE(what_thread_callbacks_can_ask),
      CASE(what_signal_callbacks_can_ask),
      CASE(each_thread_fires_one_hook),
      CASE(sections_defer_signal_callbacks),
      CASE(sections_defer_thread_callbacks),
      CASE(a_closed_gate_is_not_entered),
      CASE(held_threads_wait_for_all_callbacks_and_others_do_not),
      CASE(parked_threads_give_up_when_the_engine_is_gone),
      CASE(an_engine_with_another_start_time_is_gone),
      CASE(late_threads_find_nothing_to_do),
      CASE(a_forked_child_begins_anew),
      CASE(a_program_ends_with_its_last_thread),
      CASE(a_thread_takes_its_registrations_and_sections_with_it),
  };
  return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);
}
