/*
 * The library interface: callbacks around a checkpoint, critical sections, requests for checkpoints
 * and restarts. Names, values and layouts are those of BLCR's libcr, so that programs written for
 * it compile and link unchanged. libcr(3) tells more. C and C++.
 */
#ifndef STASIS_LIBCR_H
#define STASIS_LIBCR_H 1

#include <errno.h>
#include <features.h>
#include <sys/select.h>
#include <sys/types.h>

#include "blcr_common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Versions of the argument structs below, as this header describes them. */
typedef int cr_version_t;
#define CR_CHECKPOINT_ARGS_VERSION 1
#define CR_RESTART_ARGS_VERSION 1

typedef int (*cr_callback_t)(void*);
typedef int cr_client_id_t;   /* what cr_init() gives */
typedef int cr_callback_id_t; /* what cr_register_callback() gives */
typedef unsigned int cr_spinlock_t;
typedef unsigned long cr_checkpoint_handle_t;
typedef unsigned long cr_restart_handle_t;

/* What a callback can ask about the checkpoint it is called for. */
struct cr_checkpoint_info {
  int signal;       /* sent to the processes when the checkpoint is done; 0: none */
  const char* dest; /* path of the context file */
  pid_t requester;  /* the process that asked */
  pid_t target;     /* the process, group or session it asked for */
  cr_scope_t scope;
};

/* What a callback can ask about the restart it came back through. */
struct cr_restart_info {
  pid_t requester; /* the process that asked for the restart */
  const char* src; /* path of the context file */
};

/* cr_status() */
enum { CR_STATE_IDLE, CR_STATE_PENDING, CR_STATE_ACTIVE };

/* A checkpoint request; fill it with cr_initialize_checkpoint_args_t() first. */
typedef struct cr_checkpoint_args {
  cr_version_t cr_version;
  cr_scope_t cr_scope; /* must be set */
  pid_t cr_target;     /* 0: the caller's own process, group or session */

  int cr_fd;               /* where the context goes, or CR_DEST_CWD */
  int cr_signal;           /* sent afterwards; 0: none */
  unsigned int cr_timeout; /* seconds until the callbacks must be through; 0: no limit */
  unsigned int cr_flags;   /* CR_CHKPT_* */
} cr_checkpoint_args_t;

/* A restart request; fill it with cr_initialize_restart_args_t() first. */
typedef struct cr_restart_args {
  cr_version_t cr_version;
  int cr_fd; /* where the context comes from: file, pipe or socket */
  int cr_signal;
  unsigned int cr_flags; /* CR_RSTRT_* */
  struct cr_rstrt_relocate* cr_relocate;
} cr_restart_args_t;

/* How a callback is to be run: exactly one of them. */
#define CR_SIGNAL_CONTEXT 0x2000000 /* in the thread that registered it, maybe in a handler */
#define CR_THREAD_CONTEXT 0x4000000 /* in a thread of the library's own */

/* Registrations that a context can hold. */
#define CR_MAX_CALLBACKS 0x1FFFFFF

/* The client id inside callbacks. */
#define CR_ID_CALLBACK ((cr_client_id_t)(-1))

#define CR_SPINLOCK_INITIALIZER 0U

/* When a hook runs: after the callbacks of its thread. CONT: the program goes on after a
 * checkpoint. RSTRT: it comes back from one. */
typedef enum {
  CR_HOOK_CONT_SIGNAL_CONTEXT = 0, /* thread with SIGNAL callbacks, or that held the checkpoint up
                                      by a critical section */
  CR_HOOK_CONT_THREAD_CONTEXT,     /* the thread that runs THREAD callbacks */
  CR_HOOK_CONT_NO_CALLBACKS,       /* any other thread */
  CR_HOOK_RSTRT_SIGNAL_CONTEXT,
  CR_HOOK_RSTRT_THREAD_CONTEXT,
  CR_HOOK_RSTRT_NO_CALLBACKS,
  CR_NUM_HOOKS /* how many there are; no event itself */
} cr_hook_event_t;

