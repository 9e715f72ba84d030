/* The private agreement between libcr and the engine (docs/handshake.md): the control block that
 * libcr keeps in a program's memory and that the engine finds, reads and writes from outside. Plain
 * C with fixed sizes and offsets, as both sides may be of different builds. Not installed. */
#ifndef STASIS_HANDSHAKE_H
#define STASIS_HANDSHAKE_H

#include <stdint.h>

#define CRI_BLOCK_MAGIC "StasisCB"
#define CRI_BLOCK_VERSION 1u
#define CRI_PATH_LENGTH 4096

/* Which library it is that a program has. */
enum cri_kind {
  CRI_KIND_FULL = 1, /* libcr */
  CRI_KIND_RUN = 2,  /* libcr_run: can be saved, has no callbacks */
  CRI_KIND_OMIT = 3  /* libcr_omit: wants to be left out */
};

enum cri_phase {
  CRI_PHASE_IDLE = 0,
  CRI_PHASE_REQUESTED = 1,     /* by the engine */
  CRI_PHASE_THREADS_READY = 2, /* all THREAD callbacks have called cr_checkpoint() */
  CRI_PHASE_SIGNALS = 3        /* by the engine: the other threads are being told */
};

/* What the parked threads wait for; also a futex word. */
enum cri_verdict {
  CRI_VERDICT_NONE = 0,
  CRI_VERDICT_CONTINUE = 1,
  CRI_VERDICT_RESTART = 2,
  CRI_VERDICT_ABORT = 3,
  CRI_VERDICT_OMITTED = 4
};

/* Values of siginfo.si_value that come with CR_SIGNUM from the engine (si_code SI_QUEUE). */
#define CRI_SIGVAL_MASK 0xffffff00u
#define CRI_SIGVAL_ENTER 0x57a51500u /* run the SIGNAL callbacks and park */
#define CRI_SIGVAL_UNBLOCKED 0x01u   /* the signal was blocked: block it again in the ucontext */

struct cri_block {
  char magic[8];        /*    0 */
  uint32_t version;     /*    8 */
  uint32_t size;        /*   12: of this struct */
  uint64_t self;        /*   16: address of the block */
  int32_t pid;          /*   24: the process it belongs to, as it sees itself */
  uint32_t kind;        /*   28 */
  uint64_t entry;       /*   32: void entry(int, siginfo_t *, void *), as a signal handler */
  int32_t signum;       /*   40 */
  int32_t callback_tid; /*   44: thread that runs THREAD callbacks; 0: none */
  uint32_t initialized; /*   48: whether any thread has called cr_init() */
  uint32_t reserved;    /*   52 */

  /* Written by the engine. */
  uint64_t request;          /*   56: number of the request; grows */
  int32_t engine_pid;        /*   64 */
  uint32_t reserved2;        /*   68 */
  uint64_t engine_start;     /*   72: start time of that pid, field 22 of /proc/PID/stat */
  int32_t requester;         /*   80 */
  int32_t target;            /*   84 */
  int32_t scope;             /*   88 */
  int32_t signal;            /*   92: after the checkpoint */
  uint32_t verdict;          /*   96 */
  int32_t verdict_code;      /*  100: error code of ABORT */
  int32_t restart_requester; /*  104 */

  /* Written by libcr. */
  uint32_t phase;     /*  108 (the engine writes REQUESTED and SIGNALS) */
  uint32_t parked;    /*  112: threads that wait for the verdict, the callback thread too */
  uint32_t answer;    /*  116: CR_CHECKPOINT_* of a callback that refused, with its code; 0 */
  int32_t answer_tid; /*  120: which thread said so */
  uint32_t forwards;  /*  124: used entries of forward[] */
  struct {
    int32_t scope;
    int32_t target;
  } forward[32]; /*  128: cr_forward_checkpoint() */

  char destination[CRI_PATH_LENGTH]; /* by the engine: path of the context file */
  char source[CRI_PATH_LENGTH];      /* by the engine at restart */
};

#endif
