/*
 * cr_request_restart(): the restarted process is a child of the caller. What is saved is a child
 * that answers each letter with its own letter.
 */
#include "compat.h"

#include <limits.h>
#include <sys/personality.h>

static cr_restart_args_t args;
static cr_restart_handle_t handle;
static char image[PATH_MAX];
static int down_fd, up_fd; /* fifos, so that the restarted process has the same ones */
static pid_t saved_pid;
static int abort_when_restarted;

static int counts(void* unused) {
  int result = cr_checkpoint(0);
  return result > 0 && abort_when_restarted ? 3 : unused != NULL;
}

static void answers(int in, int out) {
  close(in);
  close(out);
  int hear = open("down", O_RDWR | O_CLOEXEC), tell = open("up", O_RDWR | O_CLOEXEC);
  CHECK(hear >= 0 && tell >= 0);
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(counts, NULL, CR_SIGNAL_CONTEXT) >= 0);
  cp_tell(tell, 'r');
  for (char word; (word = cp_hear(hear)) != 'q';) cp_tell(tell, word);
  _exit(23);
}

static void save(void) {
  CHECK(!mkfifo("down", 0600) && !mkfifo("up", 0600));
  down_fd = open("down", O_RDWR | O_CLOEXEC);
  up_fd = open("up", O_RDWR | O_CLOEXEC);
  struct cp_child child = cp_fork(answers);
  saved_pid = child.pid;
  cp_expect(up_fd, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, "--kill"), 0);
  cp_killed(&child, SIGKILL);
  snprintf(image, sizeof image, "%s", cp_image());
  CHECK(cr_init() >= 0);
}

static void prepare(void) {
  CHECK_EQ(cr_initialize_restart_args_t(&args), 0);
  args.cr_fd = open(image, O_RDONLY | O_CLOEXEC);
  CHECK(args.cr_fd >= 0);
}

static void request(void) {
  int result = cr_request_restart(&args, &handle);
  if (result) cp_fail("cr_request_restart: %d, %s", result, cr_strerror(errno));
  close(args.cr_fd); /* allowed at once */
}

/* The restarted process answers, is our child, and ends with its own status. */
static void lives(pid_t pid) {
  CHECK(pid > 0);
  cp_tell(down_fd, 'x');
  cp_expect(up_fd, 'x');
  cp_tell(down_fd, 'q');
  int status = cp_status(pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 23);
}

CP_CASE(args_have_defaults) {
  memset(&args, 0x55, sizeof args);
  CHECK_EQ(cr_initialize_restart_args_t(&args), 0);
  CHECK_EQ(args.cr_version, CR_RESTART_ARGS_VERSION);
  CHECK_EQ(args.cr_fd, -1);
  CHECK_EQ(args.cr_signal, 0);
  CHECK_EQ(args.cr_flags, CR_RSTRT_RESTORE_PID);
  CHECK(args.cr_relocate == NULL);
}

CP_CASE(args_of_an_unknown_version_are_einval) {
  CHECK_FAILS(cri_init_restart_args_t(CR_RESTART_ARGS_VERSION + 1, &args), EINVAL);
  CHECK_FAILS(cri_init_restart_args_t(0, &args), EINVAL);
}

CP_CASE(poll_returns_the_pid_of_the_callers_child) {
  save();
  prepare();
  request();
  int pid = cr_poll_restart(&handle, NULL);
  CHECK_EQ(cp_own_pid(pid), saved_pid);
  lives(pid);
}

CP_CASE(reap_returns_the_pid_of_the_callers_child) {
  save();
  prepare();
  request();
  CHECK(cr_wait_restart(&handle, NULL) > 0);
  CHECK(cr_log_restart(&handle, 0, NULL) >= 0);
  int pid = cr_reap_restart(&handle);
  CHECK_EQ(cp_own_pid(pid), saved_pid);
  lives(pid);
}

