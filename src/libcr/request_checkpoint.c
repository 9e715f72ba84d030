/* cr_request_checkpoint() and its family: arguments to cr_checkpoint's options, and how long a
 * caller waits that is to be saved itself. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "internal.h"
#include "libcr.h"
#include "request_internal.h"

#define KNOWN_FLAGS                                                          \
  (CR_CHKPT_PROHIBIT_SELF | CR_CHKPT_PTRACED_ALLOW | CR_CHKPT_PTRACED_SKIP | \
   CR_CHKPT_PTRACER_SKIP | CR_CHKPT_ASYNC_ERR | CR_CHKPT_DUMP_ALL)
#define LONGEST_TIME 1000000000u /* --time takes no more, and nobody will see its end */

CRI_PUBLIC int cri_init_checkpoint_args_t(cr_version_t version, cr_checkpoint_args_t* args) {
  if (version != CR_CHECKPOINT_ARGS_VERSION || args == NULL) {
    errno = EINVAL;
    return -1;
  }
  *args = (cr_checkpoint_args_t){
      .cr_version = version, .cr_scope = (cr_scope_t)-1, .cr_target = 0, .cr_fd = -1};
  return 0;
}

/* Returns an errno or 0. */
static int check_destination(int fd) {
  if (fd == CR_DEST_CWD) return 0;
  const int flags = fcntl(fd, F_GETFL);
  return flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_RDONLY ? EBADF : 0;
}

static int check(const cr_checkpoint_args_t* args) {
  if (args->cr_version != CR_CHECKPOINT_ARGS_VERSION) return EINVAL;
  if ((int)args->cr_scope < CR_SCOPE_PROC || (int)args->cr_scope > CR_SCOPE_TREE) return EINVAL;
  if (args->cr_target < 0) return EINVAL;
  if (args->cr_signal >= NSIG || args->cr_signal <= -NSIG) return EINVAL;
  if ((args->cr_flags & ~(unsigned int)KNOWN_FLAGS) != 0) return EINVAL;
  const unsigned int both = CR_CHKPT_PTRACED_ALLOW | CR_CHKPT_PTRACED_SKIP;
  if ((args->cr_flags & both) == both) return EINVAL;
  return check_destination(args->cr_fd);
}

static pid_t target_of(const cr_checkpoint_args_t* args) {
  if (args->cr_target != 0) return args->cr_target;
  if (args->cr_scope == CR_SCOPE_PGRP) return getpgrp();
  return args->cr_scope == CR_SCOPE_SESS ? getsid(0) : getpid();
}

static void add_flags(struct cri_words* words, unsigned int flags) {
  static const struct {
    unsigned int flag;
    const char* option;
  } table[] = {
      {CR_CHKPT_DUMP_EXEC, "--save-exe"},        {CR_CHKPT_DUMP_PRIVATE, "--save-private"},
      {CR_CHKPT_DUMP_SHARED, "--save-shared"},   {CR_CHKPT_PTRACED_ALLOW, "--ptraced-allow"},
      {CR_CHKPT_PTRACED_SKIP, "--ptraced-skip"}, {CR_CHKPT_PTRACER_SKIP, "--ptracer-skip"},
  };
  for (size_t i = 0; i < sizeof table / sizeof table[0]; ++i) {
    if ((flags & table[i].flag) != 0) cri_words_add(words, "%s", table[i].option);
  }
}

static void describe(const cr_checkpoint_args_t* args, struct cri_words* words) {
  static const char* const scopes[] = {"--process", "--group", "--session", "--tree"};
  cri_words_begin(words, "checkpoint");
  if ((args->cr_flags & CR_CHKPT_PROHIBIT_SELF) != 0) cri_words_add(words, CRI_HELPER_NOT_SELF);
  cri_words_add_signal(words, args->cr_signal);
  cri_words_add(words, "%s", scopes[args->cr_scope]);
  add_flags(words, args->cr_flags);
  if (args->cr_timeout != 0) {
    const unsigned int time = args->cr_timeout;
    cri_words_add(words, "--time=%u", time < LONGEST_TIME ? time : LONGEST_TIME);
  }
  if (args->cr_fd == CR_DEST_CWD) {
    cri_words_add(words, "--cwd");
  } else {
    cri_words_add(words, "--fd=%d", CRI_HELPER_CONTEXT);
  }
  cri_words_add(words, "%d", (int)target_of(args));
}

/* Outside critical sections the checkpoint of oneself is done when the call returns; inside, it
 * waits for the section to be left. */
static void wait_for_own(const struct cri_request* request) {
  if (cri_in_critical_section()) {
    cri_wait_until_pending(request);
  } else {
    cri_wait_until_done(request);
  }
}

CRI_PUBLIC int cr_request_checkpoint(cr_checkpoint_args_t* args, cr_checkpoint_handle_t* handle) {
  struct cri_words words;
  struct cri_request* request = NULL;
  int error = args == NULL || handle == NULL ? EINVAL : check(args);
  if (error == 0 && cri_in_callback()) error = EBUSY;
  if (error != 0) {
    errno = error;
    return -1;
  }
  describe(args, &words);
  const int async = (args->cr_flags & CR_CHKPT_ASYNC_ERR) != 0;
  const int context = args->cr_fd == CR_DEST_CWD ? -1 : args->cr_fd;
  const int result = cri_request_submit(CRI_REQUEST_CHECKPOINT, &words, context, async, &request);
  error = errno;
  cri_words_free(&words);
  errno = error;
  if (result < 0) return -1;
  *handle = (cr_checkpoint_handle_t)request->fd;
  if (result == 1) wait_for_own(request);
  return 0;
}

CRI_PUBLIC int cr_wait_checkpoint(cr_checkpoint_handle_t* handle, struct timeval* timeout) {
  return cri_request_wait(CRI_REQUEST_CHECKPOINT, handle, timeout);
}

CRI_PUBLIC int cr_log_checkpoint(cr_checkpoint_handle_t* handle, unsigned int len, char* msg) {
  return cri_request_log(CRI_REQUEST_CHECKPOINT, handle, len, msg);
}

CRI_PUBLIC int cr_reap_checkpoint(cr_checkpoint_handle_t* handle) {
  return cri_request_reap(CRI_REQUEST_CHECKPOINT, handle);
}

CRI_PUBLIC int cr_poll_checkpoint_msg(cr_checkpoint_handle_t* handle, struct timeval* timeout,
                                      char** msg_p) {
  return cri_request_poll(CRI_REQUEST_CHECKPOINT, handle, timeout, msg_p);
}

CRI_PUBLIC int cr_poll_checkpoint(cr_checkpoint_handle_t* handle, struct timeval* timeout) {
  return cri_request_poll(CRI_REQUEST_CHECKPOINT, handle, timeout, NULL);
}