typedef void (*cr_hook_fn_t)(cr_hook_event_t);
#define CR_HOOK_FN_ERROR ((cr_hook_fn_t)(~0UL))

/* Scopes of cr_hold_ctrl(). */
enum { CR_HOLD_SCOPE_THREAD, CR_HOLD_SCOPE_INIT, CR_HOLD_SCOPE_UNINIT };

/* What the poll calls return when something failed, by the step that did: waiting, the request
 * itself (errno says why), collecting the log. */
#define CR_POLL_CHKPT_ERR_PRE (-1)
#define CR_POLL_CHKPT_ERR_POST (-2)
#define CR_POLL_CHKPT_ERR_LOG (-3)
#define CR_POLL_RSTRT_ERR_PRE (-1)
#define CR_POLL_RSTRT_ERR_POST (-2)
#define CR_POLL_RSTRT_ERR_LOG (-3)

/*
 * Threads and callbacks
 */

/* Makes the calling thread known to the library; each thread that uses it calls this first (but
 * not callbacks, whichever thread runs them). A forked child begins anew. Returns an id for this
 * thread's critical sections, or -1 and errno. Not to be called in a signal handler. */
extern cr_client_id_t cr_init(void);

/* Registers a callback that runs when this process is checkpointed. `context` is CR_SIGNAL_CONTEXT
 * or CR_THREAD_CONTEXT. Callbacks of one context run nested: the one registered last is called
 * first, and its cr_checkpoint() calls the one before. All THREAD callbacks have come to their
 * cr_checkpoint() before any SIGNAL callback begins. Waits while a checkpoint is going on.
 * Returns an id or -1 with errno CR_ENOINIT, EINVAL (context), ENOMEM, ENOSPC (CR_MAX_CALLBACKS)
 * or EBUSY (in a callback). Not to be called in a signal handler. */
extern cr_callback_id_t cr_register_callback(cr_callback_t func, void* arg, int context);

/* Puts another function and argument in the place of callback `id`, between checkpoints. NULL
 * leaves an empty place. `context` must be that of the registration; ids of CR_SIGNAL_CONTEXT
 * belong to the thread that registered. Returns 0, or -1 with errno CR_ENOINIT, EINVAL (id or
 * context) or EBUSY (in a callback). Not to be called in a signal handler. */
extern int cr_replace_callback(cr_callback_id_t id, cr_callback_t func, void* arg, int context);

/* The same for the callback that calls it. Returns 0, or -1 with errno CR_ENOTCB or EINVAL. */
extern int cr_replace_self(cr_callback_t func, void* arg, int context);

/* In a callback: what had to be done before the checkpoint is done. Goes on with the next callback
 * or, in the last one, with the checkpoint; the library calls it for a callback that returns
 * without. `flags` is CR_CHECKPOINT_READY or one of CR_CHECKPOINT_OMIT (leave this process out),
 * CR_CHECKPOINT_TEMP_FAILURE (no checkpoint, all go on), CR_CHECKPOINT_PERM_FAILURE (no
 * checkpoint, all processes of it are killed), the latter two with a code or without; with them
 * the callbacks of this group that have not begun are not run. Returns
 *    0   after the checkpoint, in the process that goes on
 *  > 0   in the process that was restarted
 *  < 0   there was no checkpoint: -CR_ETEMPFAIL or -CR_EPERMFAIL or the negative of the code given
 *        (by a callback of any process), -CR_EOMITTED, -CR_ENOTCB (not called in a callback), or
 *        another negative errno that tells what kept the request from success. */
extern int cr_checkpoint(int flags);

/* The checkpoint, or the restart, that the calling callback runs for; NULL outside callbacks. Each
 * thread has its own copy, which may change with the thread's next call of cr_checkpoint(). The
 * former is for callbacks before cr_checkpoint(), the latter for after it. */
extern const struct cr_checkpoint_info* cr_get_checkpoint_info(void);
extern const struct cr_restart_info* cr_get_restart_info(void);