CP_CASE(poll_msg_gives_the_messages) {
  save();
  prepare();
  request();
  char* message = (char*)1;
  int pid = cr_poll_restart_msg(&handle, NULL, &message);
  CHECK(message != (char*)1);
  free(message);
  lives(pid);
}

CP_CASE(handle_is_for_select) {
  save();
  prepare();
  request();
  fd_set set;
  struct timeval limit = {cp_limit_ms() / 1000, 0};
  FD_ZERO(&set);
  FD_SET((int)handle, &set);
  CHECK_EQ(select((int)handle + 1, &set, NULL, NULL, &limit), 1);
  lives(cr_reap_restart(&handle));
}

CP_CASE(no_descriptor_and_no_child_is_left) {
  save();
  int before = cp_descriptors();
  prepare();
  request();
  CHECK_EQ(cp_descriptors(), before + 1);
  int pid = cr_poll_restart(&handle, NULL);
  CHECK_EQ(cp_descriptors(), before);
  lives(pid);
  CHECK_FAILS(waitpid(-1, NULL, WNOHANG), ECHILD);
}

CP_CASE(context_may_come_through_a_pipe) {
  char line[PATH_MAX + 32];
  save();
  CHECK_EQ(cr_initialize_restart_args_t(&args), 0);
  snprintf(line, sizeof line, "cat %s", image);
  FILE* file = popen(line, "re");
  CHECK(file != NULL);
  args.cr_fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 0);
  request();
  int pid = cr_poll_restart(&handle, NULL);
  if (pid < 0) cp_fail("cr_poll_restart: %d, %s", pid, cr_strerror(errno));
  lives(pid);
  pclose(file);
}

CP_CASE(without_restore_pid_it_gets_another_pid) {
  save();
  prepare();
  args.cr_flags = 0;
  request();
  int pid = cr_poll_restart(&handle, NULL);
  CHECK(pid != saved_pid);
  lives(pid);
}

CP_CASE(same_context_twice) {
  save();
  for (int i = 0; i < 2; i++) {
    prepare();
    request();
    lives(cr_poll_restart(&handle, NULL));
  }
}

CP_CASE(signal_is_sent_to_the_restarted) {
  save();
  prepare();
  args.cr_signal = SIGSTOP;
  request();
  int pid = cr_poll_restart(&handle, NULL);
  CHECK_EQ(cp_own_pid(pid), saved_pid);
  cp_until_stopped(pid);
  CHECK_EQ(kill(pid, SIGCONT), 0);
  lives(pid);
}

/* ---- groups and sessions: those of the caller, or those that were saved */

static int own_session;
static void leads_session(int in, int out) {
  if (own_session) CHECK(setsid() == getpid());
  answers(in, out);
}

static void groups(unsigned flags, int restored) {
  CHECK(!mkfifo("down", 0600) && !mkfifo("up", 0600));
  down_fd = open("down", O_RDWR | O_CLOEXEC);
  up_fd = open("up", O_RDWR | O_CLOEXEC);
  own_session = 1;
  struct cp_child child = cp_fork(leads_session);
  saved_pid = child.pid;
  cp_expect(up_fd, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, "--kill"), 0);
  cp_killed(&child, SIGKILL);
  snprintf(image, sizeof image, "%s", cp_image());
  prepare();
  args.cr_flags |= flags;
  request();
  int pid = cr_poll_restart(&handle, NULL);
  if (pid < 0) cp_fail("cr_poll_restart: %d, %s", pid, cr_strerror(errno));
  CHECK_EQ(getpgid(pid), restored ? pid : getpgrp());
  CHECK_EQ(getsid(pid), restored ? pid : getsid(0));
  lives(pid);
}

CP_CASE(group_and_session_are_the_callers) {
  groups(0, 0);
}

CP_CASE(restore_pgid_and_sid) {
  groups(CR_RSTRT_RESTORE_PGID | CR_RSTRT_RESTORE_SID, 1);
}

/* ---- relocation */

