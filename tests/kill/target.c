/* Target of the kill test: threads in epoll_wait, nanosleep, read, poll, futex, sigsuspend and two
 * that spin, each checking that nobody can be noticed. Shows what it does in the status file
 * argv[1]. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "registers.h"
#include "status.h"

enum { kSignal = 44 }; /* real-time in every C library */

static struct status* status;
static int event_fd, epoll_fd, pipe_fds[2];
static atomic_flag failed = ATOMIC_FLAG_INIT;

static void fail(const char* format, ...) {
  if (atomic_flag_test_and_set(&failed)) return;
  va_list list;
  va_start(list, format);
  vsnprintf(status->failure, sizeof status->failure, format, list);
  va_end(list);
}

static void advance(int who) {
  __atomic_add_fetch(&status->progress[who], 1, __ATOMIC_RELAXED);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void on_signal(int number) {
  (void)number;
  __atomic_add_fetch(&status->signals, 1, __ATOMIC_RELAXED);
}

/* Where threads are sent without a signal. Leaves nothing in the vector registers as it was. */
static void entered(int number, siginfo_t* info, void* context) {
  unsigned long flags;
  unsigned int mxcsr;
  __asm__ volatile("pushfq\npop %0\nstmxcsr %1" : "=r"(flags), "=m"(mxcsr));
  if ((unsigned long)__builtin_frame_address(0) % 16) fail("the handler's stack is not aligned");
  if (flags & 0x400) fail("the handler began with the direction flag set");
  if ((mxcsr & 0x1f80) != 0x1f80) fail("the handler began with MXCSR %#x", mxcsr);
  if (number != 64 || info->si_signo != 64 || info->si_code != SI_QUEUE ||
      info->si_value.sival_int != 0x5354)
    fail("the handler was told signal %d, code %d", number, info->si_code);
  if (((ucontext_t*)context)->uc_mcontext.gregs[16] == 0) fail("the handler got no context");
  static const unsigned int other_mxcsr = 0x3f80;
  __asm__ volatile("fld1\nfld1\nldmxcsr %0" ::"m"(other_mxcsr));
  if (__builtin_cpu_supports("avx"))
    __asm__ volatile(
        "vpcmpeqd %%xmm0, %%xmm0, %%xmm0\nvinsertf128 $1, %%xmm0, %%ymm0, %%ymm0\n"
        "vmovups %%ymm0, %%ymm1\nvmovups %%ymm0, %%ymm7\nvmovups %%ymm0, %%ymm15\n" ::
            : "xmm0", "xmm1", "xmm7", "xmm15");
  __asm__ volatile("pcmpeqd %%xmm3, %%xmm3\nmovaps %%xmm3, %%xmm8" ::: "xmm3", "xmm8");
  __atomic_add_fetch(&status->handled, 1, __ATOMIC_RELAXED);
}
void leave(void);
__asm__(".text\n.globl leave\nleave:\nmov $15, %eax\nsyscall\n");

#ifdef WITH_LIBCR
#include <libcr.h>

static atomic_int inside; /* callbacks between their begin and their end */

static int callback(void* unused) {
  if (atomic_fetch_add(&inside, 1) > kThreads) fail("callbacks run more than once");
  int result = cr_checkpoint(CR_CHECKPOINT_READY); /* fails when the command was killed */
  if (result > 0) fail("cr_checkpoint: %d", result);
  if (atomic_fetch_sub(&inside, 1) < 1) fail("a callback ends that did not begin");
  return unused != NULL;
}
static cr_client_id_t take_part(int context) {
  cr_client_id_t id = cr_init();
  if (id < 0 || cr_register_callback(callback, NULL, context) < 0) exit(3);
  return id;
}
static void enter(cr_client_id_t id) {
  if (cr_enter_cs(id)) fail("cr_enter_cs: errno %d", errno);
  if (atomic_load(&inside)) fail("a callback runs while a thread is in a section");
}
static void leave_section(cr_client_id_t id) {
  if (cr_leave_cs(id)) fail("cr_leave_cs: errno %d", errno);
}
#else
#define CR_SIGNAL_CONTEXT 0
#define CR_THREAD_CONTEXT 0
static int take_part(int context) {
  return context;
}
static void enter(int id) {
  (void)id;
}
static void leave_section(int id) {
  (void)id;
}
#endif

static void* epoller(void* unused) {
  for (;; advance(0)) {
    struct epoll_event event;
    int got = epoll_wait(epoll_fd, &event, 1, 60000);
    if (got < 0 && errno == EINTR) {
      __atomic_add_fetch(&status->epoll_eintr, 1, __ATOMIC_RELAXED);
      continue;
    }
    if (got != 1) fail("epoll_wait: %d, errno %d", got, errno);
    unsigned long value;
    if (got == 1 && read(event_fd, &value, 8) != 8) fail("read of the eventfd: errno %d", errno);
  }
  return unused;
}

static void* sleeper(void* unused) {
  for (;; advance(1)) {
    struct timespec time = {0, 4000000};
    double start = seconds();
    if (nanosleep(&time, NULL)) fail("nanosleep: errno %d", errno);
    if (seconds() - start < 0.004) fail("nanosleep was short: %g", seconds() - start);
  }
  return unused;
}

static void* reader(void* unused) {
  for (unsigned char expected = 0;; ++expected, advance(2)) {
    unsigned char byte;
    ssize_t got = read(pipe_fds[0], &byte, 1);
    if (got != 1) fail("read: %zd, errno %d", got, errno);
    if (got == 1 && byte != expected) fail("read %d instead of %d", byte, expected);
  }
  return unused;
}

static void* poller(void* unused) {
  for (;; advance(3)) {
    double start = seconds();
    int got = poll(NULL, 0, 5);
    if (got) fail("poll: %d, errno %d", got, errno);
    if (seconds() - start < 0.005) fail("poll was short: %g", seconds() - start);
  }
  return unused;
}

static void* waiter(void* unused) {
  static int word;
  for (;; advance(4)) {
    struct timespec time = {0, 6000000};
    double start = seconds();
    long got = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
    if (got != -1 || errno != ETIMEDOUT) fail("futex: %ld, errno %d", got, errno);
    if (seconds() - start < 0.006) fail("futex was short: %g", seconds() - start);
  }
  return unused;
}

static void* spinner(void* number) {
  static struct spin spins[2];
  int which = (int)(long)number;
  take_part(CR_SIGNAL_CONTEXT);
  for (;; advance(5 + which)) {
    const char* wrong = spin_and_check(&spins[which], 100000);
    if (wrong) fail("spinner %d: %s", which, wrong);
  }
  return NULL;
}

/* Feeds the others and looks for what should not be there. */
static void* feeder(void* unused) {
  int id = take_part(CR_SIGNAL_CONTEXT);
  for (unsigned char byte = 0;; ++byte, advance(7)) {
    struct timespec time = {0, 2000000};
    unsigned long one = 1;
    enter(id);
    if (write(pipe_fds[1], &byte, 1) != 1) fail("write: errno %d", errno);
    if (write(event_fd, &one, 8) != 8) fail("write of the eventfd: errno %d", errno);
    leave_section(id);
    if (clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL)) fail("clock_nanosleep failed");
    if (waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD) fail("there is a child");
  }
  return unused;
}

static void start(void* (*function)(void*), long argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, function, (void*)argument)) exit(2);
}

int main(int argc, char** argv) {
  int file = argc > 1 ? open(argv[1], O_RDWR | O_CREAT, 0600) : -1;
  if (file < 0 || ftruncate(file, sizeof *status)) return 2;
  status = mmap(NULL, sizeof *status, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  epoll_fd = epoll_create1(0);
  event_fd = eventfd(0, 0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &event);
  if (pipe(pipe_fds)) return 2;
  status->handler = (unsigned long)entered;
  status->restorer = (unsigned long)leave;

  take_part(CR_THREAD_CONTEXT);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(kSignal, &action, NULL);
  sigset_t ours, before;
  sigemptyset(&ours);
  sigaddset(&ours, kSignal);
  start(spinner, 0); /* these two and main take signals */
  start(spinner, 1);
  pthread_sigmask(SIG_BLOCK, &ours, &before);
  void* (*functions[])(void*) = {epoller, sleeper, reader, poller, waiter, feeder};
  for (int i = 0; i < 6; ++i) start(functions[i], 0);
  status->ready = 1;
  for (;; advance(8)) sigsuspend(&before);
}
