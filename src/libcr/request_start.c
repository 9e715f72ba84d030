/* Starting the helper so that the program does not notice. What runs in the new process before its
 * exec shares our memory, as after vfork(2): no handlers of pthread_atfork(3), no copy of page
 * tables, and an exec that fails is told by a plain store. Everything in such a process is a system
 * call, and all signals stay blocked in it: a core dump of it would kill us as well.
 *
 * A checkpoint's helper is made by a process in between, which ends at once: it is no child of
 * the program, and in nobody's process group or session. The one in between has no exit signal, so
 * only a wait with __WCLONE sees it. A restart's helper is a child made with SIGCHLD, as what it
 * gives us for a child has its exit signal. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "request_internal.h"

#define STACK_SIZE (64UL * 1024)
#define LAST_KERNEL_SIGNAL 64

struct start {
  struct cri_helper* helper;
  char* stack; /* two of them, one above the other */
};

static char* top_of_stack(const struct start* start, int which) {
  return start->stack + (size_t)(which + 1) * STACK_SIZE;
}

/* An exec resets handlers, not what is ignored. glibc's sigaction() refuses its own signals. */
static void reset_dispositions(void) {
  static const uint64_t by_default[8]; /* struct sigaction of the kernel, on all machines */
  for (int number = 1; number <= LAST_KERNEL_SIGNAL; ++number) {
    (void)syscall(SYS_rt_sigaction, number, by_default, NULL, (size_t)LAST_KERNEL_SIGNAL / 8);
  }
}

/* An exec takes the capabilities of an ordinary user away, except those in the ambient set, which
 * must be inheritable first: the helper may do what the program may. Where it cannot, it lacks
 * them. */
static void keep_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
  if (geteuid() == 0 || syscall(SYS_capget, &header, sets) != 0) return;
  for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; ++i) sets[i].inheritable = sets[i].permitted;
  if (syscall(SYS_capset, &header, sets) != 0) return;
  for (unsigned int number = 0; number < 32 * _LINUX_CAPABILITY_U32S_3; ++number) {
    if ((sets[number / 32].permitted & (1u << (number % 32))) == 0) continue;
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, (unsigned long)number, 0UL, 0UL);
  }
}

static void close_range_of(long first, long last) {
  if (first > last || syscall(SYS_close_range, first, last, 0) == 0) return;
  for (long fd = first; fd <= last && fd < 65536; ++fd) (void)close((int)fd);
}

/* Closes all but two descriptors, of which `b` may be negative. */
static void close_all_but(int a, int b) {
  const int low = b >= 0 && b < a ? b : a;
  const int high = a + b - low < 0 ? low : a + b - low;
  close_range_of(0, low - 1);
  close_range_of(low + 1, high - 1);
  close_range_of((b < 0 ? a : high) + 1, INT32_MAX);
}

/* Gives a checkpoint's helper descriptors 0 to 4 and no others. */
static int arrange_descriptors(const struct cri_helper* helper) {
  close_all_but(helper->reply, helper->context);
  /* Above all that is overwritten below. */
  const int reply = fcntl(helper->reply, F_DUPFD, CRI_HELPER_CONTEXT + 1);
  const int context =
      helper->context < 0 ? -1 : fcntl(helper->context, F_DUPFD, CRI_HELPER_CONTEXT + 1);
  if (reply < 0 || (helper->context >= 0 && context < 0)) return -1;
  if (dup2(reply, CRI_HELPER_REPLY) < 0) return -1;
  if (context >= 0 && dup2(context, CRI_HELPER_CONTEXT) < 0) return -1;
  close_range_of(context >= 0 ? CRI_HELPER_CONTEXT + 1 : CRI_HELPER_CONTEXT, INT32_MAX);
  close_range_of(0, STDERR_FILENO);
  const int null = open("/dev/null", O_RDWR); /* the lowest number, 0; the helper minds if not */
  if (null >= 0) (void)dup2(null, STDOUT_FILENO), (void)dup2(null, STDERR_FILENO);
  return 0;
}

/* A restart's helper passes on what is not close-on-exec, and tells these two from it by number. */
static int keep_open(const struct cri_helper* helper) {
  if (fcntl(helper->reply, F_SETFD, 0) != 0) return -1;
  return fcntl(helper->context, F_SETFD, 0);
}

static int become_helper(void* argument) {
  struct cri_helper* helper = ((struct start*)argument)->helper;
  reset_dispositions();
  keep_capabilities();
  const int detached = helper->kind == CRI_REQUEST_CHECKPOINT;
  if ((detached ? arrange_descriptors(helper) : keep_open(helper)) == 0) {
    (void)execve(helper->path, helper->words, helper->environment);
  }
  helper->error = errno;
  _exit(127);
}

static pid_t make_helper(struct start* start, int which, int exit_signal) {
  return clone(become_helper, top_of_stack(start, which), CLONE_VM | CLONE_VFORK | exit_signal,
               start);
}

static int stand_between(void* argument) {
  struct start* start = argument;
  (void)setsid(); /* a new process leads no group, so it cannot fail */
  start->helper->pid = make_helper(start, 1, 0);
  if (start->helper->pid < 0) start->helper->error = errno;
  _exit(0);
}

static void reap(pid_t pid, int options) {
  while (waitpid(pid, NULL, options) < 0 && errno == EINTR) continue;
}

static void start_detached(struct start* start) {
  const pid_t between = clone(stand_between, top_of_stack(start, 0), CLONE_VM | CLONE_VFORK, start);
  if (between < 0) {
    start->helper->error = errno;
  } else {
    reap(between, (int)__WCLONE);
  }
}

static void start_child(struct start* start) {
  start->helper->pid = make_helper(start, 1, SIGCHLD);
  if (start->helper->pid < 0) {
    start->helper->error = errno;
  } else if (start->helper->error != 0) {
    reap(start->helper->pid, 0);
  }
}

int cri_helper_start(struct cri_helper* helper) {
  struct start start = {.helper = helper};
  sigset_t all, before;
  helper->pid = -1;
  helper->error = 0;
  start.stack = mmap(NULL, 2 * STACK_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (start.stack == MAP_FAILED) return errno;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (helper->kind == CRI_REQUEST_CHECKPOINT) {
    start_detached(&start);
  } else {
    start_child(&start);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  (void)munmap(start.stack, 2 * STACK_SIZE);
  return helper->error;
}
