/*
 * Checkpoints of several processes: callbacks in each of them, refusals by one that concern all,
 * and cr_forward_checkpoint(). The processes are a subject and its own child.
 */
#include "compat.h"

#include <sys/ptrace.h>
#include <sys/socket.h>

/* The family: this case -> subject -> child. The subject waits for its child's end. */
static int subject_flags, child_flags;
static int log_fd; /* both write letters there, one byte each: subject s/S/1, child c/C/2 */
static int hears_fd;

struct member {
  int flags;
  char before;
};

static int writes(void* argument) {
  struct member* member = (struct member*)argument;
  cp_tell(log_fd, member->before);
  int result = cr_checkpoint(member->flags);
  char after = (char)(result == 0              ? member->before - 'a' + 'A'
                      : result > 0             ? (member->before == 's' ? '1' : '2')
                      : result == -CR_EOMITTED ? 'o'
                                               : 'f');
  cp_tell(log_fd, after);
  return 0;
}

static int member_context = CR_SIGNAL_CONTEXT;
static void is_member(int flags, char letter) {
  static struct member member;
  member.flags = flags;
  member.before = letter;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(writes, &member, member_context) >= 0);
}

static void is_child(int in, int out) {
  (void)in;
  is_member(child_flags, 'c');
  cp_tell(out, 'r');
  while (cp_hear(hears_fd) != 'q') cp_tell(log_fd, 'p');
}

static void is_subject(int in, int out) {
  close(in);
  log_fd = out;
  struct cp_pipe down = cp_new_pipe();
  hears_fd = down.read_end;
  struct cp_child child = cp_fork(is_child);
  is_member(subject_flags, 's');
  cp_expect(child.from, 'r');
  cp_tell(out, 'r');
  dprintf(out, "%d\n", child.pid);
  cp_tell(down.write_end, 'p'); /* the child goes on through a pipe between the two */
  int status = cp_status(child.pid);
  _exit(WIFSIGNALED(status) ? 40 + WTERMSIG(status) : 0);
}

static pid_t grandchild;
static struct cp_child new_family(void) {
  struct cp_child subject = cp_fork(is_subject);
  cp_expect(subject.from, 'r');
  grandchild = 0;
  for (char digit; (digit = cp_hear(subject.from)) != '\n';)
    grandchild = grandchild * 10 + digit - '0';
  cp_expect(subject.from, 'p');
  return subject;
}

/* Reads all that is there, sorted by the alphabet, as the two write at the same time. */
static void heard(struct cp_child* subject, const char* expected) {
  char got[32] = "";
  size_t count = strlen(expected);
  for (size_t i = 0; i < count; i++) {
    char next = cp_hear(subject->from);
    size_t at = i;
    for (; at && got[at - 1] > next; at--) got[at] = got[at - 1];
    got[at] = next;
  }
  if (strcmp(got, expected)) cp_fail("the family says \"%s\", not \"%s\"", got, expected);
}

static void end_family(struct cp_child* subject) {
  kill(subject->pid, SIGKILL); /* before it learns of its child's end */
  cp_killed(subject, SIGKILL);
  kill(grandchild, SIGKILL);
}

static void callbacks_everywhere(int context) {
  member_context = context;
  struct cp_child subject = new_family();
  CHECK_EQ(cp_checkpoint(subject.pid, "-T"), 0);
  heard(&subject, "CScs");
  CHECK_EQ(cp_checkpoint(subject.pid, "-p"), 0); /* only one of them */
  heard(&subject, "Ss");
  CHECK(cp_silent(subject.from));
  end_family(&subject);
}

CP_CASE(callbacks_run_in_all_processes_signal_context) {
  callbacks_everywhere(CR_SIGNAL_CONTEXT);
}

CP_CASE(callbacks_run_in_all_processes_thread_context) {
  callbacks_everywhere(CR_THREAD_CONTEXT);
}

/* The whole of this case's tree, restarted: subject and child come back through their callbacks. */
CP_CASE(tree_is_restarted_through_its_callbacks) {
  struct cp_child subject = new_family();
  cp_restart("-T");
  heard(&subject, "12cs");
  CHECK(kill(grandchild, 0) == 0);
  CHECK_EQ(cp_checkpoint(subject.pid, "-T"), 0);
  heard(&subject, "CScs");
  kill(grandchild, SIGKILL);
  int status = cp_status(subject.pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 40 + SIGKILL); /* its child's end is seen */
}

static void one_refuses(int context) {
  member_context = context;
  child_flags = CR_CHECKPOINT_TEMP_FAILURE_CODE(70);
  struct cp_child subject = new_family();
  CHECK_EQ(cp_checkpoint(subject.pid, "-T"), 70);
  CHECK(access(cp_image(), F_OK) != 0);
  for (int after = 0; after < 1;) { /* the subject may not have been called yet */
    char next = cp_hear(subject.from);
    CHECK(next == 'c' || next == 's' || next == 'f');
    after += next == 'f';
  }
  CHECK(kill(grandchild, 0) == 0 && kill(subject.pid, 0) == 0);
  end_family(&subject);
}

