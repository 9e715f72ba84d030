/*
 * What a checkpoint does to system calls that wait, to a stopped process, and to what the program
 * does with the checkpoint signal.
 */
#include "compat.h"

#include <semaphore.h>

static void begin(void) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, (void*)"a", CR_SIGNAL_CONTEXT) >= 0);
}

/* ---- calls that wait */

struct waiter {
  pid_t tid;
  int started, result, error;
  struct cp_pipe pipe;
};

static void save_while_waiting(void* (*body)(void*), struct waiter* waiter, long call) {
  begin();
  pthread_t thread = cp_thread(body, waiter);
  UNTIL(__atomic_load_n(&waiter->tid, __ATOMIC_SEQ_CST));
  cp_until_blocked(waiter->tid, call);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_join(thread);
}

static void* suspends(void* argument) {
  struct waiter* self = (struct waiter*)argument;
  sigset_t none;
  sigemptyset(&none);
  CHECK(cr_init() >= 0);
  __atomic_store_n(&self->tid, cp_tid(), __ATOMIC_SEQ_CST);
  self->result = sigsuspend(&none);
  self->error = errno;
  return NULL;
}

static void* suspends_twice(void* argument) {
  suspends(argument);
  __atomic_store_n(&((struct waiter*)argument)->started, 1, __ATOMIC_SEQ_CST);
  return suspends(argument);
}

CP_CASE(sigsuspend_returns_after_a_restart) {
  static struct waiter waiter;
  begin();
  pthread_t thread = cp_thread(suspends_twice, &waiter);
  UNTIL(__atomic_load_n(&waiter.tid, __ATOMIC_SEQ_CST));
  cp_until_blocked(waiter.tid, SYS_rt_sigsuspend);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  UNTIL(__atomic_load_n(&waiter.started, __ATOMIC_SEQ_CST));
  cp_until_blocked(waiter.tid, SYS_rt_sigsuspend);
  waiter.result = waiter.error = 0;
  cp_restart("");
  cp_join(thread);
  CHECK_EQ(waiter.result, -1);
  CHECK_EQ(waiter.error, EINTR);
}

CP_CASE(sigsuspend_returns) {
  static struct waiter waiter;
  save_while_waiting(suspends, &waiter, SYS_rt_sigsuspend);
  CHECK_EQ(waiter.result, -1);
  CHECK_EQ(waiter.error, EINTR);
}

static void suspends_alone(int in, int out) {
  sigset_t none;
  (void)in;
  sigemptyset(&none);
  cp_tell(out, 'r');
  CHECK_EQ(sigsuspend(&none), -1);
  CHECK_EQ(errno, EINTR);
  cp_tell(out, 's');
}

/* Even where nobody has called cr_init(): the library is there. */
CP_CASE(sigsuspend_returns_without_callbacks) {
  struct cp_child child = cp_fork(suspends_alone);
  cp_expect(child.from, 'r');
  UNTIL(cp_state(child.pid) == 'S');
  for (int heard = 0; !heard;) { /* it may have slept elsewhere the first time */
    CHECK_EQ(cp_checkpoint(child.pid, ""), 0);
    cp_dawdle();
    heard = !cp_silent(child.from);
  }
  cp_expect(child.from, 's');
  cp_ends_well(&child);
}

static void* pauses(void* argument) {
  struct waiter* self = (struct waiter*)argument;
  __atomic_store_n(&self->tid, cp_tid(), __ATOMIC_SEQ_CST);
  self->result = pause();
  self->error = errno;
  return NULL;
}

CP_CASE(pause_returns) {
#ifdef SYS_pause
  static struct waiter waiter;
  save_while_waiting(pauses, &waiter, SYS_pause);
  CHECK_EQ(waiter.result, -1);
  CHECK_EQ(waiter.error, EINTR);
#else
  (void)pauses;
  cp_skip("no such call here");
#endif
}

