/* The thread that runs callbacks of the thread context: made with the first registration, hidden
 * from the program (all signals blocked), waiting for the engine to write a phase. It lies on a
 * stack of our own making, by which the entry point knows it before it knows itself. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
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
    } else {
      cri_futex_wait(&block->phase, phase);
    }
  }
  return unused; /* in the child of a fork that a callback made: nothing is left to do */
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
  if (stack != NULL && !cri_on_callback_stack()) drop_stack();
  stack = NULL;
}
