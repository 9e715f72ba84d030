/*
 * What the library outlives: fork, exec, threads that end; what a forked child is.
 */
#include "compat.h"

static char* const letters[] = {(char*)"a", (char*)"b"};

static void begin(int context) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, letters[0], context) >= 0);
}

static void says_notes(int in, int out) {
  cp_forget_notes();
  cp_tell(out, 'r');
  cp_expect(in, 'n');
  dprintf(out, "%s.", cp_notes());
  cp_hear(in);
}

static void child_says(struct cp_child* child, const char* expected) {
  cp_tell(child->to, 'n');
  for (; *expected; expected++) cp_expect(child->from, *expected);
  cp_expect(child->from, '.');
}

/* A forked child has no callbacks of its parent's, and can be saved all the same. */
static void forked(int context) {
  begin(context);
  struct cp_child child = cp_fork(says_notes);
  cp_expect(child.from, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, "--require-libcr"), 0);
  child_says(&child, "");
  cp_tell(child.to, 'q');
  cp_ends_well(&child);
  CHECK_NOTES("");
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("aA");
  cp_restart("");
  CHECK_NOTES("aAa1");
}

CP_CASE(forked_child_has_no_callbacks_signal_context) {
  forked(CR_SIGNAL_CONTEXT);
}

CP_CASE(forked_child_has_no_callbacks_thread_context) {
  forked(CR_THREAD_CONTEXT);
}

static int child_context;
static void begins_anew(int in, int out) {
  cp_forget_notes();
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, letters[1], child_context) >= 0);
  cp_tell(out, 'r');
  cp_expect(in, 'n');
  dprintf(out, "%s.", cp_notes());
  cp_hear(in);
}

static void child_registers(int context) {
  begin(context);
  child_context = context;
  struct cp_child child = cp_fork(begins_anew);
  cp_expect(child.from, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, ""), 0);
  CHECK_EQ(cp_checkpoint(getpid(), "-T"), 0);
  child_says(&child, "bBbB");
  CHECK_NOTES("aA");
  cp_tell(child.to, 'q');
  cp_ends_well(&child);
}

CP_CASE(forked_child_registers_its_own_signal_context) {
  child_registers(CR_SIGNAL_CONTEXT);
}

CP_CASE(forked_child_registers_its_own_thread_context) {
  child_registers(CR_THREAD_CONTEXT);
}

/* The child of a parent that is inside a critical section is not. */
CP_CASE(forked_child_is_in_no_critical_section) {
  cr_client_id_t id = cr_init();
  CHECK_EQ(cr_enter_cs(id), 0);
  child_context = CR_SIGNAL_CONTEXT;
  struct cp_child child = cp_fork(begins_anew);
  cp_expect(child.from, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, ""), 0);
  child_says(&child, "bB");
  cp_tell(child.to, 'q');
  cp_ends_well(&child);
  CHECK_EQ(cr_leave_cs(id), 0);
}

static int forks_inside(void* unused) {
  int status = -1;
  pid_t pid = fork();
  if (!pid) _exit(cr_init() >= 0 && cr_status() == CR_STATE_IDLE ? 17 : 18);
  UNTIL(waitpid(pid, &status, WNOHANG) == pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 17);
  cp_note('f');
  return unused != NULL;
}

CP_CASE(callbacks_may_fork) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(forks_inside, NULL, CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(forks_inside, NULL, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("ff");
}

static volatile int stop;
static void* forks_all_the_time(void* unused) {
  while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
    int status = 0;
    pid_t pid = fork();
    if (!pid) _exit(0);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    CHECK_EQ(status, 0);
  }
  return unused;
}

CP_CASE(forks_during_checkpoints) {
  begin(CR_SIGNAL_CONTEXT);
  CHECK(cr_register_callback(cp_noting, letters[1], CR_THREAD_CONTEXT) >= 0);
  pthread_t thread = cp_thread(forks_all_the_time, NULL);
  for (int i = 0; i < 10; i++) CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
  cp_join(thread);
  CHECK_EQ(cp_noted('A'), 10);
  CHECK_EQ(cp_noted('B'), 10);
}

/* vfork: the child lives in the parent's memory until it executes something. */
CP_CASE(vfork_does_not_disturb) {
  begin(CR_SIGNAL_CONTEXT);
  for (int i = 0; i < 10; i++) {
    pid_t pid = vfork();
    if (!pid) {
      execl("/bin/true", "true", (char*)NULL);
      _exit(127);
    }
    CHECK_EQ(cp_status(pid), 0);
  }
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("aA");
}

/* After an exec nothing of the old program's registrations is left. */
static void becomes_cat(int in, int out) {
  begin(CR_THREAD_CONTEXT);
  dup2(in, 0);
  dup2(out, 1);
  execl("/bin/cat", "cat", (char*)NULL);
}

CP_CASE(exec_leaves_nothing) {
  struct cp_child child = cp_fork(becomes_cat);
  cp_tell(child.to, 'x');
  cp_expect(child.from, 'x');
  CHECK_EQ(cp_checkpoint(child.pid, ""), 0);
  CHECK_EQ(cp_checkpoint(child.pid, "--require-libcr"), CR_ENOSUPPORT & 255);
  CHECK(strstr(cp_said(), "Checkpoint failed: support missing from application"));
  cp_tell(child.to, 'y');
  cp_expect(child.from, 'y');
  cp_ends_well(&child);
}

CP_CASE(no_descriptor_is_made) {
  int before = cp_descriptors(), next = dup(0);
  close(next);
  begin(CR_SIGNAL_CONTEXT);
  CHECK(cr_register_callback(cp_noting, letters[1], CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_descriptors(), before);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(cp_descriptors(), before);
  cp_restart("");
  CHECK_EQ(cp_descriptors(), before);
  CHECK_EQ(dup(0), next);
}

CP_CASE(restarted_twice_from_one_image) {
  begin(CR_SIGNAL_CONTEXT);
  cp_restart("");
  CHECK_NOTES("a1");
  char line[4200];
  FILE* file = fopen("again", "re");
  if (file) return; /* the second time */
  file = fopen("again", "we");
  fclose(file);
  file = fopen("restart", "we");
  fprintf(file, "%s\n", cp_image());
  fclose(file);
  snprintf(line, sizeof line, "%s", cp_image());
  kill(getpid(), SIGKILL);
}
