/* cr_request_checkpoint() and what follows it, against a helper that answers as it is told. */
#include "request_case.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/wait.h>

#include "stasis/handshake.h"

static cr_checkpoint_args_t args;
static cr_checkpoint_handle_t handle;
static struct timeval no_time;

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

static int is_readable(void) {
  fd_set set;
  struct timeval now = no_time;
  FD_ZERO(&set);
  FD_SET((int)handle, &set);
  return select((int)handle + 1, &set, NULL, NULL, &now);
}

static void handle_is_readable_when_done(void) {
  make_fifo("go");
  request("accept 0 wait go done 0 0");
  CHECK(is_readable() == 0);
  CHECK(cr_wait_checkpoint(&handle, &no_time) == 0);
  CHECK_FAILS(cr_reap_checkpoint(&handle), EAGAIN);
  release("go");
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK(is_readable() == 1);
  CHECK(cr_log_checkpoint(&handle, 0, NULL) == 0);
  CHECK(is_readable() == 1); /* still */
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK(cr_reap_checkpoint(&handle) > 0);
  CHECK_FAILS(cr_reap_checkpoint(&handle), EINVAL);
}

static void errors_before_acceptance_are_synchronous(void) {
  const int before = count_descriptors();
  prepare("log why done 3 0");
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), ESRCH);
  CHECK(count_descriptors() == before + 1); /* the file */
}

static void async_errors_come_from_the_reap(void) {
  char* log = NULL;
  prepare("log why done 1 0");
  args.cr_flags = CR_CHKPT_ASYNC_ERR;
  CHECK(cr_request_checkpoint(&args, &handle) == 0);
  CHECK(is_readable() == 1);
  CHECK(cr_poll_checkpoint_msg(&handle, NULL, &log) == CR_POLL_CHKPT_ERR_POST && errno == EPERM);
  CHECK(strcmp(log, "why\n") == 0);
}

static void errors_after_acceptance_come_from_the_reap(void) {
  request("accept 0 done 2354 0");
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK_FAILS(cr_reap_checkpoint(&handle), CR_ETEMPFAIL);
}

static void a_helper_that_dies_is_eio(void) {
  request("accept 0");
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK_FAILS(cr_reap_checkpoint(&handle), EIO);
  prepare("nonsense");
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EIO);
}

static void long_logs_arrive(void) {
  request("accept 0 lines 5000 done 0 0"); /* more than a pipe holds */
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK(cr_log_checkpoint(&handle, 0, NULL) == 500001);
  char* text = malloc(500001);
  CHECK(cr_log_checkpoint(&handle, 500001, text) == 500001);
  CHECK(strlen(text) == 500000 && text[499998] == '9' && text[499999] == '\n');
  CHECK(cr_log_checkpoint(&handle, 10, text) == 500001 && strcmp(text, "line 0000") == 0);
  CHECK_FAILS(cr_log_checkpoint(&handle, 500001, (char*)4096), EFAULT);
  CHECK(cr_reap_checkpoint(&handle) > 0);
}

static void own_checkpoint_is_done_when_the_call_returns(void) {
  make_fifo("go");
  release("go"); /* the helper may go on whenever it likes */
  request("accept 1 wait go done 0 0");
  CHECK(is_readable() == 1);
  CHECK(cr_reap_checkpoint(&handle) > 0);
}

static void many_requests(void) {
  cr_checkpoint_handle_t handles[32];
  make_fifo("go");
  const int before = count_descriptors();
  for (int i = 0; i < 32; ++i) {
    request("accept 0 wait go done 0 0");
    handles[i] = handle;
  }
  prepare("done 0 0");
  CHECK_FAILS(cr_request_checkpoint(&args, &handle), EMFILE);
  close((int)handles[5]); /* lost: its place is free again */
  CHECK(cr_request_checkpoint(&args, &handle) == 0);
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  close(args.cr_fd);
  for (int i = 0; i < 32; ++i) release("go");
  for (int i = 0; i < 32; ++i) {
    if (i != 5) CHECK(cr_poll_checkpoint(&handles[i], NULL) > 0);
  }
  CHECK(count_descriptors() == before + 32); /* release() leaves one */
}

static void handles_may_be_large(void) {
  const struct rlimit many = {.rlim_cur = 5000, .rlim_max = 5000};
  struct timeval limit = {.tv_sec = 1000};
  if (setrlimit(RLIMIT_NOFILE, &many) != 0) return; /* no handle is large here */
  prepare("accept 0 done 0 0");
  for (int fd = 3; fd < FD_SETSIZE + 100; ++fd) {
    if (fd != args.cr_fd) CHECK(fcntl(0, F_DUPFD_CLOEXEC, fd) >= 0);
  }
  CHECK(cr_request_checkpoint(&args, &handle) == 0 && handle >= FD_SETSIZE);
  CHECK(cr_wait_checkpoint(&handle, &limit) > 0 && limit.tv_sec < 1000);
  CHECK(cr_reap_checkpoint(&handle) > 0);
}