static void* reads(void* argument) {
  struct waiter* self = (struct waiter*)argument;
  char buffer[16];
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, (void*)"b", CR_SIGNAL_CONTEXT) >= 0);
  __atomic_store_n(&self->tid, cp_tid(), __ATOMIC_SEQ_CST);
  self->result = (int)read(self->pipe.read_end, buffer, sizeof buffer);
  self->error = errno;
  CHECK(self->result != 5 || !memcmp(buffer, "words", 5));
  return NULL;
}

CP_CASE(a_read_from_a_pipe_goes_on) {
  static struct waiter waiter;
  waiter.pipe = cp_new_pipe();
  begin();
  pthread_t thread = cp_thread(reads, &waiter);
  UNTIL(__atomic_load_n(&waiter.tid, __ATOMIC_SEQ_CST));
  cp_until_blocked(waiter.tid, SYS_read);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_until_blocked(waiter.tid, SYS_read);
  cp_restart("");
  cp_until_blocked(waiter.tid, SYS_read);
  CHECK_EQ(write(waiter.pipe.write_end, "words", 5), 5);
  cp_join(thread);
  CHECK_EQ(waiter.result, 5);
}

enum { kMuch = 300000 };
static char much[kMuch];
static void* writes(void* argument) {
  struct waiter* self = (struct waiter*)argument;
  for (int i = 0; i < kMuch; i++) much[i] = (char)(i % 251);
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, (void*)"b", CR_SIGNAL_CONTEXT) >= 0);
  __atomic_store_n(&self->tid, cp_tid(), __ATOMIC_SEQ_CST);
  /* BLCR's programs count on SA_RESTART, which a half done write knows nothing of. */
  for (int done = 0; done < kMuch;) {
    ssize_t now = write(self->pipe.write_end, much + done, (size_t)(kMuch - done));
    CHECK(now > 0);
    done += (int)now;
  }
  return NULL;
}

CP_CASE(a_write_to_a_full_pipe_goes_on) {
  static struct waiter waiter;
  static char buffer[4096];
  waiter.pipe = cp_new_pipe();
  begin();
  pthread_t thread = cp_thread(writes, &waiter);
  UNTIL(__atomic_load_n(&waiter.tid, __ATOMIC_SEQ_CST));
  cp_until_blocked(waiter.tid, SYS_write);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_until_blocked(waiter.tid, SYS_write);
  cp_restart("");
  for (int got = 0; got < kMuch;) {
    ssize_t now = read(waiter.pipe.read_end, buffer, sizeof buffer);
    CHECK(now > 0);
    for (ssize_t i = 0; i < now; i++, got++)
      if (buffer[i] != (char)(got % 251)) cp_fail("byte %d is wrong", got);
  }
  cp_join(thread);
}

static sem_t semaphore;
static void* waits_in_many_ways(void* argument) {
  struct waiter* self = (struct waiter*)argument;
  struct pollfd wait = {self->pipe.read_end, POLLIN, 0};
  char byte;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, (void*)"b", CR_SIGNAL_CONTEXT) >= 0);
  __atomic_store_n(&self->tid, cp_tid(), __ATOMIC_SEQ_CST);
  CHECK_EQ(poll(&wait, 1, -1), 1);
  CHECK_EQ(read(self->pipe.read_end, &byte, 1), 1);
  __atomic_store_n(&self->started, 1, __ATOMIC_SEQ_CST);
  CHECK_EQ(sem_wait(&semaphore), 0);
  return NULL;
}

/* Calls that SA_RESTART does not restart do not fail for a checkpoint either. */
CP_CASE(poll_and_semaphores_go_on) {
  static struct waiter waiter;
  waiter.pipe = cp_new_pipe();
  sem_init(&semaphore, 0, 0);
  begin();
  pthread_t thread = cp_thread(waits_in_many_ways, &waiter);
  UNTIL(__atomic_load_n(&waiter.tid, __ATOMIC_SEQ_CST));
  cp_until_blocked(waiter.tid, SYS_poll);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_until_blocked(waiter.tid, SYS_poll);
  cp_tell(waiter.pipe.write_end, 'x');
  UNTIL(__atomic_load_n(&waiter.started, __ATOMIC_SEQ_CST));
  cp_until_blocked(waiter.tid, SYS_futex);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_EQ(sem_post(&semaphore), 0);
  cp_join(thread);
  CHECK_EQ(cp_noted('b'), 3);
}

