/*
 * cr_request_checkpoint() and how its end is learned: wait, poll, log, reap. The subject is mostly
 * a child that can stay in a critical section, so that a request is pending as long as it is
 * needed.
 */
#include "compat.h"

/* Commands of the subject: 'e' enters, 'l' leaves, 'q' ends; it answers each with the same letter.
 */
static int refusal;
static int answers(void* unused) {
  cr_checkpoint(refusal);
  return unused != NULL;
}
static void obeys(int in, int out) {
  cr_client_id_t id = cr_init();
  CHECK(id >= 0);
  CHECK(cr_register_callback(answers, NULL, CR_SIGNAL_CONTEXT) >= 0);
  cp_tell(out, 'r');
  for (char word; (word = cp_hear(in)) != 'q'; cp_tell(out, word)) {
    if (word == 'e') CHECK_EQ(cr_enter_cs(id), 0);
    if (word == 'l') CHECK_EQ(cr_leave_cs(id), 0);
  }
}

/* The same through fifos, which lead to the restarted process as well. */
static void obeys_fifos(int in, int out) {
  close(in);
  close(out);
  int hear = open("down", O_RDWR | O_CLOEXEC), tells = open("up", O_RDWR | O_CLOEXEC);
  CHECK(hear >= 0 && tells >= 0);
  obeys(hear, tells);
}

static struct cp_child subject;
static cr_checkpoint_args_t args;
static cr_checkpoint_handle_t handle;
static const char* const kFile = "context";

static void tell(char word) {
  cp_tell(subject.to, word);
  if (word != 'q') cp_expect(subject.from, word);
}

static void begin(void) {
  subject = cp_fork(obeys);
  cp_expect(subject.from, 'r');
  CHECK(cr_init() >= 0);
}

static void end(void) {
  tell('q');
  cp_ends_well(&subject);
}

static void prepare(pid_t target) {
  CHECK_EQ(cr_initialize_checkpoint_args_t(&args), 0);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_target = target;
  args.cr_fd = open(kFile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(args.cr_fd >= 0);
}

static void request(void) {
  int result = cr_request_checkpoint(&args, &handle);
  if (result) cp_fail("cr_request_checkpoint: %d, %s", result, cr_strerror(errno));
  close(args.cr_fd); /* allowed at once */
}

static void request_pending(void) {
  begin();
  tell('e');
  prepare(subject.pid);
  request();
}

static void finish_pending(void) {
  tell('l');
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK(cr_reap_checkpoint(&handle) > 0);
  end();
}

static off_t size_of(const char* path) {
  struct stat status;
  return stat(path, &status) ? -1 : status.st_size;
}

/* ---- arguments */

CP_CASE(args_have_defaults) {
  memset(&args, 0x55, sizeof args);
  CHECK_EQ(cr_initialize_checkpoint_args_t(&args), 0);
  CHECK_EQ(args.cr_version, CR_CHECKPOINT_ARGS_VERSION);
  CHECK_EQ((int)args.cr_scope, -1);
  CHECK_EQ(args.cr_target, 0);
  CHECK_EQ(args.cr_fd, -1);
  CHECK_EQ(args.cr_signal, 0);
  CHECK_EQ(args.cr_timeout, 0);
  CHECK_EQ(args.cr_flags, 0);
}

CP_CASE(args_of_an_unknown_version_are_einval) {
  CHECK_FAILS(cri_init_checkpoint_args_t(CR_CHECKPOINT_ARGS_VERSION + 1, &args), EINVAL);
  CHECK_FAILS(cri_init_checkpoint_args_t(0, &args), EINVAL);
  CHECK_FAILS(cri_init_checkpoint_args_t(-1, &args), EINVAL);
}

/* ---- a request and its end */

CP_CASE(saves_another_process) {
  CHECK(!mkfifo("down", 0600) && !mkfifo("up", 0600));
  int down = open("down", O_RDWR | O_CLOEXEC), up = open("up", O_RDWR | O_CLOEXEC);
  subject = cp_fork(obeys_fifos);
  cp_expect(up, 'r');
  CHECK(cr_init() >= 0);
  prepare(subject.pid);
  request();
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0);
  CHECK(cr_wait_checkpoint(&handle, NULL) > 0); /* as often as one likes */
  CHECK(cr_reap_checkpoint(&handle) > 0);
  CHECK(size_of(kFile) > 0);
  cp_tell(down, 'x');
  cp_expect(up, 'x');
  kill(subject.pid, SIGKILL);
  cp_killed(&subject, SIGKILL);
  pid_t restarted = cp_restarted_child(kFile);
  cp_tell(down, 'y');
  cp_expect(up, 'y');
  cp_tell(down, 'q');
  CHECK_EQ(cp_finish(restarted), 0);
}

CP_CASE(without_cr_init_as_well) {
  subject = cp_fork(obeys);
  cp_expect(subject.from, 'r');
  prepare(subject.pid);
  request();
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  end();
}

CP_CASE(poll_does_it_all) {
  begin();
  prepare(subject.pid);
  request();
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  CHECK(size_of(kFile) > 0);
  end();
}

CP_CASE(poll_msg_gives_the_messages) {
  begin();
  prepare(subject.pid);
  request();
  char* message = (char*)1;
  CHECK(cr_poll_checkpoint_msg(&handle, NULL, &message) > 0);
  CHECK(message != (char*)1);
  free(message);
  end();
}

