/* Cases on requests: each runs in a process of its own, with a helper that plays its part
 * (request_helper.c), in an empty folder. A case that never ends is ended by SIGALRM. */
#ifndef STASIS_REQUEST_CASE_H
#define STASIS_REQUEST_CASE_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcr.h"

#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) {                                                                 \
      fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)
#define CHECK_FAILS(call, code)             \
  do {                                      \
    errno = 0;                              \
    CHECK((call) == -1 && errno == (code)); \
  } while (0)

/* What the helper of the next request does. */
static inline void play(const char* script) {
  CHECK(setenv("PLAY", script, 1) == 0);
}

static inline int new_file(void) {
  const int fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  return fd;
}

/* Lets a helper go on that waits for the fifo `name`. */
static inline void make_fifo(const char* name) {
  CHECK(mkfifo(name, 0600) == 0);
}
static inline void release(const char* name) {
  const int fd = open(name, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && write(fd, "x", 1) == 1);
  /* Stays open: a byte in a fifo that nobody has open is lost. */
}

/* Whether the log has this line. */
static inline int has_line(const char* log, const char* line) {
  const size_t length = strlen(line);
  for (const char* at = strstr(log, line); at != NULL; at = strstr(at + 1, line)) {
    if ((at == log || at[-1] == '\n') && at[length] == '\n') return 1;
  }
  return 0;
}
/* The number behind `word` at the beginning of a line, or -1. */
static inline int number_in(const char* log, const char* word) {
  for (const char* at = strstr(log, word); at != NULL; at = strstr(at + 1, word)) {
    if ((at == log || at[-1] == '\n') && at[strlen(word)] == ' ') return atoi(at + strlen(word));
  }
  return -1;
}

static inline int count_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

struct test_case {
  const char* name;
  void (*body)(void);
};

#define TEST(name) \
  { #name, name }

static inline int run_case(const struct test_case* test) {
  char folder[] = "/tmp/stasis-request-XXXXXX";
  int status = 0;
  CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0);
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    test->body();
    exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child);
  (void)!(unlink("file") | unlink("go"));
  CHECK(chdir("/") == 0 && rmdir(folder) == 0);
  printf("%s %s\n", status == 0 ? "ok" : "FAIL", test->name);
  return status != 0;
}

/* argv[1]: the helper's program. */
static inline int run_cases(const struct test_case* tests, size_t count, int argc, char** argv) {
  int failed = 0;
  char* helper = argc > 1 ? realpath(argv[1], NULL) : NULL;
  if (helper == NULL || setenv("STASIS_HELPER", helper, 1) != 0) return 2;
  free(helper);
  for (size_t i = 0; i < count; ++i) failed += run_case(&tests[i]);
  return failed != 0;
}

#endif
