/*
 * cr_checkpoint(): its arguments, what it returns, what the requester is told. Refusals that
 * concern several processes are in tree.c.
 */
#include "compat.h"

static int results[8];
static int result_count;

struct answer {
  int flags;
  char letter;
};

static int answers(void* argument) {
  struct answer* answer = (struct answer*)argument;
  cp_note(answer->letter);
  results[__atomic_fetch_add(&result_count, 1, __ATOMIC_SEQ_CST)] = cr_checkpoint(answer->flags);
  return 0;
}

static struct answer ready = {CR_CHECKPOINT_READY, 'r'};
static struct answer other_ready = {CR_CHECKPOINT_READY, 'R'};

static void register_two(int context, struct answer* answer) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(answers, &ready, context) >= 0);
  CHECK(cr_register_callback(answers, answer, context) >= 0);
}

static void zero_and_positive(int context) {
  register_two(context, &other_ready);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(result_count, 2);
  CHECK_EQ(results[0], 0);
  CHECK_EQ(results[1], 0);
  cp_restart("");
  CHECK_EQ(result_count, 4);
  CHECK(results[2] > 0 && results[3] > 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(results[4], 0);
}

CP_CASE(zero_when_continuing_positive_when_restarted_signal_context) {
  zero_and_positive(CR_SIGNAL_CONTEXT);
}

CP_CASE(zero_when_continuing_positive_when_restarted_thread_context) {
  zero_and_positive(CR_THREAD_CONTEXT);
}

CP_CASE(outside_a_callback_is_enotcb) {
  CHECK_EQ(cr_checkpoint(CR_CHECKPOINT_READY), -CR_ENOTCB);
  CHECK(cr_init() >= 0);
  CHECK_EQ(cr_checkpoint(CR_CHECKPOINT_READY), -CR_ENOTCB);
  CHECK_EQ(cr_checkpoint(CR_CHECKPOINT_OMIT), -CR_ENOTCB);
  CHECK_EQ(cr_checkpoint(CR_CHECKPOINT_PERM_FAILURE), -CR_ENOTCB);
}

/* The one registered last refuses: the other one is not begun, the program goes on, no image. */
static void refused(int context, int flags, int code) {
  struct answer refusal = {flags, 'f'};
  register_two(context, &refusal);
  CHECK_EQ(cp_checkpoint(getpid(), ""), code & 255);
  CHECK_NOTES("f");
  CHECK_EQ(results[0], -code);
  CHECK(access(cp_image(), F_OK) != 0);
  refusal.flags = CR_CHECKPOINT_READY; /* the next one is as good as ever */
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("ffr");
  CHECK(access(cp_image(), F_OK) == 0);
}

CP_CASE(temp_failure_signal_context) {
  refused(CR_SIGNAL_CONTEXT, CR_CHECKPOINT_TEMP_FAILURE, CR_ETEMPFAIL);
}

CP_CASE(temp_failure_thread_context) {
  refused(CR_THREAD_CONTEXT, CR_CHECKPOINT_TEMP_FAILURE, CR_ETEMPFAIL);
}

CP_CASE(temp_failure_code_77) {
  refused(CR_SIGNAL_CONTEXT, CR_CHECKPOINT_TEMP_FAILURE_CODE(77), 77);
}

CP_CASE(temp_failure_code_1) {
  refused(CR_THREAD_CONTEXT, CR_CHECKPOINT_TEMP_FAILURE_CODE(1), 1);
}

CP_CASE(temp_failure_code_300_exits_44) {
  refused(CR_SIGNAL_CONTEXT, CR_CHECKPOINT_TEMP_FAILURE_CODE(300), 300);
}

CP_CASE(temp_failure_code_65535) {
  refused(CR_THREAD_CONTEXT, (int)(CR_CHECKPOINT_TEMP_FAILURE_CODE(65535U)), 65535);
}

CP_CASE(temp_failure_code_0_is_ignored) {
  refused(CR_SIGNAL_CONTEXT, CR_CHECKPOINT_TEMP_FAILURE_CODE(0), CR_ETEMPFAIL);
}

CP_CASE(temp_failure_has_its_message) {
  struct answer refusal = {CR_CHECKPOINT_TEMP_FAILURE, 'f'};
  register_two(CR_SIGNAL_CONTEXT, &refusal);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 50);
  CHECK(strstr(cp_said(), "Checkpoint cancelled by application: try again later"));
}

