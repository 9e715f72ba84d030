/* The engine played from inside the test process: see conductor.h. It stops nobody: a futex wake
 * and a signal stand for what stopping and letting go do. */
#include "conductor.h"

#include <dirent.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CASE_SECONDS 30

static pid_t conductor;
static char letters[256];
static unsigned letter_count;

void note(char letter) {
  letters[__atomic_fetch_add(&letter_count, 1, __ATOMIC_SEQ_CST)] = letter;
}

const char* notes(void) {
  return letters;
}

int noting(void* letter) {
  note(*(const char*)letter);
  const int result = cr_checkpoint(CR_CHECKPOINT_READY);
  note((char)(result < 0 ? 'x' : '0' + (result > 0)));
  return 0;
}

static int is_block_at(unsigned long start) {
  const struct cri_block* block = (const struct cri_block*)start;
  return memcmp(block->magic, CRI_BLOCK_MAGIC, 8) == 0 && block->version == CRI_BLOCK_VERSION &&
         block->self == start && block->pid == getpid() && block->size == sizeof *block;
}

struct cri_block* find_block(void) {
  char line[512];
  unsigned long start[3] = {0}, end[3] = {0};
  char rights[3][5] = {"", "", ""};
  struct cri_block* found = NULL;
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  while (fgets(line, sizeof line, maps) != NULL) {
    memmove(start, start + 1, 2 * sizeof *start);
    memmove(end, end + 1, 2 * sizeof *end);
    memmove(rights, rights + 1, 2 * sizeof *rights);
    CHECK(sscanf(line, "%lx-%lx %4s", &start[2], &end[2], rights[2]) == 3);
    const int is_guarded = strcmp(rights[0], "---p") == 0 && strcmp(rights[2], "---p") == 0 &&
                           end[0] == start[1] && end[1] == start[2];
    if (!is_guarded || strcmp(rights[1], "rw-p") != 0 || end[1] - start[1] != CRI_BLOCK_AREA) {
      continue;
    }
    if (!is_block_at(start[1])) continue;
    CHECK(found == NULL);
    found = (struct cri_block*)start[1];
  }
  fclose(maps);
  return found;
}

static uint32_t get(const uint32_t* word) {
  return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* The engine wakes waits by stopping the process; here it is a futex wake. */
static void put(uint32_t* word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
  (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1000, NULL, NULL, 0);
}

static void enter(int signal, siginfo_t* info, void* context) {
  const struct cri_block* block = info->si_value.sival_ptr;
  ((void (*)(int, siginfo_t*, void*))(uintptr_t)block->entry)(signal, info, context);
}

void be_conductor(void) {
  struct sigaction action = {.sa_sigaction = enter, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigfillset(&action.sa_mask);
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  conductor = (pid_t)syscall(SYS_gettid);
}

/* Calls `visit` for every thread that is to park by the entry point. */
static uint32_t for_each_thread(const struct cri_block* block, void (*visit)(pid_t, void*),
                                void* argument) {
  uint32_t count = 0;
  DIR* tasks = opendir("/proc/self/task");
  CHECK(tasks != NULL);
  for (const struct dirent* entry; (entry = readdir(tasks)) != NULL;) {
    const pid_t tid = atoi(entry->d_name);
    if (tid == 0 || tid == conductor || tid == block->callback_tid) continue;
    ++count;
    if (visit != NULL) visit(tid, argument);
  }
  closedir(tasks);
  return count;
}

uint32_t threads_to_park(struct cri_block* block) {
  return for_each_thread(block, NULL, NULL) + (block->callback_tid != 0);
}

static void send(pid_t tid, void* block) {
  siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
  info.si_value.sival_ptr = block;
  (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, SIGUSR1, &info);
}

void announce(struct cri_block* block) {
  static uint64_t request;
  CHECK(get(&block->phase) == CRI_PHASE_IDLE);
  block->request = ++request;
  block->answer = 0;
  block->failed = 0;
  block->forwards = 0;
  block->forward_answered = 0;
  block->forward_request = block->request;
  block->verdict = CRI_VERDICT_NONE;
  if (block->engine_pid == 0) {
    block->requester = 11;
    block->target = 12;
    block->scope = CR_SCOPE_TREE;
    block->signal = 13;
  }
  strcpy(block->destination, "/some/where");
  if (block->callback_tid != 0) put(&block->phase, CRI_PHASE_REQUESTED);
}

void send_threads(struct cri_block* block) {
  put(&block->phase, CRI_PHASE_SIGNALS);
  for_each_thread(block, send, block);
}

void give_verdict(struct cri_block* block, enum cri_verdict verdict, int code) {
  block->verdict_code = code;
  put(&block->verdict, verdict);
}

struct plan {
  enum cri_verdict verdict;
  int code;
};
static pthread_t background;
static uint32_t begun;

/* As the engine does while callbacks run: session 4242 is in another checkpoint. */
static void answer_forward(struct cri_block* block) {
  const uint32_t count = get(&block->forwards);
  if (count == get(&block->forward_answered)) return;
  const int32_t target = block->forward[(count - 1) % CRI_MAX_FORWARDS].target;
  block->forward_error = target == 4242 ? EBUSY : 0;
  put(&block->forward_answered, count);
}

static int threads_are_ready(struct cri_block* block) {
  answer_forward(block);
  return get(&block->phase) == CRI_PHASE_THREADS_READY;
}

static int all_are_parked(struct cri_block* block) {
  answer_forward(block);
  return get(&block->parked) == threads_to_park(block);
}

static void* follow(void* argument) {
  const struct plan plan = *(struct plan*)argument;
  struct cri_block* block = find_block();
  CHECK(block != NULL);
  be_conductor();
  announce(block);
  put(&begun, 1);
  if (block->callback_tid != 0) AWAIT(threads_are_ready(block));
  if (block->answer == 0) {
    send_threads(block);
    AWAIT(all_are_parked(block));
    CHECK(get(&block->present) == get(&block->parked));
  }
  give_verdict(block, plan.verdict, plan.code);
  AWAIT(get(&block->phase) == CRI_PHASE_IDLE);
  AWAIT(get(&block->present) == 0);
  CHECK(block->parked == 0);
  CHECK((block->gate & CRI_GATE_CLOSED) == 0);
  return NULL;
}

void conduct(enum cri_verdict verdict, int code) {
  static struct plan plan;
  plan = (struct plan){verdict, code};
  put(&begun, 0);
  CHECK(pthread_create(&background, NULL, follow, &plan) == 0);
  AWAIT(get(&begun) == 1);
}

void conducted(void) {
  CHECK(pthread_join(background, NULL) == 0);
}

static int run_case(const struct test_case* which) {
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    alarm(CASE_SECONDS);
    which->run();
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  printf("%s %s\n", status == 0 ? "ok  " : "FAIL", which->name);
  if (status != 0) printf("     wait status %#x\n", (unsigned)status);
  return status != 0;
}

int run_cases(const struct test_case* cases, size_t count, int argc, char** argv) {
  int failed = 0;
  for (size_t i = 0; i < count; ++i) {
    if (argc < 2 || strcmp(argv[1], cases[i].name) == 0) failed += run_case(&cases[i]);
  }
  printf("%d of %zu failed\n", failed, count);
  return failed != 0;
}
