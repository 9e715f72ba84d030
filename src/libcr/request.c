/* What requests for checkpoints and for restarts have in common: starting one, waiting, collecting
 * the log, reaping. The public calls are in request_checkpoint.c and request_restart.c. Threads may
 * cancel each other: not while a request is being started, which would leave descriptors behind. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libcr.h"
#include "request_internal.h"

/* Returns an errno, or 0: the helper runs and holds the write end alone. */
static int start_helper(struct cri_request* request, struct cri_words* words, int write_end,
                        int context) {
  char reply[16];
  char* path = cri_helper_path();
  char** environment = path != NULL ? cri_helper_environment() : NULL;
  int error = errno;
  if (environment != NULL) {
    const int detached = request->kind == CRI_REQUEST_CHECKPOINT;
    snprintf(reply, sizeof reply, "%d", detached ? CRI_HELPER_REPLY : write_end);
    words->items[CRI_WORD_REPLY] = reply;
    struct cri_helper helper = {.path = path,
                                .words = words->items,
                                .environment = environment,
                                .kind = request->kind,
                                .reply = write_end,
                                .context = context};
    error = cri_helper_start(&helper);
    request->helper = helper.pid;
    words->items[CRI_WORD_REPLY] = NULL;
    if (error == ENOENT) error = ENOSYS;
  }
  free(environment);
  free(path);
  return error;
}

/* A child that has been killed may take a moment to end. */
static void reap_dying(pid_t child) {
  const struct timespec nap = {.tv_sec = 0, .tv_nsec = 1000000};
  for (int patience = 1000; patience > 0 && waitpid(child, NULL, WNOHANG) == 0; --patience) {
    (void)nanosleep(&nap, NULL);
  }
}

/* The helper of a restart is our child, and so is whatever it made that did not come to life. The
 * program may have reaped them: that is no error. */
static void reap_children(const struct cri_request* over) {
  if (over->kind != CRI_REQUEST_RESTART || over->helper <= 0) return;
  while (waitpid(over->helper, NULL, 0) < 0 && errno == EINTR) continue;
  for (int i = 0; i < CRI_REPLY_CHILDREN; ++i) {
    const int lives = over->error == 0 && over->children[i] == over->value;
    if (over->children[i] > 0 && !lives) reap_dying(over->children[i]);
  }
}

static void drop(struct cri_request* request) {
  cri_request_lock();
  const struct cri_request over = *request;
  cri_request_free(request);
  cri_request_unlock();
  reap_children(&over);
}

static struct cri_request* new_request(enum cri_request_kind kind, int fd) {
  cri_request_lock();
  struct cri_request* request = cri_request_new(kind, fd);
  cri_request_unlock();
  return request;
}

/* Starts the helper and takes its first answer. Returns an errno or 0. */
static int begin(struct cri_request* request, struct cri_words* words, int write_end, int context,
                 int async, int* includes_self) {
  const int error = start_helper(request, words, write_end, context);
  (void)close(write_end);
  if (error != 0) return error;
  const int type = cri_reply_read(request);
  *includes_self = type == CRI_REPLY_ACCEPTED && request->value == 1;
  return type == CRI_REPLY_DONE && !async ? request->error : 0;
}

static int submit(enum cri_request_kind kind, struct cri_words* words, int context, int async,
                  struct cri_request** made) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  struct cri_request* request = new_request(kind, ends[0]);
  if (request == NULL) {
    (void)close(ends[0]);
    (void)close(ends[1]);
    return EMFILE;
  }
  int includes_self = 0;
  const int error = begin(request, words, ends[1], context, async, &includes_self);
  if (error != 0) {
    drop(request);
    return error;
  }
  cri_request_lock();
  request->state = CRI_REQUEST_OPEN;
  cri_request_unlock();
  *made = request;
  return includes_self ? -1 : 0;
}

int cri_request_submit(enum cri_request_kind kind, struct cri_words* words, int context, int async,
                       struct cri_request** made) {
  int cancelable;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelable);
  const int result = words->failed ? ENOMEM : submit(kind, words, context, async, made);
  pthread_setcancelstate(cancelable, NULL);
  if (result <= 0) return -result;
  errno = result;
  return -1;
}