/* In a callback, before cr_checkpoint(): has other processes saved with this one. Overlap is no
 * error. Waits until it is known whether they can take part: if not, this call fails and the
 * checkpoint goes on without them. Returns 0, or -1 with errno ESRCH (no such processes), EPERM
 * (not the caller's), EBUSY (in another checkpoint), EDEADLK (CR_CHKPT_PROHIBIT_SELF), CR_EPTRACED,
 * CR_EPTRACER, CR_ENOSUPPORT, EINVAL, CR_ENOTCB, or what else keeps them from being saved. */
extern int cr_forward_checkpoint(cr_scope_t cr_scope, pid_t cr_target);

/*
 * Critical sections: no checkpoint happens while a thread is in one
 */

/* Enters a critical section; waits while a checkpoint is pending or active, unless the thread is in
 * one already. `id` is what cr_init() gave to this thread. In a callback (id CR_ID_CALLBACK) it
 * does nothing. Returns 0, or -1 with errno CR_ENOINIT or EINVAL. Safe in signal handlers, as are
 * the next three. */
extern int cr_enter_cs(cr_client_id_t id);

/* The same, but rather than wait it returns a positive number and has not entered. */
extern int cr_tryenter_cs(cr_client_id_t id);

/* Leaves a critical section, once for each entry. A checkpoint that waited for the thread is taken
 * before the call returns. Returns 0, or -1 with errno CR_ENOINIT or EINVAL. */
extern int cr_leave_cs(cr_client_id_t id);

/* Returns CR_STATE_ACTIVE in a callback, CR_STATE_PENDING while a checkpoint of this process is
 * going on otherwise, CR_STATE_IDLE if there is none, or -1 with errno CR_ENOINIT. */
extern int cr_status(void);

/* Locks that handlers and callbacks may use: they spin, own nobody and never fail. trylock returns
 * non-zero if it got the lock. */
extern void cr_spinlock_init(cr_spinlock_t* lock);
extern void cr_spinlock_lock(cr_spinlock_t* lock);
extern void cr_spinlock_unlock(cr_spinlock_t* lock);
extern int cr_spinlock_trylock(cr_spinlock_t* lock);

/*
 * Hooks, holding, thread data
 */

/* Has `hook_fn` called in each thread that the event is for, maybe in a signal handler. NULL: none.
 * Holds for the whole process. Returns what was registered before, or CR_HOOK_FN_ERROR with errno
 * CR_ENOINIT or EINVAL. Not to be called in a signal handler. */
extern cr_hook_fn_t cr_register_hook(cr_hook_event_t event, cr_hook_fn_t hook_fn);

/* Says which threads wait, after their own callbacks and hook, until all callbacks of the process
 * have run to their end: by CR_HOLD_* flags for the calling thread (CR_HOLD_SCOPE_THREAD), for
 * threads that have called cr_init() (.._INIT), and for those that have not (.._UNINIT). At first
 * all wait. Returns the flags before, or -1 with errno CR_ENOINIT or EINVAL. Safe in handlers. */
extern int cr_hold_ctrl(int scope, int flags);

/* Count uses of what cr_init() made for the calling thread. While the count is not 0 it stays, even
 * when the thread is ending: destructors of thread specific data may go on using the library.
 * Return the count before, or -1 with errno CR_ENOINIT or ERANGE. */
extern int cr_inc_persist(void);
extern int cr_dec_persist(void);

/*
 * Requests for a checkpoint
 */

/* Sets all members to defaults. Returns 0, or -1 with errno EINVAL for an unknown version. */
#define cr_initialize_checkpoint_args_t(args) \
  cri_init_checkpoint_args_t(CR_CHECKPOINT_ARGS_VERSION, (args))

/* Asks for a checkpoint; cr_fd may be closed as soon as it returns. The handle is a descriptor:
 * select(2) calls it readable when the checkpoint is done. Returns 0, or a negative number with
 * errno ESRCH (no such processes), EPERM (not the caller's), EBADF (cr_fd), EINVAL, EBUSY (in a
 * checkpoint already) or another; with CR_CHKPT_ASYNC_ERR most errors come from the reap. */
