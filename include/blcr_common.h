/*
 * What requests are made of: versions, scopes, flags, path relocations, answers of callbacks. The
 * numbers are BLCR's binary interface. libcr.h includes it, and so do the commands. C and C++, of
 * any standard that compilers still speak.
 */
#ifndef STASIS_BLCR_COMMON_H
#define STASIS_BLCR_COMMON_H

#include <features.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include "blcr_errcodes.h"
#include "blcr_proc.h"

#ifndef _CR_DEPRECATED
#define _CR_DEPRECATED __attribute__((__deprecated__))
#endif

/* The release of BLCR whose interfaces these are, by which sources and configure scripts choose. */
#define CR_RELEASE_MAJOR 0
#define CR_RELEASE_MINOR 8
#define CR_RELEASE_PATCH 6
#define CR_RELEASE_VERSION "0.8.6"
/* libcr.so.MAJOR */
#define LIBCR_MAJOR 0
#define LIBCR_MINOR 5
#define LIBCR_PATCH 5
#define LIBCR_VERSION "0.5.5"
/* What the kernel module of that release called itself; there is none here. */
#define CR_MODULE_MAJOR 0
#define CR_MODULE_MINOR 10
#define CR_MODULE_PATCH 3
#define CR_MODULE_VERSION "0.10.3"

/* The signal number that checkpoints are known by: reserved when the library is loaded, so that
 * SIGRTMAX is one less and nobody else is given it. */
#define CR_SIGNUM 64

typedef long cr_bool_t;
typedef enum { cr_format_vmadump = 0 } cr_format_t;

/* Which processes a request means, beginning from one id. */
typedef enum {
  CR_SCOPE_PROC = 0, /* one process */
  CR_SCOPE_PGRP = 1, /* a process group */
  CR_SCOPE_SESS = 2, /* a session */
  CR_SCOPE_TREE = 3  /* a process and its descendants */
} cr_scope_t;

/* In place of a descriptor: the context file goes to the requester's working directory. */
#define CR_DEST_CWD (-4096)

/* Arguments of cr_checkpoint(). A code from 1 to 65535 in the upper half replaces CR_ETEMPFAIL or
 * CR_EPERMFAIL in what the requester and the other callbacks are told. */
#define CR_CHECKPOINT_READY 0x0000
#define CR_CHECKPOINT_TEMP_FAILURE 0x0001
#define CR_CHECKPOINT_PERM_FAILURE 0x0002
#define CR_CHECKPOINT_OMIT 0x0004
#define CR_CHECKPOINT_TEMP_FAILURE_CODE(code) (CR_CHECKPOINT_TEMP_FAILURE | ((code) << 16))
#define CR_CHECKPOINT_PERM_FAILURE_CODE(code) (CR_CHECKPOINT_PERM_FAILURE | ((code) << 16))
#define CR_CHECKPOINT_ABORT_MASK \
  (CR_CHECKPOINT_TEMP_FAILURE | CR_CHECKPOINT_PERM_FAILURE | CR_CHECKPOINT_OMIT)

/* Flags of cr_hold_ctrl(). */
#define CR_HOLD_READ (-1) /* change nothing */
#define CR_HOLD_NONE 0
#define CR_HOLD_CONT 1
#define CR_HOLD_RSTRT 2
#define CR_HOLD_BOTH (CR_HOLD_CONT | CR_HOLD_RSTRT)
#define CR_HOLD_DFLT 4 /* a thread follows CR_HOLD_SCOPE_INIT */

/* Flags of a checkpoint request. */
#define CR_CHKPT_PROHIBIT_SELF 0x0001 /* fail rather than save the requester */
#define CR_CHKPT_PTRACED_ALLOW 0x0002
#define CR_CHKPT_PTRACED_SKIP 0x0004
#define CR_CHKPT_PTRACER_SKIP 0x0008
#define CR_CHKPT_ASYNC_ERR 0x0010 /* report errors when the request is reaped */
#define CR_CHKPT_DUMP_EXEC 0x0200
#define CR_CHKPT_DUMP_PRIVATE 0x0400
#define CR_CHKPT_DUMP_SHARED 0x0800
#define CR_CHKPT_DUMP_ALL (CR_CHKPT_DUMP_EXEC | CR_CHKPT_DUMP_PRIVATE | CR_CHKPT_DUMP_SHARED)

/* Flags of a restart request. */
#define CR_RSTRT_ASYNC_ERR 0x0001
#define CR_RSTRT_RESTORE_PID 0x0002
#define CR_RSTRT_RESTORE_PGID 0x0004
#define CR_RSTRT_RESTORE_SID 0x0008

/* Saved paths to be looked for elsewhere: absolute, whole leading components. */
#define CR_MAX_RSTRT_RELOC 16
struct cr_rstrt_relocate_pair {
  const char* oldpath;
  const char* newpath;
};
__extension__ struct cr_rstrt_relocate {
  unsigned int count;
  struct cr_rstrt_relocate_pair path[]; /* count of them */
};
/* The bytes that a cr_rstrt_relocate with room for `pairs` of them takes. */
#define CR_RSTRT_RELOCATE_SIZE(pairs) \
  (sizeof(struct cr_rstrt_relocate) + (pairs) * sizeof(struct cr_rstrt_relocate_pair))

/* What was passed to BLCR's kernel module (blcr_ioctl.h). */
struct cr_chkpt_args {
  pid_t cr_target;
  cr_scope_t cr_scope;
  int cr_fd;
  unsigned int cr_secs;
  cr_format_t dump_format;
  int signal;
  unsigned int flags; /* CR_CHKPT_* */
};
struct cr_fwd_args {
  pid_t cr_target;
  cr_scope_t cr_scope;
};
struct cr_rstrt_args {
  int cr_fd;
  int signal;
  struct cr_rstrt_relocate* relocate;
  unsigned int flags; /* CR_RSTRT_* */
};
struct cr_procs_tbl {
  int threads;
  int clone_flags;
};
struct cr_chkpt_info {
  pid_t requester;
  pid_t target;
  int scope;
  int signal;
  char* dest;
};
struct cr_log_args {
  unsigned int len;
  char* buf;
};

#endif /* STASIS_BLCR_COMMON_H */
