/*
 * The subject of stress.py: threads that enter and leave critical sections, register and replace
 * callbacks, fork, execute and end, all the time, while it is checkpointed from outside. It answers
 * letters from the fifo `down` with a line in the fifo `up`: 'c' tells what has happened so far,
 * 't' lets the next checkpoint be refused, 'q' stops everything, looks whether anything is left
 * behind, and ends. Whatever it finds wrong is the answer to the next letter.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libcr.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

static int stop, refuse_next;
static long in_thread, in_signal; /* permanent callbacks: how often they have begun */
static long done_thread, done_signal;
static long entered, returned; /* all callbacks */
static long sections, registrations, forks, executions, ended_threads, lost_children;
static char wrong[512];
static int wrong_set;

#define ADD(counter) __atomic_add_fetch(&(counter), 1, __ATOMIC_SEQ_CST)
#define LOAD(counter) __atomic_load_n(&(counter), __ATOMIC_SEQ_CST)

static void complain(const char* what, long number) {
  if (!__atomic_exchange_n(&wrong_set, 1, __ATOMIC_SEQ_CST))
    snprintf(wrong, sizeof wrong, "%s (%ld, errno %d)", what, number, errno);
}
#define MUST(condition, number)                       \
  do {                                                \
    if (!(condition)) complain(#condition, (number)); \
  } while (0)

/* ---- critical sections: two counters that are equal whenever nobody is inside */

static long left_count[4], right_count[4];

static void check_sections(void) {
  for (int i = 0; i < 4; i++) MUST(LOAD(left_count[i]) == LOAD(right_count[i]), i);
}

static void* enters_and_leaves(void* argument) {
  long me = (long)argument;
  cr_client_id_t id = cr_init();
  MUST(id >= 0, id);
  for (unsigned round = 0; !LOAD(stop); round++) {
    int inside = round % 3 ? cr_enter_cs(id) : cr_tryenter_cs(id);
    MUST(inside >= 0, inside);
    if (inside) continue; /* tryenter: not now */
    ADD(left_count[me]);
    if (round % 7 == 0) {
      MUST(cr_enter_cs(id) == 0, 0);
      sched_yield();
      MUST(cr_leave_cs(id) == 0, 0);
    }
    ADD(right_count[me]);
    MUST(cr_leave_cs(id) == 0, 0);
    ADD(sections);
  }
  return NULL;
}

/* ---- callbacks */

static int passes_by(void* unused) {
  ADD(entered);
  check_sections();
  MUST(cr_status() == CR_STATE_ACTIVE, cr_status());
  cr_checkpoint(CR_CHECKPOINT_READY);
  ADD(returned);
  return unused != NULL;
}

static int permanent_thread(void* unused) {
  ADD(entered);
  long now = ADD(in_thread);
  MUST(now == LOAD(done_thread) + 1, now); /* the one before has ended */
  MUST(LOAD(in_signal) == LOAD(done_signal), now);
  check_sections();
  int flags =
      __atomic_exchange_n(&refuse_next, 0, __ATOMIC_SEQ_CST) ? CR_CHECKPOINT_TEMP_FAILURE : 0;
  int result = cr_checkpoint(flags);
  MUST(flags ? result == -CR_ETEMPFAIL : result >= 0, result);
  ADD(done_thread);
  ADD(returned);
  return unused != NULL;
}

static int permanent_signal(void* unused) {
  ADD(entered);
  long now = ADD(in_signal);
  MUST(now == LOAD(done_signal) + 1, now);
  MUST(LOAD(in_thread) > LOAD(done_thread), now); /* between its two halves */
  check_sections();
  int result = cr_checkpoint(CR_CHECKPOINT_READY);
  MUST(result >= 0, result);
  ADD(done_signal);
  ADD(returned);
  return unused != NULL;
}

static void* registers_and_replaces(void* argument) {
  int context = (int)(long)argument;
  cr_callback_id_t ids[20];
  MUST(cr_init() >= 0, context);
  for (int i = 0; i < 20 && !LOAD(stop); i++) {
    ids[i] = cr_register_callback(passes_by, NULL, context);
    MUST(ids[i] >= 0, ids[i]);
    ADD(registrations);
  }
  for (unsigned round = 0; !LOAD(stop); round++) {
    int result = cr_replace_callback(ids[round % 20], round % 2 ? passes_by : NULL, NULL, context);
    MUST(result == 0, result);
    ADD(registrations);
    if (round % 16 == 0) sched_yield();
  }
  return NULL;
}

/* ---- processes and threads that come and go */

static void waits_for(pid_t pid, int expected) {
  int status = -1;
  pid_t done;
  while ((done = waitpid(pid, &status, 0)) < 0 && errno == EINTR) continue;
  if (done < 0 && errno == ECHILD) {
    ADD(lost_children); /* restarted without it, or it has another id now */
    return;
  }
  MUST(done == pid && WIFEXITED(status) && WEXITSTATUS(status) == expected, status);
}

/* The counters that the child has are those of the middle of a section of another thread. */
static int in_child(void* unused) {
  cr_checkpoint(CR_CHECKPOINT_READY);
  return unused != NULL;
}

static void* forks_children(void* unused) {
  MUST(cr_init() >= 0, 0);
  while (!LOAD(stop)) {
    pid_t pid = fork();
    if (!pid) {
      cr_client_id_t id = cr_init();
      if (id < 0 || cr_register_callback(in_child, NULL, CR_SIGNAL_CONTEXT) < 0) _exit(90);
      if (cr_register_callback(in_child, NULL, CR_THREAD_CONTEXT) < 0) _exit(91);
      for (int i = 0; i < 20; i++)
        if (cr_enter_cs(id) || cr_leave_cs(id)) _exit(92);
      _exit(wrong_set ? 93 : 7);
    }
    MUST(pid > 0, pid);
    if (pid > 0) waits_for(pid, 7);
    ADD(forks);
  }
  return unused;
}

static void* executes_programs(void* unused) {
  static char* const line[] = {(char*)"true", NULL};
  while (!LOAD(stop)) {
    pid_t pid = 0;
    int error = posix_spawn(&pid, "/bin/true", NULL, NULL, line, environ);
    MUST(error == 0, error);
    if (!error) waits_for(pid, 0);
    ADD(executions);
  }
  return unused;
}

static void* lives_shortly(void* unused) {
  cr_client_id_t id = cr_init();
  MUST(id >= 0, id);
  MUST(cr_register_callback(passes_by, NULL, CR_SIGNAL_CONTEXT) >= 0, 0);
  MUST(cr_enter_cs(id) == 0, 0);
  MUST(cr_leave_cs(id) == 0, 0);
  return unused;
}

static void* makes_threads(void* unused) {
  while (!LOAD(stop)) {
    pthread_t threads[3];
    int made = 0;
    while (made < 3 && !pthread_create(&threads[made], NULL, lives_shortly, NULL)) made++;
    MUST(made == 3, made);
    for (int i = 0; i < made; i++) pthread_join(threads[i], NULL);
    ADD(ended_threads);
  }
  return unused;
}

/* ---- the end */

static int entries(const char* folder) {
  DIR* directory = opendir(folder);
  int count = 0;
  for (struct dirent* entry; directory && (entry = readdir(directory));)
    count += entry->d_name[0] != '.';
  if (directory) closedir(directory);
  return count;
}

/* Only the main thread and the one that runs THREAD callbacks; the kernel's part of a thread's end
 * comes a little after its join. */
static void check_nothing_left(int descriptors) {
  struct timespec nap = {0, 1000000};
  for (int i = 0; i < 20000 && entries("/proc/self/task") > 2; i++) nanosleep(&nap, NULL);
  MUST(entries("/proc/self/task") == 2, entries("/proc/self/task"));
  MUST(entries("/proc/self/fd") == descriptors, entries("/proc/self/fd"));
  /* Children that were restarted with other ids than those that were waited for. */
  long left = 0;
  while (waitpid(-1, NULL, 0) > 0) left++;
  MUST(errno == ECHILD, left);
  MUST(left <= LOAD(lost_children), left);
  check_sections();
}

int main(void) {
  pthread_t threads[8];
  int count = 0, descriptors;
  int down = open("down", O_RDWR | O_CLOEXEC), up = open("up", O_RDWR | O_CLOEXEC);
  if (down < 0 || up < 0 || cr_init() < 0) return 2;
  descriptors = entries("/proc/self/fd");
  if (cr_register_callback(permanent_thread, NULL, CR_THREAD_CONTEXT) < 0) return 3;
  if (cr_register_callback(permanent_signal, NULL, CR_SIGNAL_CONTEXT) < 0) return 4;
  for (long i = 0; i < 2; i++) pthread_create(&threads[count++], NULL, enters_and_leaves, (void*)i);
  pthread_create(&threads[count++], NULL, registers_and_replaces, (void*)(long)CR_SIGNAL_CONTEXT);
  pthread_create(&threads[count++], NULL, registers_and_replaces, (void*)(long)CR_THREAD_CONTEXT);
  pthread_create(&threads[count++], NULL, forks_children, NULL);
  pthread_create(&threads[count++], NULL, executes_programs, NULL);
  pthread_create(&threads[count++], NULL, makes_threads, NULL);
  for (char word = 'r'; word != 'e';) {
    dprintf(
        up,
        "%s; thread %ld %ld signal %ld %ld callbacks %ld %ld sections %ld registrations %ld forks "
        "%ld executions %ld threads %ld lost %ld\n",
        wrong_set ? wrong : "ok", LOAD(in_thread), LOAD(done_thread), LOAD(in_signal),
        LOAD(done_signal), LOAD(entered), LOAD(returned), LOAD(sections), LOAD(registrations),
        LOAD(forks), LOAD(executions), LOAD(ended_threads), LOAD(lost_children));
    ssize_t got = read(down, &word, 1);
    if (got != 1) complain("read of the fifo", got);
    if (word == 't') __atomic_store_n(&refuse_next, 1, __ATOMIC_SEQ_CST);
    if (word == 'q') {
      __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
      for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
      check_nothing_left(descriptors);
    }
  }
  return wrong_set;
}
