/* LD_PRELOAD library: kills its own process right after the k-th act on another process (ptrace,
 * waitid, process_vm_writev), k from STASIS_KILL_STEP; 0 or unset: never, and STASIS_STEP_FILE
 * gets the number of acts at exit. Not for anything but the kill test. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static long steps, kill_step;

__attribute__((constructor)) static void start(void) {
  const char* text = getenv("STASIS_KILL_STEP");
  kill_step = text ? atol(text) : 0;
}

__attribute__((destructor)) static void stop(void) {
  const char* path = getenv("STASIS_STEP_FILE");
  /* The command works in a child of its own, and does nothing itself. */
  FILE* file = path && steps > 0 ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "%ld\n", steps);
  fclose(file);
}

static void step(void) {
  int saved = errno;
  if (++steps == kill_step) kill(getpid(), SIGKILL);
  errno = saved;
}

static long real_syscall(long number, long a, long b, long c, long d, long e, long f) {
  static long (*next)(long, ...);
  if (!next) *(void**)&next = dlsym(RTLD_NEXT, "syscall"); /* the form that POSIX gives */
  return next(number, a, b, c, d, e, f);
}

long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
  long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
  va_end(list);
  long result = real_syscall(number, a, b, c, d, e, f);
  if (number == SYS_ptrace) step();
  return result;
}

int waitid(idtype_t type, id_t id, siginfo_t* info, int options) {
  int result = (int)real_syscall(SYS_waitid, type, (long)id, (long)info, options, 0, 0);
  /* Looking in vain is no act: how often depends on the machine. */
  if (result == 0 && info && info->si_pid) step();
  return result;
}

ssize_t process_vm_writev(pid_t pid, const struct iovec* local, unsigned long locals,
                          const struct iovec* remote, unsigned long remotes, unsigned long flags) {
  ssize_t result = real_syscall(SYS_process_vm_writev, pid, (long)local, (long)locals, (long)remote,
                                (long)remotes, (long)flags);
  step();
  return result;
}
