/* Waiting for a request. select(2) is called by number where there is such a call: the C library
 * would follow a bad `timeout` itself, while the kernel answers EFAULT. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "request_internal.h"

#define BITS_PER_WORD (8 * sizeof(unsigned long))
/* How often a thread in a critical section looks whether the checkpoint has come to wait for it:
 * the engine writes that from outside, which wakes nobody up. */
#define LOOK_EVERY_MS 1

static int kernel_select(int count, void* readable, struct timeval* timeout) {
#ifdef SYS_select
  return (int)syscall(SYS_select, count, readable, NULL, NULL, timeout);
#else
  return select(count, readable, NULL, NULL, timeout);
#endif
}

int cri_select_readable(int fd, struct timeval* timeout) {
  const size_t words = (size_t)fd / BITS_PER_WORD + 1;
  unsigned long few[FD_SETSIZE / BITS_PER_WORD] = {0};
  unsigned long* bits = few;
  if (words > sizeof few / sizeof few[0]) bits = calloc(words, sizeof *bits);
  if (bits == NULL) return -1;
  bits[words - 1] = 1UL << ((size_t)fd % BITS_PER_WORD);
  const int ready = kernel_select(fd + 1, bits, timeout);
  const int error = errno;
  if (bits != few) free(bits);
  errno = error;
  return ready;
}

static int is_over(const struct cri_request* request, int patience_ms) {
  struct pollfd wait = {.fd = request->fd, .events = POLLIN, .revents = 0};
  const int ready = poll(&wait, 1, patience_ms);
  return cri_request_restarted(request) || ready > 0 || (ready < 0 && errno != EINTR);
}

void cri_wait_until_done(const struct cri_request* request) {
  while (!is_over(request, -1)) continue;
}

void cri_wait_until_pending(const struct cri_request* request) {
  const struct cri_block* block = cri_block_get();
  while (__atomic_load_n(&block->phase, __ATOMIC_ACQUIRE) == CRI_PHASE_IDLE) {
    if (is_over(request, LOOK_EVERY_MS)) return;
  }
}
