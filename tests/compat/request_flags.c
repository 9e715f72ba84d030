/*
 * Flags of checkpoint requests: what is saved of mapped files, and processes that are traced or
 * trace.
 */
#include "compat.h"

#include <limits.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

static cr_checkpoint_args_t args;
static cr_checkpoint_handle_t handle;

static void prepare(cr_scope_t scope, pid_t target, unsigned flags) {
  CHECK_EQ(cr_initialize_checkpoint_args_t(&args), 0);
  args.cr_scope = scope;
  args.cr_target = target;
  args.cr_flags = flags | CR_CHKPT_ASYNC_ERR;
  args.cr_fd = open("context", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(args.cr_fd >= 0);
}

static void request(void) {
  int result = cr_request_checkpoint(&args, &handle);
  if (result) cp_fail("cr_request_checkpoint: %d, %s", result, cr_strerror(errno));
  close(args.cr_fd);
}

static void succeeds(void) {
  char* text = NULL;
  int result = cr_poll_checkpoint_msg(&handle, NULL, &text);
  if (result <= 0) cp_fail("poll: %d, %s: %s", result, cr_strerror(errno), text ? text : "");
  free(text);
}

static void fails_with(int code) {
  errno = 0;
  CHECK_EQ(cr_poll_checkpoint(&handle, NULL), CR_POLL_CHKPT_ERR_POST);
  CHECK_EQ(errno, code);
}

/* ---- mapped files */

/* Too large to be carried without being asked for, as small files below /tmp are. */
enum { kPages = 5 << 20 };
static int map_flags;

static void maps_a_file(int in, int out) {
  static char page[kPages];
  int fd = open("mapped", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  memset(page, 'm', sizeof page);
  CHECK(write(fd, page, sizeof page) == sizeof page);
  char* map = (char*)mmap(NULL, kPages, PROT_READ | PROT_WRITE, map_flags, fd, 0);
  CHECK(map != MAP_FAILED);
  close(fd);
  close(in);
  map[0] = 'n';
  int hear = open("down", O_RDWR | O_CLOEXEC), tell = open("up", O_RDWR | O_CLOEXEC);
  cp_tell(out, 'r');
  close(out);
  cp_expect(hear, 'g');
  for (int i = 1; i < kPages; i++) CHECK(map[i] == 'm');
  CHECK(map[0] == 'n');
  cp_tell(tell, 'k');
}

/* The file is gone at restart: with the flag that is no trouble, without it is. */
static void mapped(int kind, unsigned flags) {
  map_flags = kind;
  CHECK(!mkfifo("down", 0600) && !mkfifo("up", 0600));
  int down = open("down", O_RDWR | O_CLOEXEC), up = open("up", O_RDWR | O_CLOEXEC);
  struct cp_child child = cp_fork(maps_a_file);
  cp_expect(child.from, 'r');
  prepare(CR_SCOPE_PROC, child.pid, flags);
  request();
  succeeds();
  CHECK_EQ(kill(child.pid, SIGKILL), 0);
  cp_killed(&child, SIGKILL);
  CHECK_EQ(rename("mapped", "elsewhere"), 0);
  if (!flags) {
    CHECK_EQ(cp_finish(cp_restart_child("context", "")), ENOENT);
    return;
  }
  pid_t restart = cp_restarted_child("context");
  cp_tell(down, 'g');
  cp_expect(up, 'k');
  CHECK_EQ(cp_finish(restart), 0);
}

CP_CASE(dump_private_saves_private_mappings) {
  mapped(MAP_PRIVATE, CR_CHKPT_DUMP_PRIVATE);
}

CP_CASE(dump_shared_saves_shared_mappings) {
  mapped(MAP_SHARED, CR_CHKPT_DUMP_SHARED);
}

CP_CASE(dump_all_saves_private_mappings) {
  mapped(MAP_PRIVATE, CR_CHKPT_DUMP_ALL);
}

CP_CASE(dump_all_saves_shared_mappings) {
  mapped(MAP_SHARED, CR_CHKPT_DUMP_ALL);
}

CP_CASE(without_flags_private_mappings_need_their_file) {
  mapped(MAP_PRIVATE, 0);
}

CP_CASE(without_flags_shared_mappings_need_their_file) {
  mapped(MAP_SHARED, 0);
}

static void becomes_a_copy(int in, int out) {
  (void)in, (void)out;
  execl("./copy", "copy", (char*)NULL);
}

CP_CASE(dump_exec_saves_the_executable) {
  char line[PATH_MAX + 64];
  CHECK(!mkfifo("down", 0600) && !mkfifo("up", 0600));
  int down = open("down", O_RDWR | O_CLOEXEC), up = open("up", O_RDWR | O_CLOEXEC);
  snprintf(line, sizeof line, "cp %s copy", cp_command("../../tests/compat/echo"));
  CHECK_EQ(cp_finish(cp_spawn(line)), 0);
  struct cp_child child = cp_fork(becomes_a_copy);
  cp_expect(up, 'r');
  prepare(CR_SCOPE_PROC, child.pid, CR_CHKPT_DUMP_EXEC);
  request();
  succeeds();
  CHECK_EQ(kill(child.pid, SIGKILL), 0);
  cp_killed(&child, SIGKILL);
  CHECK_EQ(unlink("copy"), 0);
  pid_t restart = cp_restarted_child("context");
  cp_tell(down, 'x');
  cp_expect(up, 'x');
  cp_tell(down, 'q');
  CHECK_EQ(cp_finish(restart), 0);
}

/* ---- tracing: this process traces a child of its child */

static void waits(int in, int out) {
  (void)out;
  cp_hear(in);
}

static pid_t inner;
static void has_a_child(int in, int out) {
  struct cp_child child = cp_fork(waits);
  dprintf(out, "%d\n", child.pid);
  cp_hear(in);
  cp_tell(child.to, 'q');
  cp_ends_well(&child);
}

static struct cp_child traced_family(void) {
  struct cp_child outer = cp_fork(has_a_child);
  inner = 0;
  for (char digit; (digit = cp_hear(outer.from)) != '\n';) inner = inner * 10 + digit - '0';
  CHECK(cr_init() >= 0);
  if (ptrace(PTRACE_SEIZE, inner, NULL, NULL)) cp_skip("no tracing here: %s", strerror(errno));
  return outer;
}

static void detach(void) {
  int status;
  CHECK_EQ(ptrace(PTRACE_INTERRUPT, inner, NULL, NULL), 0);
  UNTIL(waitpid(inner, &status, WNOHANG | __WALL) == inner);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(ptrace(PTRACE_DETACH, inner, NULL, NULL), 0);
}

static void end_family(struct cp_child* outer) {
  cp_tell(outer->to, 'q');
  cp_ends_well(outer);
}

CP_CASE(a_traced_process_is_eptraced) {
  struct cp_child outer = traced_family();
  prepare(CR_SCOPE_PROC, inner, 0);
  request();
  fails_with(CR_EPTRACED);
  prepare(CR_SCOPE_TREE, outer.pid, 0);
  request();
  fails_with(CR_EPTRACED);
  detach();
  end_family(&outer);
}

CP_CASE(ptraced_skip_leaves_it_out) {
  struct cp_child outer = traced_family();
  prepare(CR_SCOPE_PROC, inner, CR_CHKPT_PTRACED_SKIP);
  request();
  fails_with(ESRCH);
  prepare(CR_SCOPE_TREE, outer.pid, CR_CHKPT_PTRACED_SKIP);
  request();
  succeeds();
  detach();
  end_family(&outer);
}

/* A second tracer cannot be: the request waits for the first one to let go. */
CP_CASE(ptraced_allow_waits_for_the_tracer) {
  struct cp_child outer = traced_family();
  prepare(CR_SCOPE_PROC, inner, CR_CHKPT_PTRACED_ALLOW);
  args.cr_timeout = 60;
  request();
  struct timeval none = {0, 0};
  CHECK_EQ(cr_poll_checkpoint(&handle, &none), 0);
  cp_dawdle();
  CHECK_EQ(cr_poll_checkpoint(&handle, &none), 0);
  detach();
  succeeds();
  end_family(&outer);
}

/* The tracer lets it run, and detaches when it stops next, with the signal of that stop. */
static void detaches_at_the_next_stop(int in, int out) {
  int status;
  if (ptrace(PTRACE_SEIZE, inner, NULL, NULL)) cp_skip("no tracing here: %s", strerror(errno));
  cp_tell(out, 'r');
  CHECK_EQ(waitpid(inner, &status, __WALL), inner);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(ptrace(PTRACE_DETACH, inner, NULL, (void*)(long)WSTOPSIG(status)), 0);
  cp_hear(in);
}

static void has_cr_init_and_waits(int in, int out) {
  CHECK(cr_init() >= 0);
  cp_tell(out, 'r');
  cp_hear(in);
}

static void allowed_by_a_stop(struct cp_child traced) {
  inner = traced.pid;
  struct cp_child tracer = cp_fork(detaches_at_the_next_stop);
  cp_expect(tracer.from, 'r');
  prepare(CR_SCOPE_PROC, inner, CR_CHKPT_PTRACED_ALLOW);
  args.cr_timeout = 60;
  request();
  succeeds();
  cp_tell(tracer.to, 'q');
  cp_ends_well(&tracer);
  cp_tell(traced.to, 'q'); /* it goes on */
  cp_ends_well(&traced);
}

CP_CASE(ptraced_allow_makes_the_stop_that_the_tracer_waits_for) {
  CHECK(cr_init() >= 0);
  struct cp_child traced = cp_fork(has_cr_init_and_waits);
  cp_expect(traced.from, 'r');
  allowed_by_a_stop(traced);
}

static void traces_its_child(int in, int out) {
  struct cp_child child = cp_fork(waits);
  inner = child.pid;
  if (ptrace(PTRACE_SEIZE, inner, NULL, NULL)) cp_skip("no tracing here: %s", strerror(errno));
  cp_tell(out, 'r');
  cp_hear(in);
  detach();
  cp_tell(out, 'd');
  cp_hear(in);
  cp_tell(child.to, 'q');
  cp_ends_well(&child);
}

CP_CASE(a_tracer_is_eptracer_unless_skipped) {
  struct cp_child tracer = cp_fork(traces_its_child);
  cp_expect(tracer.from, 'r');
  CHECK(cr_init() >= 0);
  prepare(CR_SCOPE_PROC, tracer.pid, 0);
  request();
  fails_with(CR_EPTRACER);
  prepare(CR_SCOPE_PROC, tracer.pid, CR_CHKPT_PTRACER_SKIP);
  request();
  fails_with(ESRCH);
  cp_tell(tracer.to, 'd');
  cp_expect(tracer.from, 'd');
  prepare(CR_SCOPE_PROC, tracer.pid, 0);
  request();
  succeeds();
  cp_tell(tracer.to, 'q');
  cp_ends_well(&tracer);
}
