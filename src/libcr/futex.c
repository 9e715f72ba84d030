/* Futexes of one process. A wait may end early for any reason, also because the engine stopped the
 * process, wrote the word and let it go: callers look at the word again, always. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

void cri_futex_wait(uint32_t* word, uint32_t expected) {
  const int before = errno;
  (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
  errno = before;
}

int cri_futex_wait_second(uint32_t* word, uint32_t expected) {
  const struct timespec second = {.tv_sec = 1, .tv_nsec = 0};
  const int before = errno;
  const long result = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &second, NULL, 0);
  const int is_over = result < 0 && errno == ETIMEDOUT;
  errno = before;
  return !is_over;
}

/* For words that the engine writes without stopping the process. */
void cri_futex_wait_moment(uint32_t* word, uint32_t expected) {
  const struct timespec moment = {.tv_sec = 0, .tv_nsec = 1000000};
  const int before = errno;
  (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &moment, NULL, 0);
  errno = before;
}

void cri_futex_wake(uint32_t* word) {
  (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