CP_CASE(handle_is_for_select) {
  request_pending();
  fd_set set;
  struct timeval none = {0, 0}, limit = {cp_limit_ms() / 1000, 0};
  CHECK(handle < FD_SETSIZE);
  FD_ZERO(&set);
  FD_SET((int)handle, &set);
  CHECK_EQ(select((int)handle + 1, &set, NULL, NULL, &none), 0);
  tell('l');
  FD_ZERO(&set);
  FD_SET((int)handle, &set);
  CHECK_EQ(select((int)handle + 1, &set, NULL, NULL, &limit), 1);
  CHECK(FD_ISSET((int)handle, &set));
  CHECK(cr_reap_checkpoint(&handle) > 0);
  end();
}

CP_CASE(no_descriptor_is_left) {
  begin();
  int before = cp_descriptors();
  int next = dup(0);
  close(next);
  for (int i = 0; i < 5; i++) {
    prepare(subject.pid);
    request();
    CHECK_EQ(cp_descriptors(), before + 1); /* the handle */
    CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
    CHECK_EQ(cp_descriptors(), before);
  }
  int after = dup(0);
  CHECK_EQ(after, next);
  close(after);
  errno = 0;
  CHECK_EQ(waitpid(-1, NULL, WNOHANG), 0); /* the subject, and no child that we do not know */
  end();
  CHECK_FAILS(waitpid(-1, NULL, WNOHANG), ECHILD);
}

CP_CASE(wait_and_poll_return_zero_when_time_is_over) {
  request_pending();
  struct timeval none = {0, 0}, little = {0, 20000};
  CHECK_EQ(cr_wait_checkpoint(&handle, &none), 0);
  CHECK_EQ(cr_wait_checkpoint(&handle, &little), 0);
  CHECK(little.tv_sec == 0 && little.tv_usec == 0); /* what is left, as select(2) does it */
  CHECK_EQ(cr_poll_checkpoint(&handle, &none), 0);
  char* message = NULL;
  CHECK_EQ(cr_poll_checkpoint_msg(&handle, &none, &message), 0);
  finish_pending();
}

CP_CASE(wait_writes_back_what_is_left_of_the_time) {
  begin();
  prepare(subject.pid);
  request();
  struct timeval limit = {1000, 0};
  CHECK(cr_wait_checkpoint(&handle, &limit) > 0);
  CHECK(limit.tv_sec < 1000 && limit.tv_sec > 900);
  CHECK(cr_reap_checkpoint(&handle) > 0);
  end();
}

CP_CASE(reap_before_the_end_is_eagain) {
  request_pending();
  CHECK_FAILS(cr_reap_checkpoint(&handle), EAGAIN);
  CHECK_FAILS(cr_reap_checkpoint(&handle), EAGAIN);
  finish_pending();
}

static void does_nothing(int unused) {
  (void)unused;
}

CP_CASE(wait_is_interrupted_by_a_signal) {
  struct sigaction action = {0};
  struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
  request_pending();
  action.sa_handler = does_nothing;
  CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
  CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
  CHECK_FAILS(cr_wait_checkpoint(&handle, NULL), EINTR);
  errno = 0;
  CHECK_EQ(cr_poll_checkpoint(&handle, NULL), CR_POLL_CHKPT_ERR_PRE);
  CHECK_EQ(errno, EINTR);
  CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
  finish_pending(); /* the handle is still good */
}

CP_CASE(bad_pointers_are_efault) {
  request_pending();
  void* nowhere = (void*)16;
  CHECK_FAILS(cr_wait_checkpoint(&handle, (struct timeval*)nowhere), EFAULT);
  errno = 0;
  CHECK_EQ(cr_poll_checkpoint(&handle, (struct timeval*)nowhere), CR_POLL_CHKPT_ERR_PRE);
  CHECK_EQ(errno, EFAULT);
  finish_pending();
}

CP_CASE(unknown_handles_are_einval) {
  CHECK(cr_init() >= 0);
  cr_checkpoint_handle_t bad[] = {(cr_checkpoint_handle_t)-1, 999, 1};
  for (int i = 0; i < 3; i++) {
    struct timeval none = {0, 0};
    CHECK_FAILS(cr_wait_checkpoint(&bad[i], &none), EINVAL);
    CHECK_FAILS(cr_log_checkpoint(&bad[i], 0, NULL), EINVAL);
    CHECK_FAILS(cr_reap_checkpoint(&bad[i]), EINVAL);
    errno = 0;
    CHECK_EQ(cr_poll_checkpoint(&bad[i], &none), CR_POLL_CHKPT_ERR_PRE);
    CHECK_EQ(errno, EINVAL);
  }
}

CP_CASE(several_requests_at_once) {
  struct cp_child subjects[4];
  cr_checkpoint_handle_t handles[4];
  char name[32];
  for (int i = 0; i < 4; i++) {
    begin();
    subjects[i] = subject;
    tell('e');
    prepare(subject.pid);
    snprintf(name, sizeof name, "context.%d", i);
    CHECK_EQ(rename(kFile, name), 0);
    request();
    handles[i] = handle;
  }
  for (int i = 3; i >= 0; i--) {
    struct timeval none = {0, 0};
    CHECK_EQ(cr_poll_checkpoint(&handles[i], &none), 0);
    subject = subjects[i];
    tell('l');
    CHECK(cr_poll_checkpoint(&handles[i], NULL) > 0);
    snprintf(name, sizeof name, "context.%d", i);
    CHECK(size_of(name) > 0);
    end();
  }
}
