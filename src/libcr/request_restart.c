/* cr_request_restart() and its family: arguments to cr_restart's options. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "libcr.h"
#include "request_internal.h"

#define KNOWN_FLAGS \
  (CR_RSTRT_ASYNC_ERR | CR_RSTRT_RESTORE_PID | CR_RSTRT_RESTORE_PGID | CR_RSTRT_RESTORE_SID)

CRI_PUBLIC int cri_init_restart_args_t(cr_version_t version, cr_restart_args_t* args) {
  if (version != CR_RESTART_ARGS_VERSION || args == NULL) {
    errno = EINVAL;
    return -1;
  }
  *args = (cr_restart_args_t){
      .cr_version = version, .cr_fd = -1, .cr_flags = CR_RSTRT_RESTORE_PID, .cr_relocate = NULL};
  return 0;
}

static int is_absolute(const char* path) {
  return path != NULL && path[0] == '/';
}

/* Returns an errno or 0. */
static int check(const cr_restart_args_t* args) {
  const struct cr_rstrt_relocate* relocate = args->cr_relocate;
  if (args->cr_version != CR_RESTART_ARGS_VERSION) return EINVAL;
  if (args->cr_signal >= NSIG || args->cr_signal <= -NSIG) return EINVAL;
  if ((args->cr_flags & ~(unsigned int)KNOWN_FLAGS) != 0) return EINVAL;
  if (relocate != NULL && relocate->count > CR_MAX_RSTRT_RELOC) return EINVAL;
  for (unsigned int i = 0; relocate != NULL && i < relocate->count; ++i) {
    if (!is_absolute(relocate->path[i].oldpath)) return EINVAL;
    if (!is_absolute(relocate->path[i].newpath)) return EINVAL;
  }
  const int flags = fcntl(args->cr_fd, F_GETFL);
  return flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_WRONLY ? EBADF : 0;
}

/* A path as --relocate reads it; for free(). */
static char* escaped(const char* path) {
  char* text = malloc(2 * strlen(path) + 1);
  char* end = text;
  if (text == NULL) return NULL;
  for (; *path != '\0'; ++path) {
    if (*path == '=' || *path == '\\') *end++ = '\\';
    *end++ = *path;
  }
  *end = '\0';
  return text;
}

static void add_relocations(struct cri_words* words, const struct cr_rstrt_relocate* relocate) {
  for (unsigned int i = 0; relocate != NULL && i < relocate->count; ++i) {
    char* from = escaped(relocate->path[i].oldpath);
    char* to = escaped(relocate->path[i].newpath);
    if (from == NULL || to == NULL) words->failed = 1;
    cri_words_add(words, "--relocate=%s=%s", from, to);
    free(from);
    free(to);
  }
}

static void describe(const cr_restart_args_t* args, struct cri_words* words) {
  const unsigned int flags = args->cr_flags;
  cri_words_begin(words, "restart");
  cri_words_add_signal(words, args->cr_signal);
  if ((flags & CR_RSTRT_RESTORE_PID) == 0) cri_words_add(words, "--no-restore-pid");
  if ((flags & CR_RSTRT_RESTORE_PGID) != 0) cri_words_add(words, "--restore-pgid");
  if ((flags & CR_RSTRT_RESTORE_SID) != 0) cri_words_add(words, "--restore-sid");
  add_relocations(words, args->cr_relocate);
  cri_words_add(words, "--fd=%d", args->cr_fd);
}

CRI_PUBLIC int cr_request_restart(cr_restart_args_t* args, cr_restart_handle_t* handle) {
  struct cri_words words;
  struct cri_request* request = NULL;
  int error = args == NULL || handle == NULL ? EINVAL : check(args);
  if (error != 0) {
    errno = error;
    return -1;
  }
  describe(args, &words);
  const int async = (args->cr_flags & CR_RSTRT_ASYNC_ERR) != 0;
  const int result = cri_request_submit(CRI_REQUEST_RESTART, &words, args->cr_fd, async, &request);
  error = errno;
  cri_words_free(&words);
  errno = error;
  if (result < 0) return -1;
  *handle = (cr_restart_handle_t)request->fd;
  return 0;
}

CRI_PUBLIC int cr_wait_restart(cr_restart_handle_t* handle, struct timeval* timeout) {
  return cri_request_wait(CRI_REQUEST_RESTART, handle, timeout);
}

CRI_PUBLIC int cr_log_restart(cr_restart_handle_t* handle, unsigned int len, char* msg) {
  return cri_request_log(CRI_REQUEST_RESTART, handle, len, msg);
}

CRI_PUBLIC int cr_reap_restart(cr_restart_handle_t* handle) {
  return cri_request_reap(CRI_REQUEST_RESTART, handle);
}

CRI_PUBLIC int cr_poll_restart_msg(cr_restart_handle_t* handle, struct timeval* timeout,
                                   char** msg_p) {
  return cri_request_poll(CRI_REQUEST_RESTART, handle, timeout, msg_p);
}

CRI_PUBLIC int cr_poll_restart(cr_restart_handle_t* handle, struct timeval* timeout) {
  return cri_request_poll(CRI_REQUEST_RESTART, handle, timeout, NULL);
}