/* A refusal stops the callbacks of its own group; those that were called already are told. */
CP_CASE(earlier_callbacks_are_told_of_a_failure) {
  static struct answer refusal = {CR_CHECKPOINT_TEMP_FAILURE_CODE(99), 'f'};
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(answers, &other_ready, CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(answers, &refusal, CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(answers, &ready, CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(answers, &ready, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 99);
  CHECK_NOTES("rrf");
  CHECK_EQ(result_count, 3);
  for (int i = 0; i < 3; i++) CHECK_EQ(results[i], -99);
}

static void* refuses_here(void* argument) {
  int* ends = (int*)argument;
  static struct answer refusal = {CR_CHECKPOINT_TEMP_FAILURE_CODE(42), 'g'};
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(answers, &refusal, CR_SIGNAL_CONTEXT) >= 0);
  cp_tell(ends[0], 'r');
  cp_expect(ends[1], 'q');
  return NULL;
}

CP_CASE(of_several_codes_one_is_honoured) {
  static struct answer refusal = {CR_CHECKPOINT_TEMP_FAILURE_CODE(41), 'f'};
  struct cp_pipe up = cp_new_pipe(), down = cp_new_pipe();
  int ends[] = {up.write_end, down.read_end};
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(answers, &refusal, CR_SIGNAL_CONTEXT) >= 0);
  pthread_t thread = cp_thread(refuses_here, ends);
  cp_expect(up.read_end, 'r');
  int status = cp_checkpoint(getpid(), "");
  CHECK(status == 41 || status == 42);
  for (int i = 0; i < result_count; i++) CHECK_EQ(results[i], -status);
  cp_tell(down.write_end, 'q');
  cp_join(thread);
}

/* ---- for good: in a child, as it is killed */

static int perm_flags, perm_context;

static void has_perm_callback(int in, int out) {
  struct answer refusal = {perm_flags, 'f'};
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(answers, &refusal, perm_context) >= 0);
  cp_tell(out, 'r');
  cp_hear(in);
}

static void perm(int context, int flags, int status) {
  perm_flags = flags;
  perm_context = context;
  struct cp_child child = cp_fork(has_perm_callback);
  cp_expect(child.from, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, ""), status);
  CHECK(access(cp_image(), F_OK) != 0);
  cp_killed(&child, SIGKILL);
}

CP_CASE(perm_failure_kills_signal_context) {
  perm(CR_SIGNAL_CONTEXT, CR_CHECKPOINT_PERM_FAILURE, 51);
  CHECK(strstr(cp_said(), "Checkpoint cancelled by application: unable to checkpoint"));
}

CP_CASE(perm_failure_kills_thread_context) {
  perm(CR_THREAD_CONTEXT, CR_CHECKPOINT_PERM_FAILURE, 51);
}

CP_CASE(perm_failure_code_88) {
  perm(CR_SIGNAL_CONTEXT, CR_CHECKPOINT_PERM_FAILURE_CODE(88), 88);
}

CP_CASE(perm_failure_code_0_is_ignored) {
  perm(CR_THREAD_CONTEXT, CR_CHECKPOINT_PERM_FAILURE_CODE(0), 51);
}

/* ---- omit */

static void omitted(int context) {
  struct answer omission = {CR_CHECKPOINT_OMIT, 'o'};
  register_two(context, &omission);
  CHECK_EQ(cp_checkpoint(getpid(), "--kill"), ESRCH); /* and it has not been killed */
  CHECK(strstr(cp_said(), "Checkpoint failed: no processes checkpointed"));
  CHECK_NOTES("o");
  CHECK_EQ(results[0], -CR_EOMITTED);
  CHECK(access(cp_image(), F_OK) != 0);
  omission.flags = CR_CHECKPOINT_READY;
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_NOTES("oor");
}

CP_CASE(omit_signal_context) {
  omitted(CR_SIGNAL_CONTEXT);
}

