/* The private agreement between libcr and the engine (docs/handshake.md): the control block that
 * libcr keeps in a program's memory and that the engine finds, reads and writes from outside, while
 * the process stands still. Plain C with fixed sizes and offsets, as both sides may be of different
 * builds. Not installed. */
#ifndef STASIS_HANDSHAKE_H
#define STASIS_HANDSHAKE_H

#include <stdint.h>

#define CRI_BLOCK_MAGIC "StasisCB"
#define CRI_BLOCK_VERSION 1u
#define CRI_PATH_LENGTH 4096
#define CRI_MAX_FORWARDS 32
#define CRI_MAX_HANDLES 32
#define CRI_PAGE 4096u
/* The block's own area: read-write anonymous private memory of just this many bytes, with an area
 * of at least one page without any access (PROT_NONE) right below and right above. */
#define CRI_BLOCK_AREA (4u * CRI_PAGE)

/* Which library it is that a program has, and what it wants. */
enum cri_kind {
  CRI_KIND_FULL = 1,   /* libcr */
  CRI_KIND_RUN = 2,    /* libcr_run: can be saved, has no callbacks */
  CRI_KIND_OMIT = 3,   /* libcr_omit: wants to be left out */
  CRI_KIND_RESTART = 4 /* cr_restart: left out by the rule in `omit_rule` */
};

/* For CRI_KIND_RESTART. */
enum cri_omit_rule {
  CRI_OMIT_MAYBE = 0, /* when it is the target of the request, or a child of init */
  CRI_OMIT_ALWAYS = 1,
  CRI_OMIT_NEVER = 2
};

enum cri_phase {
  CRI_PHASE_IDLE = 0,          /* by libcr: the last thread has left the checkpoint */
  CRI_PHASE_REQUESTED = 1,     /* by the engine: THREAD callbacks are to be run */
  CRI_PHASE_THREADS_READY = 2, /* by libcr: all THREAD callbacks have called cr_checkpoint() */
  CRI_PHASE_SIGNALS = 3        /* by the engine: the other threads have been sent to `entry` */
};

/* What the parked threads wait for. Written by the engine while the process stands still; libcr
 * writes CRI_VERDICT_ABORT itself when the engine has died. */
enum cri_verdict {
  CRI_VERDICT_NONE = 0,
  CRI_VERDICT_CONTINUE = 1,
  CRI_VERDICT_RESTART = 2,
  CRI_VERDICT_ABORT = 3, /* verdict_code tells why: cr_checkpoint() returns its negative */
  CRI_VERDICT_OMITTED = 4
};

struct cri_block {
  /* Written by libcr once. */
  char magic[8];      /*    0 */
  uint32_t version;   /*    8 */
  uint32_t size;      /*   12: of this struct */
  uint64_t self;      /*   16: address of the block */
  uint64_t entry;     /*   24: void entry(int, siginfo_t *, void *): threads are sent there as into
                               a signal handler with all signals blocked */
  uint64_t restorer;  /*   32: code that calls rt_sigreturn(2), where entry() returns to */
  uint32_t kind;      /*   40: enum cri_kind */
  uint32_t omit_rule; /*   44: enum cri_omit_rule */

  /* Kept up to date by libcr; pid and callback_tid by the engine after a restart with new ids. */
  int32_t pid;          /*   48: the process it belongs to, as it sees itself */
  int32_t callback_tid; /*   52: thread that runs THREAD callbacks and waits for `phase`; 0: none */
  uint32_t registered;  /*   56: callbacks and hooks; 0 and critical == 0: frozen without a word */
  uint32_t gate;        /*   60: threads inside critical sections, and CRI_GATE_CLOSED; futex */
  uint32_t present;     /*   64: threads that take part in the checkpoint now, parked or not */
  uint32_t parked;      /*   68: of these, those that wait for the verdict */

  /* Both. */
  uint32_t phase;   /*   72: enum cri_phase; futex */
  uint32_t verdict; /*   76: enum cri_verdict; futex */

  /* Written by the engine with the request. */
  uint64_t request;      /*   80: a number that no earlier request had */
  uint64_t engine_start; /*   88: start time of engine_pid: field 22 of /proc/PID/stat */
  int32_t engine_pid;    /*   96: as the process sees it; 0: cannot be seen from there */
  int32_t requester;     /*  100 */
  int32_t target;        /*  104 */
  int32_t scope;         /*  108: cr_scope_t */
  int32_t signal;        /*  112: that will be sent after the checkpoint; 0: none */
  int32_t verdict_code;  /*  116: error code of CRI_VERDICT_ABORT, positive */
  /* ... and after a restart. */
  uint32_t epoch;            /*  120: number of restarts so far */
  int32_t restart_requester; /*  124 */

  /* Written by libcr during a request; the engine puts them to 0 with the next one. */
  uint32_t answer;    /*  128: CR_CHECKPOINT_* flags, code in the upper half, of a callback that
                               refused; 0: none */
  int32_t answer_tid; /*  132: which thread said so */
  int32_t failed;     /*  136: what a callback returned after the checkpoint if not 0 */
  uint32_t forwards;  /*  140: calls of cr_forward_checkpoint() so far */
  struct {
    int32_t scope;
    int32_t target;
  } forward[CRI_MAX_FORWARDS]; /*  144: their arguments, of call N in entry N % CRI_MAX_FORWARDS */

  /* Inode numbers of the pipes behind the handles of requests that are under way; 0: free. After a
   * restart such a descriptor is an eventfd that is always readable. */
  uint64_t handle[CRI_MAX_HANDLES]; /*  400 */

  char destination[CRI_PATH_LENGTH]; /*  656: by the engine: path of the context file */
  char source[CRI_PATH_LENGTH];      /* 4752: by the engine at restart */

  /* 8848: by the engine, another number for each request: the process had been stopped (SIGSTOP)
     and stops itself before its threads return to the program; libcr puts it to 0 when it goes on,
     unless it is another number by then. Futex. */
  uint32_t stop;
  uint32_t beat; /* 8852: by the engine where engine_pid is 0: becomes another every second or so
                    while threads may be waiting for it */

  /* By the engine, while a call of cr_forward_checkpoint() waits. */
  uint64_t forward_request; /* 8856: the `request` whose calls it answers; another: it does not */
  int32_t forward_error;    /* 8864: of the call answered last: errno or CR_E*; 0: they take part */
  uint32_t forward_answered; /* 8868: calls answered so far; written after the error */
};

/* What the struct was before calls of cr_forward_checkpoint() were answered: of a program that has
 * an older libcr. */
#define CRI_BLOCK_SIZE_WITHOUT_ANSWERS 8856u

#define CRI_GATE_CLOSED 0x80000000u

#endif