static void follows_folder(int in, int out) {
  close(in);
  int file = open("old/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(file >= 0 && write(file, "12345", 5) == 5);
  cp_tell(out, 'r');
  close(out);
  int hear = open("down", O_RDWR | O_CLOEXEC);
  cp_expect(hear, 'g');
  _exit(write(file, "67890", 5) == 5 ? 0 : 1);
}

CP_CASE(relocate_finds_files_elsewhere) {
  char here[PATH_MAX - 16], old_path[PATH_MAX], new_path[PATH_MAX];
  CHECK(getcwd(here, sizeof here) != NULL);
  CHECK(!mkfifo("down", 0600) && !mkdir("old", 0700));
  snprintf(old_path, sizeof old_path, "%s/old", here);
  snprintf(new_path, sizeof new_path, "%s/new", here);
  struct cp_child child = cp_fork(follows_folder);
  cp_expect(child.from, 'r');
  down_fd = open("down", O_RDWR | O_CLOEXEC);
  CHECK_EQ(cp_checkpoint(child.pid, "--kill"), 0);
  cp_killed(&child, SIGKILL);
  CHECK_EQ(rename("old", "new"), 0);
  snprintf(image, sizeof image, "%s", cp_image());
  struct cr_rstrt_relocate* relocate =
      (struct cr_rstrt_relocate*)malloc(sizeof *relocate + sizeof relocate->path[0]);
  relocate->count = 1;
  relocate->path[0].oldpath = old_path;
  relocate->path[0].newpath = new_path;
  prepare();
  args.cr_relocate = relocate;
  request();
  int pid = cr_poll_restart(&handle, NULL);
  if (pid < 0) cp_fail("cr_poll_restart: %d, %s", pid, cr_strerror(errno));
  cp_tell(down_fd, 'g');
  CHECK_EQ(cp_status(pid), 0);
  struct stat status;
  CHECK(stat("new/file", &status) == 0 && status.st_size == 10);
  free(relocate);
}

/* ---- failures */

static void fails_with(int code) {
  args.cr_flags &= ~(unsigned)CR_RSTRT_ASYNC_ERR;
  errno = 0;
  int result = cr_request_restart(&args, &handle);
  if (!result) { /* found out later: then the reap says so */
    errno = 0;
    result = cr_poll_restart(&handle, NULL);
  }
  CHECK(result < 0);
  CHECK_EQ(errno, code);
  lseek(args.cr_fd, 0, SEEK_SET);
  args.cr_flags |= CR_RSTRT_ASYNC_ERR;
  CHECK_EQ(cr_request_restart(&args, &handle), 0);
  CHECK(cr_wait_restart(&handle, NULL) > 0);
  CHECK(cr_log_restart(&handle, 0, NULL) >= 0);
  CHECK_FAILS(cr_reap_restart(&handle), code);
}

static void prepare_bad(const char* contents) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_initialize_restart_args_t(&args), 0);
  FILE* file = fopen("bad", "w");
  fputs(contents, file);
  fclose(file);
  args.cr_fd = open("bad", O_RDONLY | O_CLOEXEC);
}

CP_CASE(an_empty_file_is_eio) {
  prepare_bad("");
  fails_with(EIO);
}

CP_CASE(another_kind_of_file_is_einval) {
  prepare_bad(
      "This is the beginning of a text, which is long enough to hold every head of every "
      "format there ever was; nothing in it is a context file. It goes on for a while, as "
      "texts do, until the last of the bytes that somebody might wish to read is there.");
  fails_with(EINVAL);
}

CP_CASE(a_folder_is_eisdir) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_initialize_restart_args_t(&args), 0);
  args.cr_fd = open(".", O_RDONLY | O_CLOEXEC);
  fails_with(EISDIR);
}

CP_CASE(a_bad_descriptor_is_ebadf) {
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_initialize_restart_args_t(&args), 0);
  CHECK_FAILS(cr_request_restart(&args, &handle), EBADF);
  args.cr_fd = 987;
  CHECK_FAILS(cr_request_restart(&args, &handle), EBADF);
  args.cr_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  CHECK_FAILS(cr_request_restart(&args, &handle), EBADF);
}

