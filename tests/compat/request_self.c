/*
 * Requests for a checkpoint that includes the requester, scopes and flags of requests, overlapping
 * requests, and the deprecated cr_request functions.
 */
#include "compat.h"

static cr_checkpoint_args_t args;
static cr_checkpoint_handle_t handle;
static const char* const kFile = "context";

static void prepare(cr_scope_t scope, pid_t target) {
  CHECK_EQ(cr_initialize_checkpoint_args_t(&args), 0);
  args.cr_scope = scope;
  args.cr_target = target;
  args.cr_fd = open(kFile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(args.cr_fd >= 0);
}

static void request(void) {
  int result = cr_request_checkpoint(&args, &handle);
  if (result) cp_fail("cr_request_checkpoint: %d, %s", result, cr_strerror(errno));
  close(args.cr_fd);
}

static off_t size_of(const char* path) {
  struct stat status;
  return stat(path, &status) ? -1 : status.st_size;
}

static void restart_from(const char* name) {
  char line[4096], here[3000];
  FILE* file = fopen("restart", "w");
  CHECK(getcwd(here, sizeof here) != NULL);
  snprintf(line, sizeof line, "%s/%s", here, name);
  fprintf(file, "%s\n", line);
  fclose(file);
}

static void begin(int context) {
  CHECK(cr_init() >= 0);
  if (context) CHECK(cr_register_callback(cp_noting, (void*)"a", context) >= 0);
}

/* When the request returns, the callbacks have run and the file is there. */
static void of_oneself(int context) {
  begin(context);
  prepare(CR_SCOPE_PROC, 0);
  request();
  CHECK_NOTES(context ? "aA" : "");
  CHECK(size_of(kFile) > 0);
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
}

CP_CASE(of_oneself_is_done_when_it_returns_signal_context) {
  of_oneself(CR_SIGNAL_CONTEXT);
}

CP_CASE(of_oneself_is_done_when_it_returns_thread_context) {
  of_oneself(CR_THREAD_CONTEXT);
}

CP_CASE(of_oneself_without_callbacks) {
  of_oneself(0);
}

/* In the restarted process the request ends with CR_ERESTARTED, and its handle is good for that. */
static void restarted(int by_poll) {
  begin(CR_SIGNAL_CONTEXT);
  int before = cp_descriptors();
  prepare(CR_SCOPE_PROC, getpid());
  args.cr_signal = SIGKILL;
  restart_from(kFile);
  request();
  CHECK_NOTES("a1");
  if (by_poll) {
    errno = 0;
    CHECK_EQ(cr_poll_checkpoint(&handle, NULL), CR_POLL_CHKPT_ERR_POST);
    CHECK_EQ(errno, CR_ERESTARTED);
  } else {
    fd_set set;
    struct timeval none = {0, 0};
    FD_ZERO(&set);
    FD_SET((int)handle, &set);
    CHECK_EQ(select((int)handle + 1, &set, NULL, NULL, &none), 1);
    CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
    CHECK_EQ(cr_log_checkpoint(&handle, 0, NULL), 0);
    CHECK_FAILS(cr_reap_checkpoint(&handle), CR_ERESTARTED);
  }
  CHECK_EQ(cp_descriptors(), before);
  prepare(CR_SCOPE_PROC, getpid()); /* and the next request is a request */
  request();
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  CHECK_NOTES("a1aA");
}

CP_CASE(restarted_requester_gets_erestarted_from_poll) {
  restarted(1);
}

CP_CASE(restarted_requester_gets_erestarted_from_reap) {
  restarted(0);
}

CP_CASE(in_a_critical_section_it_waits_for_leave) {
  cr_client_id_t id = cr_init();
  begin(CR_SIGNAL_CONTEXT);
  prepare(CR_SCOPE_PROC, 0);
  CHECK_EQ(cr_enter_cs(id), 0);
  request();
  CHECK_NOTES("");
  CHECK_FAILS(cr_reap_checkpoint(&handle), EAGAIN);
  UNTIL(cr_status() == CR_STATE_PENDING);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_NOTES("aA");
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  CHECK(size_of(kFile) > 0);
}

CP_CASE(prohibit_self) {
  begin(CR_SIGNAL_CONTEXT);
  prepare(CR_SCOPE_PROC, 0);
  args.cr_flags = CR_CHKPT_PROHIBIT_SELF;
  errno = 0;
  CHECK(cr_request_checkpoint(&args, &handle) < 0);
  CHECK_EQ(errno, EDEADLK);
  args.cr_scope = CR_SCOPE_TREE;
  CHECK(cr_request_checkpoint(&args, &handle) < 0);
  CHECK_NOTES("");
}

CP_CASE(of_another_thread_it_means_the_process) {
  begin(CR_SIGNAL_CONTEXT);
  prepare(CR_SCOPE_PROC, cp_tid());
  request();
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  CHECK_NOTES("aA");
}

/* ---- scopes: 0 is the caller's own */

static int child_fd;
static int tells(void* unused) {
  cp_tell(child_fd, 'c');
  return unused != NULL;
}
static int child_leaves_group;
static void is_child(int in, int out) {
  child_fd = out;
  if (child_leaves_group) CHECK_EQ(child_leaves_group == 1 ? setpgid(0, 0) : setsid() < 0, 0);
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(tells, NULL, CR_SIGNAL_CONTEXT) >= 0);
  cp_tell(out, 'r');
  cp_hear(in);
}

