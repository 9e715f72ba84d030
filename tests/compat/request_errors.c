/*
 * Requests that fail: at once, or with CR_CHKPT_ASYNC_ERR when they are reaped, with what the log
 * says then; and how callbacks' refusals arrive.
 */
#include "compat.h"

#include <sched.h>
#include <sys/mount.h>

static cr_checkpoint_args_t args;
static cr_checkpoint_handle_t handle;

static int refusal, times_called;
static int answers(void* unused) {
  times_called++;
  cr_checkpoint(refusal);
  return unused != NULL;
}
static void waits(int in, int out) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(answers, NULL, CR_SIGNAL_CONTEXT) >= 0);
  cp_tell(out, 'r');
  cp_hear(in);
}

static struct cp_child subject;
static void prepare(int flags_of_subject) {
  refusal = flags_of_subject;
  subject = cp_fork(waits);
  cp_expect(subject.from, 'r');
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_initialize_checkpoint_args_t(&args), 0);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_target = subject.pid;
  args.cr_fd = open("context", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void end(void) {
  cp_tell(subject.to, 'q');
  cp_ends_well(&subject);
}

static pid_t nobody(void) {
  pid_t gone = fork();
  if (!gone) _exit(0);
  CHECK_EQ(cp_status(gone), 0);
  return gone;
}

/* The request fails at once, and with ASYNC_ERR when it is reaped, with something in the log. */
static void fails_with(int code) {
  errno = 0;
  int result = cr_request_checkpoint(&args, &handle);
  if (result >= 0 || errno != code)
    cp_fail("cr_request_checkpoint returns %d, %s; not %s", result, cr_strerror(errno),
            cr_strerror(code));
  args.cr_flags |= CR_CHKPT_ASYNC_ERR;
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  int size = cr_log_checkpoint(&handle, 0, NULL);
  CHECK(size >= 0);
  CHECK_FAILS(cr_reap_checkpoint(&handle), code);
}

CP_CASE(no_such_process_is_esrch) {
  prepare(0);
  args.cr_target = nobody();
  fails_with(ESRCH);
  end();
}

CP_CASE(no_such_group_or_session_is_esrch) {
  prepare(0);
  args.cr_target = nobody();
  args.cr_scope = CR_SCOPE_PGRP;
  fails_with(ESRCH);
  args.cr_flags = 0;
  args.cr_scope = CR_SCOPE_SESS;
  fails_with(ESRCH);
  args.cr_flags = 0;
  args.cr_scope = CR_SCOPE_TREE;
  fails_with(ESRCH);
  end();
}

CP_CASE(a_foreign_process_is_eperm) {
  if (!geteuid()) cp_skip("root may save every process");
  prepare(0);
  args.cr_target = 1;
  fails_with(EPERM);
  end();
}

CP_CASE(a_bad_descriptor_is_ebadf) {
  prepare(0);
  close(args.cr_fd);
  args.cr_fd = 987;
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EBADF);
  args.cr_fd = -1; /* the default */
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EBADF);
  args.cr_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EBADF); /* not open for writing */
  close(args.cr_fd);
  CHECK_EQ(times_called, 0);
  end();
}

CP_CASE(a_bad_field_is_einval) {
  prepare(0);
  args.cr_scope = (cr_scope_t)-1; /* the default: it must be set */
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EINVAL);
  args.cr_scope = (cr_scope_t)17;
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EINVAL);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_version = 99;
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EINVAL);
  args.cr_version = CR_CHECKPOINT_ARGS_VERSION;
  args.cr_signal = 1000;
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EINVAL);
  args.cr_signal = 0;
  args.cr_flags = 0x40000000;
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EINVAL);
  args.cr_flags = 0;
  args.cr_target = -5;
  CHECK(cr_request_checkpoint(&args, &handle) < 0);
  CHECK(errno == EINVAL || errno == ESRCH);
  end();
}

/* ---- what callbacks refuse */

static void refused(int flags, int code, int killed) {
  prepare(flags);
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  errno = 0;
  CHECK_EQ(cr_poll_checkpoint(&handle, NULL), CR_POLL_CHKPT_ERR_POST);
  CHECK_EQ(errno, code);
  if (killed)
    cp_killed(&subject, SIGKILL);
  else
    end();
}

CP_CASE(temp_failure_is_etempfail) {
  refused(CR_CHECKPOINT_TEMP_FAILURE, CR_ETEMPFAIL, 0);
}

CP_CASE(temp_failure_code_is_errno) {
  refused(CR_CHECKPOINT_TEMP_FAILURE_CODE(4711), 4711, 0);
}

CP_CASE(temp_failure_code_65535_is_errno) {
  refused((int)(CR_CHECKPOINT_TEMP_FAILURE_CODE(65535U)), 65535, 0);
}

CP_CASE(perm_failure_is_epermfail) {
  refused(CR_CHECKPOINT_PERM_FAILURE, CR_EPERMFAIL, 1);
}

CP_CASE(perm_failure_code_is_errno) {
  refused(CR_CHECKPOINT_PERM_FAILURE_CODE(4712), 4712, 1);
}

CP_CASE(all_omitted_is_esrch) {
  refused(CR_CHECKPOINT_OMIT, ESRCH, 0);
}

/* ---- the log */

