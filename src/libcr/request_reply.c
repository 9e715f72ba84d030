/* Reading what the helper answers. The last byte of the last answer stays in the pipe, so that the
 * handle remains readable for select(2), whatever other process may hold the write end (one that
 * another thread forked at a bad moment). After a restart the descriptor is an eventfd, which
 * must remain readable as well. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "request_internal.h"

#define MAX_LOG_LENGTH (16u << 20)

/* A read(2) that the image has caught waiting is begun again on the eventfd, and takes from it. */
static void refill(int fd) {
  const uint64_t one = 1;
  (void)!write(fd, &one, sizeof one);
}

/* Returns 1; 0 at the end of file; -1 when the request was made before a restart. */
static int read_exactly(struct cri_request* request, void* to, size_t length) {
  char* position = to;
  while (length > 0) {
    if (cri_request_restarted(request)) return -1;
    const ssize_t got = read(request->fd, position, length);
    if (cri_request_restarted(request)) {
      if (got == sizeof(uint64_t)) refill(request->fd);
      return -1;
    }
    if (got == 0 || (got < 0 && errno != EINTR)) return 0;
    if (got < 0) continue;
    position += got;
    length -= (size_t)got;
  }
  return 1;
}

static void finish(struct cri_request* request, int32_t error, int32_t value) {
  request->done = 1;
  request->error = error;
  request->value = value;
}

/* Appends the text behind an answer. Without memory for it the status must do: it is not read. */
static int read_log(struct cri_request* request, size_t length, int last) {
  char* log = realloc(request->log, request->log_length + length + 1);
  if (log == NULL) return 1;
  request->log = log;
  char* text = log + request->log_length;
  const int got = read_exactly(request, text, length - (last ? 1 : 0));
  if (got != 1) {
    log[request->log_length] = '\0';
    return got;
  }
  if (last) text[length - 1] = '\n'; /* as all lines end */
  text[length] = '\0';
  request->log_length += length;
  return 1;
}

int cri_reply_read(struct cri_request* request) {
  struct cri_reply reply;
  memset(&reply, 0, sizeof reply);
  int got = read_exactly(request, &reply, sizeof reply - 1);
  const int last = reply.type == CRI_REPLY_DONE;
  if (got == 1 && (reply.magic != CRI_REPLY_MAGIC || reply.log_length > MAX_LOG_LENGTH)) got = 0;
  if (got == 1 && (!last || reply.log_length > 0)) {
    char final_byte;
    got = read_exactly(request, &final_byte, 1);
  }
  if (got == 1 && reply.log_length > 0) got = read_log(request, reply.log_length, last);
  if (got < 0) return 0;
  if (got == 0) {
    finish(request, EIO, 0);
    return CRI_REPLY_DONE;
  }
  if (last) {
    finish(request, reply.error, reply.value);
    memcpy(request->children, reply.children, sizeof request->children);
  } else {
    request->value = reply.value;
  }
  return (int)reply.type;
}

void cri_reply_refresh(struct cri_request* request) {
  while (!request->done && !cri_request_restarted(request)) {
    struct pollfd wait = {.fd = request->fd, .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, 0) <= 0) return;
    (void)cri_reply_read(request);
  }
}
