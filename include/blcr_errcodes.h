/*
 * Error codes of checkpoint and restart requests that errno has no name for. They come back in
 * errno and from the cr_reap_* and cr_poll_* calls; the commands exit with their low eight bits.
 * The numbers are BLCR's: programs and scripts compare them. C and C++; includes nothing.
 */
#ifndef STASIS_BLCR_ERRCODES_H
#define STASIS_BLCR_ERRCODES_H

#define CR_MIN_ERRCODE 2353

#define CR_ETEMPFAIL 2354  /* a callback asked for another time */
#define CR_EPERMFAIL 2355  /* a callback gave up; the processes were killed */
#define CR_ENOSUPPORT 2356 /* a process is not linked with the checkpoint library */
#define CR_EVERSION 2357   /* a version of the interface that we do not speak */
#define CR_EOMITTED 2358   /* the process left itself out */
#define CR_EBADARCH 2359   /* the context file is of another architecture */
#define CR_EPTRACED 2360   /* a process of the scope is traced by somebody */
#define CR_EPTRACER 2361   /* a process of the scope traces somebody */
#define CR_ERSTRTABRT 2362 /* a callback stopped the restart; everything made was killed */
#define CR_ERESTARTED 2363 /* the request was made before the process was restarted */
#define CR_ENOTCB 2364     /* only callbacks may call this */
#define CR_ENOINIT 2365    /* this thread has not called cr_init() */

#define CR_MAX_ERRCODE 2366

#endif /* STASIS_BLCR_ERRCODES_H */
