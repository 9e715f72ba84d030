/*
 * What requests are made of: scopes, flags, path relocations. The numbers are BLCR's binary
 * interface. libcr.h includes it, and so do the commands. C and C++.
 */
#ifndef STASIS_BLCR_COMMON_H
#define STASIS_BLCR_COMMON_H

#include "blcr_errcodes.h"

/* Which processes a request means, beginning from one id. */
typedef enum {
  CR_SCOPE_PROC = 0, /* one process */
  CR_SCOPE_PGRP = 1, /* a process group */
  CR_SCOPE_SESS = 2, /* a session */
  CR_SCOPE_TREE = 3, /* a process and its descendants */
} cr_scope_t;

/* In place of a descriptor: the context file goes to the requester's working directory. */
#define CR_DEST_CWD (-4096)

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
struct cr_rstrt_relocate {
  unsigned int count;
  struct {
    const char* oldpath;
    const char* newpath;
  } path[]; /* count of them */
};

#endif /* STASIS_BLCR_COMMON_H */