/* ---- a stopped process */

static int fd_of_child;
static int tells(void* unused) {
  cp_tell(fd_of_child, 'c');
  int result = cr_checkpoint(0);
  cp_tell(fd_of_child, result ? '1' : 'C');
  return unused != NULL;
}

static int context_of_stopped;
static void stops(int in, int out) {
  fd_of_child = out;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(tells, NULL, CR_SIGNAL_CONTEXT) >= 0);
  if (context_of_stopped) CHECK(cr_register_callback(tells, NULL, context_of_stopped) >= 0);
  cp_tell(out, 'r');
  raise(SIGSTOP);
  cp_tell(out, 'g');
  cp_hear(in);
}

static void stopped(int callbacks, int goes_on) {
  struct cp_child child = cp_fork(stops);
  cp_expect(child.from, 'r');
  for (int i = 0; i < 2; i++) {
    char got[5] = "", calls[5] = "";
    cp_until_stopped(child.pid);
    CHECK_EQ(cp_checkpoint(child.pid, ""), 0);
    cp_until_stopped(child.pid);
    for (int k = 0; k < 2 * callbacks;) {
      char word = cp_hear(child.from);
      if (word == 'g' && goes_on--) continue;
      got[k++] = word;
    }
    memset(calls, 'c', (size_t)callbacks);
    memset(calls + callbacks, 'C', (size_t)callbacks);
    if (strcmp(got, calls)) cp_fail("the stopped process says %s, not %s", got, calls);
    CHECK(cp_silent(child.from));
  }
  CHECK_EQ(cp_checkpoint(child.pid, "--cont"), 0); /* unless a signal says otherwise */
  cp_tell(child.to, 'q');
  cp_ends_well(&child);
}

CP_CASE(callbacks_run_in_a_stopped_process) {
  stopped(1, 0);
}

/* While THREAD callbacks run the other threads run as well: somebody may have to leave a section.
 */
CP_CASE(thread_callbacks_run_in_a_stopped_process) {
  context_of_stopped = CR_THREAD_CONTEXT;
  stopped(2, 1);
}

/* ---- signal 64 */

static volatile int handled, handled_value;
static void handler(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  handled_value = info->si_value.sival_int;
  handled++;
}

/* With whatever the program does to the signal: callbacks run, and its doing stays. */
static void with_signal(void (*prepare)(void), void (*check)(void)) {
  begin();
  CHECK(cr_register_callback(cp_noting, (void*)"b", CR_THREAD_CONTEXT) >= 0);
  prepare();
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  check();
  CHECK(cp_noted('A') == 1 && cp_noted('B') == 1);
  cp_restart("");
  check();
  CHECK(cp_noted('1') == 1 && cp_noted('2') == 1);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  check();
  CHECK(cp_noted('A') == 2 && cp_noted('B') == 2);
}

static void set_action(void (*value)(int)) {
  struct sigaction action = {0};
  action.sa_handler = value;
  CHECK_EQ(sigaction(CR_SIGNUM, &action, NULL), 0);
}

static void check_action(void (*value)(int)) {
  struct sigaction action;
  CHECK_EQ(sigaction(CR_SIGNUM, NULL, &action), 0);
  CHECK(action.sa_handler == value);
}

static void ignore_it(void) {
  set_action(SIG_IGN);
}
static void is_ignored(void) {
  check_action(SIG_IGN);
}
CP_CASE(signal_64_may_be_ignored) {
  with_signal(ignore_it, is_ignored);
}

static void default_it(void) {
  set_action(SIG_DFL);
}
static void is_default(void) {
  check_action(SIG_DFL);
}
CP_CASE(signal_64_may_have_its_default) {
  with_signal(default_it, is_default);
}

