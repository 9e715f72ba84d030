/* How cr_request_checkpoint() starts its helper: as what process, with which descriptors and words.
 */
#include "request_case.h"

#include <sched.h>
#include <sys/wait.h>

static cr_checkpoint_args_t args;
static cr_checkpoint_handle_t handle;

static void prepare(const char* script) {
  play(script);
  CHECK(cr_initialize_checkpoint_args_t(&args) == 0);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_target = getppid();
  args.cr_fd = new_file();
}

static void request(const char* script) {
  prepare(script);
  CHECK(cr_request_checkpoint(&args, &handle) == 0);
  close(args.cr_fd);
}

static void a_missing_helper_is_enosys(void) {
  prepare("");
  setenv("STASIS_HELPER", "/nowhere/cr_helper", 1);
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), ENOSYS);
  CHECK_FAILS(waitpid(-1, NULL, __WALL), ECHILD);
}

static int children_told;
static void count_child(int number) {
  (void)number;
  ++children_told;
}

static char* facts(const char* preload) {
  char* log = NULL;
  signal(SIGCHLD, count_child);
  signal(SIGUSR1, SIG_IGN);
  setenv("LD_PRELOAD", preload, 1);
  CHECK(dup2(0, 77) == 77 && dup2(0, 4) == 4); /* not for the helper */
  request("facts done 0 0");
  CHECK(cr_poll_checkpoint_msg(&handle, NULL, &log) > 0);
  return log;
}

static void helper_is_a_stranger(void) {
  char* log = facts("/nowhere/libcr_run.so.0");
  CHECK(number_in(log, "parent") != getpid());
  CHECK(number_in(log, "group") != getpgrp() && number_in(log, "session") != getsid(0));
  CHECK(number_in(log, "group") != number_in(log, "pid"));
  CHECK(has_line(log, "preload no"));
  CHECK(children_told == 0);
  CHECK_FAILS(waitpid(-1, NULL, __WALL), ECHILD);
  CHECK(strcmp(getenv("LD_PRELOAD"), "/nowhere/libcr_run.so.0") == 0); /* ours stays */
}

static void helper_has_few_descriptors_and_no_dispositions(void) {
  const char* log = facts("");
  int descriptors = 0;
  for (const char* at = log; (at = strstr(at, "descriptor ")) != NULL; ++at) ++descriptors;
  CHECK(descriptors == 5);
  for (int fd = 0; fd < 3; ++fd) {
    char line[64];
    snprintf(line, sizeof line, "descriptor %d /dev/null", fd);
    CHECK(has_line(log, line));
  }
  CHECK(strstr(log, "descriptor 3 pipe:") != NULL && strstr(log, "/file\n") != NULL);
  CHECK(strstr(log, "ignores ") == NULL);
}

static void helper_has_our_capabilities(void) {
  char* log = NULL;
  char line[256] = "";
  if (geteuid() != 0) (void)unshare(CLONE_NEWUSER); /* gives us all of them, if it may */
  FILE* status = fopen("/proc/self/status", "re");
  while (strncmp(line, "CapEff:", 7) != 0) CHECK(fgets(line, sizeof line, status) != NULL);
  line[strcspn(line, "\n")] = '\0';
  fclose(status);
  play("facts done 0 0");
  CHECK(cr_initialize_checkpoint_args_t(&args) == 0);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_fd = CR_DEST_CWD;
  CHECK(cr_request_checkpoint(&args, &handle) == 0);
  CHECK(cr_poll_checkpoint_msg(&handle, NULL, &log) > 0 && has_line(log, line));
}

static void standard_descriptors_may_be_closed(void) {
  char* log = NULL;
  prepare("facts done 0 0");
  close(0);
  close(1);
  CHECK(dup2(args.cr_fd, 0) == 0);
  close(args.cr_fd);
  args.cr_fd = 0;
  CHECK(cr_request_checkpoint(&args, &handle) == 0);
  CHECK(handle == 1 && fcntl(1, F_GETFD) == FD_CLOEXEC);
  CHECK(cr_poll_checkpoint_msg(&handle, NULL, &log) > 0);
  CHECK(has_line(log, "descriptor 0 /dev/null") && strstr(log, "descriptor 4 /") != NULL);
}

static void flags_are_options(void) {
  static const char* const expected[] = {
      "checkpoint", "not-self",       "early",          "--signal=15",    "--tree", "--save-exe",
      "--time=7",   "--save-private", "--ptracer-skip", "--ptraced-skip", "--cwd"};
  char* log = NULL;
  char line[64];
  prepare("facts done 0 0");
  args.cr_scope = CR_SCOPE_TREE;
  args.cr_fd = CR_DEST_CWD;
  args.cr_signal = -SIGTERM;
  args.cr_timeout = 7;
  args.cr_target = 0;
  args.cr_flags = CR_CHKPT_PROHIBIT_SELF | CR_CHKPT_PTRACED_SKIP | CR_CHKPT_PTRACER_SKIP |
                  CR_CHKPT_DUMP_EXEC | CR_CHKPT_DUMP_PRIVATE;
  CHECK(cr_request_checkpoint(&args, &handle) == 0);
  CHECK(cr_poll_checkpoint_msg(&handle, NULL, &log) > 0);
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; ++i) {
    snprintf(line, sizeof line, "word %s", expected[i]);
    CHECK(has_line(log, line));
  }
  snprintf(line, sizeof line, "word %d", getpid());
  CHECK(has_line(log, line) && strstr(log, "--save-shared") == NULL);
}

int main(int argc, char** argv) {
  static const struct test_case tests[] = {
      TEST(a_missing_helper_is_enosys),
      TEST(helper_is_a_stranger),
      TEST(helper_has_few_descriptors_and_no_dispositions),
      TEST(helper_has_our_capabilities),
      TEST(standard_descriptors_may_be_closed),
      TEST(flags_are_options),
  };
  return run_cases(tests, sizeof tests / sizeof tests[0], argc, argv);
}