extern int cr_request_checkpoint(cr_checkpoint_args_t* args, cr_checkpoint_handle_t* handle);

/* Waits until the checkpoint is done, no longer than `timeout` if given (which is then reduced to
 * what is left). Returns > 0: done, 0: time is over, < 0: waiting failed (errno EINVAL: no such
 * request; EINTR; EFAULT). */
extern int cr_wait_checkpoint(cr_checkpoint_handle_t* handle, struct timeval* timeout);

/* Copies what was reported during the checkpoint, cut to `len` bytes with the final NUL. Returns
 * the size of all of it, NUL included, or 0 if there is nothing; < 0 with errno EINVAL or EFAULT.
 */
extern int cr_log_checkpoint(cr_checkpoint_handle_t* handle, unsigned int len, char* msg);

/* Gives the result of a checkpoint that is done, and frees the handle. Returns > 0 for success, or
 * a negative number with errno EAGAIN (not done; the handle stays), CR_ERESTARTED (it succeeded,
 * and this process has been restarted from it), EINVAL (no such request), CR_ENOSUPPORT,
 * CR_ETEMPFAIL, CR_EPERMFAIL, a callback's code, ESRCH (nothing left to save), EIO, ENOSPC or
 * another. */
extern int cr_reap_checkpoint(cr_checkpoint_handle_t* handle);

/* Wait, log (if msg_p is not NULL: *msg_p is for the caller to free) and reap in one. Returns > 0
 * for success, 0 if time is over, or CR_POLL_CHKPT_ERR_* with errno. */
extern int cr_poll_checkpoint_msg(cr_checkpoint_handle_t* handle, struct timeval* timeout,
                                  char** msg_p);
extern int cr_poll_checkpoint(cr_checkpoint_handle_t* handle, struct timeval* timeout);

/*
 * Requests for a restart: the same. The first restarted process is a child of the caller
 */

#define cr_initialize_restart_args_t(args) cri_init_restart_args_t(CR_RESTART_ARGS_VERSION, (args))

/* Asks for a restart from a context file, read from where cr_fd stands. Returns 0, or a negative
 * number with errno EBADF, EINVAL or another; with CR_RSTRT_ASYNC_ERR most come from the reap. */
extern int cr_request_restart(cr_restart_args_t* args, cr_restart_handle_t* handle);
extern int cr_wait_restart(cr_restart_handle_t* handle, struct timeval* timeout);
extern int cr_log_restart(cr_restart_handle_t* handle, unsigned int len, char* msg);

/* Returns the pid of the first restarted process, as cr_poll_restart() does, or a negative number
 * with errno EAGAIN, EINVAL, EIO, CR_ERSTRTABRT or another. */
extern int cr_reap_restart(cr_restart_handle_t* handle);
extern int cr_poll_restart_msg(cr_restart_handle_t* handle, struct timeval* timeout, char** msg_p);
extern int cr_poll_restart(cr_restart_handle_t* handle, struct timeval* timeout);

/*
 * The rest
 */

/* The text for an errno or CR_E* code; never NULL. */
extern const char* cr_strerror(int errnum);

/* Behind the macros above; not to be called otherwise. */
extern int cri_init_checkpoint_args_t(cr_version_t version, cr_checkpoint_args_t* args);
extern int cri_init_restart_args_t(cr_version_t version, cr_restart_args_t* args);

/* Checkpoint this process, to context.PID in the working directory or to what is named. New
 * programs use cr_request_checkpoint(). */
extern void cr_request(void) _CR_DEPRECATED;
extern void cr_request_file(const char* filename) _CR_DEPRECATED;
extern void cr_request_fd(int fd) _CR_DEPRECATED;

#ifdef __cplusplus
}
#endif

#endif /* STASIS_LIBCR_H */
