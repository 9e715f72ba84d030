/* The engine's part of the handshake, played from inside: a thread of the test process finds the
 * control block, writes what the engine would write, and sends the other threads to the entry point
 * by a signal whose handler calls it. Each case runs in a process of its own. */
#ifndef STASIS_CONDUCTOR_H
#define STASIS_CONDUCTOR_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcr.h"
#include "stasis/handshake.h"

#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) {                                                                 \
      fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      _exit(1);                                                                         \
    }                                                                                   \
  } while (0)
#define CHECK_FAILS(call, code)             \
  do {                                      \
    errno = 0;                              \
    CHECK((call) == -1 && errno == (code)); \
  } while (0)
/* Events are awaited with the limit of the case's alarm. */
#define AWAIT(condition) \
  while (!(condition)) usleep(200)

struct test_case {
  const char* name;
  void (*run)(void);
};
int run_cases(const struct test_case* cases, size_t count, int argc, char** argv);

/* The block, found as the engine finds it; NULL: none. */
struct cri_block* find_block(void);

/* A thread that does the steps in the background while the test goes on. */
void conduct(enum cri_verdict verdict, int code);
/* Waits until the threads have left. */
void conducted(void);
/* The single steps, from a thread that takes no part itself: begun by this. */
void be_conductor(void);
void announce(struct cri_block* block);
void send_threads(struct cri_block* block);
void give_verdict(struct cri_block* block, enum cri_verdict verdict, int code);
uint32_t threads_to_park(struct cri_block* block);

/* Letters in the order in which things happen, from any thread. */
void note(char letter);
const char* notes(void);
/* A callback: notes its letter, and behind cr_checkpoint() a digit (0 continue, 1 restart) or x. */
int noting(void* letter);

#endif