/* Own scope; whether a child that has left the group (1) or session (2) belongs to it. */
static void own_scope(cr_scope_t scope, int leaves, int included) {
  child_leaves_group = leaves;
  struct cp_child child = cp_fork(is_child);
  cp_expect(child.from, 'r');
  begin(CR_SIGNAL_CONTEXT);
  prepare(scope, 0);
  request();
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  CHECK_NOTES("aA");
  if (included) cp_expect(child.from, 'c');
  CHECK(cp_silent(child.from));
  cp_tell(child.to, 'q');
  cp_ends_well(&child);
}

CP_CASE(process_scope_is_one_process) {
  own_scope(CR_SCOPE_PROC, 0, 0);
}

CP_CASE(group_scope_is_the_group) {
  own_scope(CR_SCOPE_PGRP, 0, 1);
}

CP_CASE(group_scope_does_not_follow_descendants) {
  own_scope(CR_SCOPE_PGRP, 1, 0);
}

CP_CASE(session_scope_is_the_session) {
  own_scope(CR_SCOPE_SESS, 1, 1);
}

CP_CASE(session_scope_does_not_follow_descendants) {
  own_scope(CR_SCOPE_SESS, 2, 0);
}

CP_CASE(tree_scope_is_all_descendants) {
  own_scope(CR_SCOPE_TREE, 2, 1);
}

/* ---- the signal */

CP_CASE(signal_is_sent_afterwards) {
  sigset_t set;
  begin(CR_SIGNAL_CONTEXT);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  prepare(CR_SCOPE_PROC, 0);
  args.cr_signal = SIGUSR2;
  request();
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  struct timespec limit = {cp_limit_ms() / 1000, 0};
  CHECK_EQ(sigtimedwait(&set, NULL, &limit), SIGUSR2);
}

/* ---- overlapping requests */

static int asks_inside_result, asks_inside_error, command_inside;
static int asks_inside(void* unused) {
  cr_checkpoint_args_t other;
  cr_checkpoint_handle_t another;
  CHECK_EQ(cr_initialize_checkpoint_args_t(&other), 0);
  other.cr_scope = CR_SCOPE_PROC;
  other.cr_fd = open("other", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  errno = 0;
  asks_inside_result = cr_request_checkpoint(&other, &another);
  asks_inside_error = errno;
  close(other.cr_fd);
  command_inside = cp_checkpoint(getpid(), "");
  return unused != NULL;
}

CP_CASE(in_a_callback_it_is_ebusy) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(asks_inside, NULL, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK(asks_inside_result < 0);
  CHECK_EQ(asks_inside_error, EBUSY);
  CHECK_EQ(command_inside, EBUSY);
}

CP_CASE(while_another_is_pending_it_is_ebusy) {
  cr_client_id_t id = cr_init();
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(cr_enter_cs(id), 0);
  pid_t first = cp_start(getpid(), "");
  char image[4096];
  snprintf(image, sizeof image, "%s", cp_image());
  UNTIL(cr_status() == CR_STATE_PENDING);
  CHECK_EQ(cp_checkpoint(getpid(), ""), EBUSY);
  prepare(CR_SCOPE_PROC, 0);
  errno = 0;
  CHECK(cr_request_checkpoint(&args, &handle) < 0);
  CHECK_EQ(errno, EBUSY);
  args.cr_scope = CR_SCOPE_TREE;
  CHECK(cr_request_checkpoint(&args, &handle) < 0);
  CHECK_EQ(errno, EBUSY);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(cp_finish(first), 0);
  CHECK(size_of(image) > 0);
  CHECK_NOTES("aA");
}

CP_CASE(dest_cwd_writes_context_pid) {
  char name[64];
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(cr_initialize_checkpoint_args_t(&args), 0);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_fd = CR_DEST_CWD;
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  snprintf(name, sizeof name, "context.%d", getpid());
  CHECK(size_of(name) > 0);
}

/* ---- deprecated */

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static void legacy_done(const char* name) {
  CHECK_NOTES("aA");
  CHECK(size_of(name) > 0);
  CHECK_EQ(cr_status(), CR_STATE_IDLE);
}

CP_CASE(cr_request_writes_context_pid) {
  char name[64];
  begin(CR_SIGNAL_CONTEXT);
  cr_request();
  snprintf(name, sizeof name, "context.%d", getpid());
  legacy_done(name);
}

CP_CASE(cr_request_file_writes_the_file) {
  begin(CR_SIGNAL_CONTEXT);
  cr_request_file("named");
  legacy_done("named");
}

CP_CASE(cr_request_fd_writes_to_the_descriptor) {
  begin(CR_SIGNAL_CONTEXT);
  int fd = open("described", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  cr_request_fd(fd);
  legacy_done("described");
  close(fd);
}

CP_CASE(cr_request_in_a_critical_section_is_pending_when_it_returns) {
  cr_client_id_t id = cr_init();
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(cr_enter_cs(id), 0);
  cr_request_file("later");
  CHECK_NOTES("");
  CHECK_EQ(cr_status(), CR_STATE_PENDING);
  CHECK_EQ(cr_leave_cs(id), 0);
  legacy_done("later");
}