static void handle_it(void) {
  struct sigaction action = {0};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaddset(&action.sa_mask, SIGUSR1);
  CHECK_EQ(sigaction(CR_SIGNUM, &action, NULL), 0);
}
static void is_handled(void) {
  struct sigaction action;
  CHECK_EQ(sigaction(CR_SIGNUM, NULL, &action), 0);
  CHECK(action.sa_sigaction == handler);
  CHECK((action.sa_flags & (SA_SIGINFO | SA_RESTART)) == (SA_SIGINFO | SA_RESTART));
  CHECK_EQ(sigismember(&action.sa_mask, SIGUSR1), 1);
  union sigval value = {.sival_int = 4711 + handled};
  int before = handled; /* no checkpoint has run it */
  CHECK_EQ(sigqueue(getpid(), CR_SIGNUM, value), 0);
  CHECK_EQ(handled, before + 1);
  CHECK_EQ(handled_value, 4711 + before);
}
CP_CASE(signal_64_may_be_handled) {
  with_signal(handle_it, is_handled);
  CHECK_EQ(handled, 3);
}

static void block_it(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, CR_SIGNUM);
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
}
static void is_blocked(void) {
  sigset_t set;
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
  CHECK_EQ(sigismember(&set, CR_SIGNUM), 1);
  CHECK_EQ(sigpending(&set), 0);
  CHECK_EQ(sigismember(&set, CR_SIGNUM), 0);
}
CP_CASE(signal_64_may_be_blocked) {
  with_signal(block_it, is_blocked);
}

static void block_all(void) {
  sigset_t set;
  sigfillset(&set);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
}
CP_CASE(all_signals_may_be_blocked) {
  with_signal(block_all, is_blocked);
}

/* A disposition of the kernel's form whose restorer leads nowhere. */
struct kernel_action {
  void* handler;
  unsigned long flags;
  void* restorer;
  unsigned long mask;
};
static void corrupt_it(void) {
  struct kernel_action action = {(void*)8, 0x04000000UL, (void*)16, 0};
  CHECK_EQ(syscall(SYS_rt_sigaction, CR_SIGNUM, &action, NULL, 8UL), 0);
}
static void is_corrupt(void) {
  struct kernel_action action;
  CHECK_EQ(syscall(SYS_rt_sigaction, CR_SIGNUM, NULL, &action, 8UL), 0);
  CHECK(action.handler == (void*)8 && action.restorer == (void*)16);
}
CP_CASE(signal_64_may_have_a_broken_restorer) {
  with_signal(corrupt_it, is_corrupt);
}

/* Only the kernel's, or rather the engine's, word starts a checkpoint: the signal itself does not.
 */
CP_CASE(signal_64_itself_does_nothing_to_callbacks) {
  begin();
  set_action(SIG_IGN);
  CHECK_EQ(kill(getpid(), CR_SIGNUM), 0);
  CHECK_EQ(raise(CR_SIGNUM), 0);
  CHECK_NOTES("");
}

CP_CASE(signal_64_is_reserved) {
  CHECK_EQ(SIGRTMAX, CR_SIGNUM - 1);
}

/* Handlers of the program run between, not inside, and find their masks as they were. */
static int raises(void* unused) {
  CHECK_EQ(cr_checkpoint(0) < 0, 0);
  return unused != NULL;
}
CP_CASE(the_programs_signals_are_delivered) {
  struct sigaction action = {0};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  begin();
  CHECK(cr_register_callback(raises, NULL, CR_SIGNAL_CONTEXT) >= 0);
  cr_client_id_t id = cr_init();
  CHECK_EQ(cr_enter_cs(id), 0);
  pid_t command = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  CHECK_EQ(kill(getpid(), SIGUSR1), 0);
  UNTIL(handled == 1);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cp_finish(command), 0);
  CHECK_EQ(kill(getpid(), SIGUSR1), 0);
  UNTIL(handled == 2);
}
