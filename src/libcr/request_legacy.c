/* The calls of BLCR's first days: they checkpoint the caller alone and return when that is done,
 * or, in a critical section, when it waits for the section to be left. They can report nothing: a
 * failure ends the program. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"
#include "libcr.h"
#include "request_internal.h"

static void give_up(const char* call) {
  fprintf(stderr, "%s: %s\n", call, cr_strerror(errno));
  abort();
}

/* Nobody will ask for the result of a checkpoint that waits for us; the helper does not mind. */
static void abandon(cr_checkpoint_handle_t* handle) {
  cri_request_lock();
  struct cri_request* request = cri_request_find(CRI_REQUEST_CHECKPOINT, handle);
  if (request != NULL) cri_request_free(request);
  cri_request_unlock();
}

static void checkpoint_to(int fd, const char* call) {
  cr_checkpoint_args_t args;
  cr_checkpoint_handle_t handle;
  cri_init_checkpoint_args_t(CR_CHECKPOINT_ARGS_VERSION, &args);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_fd = fd;
  if (cr_request_checkpoint(&args, &handle) < 0) give_up(call);
  const int result = cr_reap_checkpoint(&handle);
  if (result >= 0 || errno == CR_ERESTARTED) return;
  if (errno != EAGAIN) give_up(call);
  abandon(&handle);
}

CRI_PUBLIC void cr_request_fd(int fd) {
  checkpoint_to(fd, "cr_request_fd");
}

CRI_PUBLIC void cr_request_file(const char* filename) {
  const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC;
  const int fd = filename == NULL ? -1 : open(filename, flags, 0600);
  if (filename == NULL) errno = EFAULT;
  if (fd < 0) give_up("cr_request_file");
  checkpoint_to(fd, "cr_request_file");
  (void)close(fd);
}

CRI_PUBLIC void cr_request(void) {
  checkpoint_to(CR_DEST_CWD, "cr_request");
}
