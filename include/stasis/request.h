/* The private agreement between libcr and the helper process that it starts for a request: what the
 * helper writes into the pipe whose read end is the handle. Not installed. */
#ifndef STASIS_REQUEST_H
#define STASIS_REQUEST_H

#include <stdint.h>

/* A message is this head and then `log_length` bytes of text (lines, each ending in '\n'; no NUL).
 * The helper writes ACCEPTED or DONE first, and DONE exactly once and last. Its death without DONE
 * (end of file) counts as DONE with EIO. */
#define CRI_REPLY_MAGIC 0x32535250u /* "PRS2" */
#define CRI_REPLY_CHILDREN 6

enum cri_reply_type {
  /* The scope is known and may be saved (a restart: the file is a context file). `value` is 1 when
   * the requester itself is in the scope. Sent before any process is stopped. Consumed by
   * cr_request_checkpoint() itself, so that the handle is readable only when all is done. */
  CRI_REPLY_ACCEPTED = 1,
  /* `error` is 0 or errno / CR_E*; `value` of a restart is the pid of the root. */
  CRI_REPLY_DONE = 2
};

struct cri_reply {
  uint32_t magic;
  uint32_t type;
  int32_t error;
  int32_t value;
  uint32_t log_length;
  /* DONE of a restart: children that the requester got, the root among them; 0: none. Those that do
   * not live are for libcr to reap: of attempts that failed nobody else knows. */
  int32_t children[CRI_REPLY_CHILDREN];
  uint32_t reserved; /* 0 */
};

/* How the helper is started. It is the executable cr_helper, beside the commands; found by, in this
 * order: $STASIS_HELPER (not in setuid programs), ../libexec/stasis/cr_helper and ../cli/cr_helper
 * relative to the folder of libcr.so, the path known when libcr was built, the folders of $PATH and
 * ../libexec/stasis beside them. Its arguments:
 *   cr_helper checkpoint REPLY_FD REQUESTER_PID [WORDS] [options of cr_checkpoint] ID
 *   cr_helper restart    REPLY_FD REQUESTER_PID [WORDS] [options of cr_restart] -F FD
 * It parses the options with the tables of the commands, so that flags have one spelling; WORDS are
 * what the commands cannot be asked for. A checkpoint's helper gets no descriptors but REPLY_FD,
 * the context file's and /dev/null; a restart's has those too that the restarted processes are to
 * inherit (all that are not close-on-exec, as over exec). All signals are blocked at its start. */
#define CRI_HELPER_EARLY "early"       /* --signal comes before the callbacks go on */
#define CRI_HELPER_NOT_SELF "not-self" /* fail if the requester is in the scope */

#endif