CP_CASE(omit_thread_context) {
  omitted(CR_THREAD_CONTEXT);
}

/* ---- other failures */

CP_CASE(other_errors_come_as_their_negative) {
  register_two(CR_SIGNAL_CONTEXT, &other_ready);
  char command[4200];
  /* The file may not grow beyond a few blocks, and the signal that goes with it is ignored. */
  snprintf(command, sizeof command, "trap '' XFSZ; ulimit -f 8; exec %s -p -f limited %d",
           cp_command("cr_checkpoint"), getpid());
  pid_t pid = fork();
  if (!pid) {
    execl("/bin/sh", "sh", "-c", command, (char*)NULL);
    _exit(127);
  }
  CHECK_EQ(cp_finish(pid), EFBIG);
  CHECK(access("limited", F_OK) != 0);
  CHECK_EQ(result_count, 2);
  CHECK_EQ(results[0], -EFBIG);
  CHECK_EQ(results[1], -EFBIG);
}

/* The engine is killed while the callbacks wait for its verdict: they are told that it failed. */
static pid_t front;
static int kills_front;
static int kills_the_requester(void* unused) {
  pid_t requester = kills_front ? front : cr_get_checkpoint_info()->requester;
  CHECK_EQ(kill(requester, SIGKILL), 0);
  results[result_count++] = cr_checkpoint(0);
  return unused != NULL;
}

static void requester_dies(void) {
  cr_client_id_t id = cr_init();
  CHECK(id >= 0);
  CHECK(cr_register_callback(kills_the_requester, NULL, CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cr_enter_cs(id), 0);
  front = cp_start(getpid(), "");
  UNTIL(cr_status() == CR_STATE_PENDING);
  CHECK_EQ(cr_leave_cs(id), 0);
  CHECK_EQ(result_count, 1);
  int status = cp_status(front);
  CHECK(status != 0); /* the one that was killed, or the one that lost its requester */
  UNTIL(cr_status() == CR_STATE_IDLE);
  kills_front = front = 0;
}

CP_CASE(death_of_the_requester_is_a_temporary_failure) {
  requester_dies();
  CHECK_EQ(results[0], -CR_ETEMPFAIL);
}

CP_CASE(death_of_the_command_hurts_nobody) {
  kills_front = 1;
  requester_dies();
  CHECK(results[0] <= 0); /* it may have been too late to stop it */
}

/* ---- callbacks that are late, or do not come back */

static struct cp_pipe release;
static int waits_for_release(void* unused) {
  cp_hear(release.read_end);
  results[result_count++] = cr_checkpoint(0);
  return unused != NULL;
}

static void late(int context) {
  release = cp_new_pipe();
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(waits_for_release, NULL, context) >= 0);
  struct cp_pipe done = cp_new_pipe();
  pid_t helper = fork(); /* somebody else asks, as we may be held up ourselves */
  if (!helper) {
    int status = cp_checkpoint(getppid(), "--time 1");
    int next = cp_checkpoint(getppid(), "");
    cp_tell(release.write_end, 'r');
    cp_tell(done.write_end, status == ETIMEDOUT && next == EBUSY ? 'y' : 'n');
    _exit(status);
  }
  cp_expect(done.read_end, 'y');
  CHECK_EQ(cp_status(helper), ETIMEDOUT << 8);
  UNTIL(result_count == 1);
  CHECK_EQ(results[0], -ETIMEDOUT);
  UNTIL(cr_status() == CR_STATE_IDLE);
  cp_tell(release.write_end, 'r');
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(results[1], 0);
}

CP_CASE(a_late_callback_is_told_signal_context) {
  late(CR_SIGNAL_CONTEXT);
}

CP_CASE(a_late_callback_is_told_thread_context) {
  late(CR_THREAD_CONTEXT);
}

static int ends_here(void* by_exec) {
  if (by_exec) execl("/bin/cat", "cat", (char*)NULL);
  _exit(33);
}

static void* how;
static void ends_in_its_callback(int in, int out) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(ends_here, how, perm_context) >= 0);
  cp_tell(out, 'r');
  dup2(in, 0);
  dup2(out, 1);
  cp_hear(in);
}