static void request_that_logs(void) {
  prepare(0);
  args.cr_target = nobody();
  args.cr_flags = CR_CHKPT_ASYNC_ERR;
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
}

CP_CASE(log_is_complete_repeatable_and_cut_to_size) {
  char text[8192], again[8192], part[8];
  request_that_logs();
  int size = cr_log_checkpoint(&handle, 0, NULL);
  CHECK(size > 9 && size < (int)sizeof text);
  memset(text, 'x', sizeof text);
  CHECK_EQ(cr_log_checkpoint(&handle, sizeof text, text), size);
  CHECK_EQ(strlen(text) + 1, size);
  CHECK_EQ(cr_log_checkpoint(&handle, (unsigned)size, again), size);
  CHECK(!strcmp(text, again));
  CHECK_EQ(cr_log_checkpoint(&handle, sizeof part, part), size);
  CHECK_EQ(strlen(part), sizeof part - 1);
  CHECK(!strncmp(part, text, sizeof part - 1));
  CHECK_FAILS(cr_reap_checkpoint(&handle), ESRCH);
  end();
}

CP_CASE(log_to_a_bad_pointer_is_efault) {
  request_that_logs();
  void* nowhere = (void*)16;
  CHECK_FAILS(cr_log_checkpoint(&handle, 100, (char*)nowhere), EFAULT);
  CHECK_FAILS(cr_reap_checkpoint(&handle), ESRCH);
  end();
}

CP_CASE(poll_msg_gives_the_log_of_a_failure) {
  request_that_logs();
  char text[8192], *message = NULL;
  CHECK(cr_log_checkpoint(&handle, sizeof text, text) > 0);
  errno = 0;
  CHECK_EQ(cr_poll_checkpoint_msg(&handle, NULL, &message), CR_POLL_CHKPT_ERR_POST);
  CHECK_EQ(errno, ESRCH);
  CHECK(message != NULL && !strcmp(message, text));
  free(message);
  end();
}

/* ---- the output */

CP_CASE(a_broken_pipe_is_an_error) {
  prepare(0);
  close(args.cr_fd);
  int ends[2];
  CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
  close(ends[0]);
  args.cr_fd = ends[1];
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  errno = 0;
  CHECK_EQ(cr_poll_checkpoint(&handle, NULL), CR_POLL_CHKPT_ERR_POST);
  CHECK(errno == EPIPE || errno == EIO);
  end();
}

/* As an ordinary user: as the root of a user namespace, whose programs keep its rights. */
static int may_mount(void) {
  char line[64];
  uid_t uid = geteuid();
  gid_t gid = getegid();
  if (unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0))) return 0;
  if (uid) {
    int fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "deny", 4) < 0) return 0;
    close(fd);
    fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    int length = snprintf(line, sizeof line, "0 %d 1", uid);
    if (write(fd, line, (size_t)length) < 0) return 0;
    close(fd);
    fd = open("/proc/self/gid_map", O_WRONLY | O_CLOEXEC);
    length = snprintf(line, sizeof line, "0 %d 1", gid);
    if (write(fd, line, (size_t)length) < 0) return 0;
    close(fd);
  }
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return 0;
  return mkdir("small", 0700) == 0 && mount("none", "small", "tmpfs", 0, "size=16k") == 0;
}

CP_CASE(a_full_file_system_is_enospc) {
  if (!may_mount()) cp_skip("no small file system may be mounted here: %s", strerror(errno));
  prepare(0);
  close(args.cr_fd);
  args.cr_fd = open("small/context", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  errno = 0;
  CHECK_EQ(cr_poll_checkpoint(&handle, NULL), CR_POLL_CHKPT_ERR_POST);
  CHECK_EQ(errno, ENOSPC);
  end();
}

/* ---- time */

static void never_comes(int in, int out) {
  cr_client_id_t id = cr_init();
  CHECK(cr_register_callback(answers, NULL, CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cr_enter_cs(id), 0);
  dprintf(out, "%d\n", cp_tid());
  cp_expect(in, 'l');
  CHECK_EQ(cr_leave_cs(id), 0);
  cp_tell(out, 'l');
  cp_expect(in, 'q');
}

/* The one that is late goes on, the requester learns who it was, and the next request succeeds. */
CP_CASE(time_over_names_the_thread_that_is_late) {
  prepare(0);
  struct cp_child late = cp_fork(never_comes);
  char tid[16] = "", text[8192];
  for (size_t i = 0; i < sizeof tid - 1 && (tid[i] = cp_hear(late.from)) != '\n'; i++) continue;
  tid[strcspn(tid, "\n")] = 0;
  args.cr_target = late.pid;
  args.cr_timeout = 1;
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK(cr_log_checkpoint(&handle, sizeof text, text) > 0);
  CHECK_FAILS(cr_reap_checkpoint(&handle), ETIMEDOUT);
  if (!strstr(text, tid)) cp_fail("the log does not name thread %s: %s", tid, text);
  CHECK_EQ(cp_checkpoint(late.pid, ""), EBUSY); /* it has not come so far */
  cp_tell(late.to, 'l');
  cp_expect(late.from, 'l');
  args.cr_timeout = 0;
  CHECK_EQ(lseek(args.cr_fd, 0, SEEK_SET), 0);
  CHECK_EQ(ftruncate(args.cr_fd, 0), 0);
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  cp_tell(late.to, 'q');
  cp_ends_well(&late);
  end();
}
