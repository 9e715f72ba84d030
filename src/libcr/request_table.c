/* The requests that are under way or not reaped yet. Entry N's pipe is listed in the control
 * block's handle[N], so that a context file has an eventfd in its place. A forked child has none of
 * its parent's requests. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "request_internal.h"

static struct cri_request requests[CRI_MAX_HANDLES];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sigset_t mask_before; /* of the thread that has the mutex */

/* Signals are blocked, so that a handler that asks for a handle does not find us half done. */
void cri_request_lock(void) {
  cri_adopt_process(); /* in the child of a fork that skipped the handlers for it */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_mutex_lock(&mutex);
  mask_before = before;
}

void cri_request_unlock(void) {
  const sigset_t before = mask_before;
  pthread_mutex_unlock(&mutex);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void cri_requests_forked(void) {
  memset(requests, 0, sizeof requests);
  static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
  mutex = unlocked;
}

int cri_request_restarted(const struct cri_request* request) {
  const struct cri_block* block = cri_block_get();
  return block != NULL && __atomic_load_n(&block->epoch, __ATOMIC_ACQUIRE) != request->epoch;
}

static void list_in_block(const struct cri_request* request, uint64_t inode) {
  struct cri_block* block = cri_block_get();
  if (block == NULL) return;
  __atomic_store_n(&block->handle[request - requests], inode, __ATOMIC_RELEASE);
}

/* Whether the descriptor is still what we made it, or what a restart put in its place. */
static int is_intact(const struct cri_request* request) {
  struct stat status;
  if (!cri_request_restarted(request)) {
    return fstat(request->fd, &status) == 0 && S_ISFIFO(status.st_mode) &&
           status.st_ino == request->inode;
  }
  char name[32], target[32];
  snprintf(name, sizeof name, "/proc/self/fd/%d", request->fd);
  const ssize_t length = readlink(name, target, sizeof target);
  return length >= 0 && (size_t)length == strlen("anon_inode:[eventfd]") &&
         memcmp(target, "anon_inode:[eventfd]", (size_t)length) == 0;
}

void cri_request_free(struct cri_request* request) {
  if (is_intact(request)) (void)close(request->fd);
  list_in_block(request, 0);
  free(request->log);
  memset(request, 0, sizeof *request);
}

/* Entries whose descriptor the program has closed itself are lost, and free. */
static struct cri_request* free_entry(void) {
  for (size_t i = 0; i < CRI_MAX_HANDLES; ++i) {
    if (requests[i].state == CRI_REQUEST_OPEN && !is_intact(&requests[i])) {
      cri_request_free(&requests[i]);
    }
    if (requests[i].state == CRI_REQUEST_FREE) return &requests[i];
  }
  return NULL;
}

struct cri_request* cri_request_new(enum cri_request_kind kind, int fd) {
  struct stat status;
  struct cri_request* request = free_entry();
  if (request == NULL || fstat(fd, &status) != 0) return NULL;
  const struct cri_block* block = cri_block_get();
  request->state = CRI_REQUEST_STARTING;
  request->kind = kind;
  request->fd = fd;
  request->inode = status.st_ino;
  request->epoch = block != NULL ? block->epoch : 0;
  list_in_block(request, request->inode);
  return request;
}

struct cri_request* cri_request_find(enum cri_request_kind kind, const unsigned long* handle) {
  for (size_t i = 0; handle != NULL && i < CRI_MAX_HANDLES; ++i) {
    struct cri_request* request = &requests[i];
    if (request->state != CRI_REQUEST_OPEN || (unsigned long)request->fd != *handle) continue;
    if (request->kind == kind && is_intact(request)) return request;
  }
  return NULL;
}
