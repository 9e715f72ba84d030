/* The thread that runs callbacks of the thread context: made with the first registration, hidden
 * from the program (all signals blocked), waiting for the engine to write a phase. It lies on a
 * stack of our own making, by which the entry point knows it before it knows itself. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#define STACK_SIZE (1024UL * 1024)
#define LARGE_STACK_SIZE (8 * STACK_SIZE) /* for programs with much thread local storage */
#define GUARD_SIZE 65536UL                /* at least a page anywhere */

static char* stack; /* lowest address; NULL: none yet */
static size_t stack_size;
static uint32_t started; /* futex */

int cri_on_callback_stack(void) {
  const char here = 0;
  const uintptr_t at = (uintptr_t)&here;
  return stack != NULL && at >= (uintptr_t)stack && at < (uintptr_t)stack + stack_size;
}

static void serve_request(void) {
  const unsigned generation = cri_generation;
  if (!cri_join(CRI_PHASE_REQUESTED)) return;
  cri_gate_close();
  cri_gate_wait_empty();
  cri_run_callbacks(&cri_thread_callbacks);
  if (cri_generation == generation) cri_finish(CR_HOOK_CONT_THREAD_CONTEXT);
}

/* A program whose main thread has ended by pthread_exit(3) ends with its last thread, and that must
 * not be this one for ever. */
static uint32_t leader_has_ended;

void cri_leader_ends(void) {
  cri_store(&leader_has_ended, 1);
  cri_futex_wake(&cri_block_get()->phase);
}

static int is_zombie(const char* tid) {
  char path[64], text[512];
  (void)snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", tid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 1;
  const ssize_t length = read(fd, text, sizeof text - 1);
  (void)close(fd);
  text[length > 0 ? length : 0] = '\0';
  const char* end_of_name = strrchr(text, ')');
  return end_of_name == NULL || end_of_name[1] == '\0' || end_of_name[2] == 'Z';
}

static int is_alone(void) {
  int others = 0;
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == NULL) return 0;
  for (const struct dirent* entry; others == 0 && (entry = readdir(tasks)) != NULL;) {
    const long tid = atol(entry->d_name);
    others += tid != 0 && tid != cri_block_get()->callback_tid && !is_zombie(entry->d_name);
  }
  (void)closedir(tasks);
  return others == 0;
}

/* 0: nobody else is left. */
static int await_phase(struct cri_block* block, uint32_t phase) {
  if (!cri_load(&leader_has_ended)) {
    cri_futex_wait(&block->phase, phase);
  } else if (!cri_futex_wait_second(&block->phase, phase) && is_alone()) {
    cri_store(&block->callback_tid, 0);
    return 0;
  }
  return 1;
}

static void* serve(void* unused) {
  struct cri_block* block = cri_block_get();
  const unsigned generation = cri_generation;
  cri_self.is_callback_thread = 1;
  cri_self.hold = CR_HOLD_DFLT;
  cri_store(&block->callback_tid, (int32_t)syscall(SYS_gettid));
  cri_store(&started, 1);
  cri_futex_wake(&started);
  while (cri_generation == generation) {
    const uint32_t phase = cri_load(&block->phase);
    if (phase == CRI_PHASE_REQUESTED) {
      serve_request();
    } else if (phase == CRI_PHASE_SIGNALS && cri_load(&block->verdict) == CRI_VERDICT_NONE &&
               cri_load(&block->request) != cri_self.served) {
      cri_stand_by(); /* it began before there was a callback */
    } else if (!await_phase(block, phase)) {
      break;
    }
  }
  return unused; /* or in the child of a fork that a callback made: nothing is left to do */
}

static int make_stack(size_t size) {
  char* area = mmap(NULL, size + GUARD_SIZE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) return ENOMEM;
  if (mprotect(area + GUARD_SIZE, size, PROT_READ | PROT_WRITE) != 0) {
    (void)munmap(area, size + GUARD_SIZE);
    return ENOMEM;
  }
  stack_size = size;
  stack = area + GUARD_SIZE;
  return 0;
}

static void drop_stack(void) {
  char* area = stack - GUARD_SIZE;
  stack = NULL;
  (void)munmap(area, stack_size + GUARD_SIZE);
}

static int create(void) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  int error = pthread_attr_init(&attributes);
  if (error != 0) return error;
  (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  error = pthread_attr_setstack(&attributes, stack, stack_size);
  sigfillset(&all); /* without those that the C library sends to every thread */
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  if (error == 0) error = pthread_create(&thread, &attributes, serve, NULL);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  (void)pthread_attr_destroy(&attributes);
  return error;
}

static int create_with_stack(size_t size) {
  int error = make_stack(size);
  if (error != 0) return error;
  error = create();
  if (error != 0) drop_stack();
  return error;
}

/* The caller is in a critical section and holds the lock of the list. */
int cri_callback_thread_start(void) {
  if (cri_load(&cri_block_get()->callback_tid) != 0) return 0;
  cri_store(&started, 0);
  int error = create_with_stack(STACK_SIZE);
  if (error == EINVAL) error = create_with_stack(LARGE_STACK_SIZE);
  if (error != 0) return error == EAGAIN ? ENOMEM : error;
  while (cri_load(&started) == 0) cri_futex_wait(&started, 0);
  return 0;
}

/* The child has no such thread. Its stack is there, and may be the one that we are on. */
void cri_callback_thread_forked(void) {
  cri_block_get()->callback_tid = 0;
  leader_has_ended = 0;
  if (stack != NULL && !cri_on_callback_stack()) drop_stack();
  stack = NULL;
}
