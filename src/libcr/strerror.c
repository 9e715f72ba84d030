/* cr_strerror(): the words for codes that errno has none for; BLCR's, as scripts look for them. */
#include <string.h>

#include "internal.h"

CRI_PUBLIC const char* cr_strerror(int errnum) {
  switch (errnum) {
    case CR_ETEMPFAIL:
      return "Temporary error: checkpoint cancelled";
    case CR_EPERMFAIL:
      return "Permanent failure: checkpoint cancelled and job killed";
    case CR_ENOSUPPORT:
      return "Checkpoint support not linked into one or more processes";
    case CR_EVERSION:
      return "Requested kernel interface version is not supported";
    case CR_EOMITTED:
      return "Process omitted from checkpoint at a callback's request";
    case CR_EBADARCH:
      return "Context file does not match the kernel architecture";
    case CR_EPTRACED:
      return "One or more target processes is being ptraced";
    case CR_EPTRACER:
      return "One or more target processes has ptrace children";
    case CR_ERSTRTABRT:
      return "Restart aborted: restart cancelled and job killed";
    case CR_ERESTARTED:
      return "Request is invalid across a restart";
    case CR_ENOTCB:
      return "Call is only valid from a checkpoint callback";
    case CR_ENOINIT:
      return "Calling thread has not called cr_init()";
    default:
      return strerror(errnum);
  }
}
