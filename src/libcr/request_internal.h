/* Requests for checkpoints and restarts, as the files request*.c share them. A request is a helper
 * process that does the work and a pipe through which it answers (include/stasis/request.h): its
 * read end is the handle. What has been read from it is kept in a table, by descriptor. Nothing
 * here is exported, and nothing here runs a callback. */
#ifndef STASIS_LIBCR_REQUEST_INTERNAL_H
#define STASIS_LIBCR_REQUEST_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/types.h>

#include "stasis/request.h"

enum cri_request_kind { CRI_REQUEST_CHECKPOINT = 1, CRI_REQUEST_RESTART = 2 };

enum cri_request_state {
  CRI_REQUEST_FREE = 0,
  CRI_REQUEST_STARTING, /* known to the thread that makes it alone */
  CRI_REQUEST_OPEN      /* its handle is valid */
};

struct cri_request {
  enum cri_request_state state;
  enum cri_request_kind kind;
  int fd;         /* the handle */
  uint64_t inode; /* of the pipe; in the control block's handle[] at the same index */
  uint32_t epoch; /* of the control block when the request was made */
  pid_t helper;
  int done; /* the last answer has been read: */
  int32_t error;
  int32_t value;
  int32_t children[CRI_REPLY_CHILDREN];
  char* log; /* NULL: nothing reported */
  size_t log_length;
};

/* The words of a command line. */
#define CRI_MAX_WORDS 80
struct cri_words {
  char* items[CRI_MAX_WORDS + 1];
  int count;
  int failed; /* no memory */
};
#define CRI_WORD_REPLY 2 /* index of the word that cri_request_submit() fills in */

/* request_words.c */
void cri_words_begin(struct cri_words* words, const char* what);
void cri_words_add(struct cri_words* words, const char* format, ...)
    __attribute__((format(printf, 2, 3)));
void cri_words_add_signal(struct cri_words* words, int number);
void cri_words_free(struct cri_words* words);

/* request_find.c: both results are for free(); NULL and errno: ENOMEM, ENOSYS (no helper). */
char* cri_helper_path(void);
char** cri_helper_environment(void);

/* request_start.c */
struct cri_helper {
  const char* path;
  char* const* words;
  char* const* environment;
  enum cri_request_kind kind;
  int reply;   /* write end of the pipe */
  int context; /* descriptor of the context file; negative: none */
  /* What came of it. */
  pid_t pid;
  int error;
};
/* The descriptors that a checkpoint's helper finds; a restart's keep their numbers. */
#define CRI_HELPER_REPLY 3
#define CRI_HELPER_CONTEXT 4
/* Returns 0 when the helper's program runs, else an errno. */
int cri_helper_start(struct cri_helper* helper);

/* request_table.c; all but the first are called with the lock. */
void cri_request_lock(void);
void cri_request_unlock(void);
struct cri_request* cri_request_new(enum cri_request_kind kind, int fd);
/* NULL: the handle is none of ours. */
struct cri_request* cri_request_find(enum cri_request_kind kind, const unsigned long* handle);
/* Closes the handle as well, if it still is ours. */
void cri_request_free(struct cri_request* request);
int cri_request_restarted(const struct cri_request* request);

/* request_reply.c */
/* Reads the next answer, waiting for it. Sets `done` with the last one, and returns the type of
 * the answer; 0 when the request was made before a restart. */
int cri_reply_read(struct cri_request* request);
/* Reads what is there. */
void cri_reply_refresh(struct cri_request* request);

/* request_wait.c */
/* select(2) on one descriptor of any number, by the kernel's rules for `timeout`. */
int cri_select_readable(int fd, struct timeval* timeout);
/* Until the answer is there or this process is a restarted one. */
void cri_wait_until_done(const struct cri_request* request);
/* ... or the checkpoint waits for a critical section of this process. */
void cri_wait_until_pending(const struct cri_request* request);

/* request.c: what the calls for checkpoints and restarts share. `async`: errors of the request are
 * for the reap. Returns -1 with errno, 0, or 1: the scope has the caller in it. On success *handle
 * is set, and the entry is for the waits above only. */
int cri_request_submit(enum cri_request_kind kind, struct cri_words* words, int context, int async,
                       struct cri_request** made);
int cri_request_wait(enum cri_request_kind kind, unsigned long* handle, struct timeval* timeout);
int cri_request_log(enum cri_request_kind kind, unsigned long* handle, unsigned int len, char* msg);
int cri_request_reap(enum cri_request_kind kind, unsigned long* handle);
int cri_request_poll(enum cri_request_kind kind, unsigned long* handle, struct timeval* timeout,
                     char** msg);

#endif
