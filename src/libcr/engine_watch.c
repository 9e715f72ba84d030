/* Whether the engine that stopped us still lives: if not, nobody else would ever tell the parked
 * threads to go on. Async-signal-safe, and no cancellation point: system calls by number. The
 * descriptor that it opens for a moment is never saved, as its thread is not parked then. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static char* put_number(char* to, int32_t number) {
  char digits[16];
  int count = 0;
  do {
    digits[count++] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  while (count > 0) *to++ = digits[--count];
  return to;
}

/* /proc/PID/stat; its length, or -1. */
static long read_stat(int32_t pid, char* text, size_t size) {
  char path[40] = "/proc/";
  memcpy(put_number(path + strlen(path), pid), "/stat", sizeof "/stat");
  const long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const long length = syscall(SYS_read, fd, text, size);
  (void)syscall(SYS_close, fd);
  return length;
}

/* Field 3 (state) of the line, and field 22 (start time); 0: no such field. The name in field 2 may
 * hold blanks and parentheses. */
static int parse(const char* text, long length, char* state, uint64_t* start) {
  long at = length;
  while (at > 0 && text[at - 1] != ')') --at;
  if (at == 0 || at + 1 >= length) return 0;
  *state = text[at + 1];
  int field = 2;
  for (; at < length && field < 22; ++at) field += text[at] == ' ';
  *start = 0;
  const long begin = at;
  for (; at < length && text[at] >= '0' && text[at] <= '9'; ++at) {
    *start = *start * 10 + (uint64_t)(text[at] - '0');
  }
  return at > begin;
}

/* In a pid namespace where the engine cannot be seen it changes `beat` while it waits for us. (It
 * does not while it holds us frozen, but then there is a verdict when we go on.) */
static int beats_no_more(const struct cri_block* block) {
  enum { kPatience = 30 }; /* seconds; it may be waiting for another process to stand still */
  static uint32_t last;
  static time_t since;
  struct timespec now;
  (void)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  const uint32_t beat = cri_load(&block->beat);
  if (beat == last) return now.tv_sec - since > kPatience;
  last = beat;
  since = now.tv_sec;
  return 0;
}

static int engine_has_died(const struct cri_block* block) {
  const int32_t pid = cri_load(&block->engine_pid);
  char text[1024];
  char state = 0;
  uint64_t start = 0;
  if (pid <= 0) return beats_no_more(block);
  if (kill(pid, 0) != 0 && errno == ESRCH) return 1;
  const long length = read_stat(pid, text, sizeof text);
  if (length <= 0 || !parse(text, length, &state, &start)) return 0; /* hidden from us */
  return state == 'Z' || state == 'X' || start != cri_load(&block->engine_start);
}

int cri_engine_has_died(void) {
  const struct cri_block* block = cri_block_get();
  const int before = errno;
  const int has_died = cri_load(&block->engine_pid) > 0 && engine_has_died(block);
  errno = before;
  return has_died;
}

void cri_check_engine(void) {
  static int checking; /* one thread is enough */
  struct cri_block* block = cri_block_get();
  const int before = errno;
  if (cri_exchange(&checking, 1)) return;
  uint32_t none = CRI_VERDICT_NONE;
  if (cri_load(&block->verdict) == none && engine_has_died(block)) {
    /* Written before the verdict; whoever has given another by now has written its own. */
    cri_store(&block->verdict_code, CR_ETEMPFAIL);
    if (cri_replace(&block->verdict, &none, CRI_VERDICT_ABORT)) cri_futex_wake(&block->verdict);
  }
  cri_store(&checking, 0);
  errno = before;
}