/* A process that ends while its callbacks run is no part of the checkpoint. One that becomes
 * another program is saved as that. */
static void ended(int context, void* by_exec) {
  perm_context = context;
  how = by_exec;
  struct cp_child child = cp_fork(ends_in_its_callback);
  cp_expect(child.from, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, "--time 30"), by_exec ? 0 : ESRCH);
  CHECK_EQ(access(cp_image(), F_OK) == 0, by_exec != NULL);
  if (by_exec) {
    cp_tell(child.to, 'x');
    cp_expect(child.from, 'x');
    cp_ends_well(&child);
  } else {
    CHECK_EQ(cp_status(child.pid), 33 << 8);
  }
}

CP_CASE(exit_in_a_callback_leaves_the_process_out) {
  ended(CR_SIGNAL_CONTEXT, NULL);
}

CP_CASE(exit_in_a_thread_callback_leaves_the_process_out) {
  ended(CR_THREAD_CONTEXT, NULL);
}

CP_CASE(exec_in_a_callback_saves_the_other_program) {
  ended(CR_SIGNAL_CONTEXT, (void*)1);
}

CP_CASE(exec_in_a_thread_callback_saves_the_other_program) {
  ended(CR_THREAD_CONTEXT, (void*)1);
}

/* ---- what a callback returns */

static int returns_nonzero_when_restarted(void* unused) {
  cp_note('n');
  return cr_checkpoint(0) > 0 ? 7 : unused != NULL;
}

/* The callback has the last word: nothing else of the program runs after it. */
static void aborts_its_restart(int in, int out) {
  char word;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(returns_nonzero_when_restarted, NULL, perm_context) >= 0);
  cp_tell(out, 'r');
  ssize_t got = read(in, &word, 1);
  mkdir(got == 0 ? "went-on" : "heard", 0700);
}

static void abort_of_restart(int context) {
  perm_context = context;
  struct cp_child child = cp_fork(aborts_its_restart);
  cp_expect(child.from, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, "--kill"), 0);
  cp_killed(&child, SIGKILL);
  CHECK_EQ(cp_finish(cp_restart_child(cp_image(), "")), CR_ERSTRTABRT & 255);
  CHECK_EQ(kill(child.pid, 0), -1);
  CHECK(access("went-on", F_OK) != 0);
}

CP_CASE(nonzero_return_aborts_a_restart_signal_context) {
  abort_of_restart(CR_SIGNAL_CONTEXT);
}

CP_CASE(nonzero_return_aborts_a_restart_thread_context) {
  abort_of_restart(CR_THREAD_CONTEXT);
}

static int returns_nonzero_when_continuing(void* unused) {
  return cr_checkpoint(0) == 0 ? 7 : unused != NULL;
}

static void fails_after_its_checkpoint(int in, int out) {
  char word;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(returns_nonzero_when_continuing, NULL, perm_context) >= 0);
  cp_tell(out, 'r');
  ssize_t got = read(in, &word, 1);
  mkdir(got == 0 ? "went-on" : "heard", 0700);
}

/* The job ends; its context file is complete. */
static void end_after_a_checkpoint(int context) {
  perm_context = context;
  struct cp_child child = cp_fork(fails_after_its_checkpoint);
  cp_expect(child.from, 'r');
  CHECK_EQ(cp_checkpoint(child.pid, ""), CR_EPERMFAIL & 255);
  CHECK(strstr(cp_said(), "Checkpoint cancelled by application: unable to checkpoint"));
  CHECK(strstr(cp_said(), "a callback returned 7 after the checkpoint"));
  cp_killed(&child, SIGKILL);
  CHECK(access("went-on", F_OK) != 0 && access("heard", F_OK) != 0);
  CHECK(access(cp_image(), R_OK) == 0);
}

CP_CASE(nonzero_return_after_a_checkpoint_ends_the_job_signal_context) {
  end_after_a_checkpoint(CR_SIGNAL_CONTEXT);
}

CP_CASE(nonzero_return_after_a_checkpoint_ends_the_job_thread_context) {
  end_after_a_checkpoint(CR_THREAD_CONTEXT);
}
