/* cr_checkpoint(): callbacks run nested, each from inside the cr_checkpoint() of the one that was
 * registered after it; the innermost call waits for the verdict, and what it was is returned
 * outwards. Runs in the callback thread, in a thread at the entry point, and in cr_leave_cs():
 * async-signal-safe. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

/* A callback refused. Of several answers the severest counts. */
static void record_answer(uint32_t flags) {
  struct cri_block* block = cri_block_get();
  uint32_t answer = cri_load(&block->answer);
  static const int severity[] = {0, 2, 3, 0, 1}; /* by CR_CHECKPOINT_* */
  while (severity[flags & 7] > severity[answer & 7]) {
    if (!cri_replace(&block->answer, &answer, flags)) continue;
    cri_store(&block->answer_tid, (int32_t)syscall(SYS_gettid));
    return;
  }
}

static int is_valid(int flags) {
  switch (flags & 0xffff) {
    case CR_CHECKPOINT_TEMP_FAILURE:
    case CR_CHECKPOINT_PERM_FAILURE:
      return 1;
    default:
      return flags == CR_CHECKPOINT_READY || flags == CR_CHECKPOINT_OMIT;
  }
}

/* What cr_checkpoint() returns. */
static int result_of(uint32_t verdict) {
  const struct cri_block* block = cri_block_get();
  switch (verdict) {
    case CRI_VERDICT_CONTINUE:
      return 0;
    case CRI_VERDICT_RESTART:
      return 1;
    case CRI_VERDICT_OMITTED:
      return -CR_EOMITTED;
    default:
      return block->verdict_code > 0 ? -block->verdict_code : -CR_ETEMPFAIL;
  }
}

static int await(void) {
  if (cri_self.is_callback_thread) {
    uint32_t expected = CRI_PHASE_REQUESTED;
    (void)cri_replace(&cri_block_get()->phase, &expected, CRI_PHASE_THREADS_READY);
  }
  return result_of(cri_await_verdict());
}

/* A callback that returns non-zero has failed: before the checkpoint it keeps it from happening,
 * afterwards the engine is told. */
static void note_failure(int value) {
  struct cri_block* block = cri_block_get();
  const uint32_t verdict = cri_load(&block->verdict);
  int32_t expected = 0;
  if (verdict != CRI_VERDICT_CONTINUE && verdict != CRI_VERDICT_RESTART) return;
  (void)cri_replace(&block->failed, &expected, value);
}

static int call(struct cri_callback callback, uint32_t index) {
  const unsigned generation = cri_generation;
  struct cri_frame frame = {.outer = cri_self.frame, .index = index};
  cri_self.frame = &frame;
  const int value = callback.func(callback.arg);
  if (cri_generation != generation) return -CR_ENOTCB;
  if (!frame.called) {
    (void)cr_checkpoint(value == 0 ? CR_CHECKPOINT_READY : CR_CHECKPOINT_PERM_FAILURE);
  } else if (value != 0) {
    note_failure(value);
  }
  cri_self.frame = frame.outer;
  return frame.result;
}

/* The next callback, or the wait. */
static int proceed(const struct cri_callbacks* list) {
  const struct cri_block* block = cri_block_get();
  while (cri_self.next >= 0 && cri_load(&block->verdict) == CRI_VERDICT_NONE) {
    const uint32_t index = (uint32_t)cri_self.next--;
    if (list->items[index].func != NULL) return call(list->items[index], index);
  }
  return await();
}

CRI_PUBLIC int cr_checkpoint(int flags) {
  const unsigned generation = cri_generation;
  struct cri_frame* frame = cri_self.frame;
  if (frame == NULL) return -CR_ENOTCB;
  if (frame->called) return frame->result;
  if (!is_valid(flags)) return -EINVAL;
  frame->called = 1;
  if (flags != CR_CHECKPOINT_READY) {
    record_answer((uint32_t)flags);
    cri_self.next = -1;
  }
  const int result = proceed(cri_own_callbacks());
  if (cri_generation != generation) return -CR_ENOTCB;
  cri_self.frame = frame;
  frame->result = result;
  return result;
}

void cri_run_callbacks(const struct cri_callbacks* list) {
  cri_self.frame = NULL;
  cri_self.next = (int64_t)list->count - 1;
  (void)proceed(list);
}