int cri_request_wait(enum cri_request_kind kind, unsigned long* handle, struct timeval* timeout) {
  cri_request_lock();
  const struct cri_request* request = cri_request_find(kind, handle);
  const int fd = request != NULL ? request->fd : -1;
  cri_request_unlock();
  if (fd < 0) {
    errno = EINVAL;
    return -1;
  }
  const int ready = cri_select_readable(fd, timeout);
  if (ready < 0 && errno == EBADF) errno = EINVAL; /* reaped meanwhile */
  return ready;
}

/* Whether the caller may be given `length` bytes at `to`. They are to be overwritten anyway. */
static int can_write(char* to, size_t length) {
  while (length > 0) {
    const ssize_t written = getrandom(to, length, GRND_NONBLOCK);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno != EFAULT; /* no answer */
    to += written;
    length -= (size_t)written;
  }
  return 1;
}

static int copy_log(const struct cri_request* request, unsigned int len, char* msg) {
  if (request->log_length == 0) return 0;
  const size_t size = request->log_length + 1;
  const size_t copied = size < len ? size : len;
  if (!can_write(msg, copied)) {
    errno = EFAULT;
    return -1;
  }
  if (copied > 0) {
    memcpy(msg, request->log, copied);
    msg[copied - 1] = '\0';
  }
  return (int)size;
}

int cri_request_log(enum cri_request_kind kind, unsigned long* handle, unsigned int len,
                    char* msg) {
  int result = -1;
  int error = EINVAL;
  cri_request_lock();
  struct cri_request* request = cri_request_find(kind, handle);
  if (request != NULL) {
    cri_reply_refresh(request);
    result = copy_log(request, len, msg);
    error = errno;
  }
  cri_request_unlock();
  if (result < 0) errno = error;
  return result;
}

/* The result of a request that is over: a value, or a negative errno. */
static int result_of(const struct cri_request* request) {
  if (request->done) return request->error > 0 ? -request->error : request->value;
  return cri_request_restarted(request) ? -CR_ERESTARTED : -EAGAIN;
}

int cri_request_reap(enum cri_request_kind kind, unsigned long* handle) {
  int result = -EINVAL;
  struct cri_request over = {.state = CRI_REQUEST_FREE};
  cri_request_lock();
  struct cri_request* request = cri_request_find(kind, handle);
  if (request != NULL) {
    cri_reply_refresh(request);
    result = result_of(request);
    if (request->done) over = *request;
    if (result != -EAGAIN) cri_request_free(request);
  }
  cri_request_unlock();
  reap_children(&over);
  if (result >= 0) return kind == CRI_REQUEST_CHECKPOINT ? 1 : result;
  errno = -result;
  return -1;
}

/* A copy of the log that is for the caller to free; never without text. */
static int take_log(enum cri_request_kind kind, unsigned long* handle, char** msg) {
  const int size = cri_request_log(kind, handle, 0, NULL);
  if (size < 0) return -1;
  char* text = calloc(1, (size_t)size + 1);
  if (text == NULL) return -1;
  if (cri_request_log(kind, handle, (unsigned int)size, text) < 0) {
    free(text);
    return -1;
  }
  *msg = text;
  return 0;
}

/* The values of CR_POLL_CHKPT_ERR_* are those of CR_POLL_RSTRT_ERR_*. */
int cri_request_poll(enum cri_request_kind kind, unsigned long* handle, struct timeval* timeout,
                     char** msg) {
  if (msg != NULL) *msg = NULL;
  const int ready = cri_request_wait(kind, handle, timeout);
  if (ready == 0) return 0;
  if (ready < 0) return CR_POLL_CHKPT_ERR_PRE;
  if (msg != NULL && take_log(kind, handle, msg) != 0) return CR_POLL_CHKPT_ERR_LOG;
  const int result = cri_request_reap(kind, handle);
  return result < 0 ? CR_POLL_CHKPT_ERR_POST : result;
}