CP_CASE(temp_failure_in_one_is_for_all_signal_context) {
  one_refuses(CR_SIGNAL_CONTEXT);
}

CP_CASE(temp_failure_in_one_is_for_all_thread_context) {
  one_refuses(CR_THREAD_CONTEXT);
}

CP_CASE(perm_failure_in_one_kills_all) {
  child_flags = CR_CHECKPOINT_PERM_FAILURE;
  struct cp_child subject = new_family();
  CHECK_EQ(cp_checkpoint(subject.pid, "-T"), 51);
  CHECK(access(cp_image(), F_OK) != 0);
  int status = cp_status(subject.pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  UNTIL(cp_state(grandchild) == 0 || cp_state(grandchild) == 'Z');
}

/* The child leaves itself out: the rest is saved, and what is done to the rest is not done to it.
 */
CP_CASE(omit_leaves_one_out) {
  child_flags = CR_CHECKPOINT_OMIT;
  struct cp_child subject = new_family();
  CHECK_EQ(cp_checkpoint(subject.pid, "-T"), 0);
  heard(&subject, "Scos");
  CHECK_EQ(cp_checkpoint(subject.pid, "-T --kill"), 0);
  int status = cp_status(subject.pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  for (char next = 0; next != 'o';) next = cp_hear(subject.from);
  CHECK(kill(grandchild, 0) == 0); /* it has not been killed */
  kill(grandchild, SIGKILL);
}

/* ---- cr_forward_checkpoint() */

static pid_t forward_to;
static cr_scope_t forward_scope;
static int forward_result, forward_error, forward_times;

static int forwards(void* unused) {
  if (forward_to) {
    errno = 0;
    for (int i = 0; i < forward_times; i++) {
      forward_result = cr_forward_checkpoint(forward_scope, forward_to);
      forward_error = errno;
    }
  }
  cr_checkpoint(0);
  return unused != NULL;
}

static void try_forward(cr_scope_t scope, pid_t target, int result, int error) {
  static int registered;
  if (!registered++) {
    CHECK(cr_init() >= 0);
    CHECK(cr_register_callback(forwards, NULL, CR_SIGNAL_CONTEXT) >= 0);
    forward_times = 1;
  }
  forward_scope = scope;
  forward_to = target;
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(forward_result, result);
  if (result) CHECK_EQ(forward_error, error);
}

CP_CASE(forward_adds_a_process) {
  struct cp_child subject = new_family();
  try_forward(CR_SCOPE_PROC, subject.pid, 0, 0);
  heard(&subject, "Ss");
  CHECK(cp_silent(subject.from));
  end_family(&subject);
}

CP_CASE(forward_adds_a_tree) {
  struct cp_child subject = new_family();
  try_forward(CR_SCOPE_TREE, subject.pid, 0, 0);
  heard(&subject, "CScs");
  end_family(&subject);
}

CP_CASE(forward_overlap_is_no_error) {
  struct cp_child subject = new_family();
  forward_times = 3;
  try_forward(CR_SCOPE_PROC, getpid(), 0, 0); /* what is being saved anyway */
  try_forward(CR_SCOPE_TREE, subject.pid, 0, 0);
  heard(&subject, "CScs"); /* once each */
  CHECK(cp_silent(subject.from));
  end_family(&subject);
}

CP_CASE(forwarded_processes_are_restarted) {
  struct cp_child subject = new_family();
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(forwards, NULL, CR_SIGNAL_CONTEXT) >= 0);
  forward_times = 1;
  forward_scope = CR_SCOPE_TREE;
  forward_to = subject.pid;
  cp_restart("-p");
  heard(&subject, "12cs");
  forward_to = 0;
  kill(grandchild, SIGKILL);
  int status = cp_status(subject.pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 40 + SIGKILL);
}

CP_CASE(forward_to_nobody_is_esrch) {
  pid_t gone = fork();
  if (!gone) _exit(0);
  CHECK_EQ(cp_status(gone), 0);
  try_forward(CR_SCOPE_PROC, gone, -1, ESRCH);
}

CP_CASE(forward_to_an_unknown_scope_is_einval) {
  try_forward((cr_scope_t)77, getpid(), -1, EINVAL);
}

CP_CASE(forward_to_a_foreign_process_is_eperm) {
  if (!geteuid()) cp_skip("root may save every process");
  try_forward(CR_SCOPE_PROC, 1, -1, EPERM);
}

/* ---- what keeps them from taking part is the call's error; the checkpoint goes on */

static int dawdles(void* argument) {
  cp_tell(log_fd, 'd');
  cp_hear(hears_fd);
  return cr_checkpoint(0) < 0 && argument != NULL;
}

static void is_slow(int in, int out) {
  log_fd = out;
  hears_fd = in;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(dawdles, NULL, CR_THREAD_CONTEXT) >= 0);
  cp_tell(out, 'r');
  UNTIL(0);
}

