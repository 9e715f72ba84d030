/* What the files of libcr share: the control block, what is known about each thread, and the steps
 * of a checkpoint as they call each other. Nothing here is exported. Which of it may run at any
 * instruction of the program is said in entry.c. */
#ifndef STASIS_LIBCR_INTERNAL_H
#define STASIS_LIBCR_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "block.h"
#include "libcr.h"
#include "stasis/handshake.h"

#define CRI_PUBLIC __attribute__((visibility("default")))

struct cri_callback {
  cr_callback_t func; /* NULL: an empty place */
  void* arg;
};

/* A list only grows. Whoever changes it is in a critical section, so that nobody runs it then. */
struct cri_callbacks {
  struct cri_callback* items;
  uint32_t count;
  uint32_t capacity;
};

/* A callback that is being run: on the stack of the thread, linked to the one that called it. */
struct cri_frame {
  struct cri_frame* outer;
  uint32_t index;
  int called; /* has called cr_checkpoint(), which gave `result` */
  int result;
};

/* A thread that is sent to the entry point may be anywhere, in the C library too: this is thread
 * local storage of the kind that is there from the thread's beginning (initial-exec), zero at
 * first. Only the thread itself touches it. */
struct cri_thread {
  int initialized; /* cr_init() */
  int is_callback_thread;
  cr_client_id_t next_id;
  int persist;
  int destructions; /* rounds of destructors that the data has survived */
  int hold;         /* CR_HOLD_* */
  int sections;     /* critical sections entered; the first is counted in the gate */
  int taking_part;  /* in a checkpoint, from its first callback to after the hook */
  int was_deferred; /* by a critical section */
  uint64_t served;  /* the last request that this thread has taken part in */
  uint64_t pending; /* a request that waits for `sections` to be 0; 0: none */
  /* While callbacks run. */
  struct cri_frame* frame;
  int64_t next; /* index of the callback to run next; below 0: none is left */
  struct cri_callbacks signal_callbacks;
  struct cr_checkpoint_info checkpoint_info;
  struct cr_restart_info restart_info;
};
extern __thread struct cri_thread cri_self __attribute__((tls_model("initial-exec")));

/* Counts forks: code that has called back into the program compares, as it may be in a child now
 * that has no checkpoint going on. */
extern unsigned cri_generation;

#define cri_load(word) __atomic_load_n((word), __ATOMIC_SEQ_CST)
#define cri_store(word, value) __atomic_store_n((word), (value), __ATOMIC_SEQ_CST)
#define cri_add(word, value) \
  __atomic_add_fetch((word), (__typeof__(*(word)))(value), __ATOMIC_SEQ_CST)
#define cri_exchange(word, value) __atomic_exchange_n((word), (value), __ATOMIC_SEQ_CST)
#define cri_replace(word, expected, value) \
  __atomic_compare_exchange_n((word), (expected), (value), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

/* startup.c: NULL if there was no memory for it. */
struct cri_block* cri_block_get(void);
/* In a child that was not made by fork(3): what fork's handler would have done. */
void cri_adopt_process(void);

/* thread_data.c */
int cri_thread_known(void); /* has called cr_init(), or is the callback thread */
int cri_in_callback(void);  /* of either context, or in a hook */
int cri_in_critical_section(void);
int cri_error(int code); /* sets errno, returns -1 */
void cri_thread_data_forked(void);

/* critical.c: gate and sections without a look at ids. */
void cri_enter(void);
int cri_tryenter(void); /* 0: not entered */
void cri_leave(void);
void cri_gate_close(void);
void cri_gate_open(void);
/* After closing: waits until no critical section is held, or the request is over. */
void cri_gate_wait_empty(void);

/* callbacks.c */
extern struct cri_callbacks cri_thread_callbacks;
void cri_callbacks_release(struct cri_callbacks* list);
void cri_callbacks_forked(void);
/* Counts what the control block calls `registered`: whether there was something, and is now. */
void cri_count_registered(int was, int is);

/* checkpoint.c: calls the callbacks of `list`, the last one first, each from the cr_checkpoint()
 * of the one before; waits for the verdict in the last. */
void cri_run_callbacks(const struct cri_callbacks* list);
struct cri_callbacks* cri_own_callbacks(void); /* that the calling thread runs */

/* entry.c */
void cri_entry(int signal, void* info, void* context);
void cri_take_pending(void); /* after the outermost critical section, with signals blocked */
void cri_stand_by(void);     /* parks without callbacks, as the library's own threads do */

/* join.c: who takes part. */
int cri_join(uint32_t phase);    /* 0: there is nothing to take part in, or not any more */
void cri_close_if_pending(void); /* the gate */
int cri_is_idle(void);           /* no request, or all callbacks have run */
/* Waits; the verdict, never CRI_VERDICT_NONE. */
uint32_t cri_await_verdict(void);
/* This thread's callbacks have run: its hook, the hold, and it does not take part any more. */
#define CRI_NO_HOOK (-1)
void cri_finish(int event); /* CR_HOOK_CONT_* or CRI_NO_HOOK */
void cri_abandon(void);     /* the same for a thread that is ending */
void cri_join_forked(void);

/* engine_watch.c: gives the request up if the engine has died. */
void cri_check_engine(void);
int cri_engine_has_died(void); /* as far as it can be seen */

/* forward.c */
void cri_forwards_forked(void);

/* hooks.c, hold.c */
void cri_run_hook(int event, uint32_t verdict);
void cri_hooks_forked(void);
int cri_is_held(uint32_t verdict);
void cri_hold_forked(void);

/* callback_thread.c */
int cri_callback_thread_start(void); /* if it does not run yet; an errno or 0 */
int cri_on_callback_stack(void);
void cri_leader_ends(void); /* the main thread, by pthread_exit(3) */
void cri_callback_thread_forked(void);

/* request_table.c */
void cri_requests_forked(void);

/* futex.c: private futexes; they may return early for any reason. */
void cri_futex_wait(uint32_t* word, uint32_t expected);
int cri_futex_wait_second(uint32_t* word, uint32_t expected);  /* 0: a second is over */
void cri_futex_wait_moment(uint32_t* word, uint32_t expected); /* at most a millisecond */
void cri_futex_wake(uint32_t* word);                           /* all */

/* arch/: where entry() returns to. */
void cri_restorer(void);

#endif