static void* request_often(void* failures) {
  for (int i = 0; i < 20; ++i) {
    cr_checkpoint_args_t own;
    cr_checkpoint_handle_t its;
    cr_initialize_checkpoint_args_t(&own);
    own.cr_scope = CR_SCOPE_PROC;
    own.cr_fd = CR_DEST_CWD;
    if (cr_request_checkpoint(&own, &its) != 0) return failures;
    if (cr_poll_checkpoint(&its, NULL) <= 0) return failures;
  }
  return NULL;
}

static void threads_request_at_once(void) {
  pthread_t threads[6];
  void* failed = NULL;
  int word;
  const int before = count_descriptors();
  play("accept 0 done 0 0");
  for (int i = 0; i < 6; ++i) CHECK(pthread_create(&threads[i], NULL, request_often, &word) == 0);
  for (int i = 0; i < 6; ++i) CHECK(pthread_join(threads[i], &failed) == 0 && failed == NULL);
  CHECK(count_descriptors() == before);
}

/* What the engine does to a process that it restarts. */
static void come_back(void) {
  char line[512];
  FILE* maps = fopen("/proc/self/maps", "re");
  int found = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    unsigned long begin = 0, end = 0;
    if (sscanf(line, "%lx-%lx rw-p", &begin, &end) != 2) continue;
    struct cri_block* block = (struct cri_block*)begin;
    if (end - begin != CRI_BLOCK_AREA || memcmp(block->magic, CRI_BLOCK_MAGIC, 8) != 0) continue;
    ++found;
    for (int i = 0; i < CRI_MAX_HANDLES; ++i) {
      if (block->handle[i] == 0) continue;
      const int event = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
      CHECK(dup3(event, (int)handle, O_CLOEXEC) == (int)handle && close(event) == 0);
    }
    ++block->epoch;
  }
  fclose(maps);
  CHECK(found == 1);
}

static void a_restarted_process_is_told(void) {
  char* log = NULL;
  make_fifo("go");
  const int before = count_descriptors();
  request("accept 0 wait go done 0 0");
  come_back();
  CHECK(is_readable() == 1);
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK(cr_poll_checkpoint_msg(&handle, NULL, &log) == CR_POLL_CHKPT_ERR_POST);
  CHECK(errno == CR_ERESTARTED && strcmp(log, "") == 0);
  CHECK(count_descriptors() == before);
  release("go");
  request("accept 0 done 0 0"); /* as before */
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
}

static void a_forked_child_has_no_requests(void) {
  int status = 1;
  make_fifo("go");
  request("accept 0 wait go done 0 0");
  const pid_t child = fork();
  if (child == 0) {
    CHECK_FAILS(cr_reap_checkpoint(&handle), EINVAL);
    CHECK_FAILS(cr_wait_checkpoint(&handle, &no_time), EINVAL);
    CHECK(fcntl((int)handle, F_GETFD) >= 0);
    request("accept 0 done 0 0"); /* but may make its own */
    CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
    exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  release("go");
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
}

static void handles_of_another_kind_or_file_are_einval(void) {
  make_fifo("go");
  request("accept 0 wait go done 0 0");
  CHECK_FAILS(cr_reap_restart(&handle), EINVAL);
  CHECK(dup2(0, (int)handle) == (int)handle); /* what the program should not do */
  CHECK_FAILS(cr_reap_checkpoint(&handle), EINVAL);
  CHECK(fcntl((int)handle, F_GETFD) >= 0);
  CHECK_FAILS(cr_wait_checkpoint(NULL, NULL), EINVAL);
  release("go");
}

int main(int argc, char** argv) {
  static const struct test_case tests[] = {
      TEST(handle_is_readable_when_done),
      TEST(errors_before_acceptance_are_synchronous),
      TEST(async_errors_come_from_the_reap),
      TEST(errors_after_acceptance_come_from_the_reap),
      TEST(a_helper_that_dies_is_eio),
      TEST(long_logs_arrive),
      TEST(own_checkpoint_is_done_when_the_call_returns),
      TEST(many_requests),
      TEST(handles_may_be_large),
      TEST(threads_request_at_once),
      TEST(a_restarted_process_is_told),
      TEST(a_forked_child_has_no_requests),
      TEST(handles_of_another_kind_or_file_are_einval),
  };
  return run_cases(tests, sizeof tests / sizeof tests[0], argc, argv);
}