CP_CASE(forward_to_a_process_in_another_checkpoint_is_ebusy) {
  struct cp_child slow = cp_fork(is_slow);
  cp_expect(slow.from, 'r');
  pid_t other = cp_start(slow.pid, "");
  cp_expect(slow.from, 'd');
  try_forward(CR_SCOPE_PROC, slow.pid, -1, EBUSY);
  cp_tell(slow.to, 'g');
  CHECK_EQ(cp_finish(other), 0);
  forward_times = 2; /* what was refused is nobody's: it can be had now, and by others */
  cp_tell(slow.to, 'g');
  try_forward(CR_SCOPE_PROC, slow.pid, 0, 0);
  kill(slow.pid, SIGKILL);
}

static void traces_its_parent(int in, int out) {
  if (ptrace(PTRACE_SEIZE, getppid(), NULL, NULL)) cp_tell(out, 'n');
  cp_tell(out, 't');
  cp_hear(in);
}

static void is_traced(int in, int out) {
  struct cp_child tracer = cp_fork(traces_its_parent);
  cp_tell(out, cp_hear(tracer.from));
  cp_hear(in);
  cp_tell(tracer.to, 'q');
  cp_ends_well(&tracer);
}

CP_CASE(forward_to_a_traced_process_is_eptraced) {
  struct cp_child traced = cp_fork(is_traced);
  if (cp_hear(traced.from) != 't') cp_skip("no tracing here");
  try_forward(CR_SCOPE_PROC, traced.pid, -1, CR_EPTRACED);
  cp_tell(traced.to, 'q');
  cp_ends_well(&traced);
}

/* The one whose callback forwards is this process's child; the requester is this process. */
static void forwards_to_its_parent(int in, int out) {
  try_forward(CR_SCOPE_PROC, getpid(), 0, 0); /* registers */
  forward_result = 99;
  forward_to = getppid();
  cp_tell(out, 'r');
  cp_expect(in, 'g');
  CHECK_EQ(forward_result, -1);
  CHECK_EQ(forward_error, EDEADLK);
}

CP_CASE(forward_to_a_requester_that_prohibits_it_is_edeadlk) {
  cr_checkpoint_args_t args;
  cr_checkpoint_handle_t handle;
  CHECK(cr_init() >= 0);
  struct cp_child child = cp_fork(forwards_to_its_parent);
  cp_expect(child.from, 'r');
  CHECK_EQ(cr_initialize_checkpoint_args_t(&args), 0);
  args.cr_fd = open("context", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_target = child.pid;
  args.cr_flags = CR_CHKPT_PROHIBIT_SELF;
  CHECK_EQ(cr_request_checkpoint(&args, &handle), 0);
  CHECK(cr_poll_checkpoint(&handle, NULL) > 0);
  close(args.cr_fd);
  cp_tell(child.to, 'g');
  cp_ends_well(&child);
}

static void has_a_socket(int in, int out) {
  int shared[2];
  CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, shared));
  pid_t other = fork(); /* outside of what is saved */
  if (!other) {
    close(shared[0]);
    close(in);
    close(out);
    char byte;
    _exit(read(shared[1], &byte, 1) < 0);
  }
  close(shared[1]);
  cp_tell(out, 'r');
  cp_hear(in);
  close(shared[0]);
  CHECK_EQ(cp_status(other), 0);
}

CP_CASE(forward_to_what_cannot_be_saved_fails_the_call) {
  struct cp_child other = cp_fork(has_a_socket);
  cp_expect(other.from, 'r');
  try_forward(CR_SCOPE_PROC, other.pid, -1, EOPNOTSUPP);
  cp_tell(other.to, 'q');
  cp_ends_well(&other);
}

/* More than there are places for in the control block. */
CP_CASE(forward_as_often_as_one_likes) {
  struct cp_child subject = new_family();
  try_forward(CR_SCOPE_PROC, getpid(), 0, 0);
  forward_times = 100;
  try_forward(CR_SCOPE_TREE, subject.pid, 0, 0);
  heard(&subject, "CScs");
  end_family(&subject);
}

static void leaves_its_session(int in, int out) {
  CHECK(setsid() == getpid());
  pid_t member = fork();
  if (!member) {
    cp_tell(out, 'm');
    cp_hear(in);
    _exit(0);
  }
}

CP_CASE(forward_to_a_session_without_its_leader) {
  struct cp_child leader = cp_fork(leaves_its_session);
  cp_expect(leader.from, 'm');
  CHECK_EQ(cp_status(leader.pid), 0);
  try_forward(CR_SCOPE_SESS, leader.pid, 0, 0);
  cp_tell(leader.to, 'q');
}

CP_CASE(forward_outside_a_callback_is_enotcb) {
  CHECK_FAILS(cr_forward_checkpoint(CR_SCOPE_PROC, getpid()), CR_ENOTCB);
  CHECK(cr_init() >= 0);
  CHECK_FAILS(cr_forward_checkpoint(CR_SCOPE_PROC, getpid()), CR_ENOTCB);
}
