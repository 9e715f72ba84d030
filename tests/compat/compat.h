/*
 * What every compatibility program shares. A program holds the cases of one group of libcr.h, each
 * named for the promise it shows; `PROGRAM --list` prints their names, `PROGRAM CASE` runs one, in
 * a process of its own and in the working directory, which is an empty folder. It writes `ok CASE`
 * or `FAIL CASE: why`, or `skip CASE: why`, and exits 0, 1 or 77.
 *
 * A case checkpoints itself or a child through the command cr_checkpoint in $STASIS_BIN, as anybody
 * would. To be restarted it names the image in the file `restart` and has itself killed; the runner
 * (compat.py) runs cr_restart and the case goes on in cp_restart(). Nothing here sleeps to be in
 * step: cases wait for events, with a limit. It uses only the documented interface of libcr.
 */
#ifndef STASIS_COMPAT_H
#define STASIS_COMPAT_H

#include <errno.h>
#include <fcntl.h>
#include <libcr.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- cases */

typedef void (*cp_body)(void);
void cp_add(const char* name, cp_body body);
/* CP_CASE(name) { body } */
#define CP_CASE(name)                                                 \
  static void name(void);                                             \
  __attribute__((constructor)) static void cp_register_##name(void) { \
    cp_add(#name, name);                                              \
  }                                                                   \
  static void name(void)

/* ---- checks: the first that fails ends the process. From any thread, callback or child. */

__attribute__((noreturn, format(printf, 1, 2))) void cp_fail(const char* format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void cp_skip(const char* format, ...);
void cp_equal(const char* file, int line, const char* text, long long is, long long expected);
void cp_fails(const char* file, int line, const char* text, long long is, int error, int expected);

#define CHECK(condition)                                                         \
  do {                                                                           \
    if (!(condition))                                                            \
      cp_fail("%s:%d: %s (errno %d: %s)", __FILE__, __LINE__, #condition, errno, \
              cr_strerror(errno));                                               \
  } while (0)
#define CHECK_EQ(is, expected) \
  cp_equal(__FILE__, __LINE__, #is, (long long)(is), (long long)(expected))
/* The call returns -1 and sets errno to `code`. */
#define CHECK_FAILS(call, code)                                  \
  do {                                                           \
    errno = 0;                                                   \
    long long result_ = (long long)(call);                       \
    cp_fails(__FILE__, __LINE__, #call, result_, errno, (code)); \
  } while (0)

/* ---- events */

struct cp_pipe {
  int read_end, write_end;
};
struct cp_pipe cp_new_pipe(void);
void cp_tell(int fd, char word);   /* writes one byte */
char cp_hear(int fd);              /* waits for one byte; fails after the limit */
void cp_expect(int fd, char word); /* waits for just this byte */
int cp_silent(int fd);             /* whether there is nothing to be read now */
long long cp_limit_ms(void);       /* after which an event counts as never coming */
int cp_late(long long* since_ms);  /* naps a millisecond; whether the limit is over */
#define UNTIL(condition)                                                                 \
  do {                                                                                   \
    long long since_ = 0;                                                                \
    while (!(condition))                                                                 \
      if (cp_late(&since_)) cp_fail("%s:%d: never: %s", __FILE__, __LINE__, #condition); \
  } while (0)

/* A record of what happened, in order; any thread or handler may add to it. */
void cp_note(char what);
const char* cp_notes(void);
void cp_forget_notes(void);
int cp_noted(char what); /* how many times */
void cp_notes_are(const char* file, int line, const char* expected);
#define CHECK_NOTES(expected) cp_notes_are(__FILE__, __LINE__, expected)
/* A callback whose argument is a one-letter string: notes the letter, calls cr_checkpoint(0), and
 * notes the capital letter after a checkpoint, the digit ('a' is 1) after a restart, '-' if that
 * failed. */
int cp_noting(void* letter);

pid_t cp_tid(void);
pthread_t cp_thread(void* (*body)(void*), void* argument);
void cp_join(pthread_t thread);
/* A small amount of work that takes a while and depends on nobody: runs /bin/true twenty times. */
void cp_dawdle(void);

/* ---- children */

struct cp_child {
  pid_t pid;
  int to, from; /* pipes */
};
/* Forks; the child runs body(in, out) and exits 0. */
struct cp_child cp_fork(void (*body)(int in, int out));
int cp_status(pid_t child);                /* waits for its end; as waitpid gives it */
void cp_ends_well(struct cp_child* child); /* waits for its end: exit status 0 */
void cp_killed(struct cp_child* child, int signal_number);
void cp_until_stopped(pid_t pid);
pid_t cp_own_pid(pid_t pid); /* by what it knows itself, in a pid namespace of its own too */
char cp_state(pid_t pid);    /* the letter of /proc/PID/stat, 0 if there is no such process */
void cp_until_blocked(pid_t tid, long system_call); /* thread of this process */

/* ---- commands */

#define CP_RESTARTED (-1)
/* Starts `cr_checkpoint -f image.N OPTIONS PID`; options are separated by blanks. The scope is PROC
 * unless the options say otherwise; no -f is added where they name a destination. */
pid_t cp_start(pid_t target, const char* options);
/* The exit status of the command, or CP_RESTARTED when this is the restarted process. */
int cp_finish(pid_t command);
int cp_checkpoint(pid_t target, const char* options); /* both */
const char* cp_image(void);                           /* the path of the last one's image */
const char* cp_said(void);                            /* what the last command wrote to stderr */
/* Saves this process, has it killed and restarted by the runner; returns in the restarted one. */
void cp_restart(const char* options);
/* The same with options for cr_restart; "" for none. */
void cp_restart_with(const char* options, const char* restart_options);
/* Runs any command line (blank separated), stdout and stderr to the file of cp_said(). */
pid_t cp_spawn(const char* line);
const char* cp_command(const char* name);                       /* its path in $STASIS_BIN */
pid_t cp_restart_child(const char* image, const char* options); /* starts cr_restart */
/* The same, and waits until the restarted process runs. */
pid_t cp_restarted_child(const char* image);

int cp_descriptors(void); /* how many this process has open */
int cp_threads(void);

#ifdef __cplusplus
}
#endif

#endif
