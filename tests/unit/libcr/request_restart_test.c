/* cr_request_restart() and what follows it, against a helper that answers as it is told. */
#include "request_case.h"

#include <sys/wait.h>

static cr_restart_args_t args;
static cr_restart_handle_t handle;
static struct timeval no_time;

static void prepare(const char* script) {
  play(script);
  CHECK(cr_initialize_restart_args_t(&args) == 0);
  args.cr_fd = new_file();
}

static void request(const char* script) {
  prepare(script);
  CHECK(cr_request_restart(&args, &handle) == 0);
  close(args.cr_fd);
}

static void the_result_is_a_pid(void) {
  make_fifo("go");
  request("accept 0 wait go done 0 4711");
  CHECK(cr_wait_restart(&handle, &no_time) == 0);
  CHECK(cr_poll_restart(&handle, &no_time) == 0);
  CHECK_FAILS(cr_reap_restart(&handle), EAGAIN);
  release("go");
  CHECK(cr_wait_restart(&handle, NULL) > 0);
  CHECK(cr_reap_restart(&handle) == 4711);
  CHECK_FAILS(waitpid(-1, NULL, __WALL), ECHILD); /* the helper has been reaped */
}

static int children_told;
static void count_child(int number) {
  (void)number;
  ++children_told;
}

static void helper_is_a_child(void) {
  char* log = NULL;
  char own[64];
  signal(SIGCHLD, count_child);
  CHECK(dup2(0, 77) == 77);
  request("facts done 0 4711");
  CHECK(cr_poll_restart_msg(&handle, NULL, &log) == 4711);
  CHECK(number_in(log, "parent") == getpid() && number_in(log, "group") == getpgrp());
  CHECK(children_told == 1);
  snprintf(own, sizeof own, "word --fd=%d", args.cr_fd);
  CHECK(has_line(log, own) && strstr(log, "descriptor 77 ") != NULL);
  snprintf(own, sizeof own, "descriptor %lu ", handle);
  CHECK(strstr(log, own) == NULL); /* close-on-exec, as everything that we open ourselves */
  CHECK(strstr(log, "ignores ") == NULL);
}

static void the_program_may_reap_the_helper(void) {
  request("accept 0 done 0 4711");
  CHECK(waitpid(-1, NULL, 0) > 0);
  CHECK(cr_poll_restart(&handle, NULL) == 4711);
  signal(SIGCHLD, SIG_IGN); /* or the kernel does */
  request("accept 0 done 0 4712");
  CHECK(cr_poll_restart(&handle, NULL) == 4712);
}

static void failures_leave_no_child(void) {
  const int before = count_descriptors();
  prepare("log why done 16 0");
  CHECK_FAILS(cr_request_restart(&args, &handle), EBUSY);
  args.cr_flags |= CR_RSTRT_ASYNC_ERR;
  CHECK(cr_request_restart(&args, &handle) == 0);
  CHECK(cr_log_restart(&handle, 0, NULL) == 5);
  CHECK_FAILS(cr_reap_restart(&handle), EBUSY);
  play("accept 0");
  CHECK(cr_request_restart(&args, &handle) == 0);
  CHECK(cr_poll_restart(&handle, NULL) == CR_POLL_RSTRT_ERR_POST && errno == EIO);
  CHECK_FAILS(waitpid(-1, NULL, __WALL), ECHILD);
  CHECK(count_descriptors() == before + 1);
}

static void what_did_not_come_to_life_is_reaped(void) {
  char script[64];
  const pid_t dead = fork();
  if (dead == 0) _exit(0);
  const pid_t root = fork();
  if (root == 0) _exit(7);
  snprintf(script, sizeof script, "accept 0 child %d done 0 %d", dead, root);
  request(script);
  CHECK(cr_poll_restart(&handle, NULL) == root);
  CHECK_FAILS(waitpid(dead, NULL, 0), ECHILD);
  CHECK(waitpid(root, NULL, 0) == root);
  const pid_t aborted = fork();
  if (aborted == 0) _exit(0);
  snprintf(script, sizeof script, "accept 0 child %d done %d 0", aborted, CR_ERSTRTABRT);
  request(script);
  CHECK(cr_wait_restart(&handle, NULL) > 0);
  CHECK_FAILS(cr_reap_restart(&handle), CR_ERSTRTABRT);
  CHECK_FAILS(waitpid(-1, NULL, 0), ECHILD);
}

static void flags_are_options(void) {
  struct cr_rstrt_relocate* paths = malloc(sizeof *paths + 2 * sizeof paths->path[0]);
  static const char* const expected[] = {"word restart",          "word --signal=10",
                                         "word --no-restore-pid", "word --restore-pgid",
                                         "word --restore-sid",    "word --relocate=/a\\=b=/c\\\\d",
                                         "word --relocate=/x=/y"};
  char* log = NULL;
  paths->count = 2;
  paths->path[0].oldpath = "/a=b";
  paths->path[0].newpath = "/c\\d";
  paths->path[1].oldpath = "/x";
  paths->path[1].newpath = "/y";
  prepare("facts done 0 1");
  args.cr_flags = CR_RSTRT_RESTORE_PGID | CR_RSTRT_RESTORE_SID;
  args.cr_signal = SIGUSR1;
  args.cr_relocate = paths;
  CHECK(cr_request_restart(&args, &handle) == 0);
  CHECK(cr_poll_restart_msg(&handle, NULL, &log) == 1);
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; ++i) {
    CHECK(has_line(log, expected[i]));
  }
  paths->path[1].newpath = "y";
  CHECK_FAILS(cr_request_restart(&args, &handle), EINVAL);
  paths->count = CR_MAX_RSTRT_RELOC + 1;
  CHECK_FAILS(cr_request_restart(&args, &handle), EINVAL);
}

static void bad_arguments(void) {
  CHECK_FAILS(cri_init_restart_args_t(2, &args), EINVAL);
  prepare("done 0 1");
  CHECK_FAILS(cr_request_restart(NULL, &handle), EINVAL);
  CHECK_FAILS(cr_request_restart(&args, NULL), EINVAL);
  args.cr_flags = 16;
  CHECK_FAILS(cr_request_restart(&args, &handle), EINVAL);
  args.cr_flags = 0;
  args.cr_signal = -65;
  CHECK_FAILS(cr_request_restart(&args, &handle), EINVAL);
  args.cr_signal = 0;
  args.cr_version = 0;
  CHECK_FAILS(cr_request_restart(&args, &handle), EINVAL);
  args.cr_version = CR_RESTART_ARGS_VERSION;
  CHECK(close(args.cr_fd) == 0);
  CHECK_FAILS(cr_request_restart(&args, &handle), EBADF);
}

int main(int argc, char** argv) {
  static const struct test_case tests[] = {
      TEST(the_result_is_a_pid),
      TEST(helper_is_a_child),
      TEST(the_program_may_reap_the_helper),
      TEST(failures_leave_no_child),
      TEST(what_did_not_come_to_life_is_reaped),
      TEST(flags_are_options),
      TEST(bad_arguments),
  };
  return run_cases(tests, sizeof tests / sizeof tests[0], argc, argv);
}