CP_CASE(a_bad_field_is_einval) {
  prepare_bad("x");
  args.cr_version = 99;
  CHECK_FAILS(cr_request_restart(&args, &handle), EINVAL);
  args.cr_version = CR_RESTART_ARGS_VERSION;
  args.cr_signal = 1000;
  CHECK_FAILS(cr_request_restart(&args, &handle), EINVAL);
  args.cr_signal = 0;
  args.cr_flags = 0x40000000;
  CHECK_FAILS(cr_request_restart(&args, &handle), EINVAL);
}

CP_CASE(a_pid_in_use_is_ebusy) {
  save();
  pid_t holder = 0; /* takes the pid by restarting it once more */
  prepare();
  request();
  holder = cr_poll_restart(&handle, NULL);
  CHECK_EQ(cp_own_pid(holder), saved_pid);
  prepare();
  fails_with(EBUSY);
  lives(holder);
}

/* A system that calls itself another machine (setarch(8)): for it the context is a foreign one. */
CP_CASE(another_architecture_is_ebadarch) {
  save();
  prepare();
  CHECK(personality(PER_LINUX32) >= 0);
  fails_with(CR_EBADARCH);
  CHECK_EQ(cp_finish(cp_restart_child(image, "")), CR_EBADARCH & 255);
  CHECK(strstr(cp_said(), "Restart failed: Context file does not match the kernel architecture"));
}

CP_CASE(a_callback_may_abort_it) {
  abort_when_restarted = 1;
  save();
  prepare();
  request();
  errno = 0;
  CHECK_EQ(cr_poll_restart(&handle, NULL), CR_POLL_RSTRT_ERR_POST);
  CHECK_EQ(errno, CR_ERSTRTABRT);
  UNTIL(cp_state(saved_pid) == 0 || cp_state(saved_pid) == 'Z');
}

CP_CASE(unknown_handles_are_einval) {
  CHECK(cr_init() >= 0);
  cr_restart_handle_t bad[] = {(cr_restart_handle_t)-1, 999, 1};
  for (int i = 0; i < 3; i++) {
    struct timeval none = {0, 0};
    CHECK_FAILS(cr_wait_restart(&bad[i], &none), EINVAL);
    CHECK_FAILS(cr_log_restart(&bad[i], 0, NULL), EINVAL);
    CHECK_FAILS(cr_reap_restart(&bad[i]), EINVAL);
    errno = 0;
    CHECK_EQ(cr_poll_restart(&bad[i], &none), CR_POLL_RSTRT_ERR_PRE);
    CHECK_EQ(errno, EINVAL);
  }
}

/* The context comes through a pipe that stays empty, so that the request is pending. */
CP_CASE(pending_requests) {
  void* nowhere = (void*)16;
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_initialize_restart_args_t(&args), 0);
  struct cp_pipe empty = cp_new_pipe();
  args.cr_fd = empty.read_end;
  args.cr_flags |= CR_RSTRT_ASYNC_ERR;
  request();
  struct timeval none = {0, 0}, little = {0, 20000};
  CHECK_EQ(cr_wait_restart(&handle, &none), 0);
  CHECK_EQ(cr_wait_restart(&handle, &little), 0);
  CHECK_EQ(cr_poll_restart(&handle, &none), 0);
  CHECK_FAILS(cr_reap_restart(&handle), EAGAIN);
  CHECK_FAILS(cr_wait_restart(&handle, (struct timeval*)nowhere), EFAULT);
  close(empty.write_end);
  CHECK(cr_wait_restart(&handle, NULL) > 0);
  if (cr_log_restart(&handle, 0, NULL) > 0)
    CHECK_FAILS(cr_log_restart(&handle, 100, (char*)nowhere), EFAULT);
  CHECK_FAILS(cr_reap_restart(&handle), EIO);
}
