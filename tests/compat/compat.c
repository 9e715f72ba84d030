/*
 * The helpers of compat.h and the main function of every compatibility program. Nothing here knows
 * how the library works; the commands are found by $STASIS_BIN.
 */
#include "compat.h"

#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <time.h>

#define MAX_CASES 128

static struct {
  const char* name;
  cp_body body;
} cases[MAX_CASES];
static int case_count;
static const char* current = "?";

void cp_add(const char* name, cp_body body) {
  if (case_count == MAX_CASES) abort();
  cases[case_count].name = name;
  cases[case_count++].body = body;
}

static void say(const char* word, const char* why) {
  char line[4096];
  int length = snprintf(line, sizeof line, "%s %s%s%s\n", word, current, *why ? ": " : "", why);
  if (length >= (int)sizeof line) length = (int)sizeof line - 1;
  if (write(1, line, (size_t)length) < 0) _exit(2);
}

void cp_fail(const char* format, ...) {
  char why[3500];
  va_list list;
  va_start(list, format);
  vsnprintf(why, sizeof why, format, list);
  va_end(list);
  say("FAIL", why);
  _exit(1);
}

void cp_skip(const char* format, ...) {
  char why[3500];
  va_list list;
  va_start(list, format);
  vsnprintf(why, sizeof why, format, list);
  va_end(list);
  say("skip", why);
  _exit(77);
}

void cp_equal(const char* file, int line, const char* text, long long is, long long expected) {
  int error = errno;
  if (is != expected)
    cp_fail("%s:%d: %s is %lld (%#llx), not %lld (errno %d: %s)", file, line, text, is, is,
            expected, error, cr_strerror(error));
}

void cp_fails(const char* file, int line, const char* text, long long is, int error, int expected) {
  if (is != -1)
    cp_fail("%s:%d: %s returns %lld, not -1 with errno %s", file, line, text, is,
            cr_strerror(expected));
  if (error != expected)
    cp_fail("%s:%d: %s sets errno to %d (%s), not %d (%s)", file, line, text, error,
            cr_strerror(error), expected, cr_strerror(expected));
}

/* ---- events */

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

long long cp_limit_ms(void) {
  const char* slow = getenv("STASIS_TEST_SLOW");
  return (long long)(30000 * (slow ? atof(slow) : 1));
}

int cp_late(long long* since_ms) {
  struct timespec nap = {0, 1000000};
  if (!*since_ms) *since_ms = now_ms();
  nanosleep(&nap, NULL);
  return now_ms() - *since_ms > cp_limit_ms();
}

static char notes[4096];
static int note_count;

void cp_note(char what) {
  int index = __atomic_fetch_add(&note_count, 1, __ATOMIC_SEQ_CST);
  if (index < (int)sizeof notes - 1) __atomic_store_n(&notes[index], what, __ATOMIC_SEQ_CST);
}

const char* cp_notes(void) {
  return notes;
}

void cp_forget_notes(void) {
  memset(notes, 0, sizeof notes);
  __atomic_store_n(&note_count, 0, __ATOMIC_SEQ_CST);
}

int cp_noted(char what) {
  int count = 0;
  for (const char* at = notes; *at; at++) count += *at == what;
  return count;
}

void cp_notes_are(const char* file, int line, const char* expected) {
  if (strcmp(notes, expected))
    cp_fail("%s:%d: what happened is \"%s\", not \"%s\"", file, line, notes, expected);
}

int cp_noting(void* letter) {
  char name = *(const char*)letter;
  cp_note(name);
  int result = cr_checkpoint(CR_CHECKPOINT_READY);
  cp_note(result < 0 ? '-' : (char)(result ? name - 'a' + '1' : name - 'a' + 'A'));
  return 0;
}

struct cp_pipe cp_new_pipe(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) cp_fail("pipe2: %s", strerror(errno));
  struct cp_pipe made = {ends[0], ends[1]};
  return made;
}

void cp_tell(int fd, char word) {
  ssize_t done;
  while ((done = write(fd, &word, 1)) < 0 && errno == EINTR) continue;
  if (done != 1) cp_fail("write of '%c': %s", word, strerror(errno));
}

char cp_hear(int fd) {
  struct pollfd wait = {fd, POLLIN, 0};
  long long end = now_ms() + cp_limit_ms();
  for (;;) {
    long long left = end - now_ms();
    int found = poll(&wait, 1, left > 0 ? (int)left : 0);
    if (found > 0) break;
    if (found < 0 && errno != EINTR) cp_fail("poll: %s", strerror(errno));
    if (left <= 0) cp_fail("nothing came through a pipe for %lld ms", cp_limit_ms());
  }
  char word = 0;
  ssize_t got;
  while ((got = read(fd, &word, 1)) < 0 && errno == EINTR) continue;
  if (got != 1) cp_fail("the other side has gone (%zd: %s)", got, strerror(errno));
  return word;
}

void cp_expect(int fd, char word) {
  char got = cp_hear(fd);
  if (got != word) cp_fail("heard '%c', not '%c'", got, word);
}

int cp_silent(int fd) {
  struct pollfd wait = {fd, POLLIN, 0};
  return poll(&wait, 1, 0) == 0;
}

pid_t cp_tid(void) {
  return (pid_t)syscall(SYS_gettid);
}

pthread_t cp_thread(void* (*body)(void*), void* argument) {
  pthread_t thread;
  int error = pthread_create(&thread, NULL, body, argument);
  if (error) cp_fail("pthread_create: %s", strerror(error));
  return thread;
}

void cp_join(pthread_t thread) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += cp_limit_ms() / 1000;
  int error = pthread_timedjoin_np(thread, NULL, &end);
  if (error) cp_fail("a thread does not end: %s", strerror(error));
}

void cp_dawdle(void) {
  for (int i = 0; i < 20; i++) {
    pid_t pid = fork();
    if (!pid) {
      execl("/bin/true", "true", (char*)NULL);
      _exit(0);
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  }
}

/* ---- children */

struct cp_child cp_fork(void (*body)(int in, int out)) {
  struct cp_pipe down = cp_new_pipe(), up = cp_new_pipe();
  pid_t pid = fork();
  if (pid < 0) cp_fail("fork: %s", strerror(errno));
  if (!pid) {
    close(down.write_end);
    close(up.read_end);
    body(down.read_end, up.write_end);
    _exit(0);
  }
  close(down.read_end);
  close(up.write_end);
  struct cp_child child = {pid, down.write_end, up.read_end};
  return child;
}

int cp_status(pid_t child) {
  int status = 0;
  pid_t done = 0;
  UNTIL((done = waitpid(child, &status, WNOHANG)) != 0 && !(done < 0 && errno == EINTR));
  if (done < 0) cp_fail("waitpid(%d): %s", child, strerror(errno));
  return status;
}

void cp_ends_well(struct cp_child* child) {
  close(child->to);
  int status = cp_status(child->pid);
  if (status) cp_fail("child %d ends with status %#x", child->pid, status);
  close(child->from);
}

void cp_killed(struct cp_child* child, int signal_number) {
  int status = cp_status(child->pid);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != signal_number)
    cp_fail("child %d ends with status %#x, not by signal %d", child->pid, status, signal_number);
  close(child->to);
  close(child->from);
}

static ssize_t slurp(const char* path, char* buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t length = 0;
  for (ssize_t got; length + 1 < size; length += (size_t)got)
    if ((got = read(fd, buffer + length, size - 1 - length)) <= 0) break;
  close(fd);
  buffer[length] = 0;
  return (ssize_t)length;
}

char cp_state(pid_t pid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  if (slurp(path, text, sizeof text) <= 0) return 0;
  char* end = strrchr(text, ')');
  return end ? end[2] : 0;
}

pid_t cp_own_pid(pid_t pid) {
  char name[64], line[256];
  int own = 0;
  snprintf(name, sizeof name, "/proc/%d/status", (int)pid);
  FILE* status = fopen(name, "re");
  CHECK(status != NULL);
  while (own == 0 && fgets(line, sizeof line, status) != NULL) {
    if (strncmp(line, "NSpid:", 6) == 0) own = atoi(strrchr(line, '\t') + 1);
  }
  fclose(status);
  return own;
}

void cp_until_stopped(pid_t pid) {
  UNTIL(cp_state(pid) == 'T');
}

void cp_until_blocked(pid_t tid, long system_call) {
  char path[64], text[256];
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
  UNTIL(slurp(path, text, sizeof text) > 0 && text[0] != 'r' && text[0] != '-' &&
        atol(text) == system_call);
}

/* ---- commands */

static int images;
static char image[PATH_MAX], log_path[PATH_MAX], text_said[16384];

const char* cp_image(void) {
  return image;
}

const char* cp_command(const char* name) {
  static __thread char path[PATH_MAX];
  const char* folder = getenv("STASIS_BIN");
  if (!folder) cp_fail("STASIS_BIN is not set");
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* In the child: leaves what the command is to inherit, and becomes it. */
static void become(char** words) {
  int out = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(126);
  execvp(words[0], words);
  _exit(127);
}

pid_t cp_spawn(const char* line) {
  char copy[8192], *words[64];
  int count = 0;
  snprintf(copy, sizeof copy, "%s", line);
  snprintf(log_path, sizeof log_path, "said.%d.%d", getpid(), images++);
  for (char *rest = copy, *word; (word = strtok_r(rest, " ", &rest)) && count < 63;)
    words[count++] = word;
  words[count] = NULL;
  pid_t pid = fork();
  if (pid < 0) cp_fail("fork: %s", strerror(errno));
  if (!pid) become(words);
  return pid;
}

pid_t cp_start(pid_t target, const char* options) {
  char line[8192], where[PATH_MAX + 4] = "";
  char padded[4096];
  snprintf(padded, sizeof padded, " %s ", options);
  int has_scope = strstr(padded, " -p ") || strstr(padded, " -g ") || strstr(padded, " -s ") ||
                  strstr(padded, " -T ");
  if (!strstr(padded, " -f ") && !strstr(padded, " -F ") && !strstr(padded, " -c ")) {
    char here[PATH_MAX - 64];
    if (!getcwd(here, sizeof here)) cp_fail("getcwd: %s", strerror(errno));
    snprintf(image, sizeof image, "%s/image.%d.%d", here, getpid(), images);
    snprintf(where, sizeof where, "-f %s", image);
  }
  snprintf(line, sizeof line, "%s %s %s %s %d", cp_command("cr_checkpoint"), has_scope ? "" : "-p",
           where, options, target);
  return cp_spawn(line);
}

int cp_finish(pid_t command) {
  int status = 0;
  pid_t done;
  while ((done = waitpid(command, &status, 0)) < 0 && errno == EINTR) continue;
  if (done < 0 && errno == ECHILD) return CP_RESTARTED;
  if (done < 0) cp_fail("waitpid of a command: %s", strerror(errno));
  if (WIFSIGNALED(status)) cp_fail("a command died of signal %d: %s", WTERMSIG(status), cp_said());
  return WEXITSTATUS(status);
}

int cp_checkpoint(pid_t target, const char* options) {
  return cp_finish(cp_start(target, options));
}

const char* cp_said(void) {
  text_said[0] = 0;
  slurp(log_path, text_said, sizeof text_said);
  return text_said;
}

void cp_restart_with(const char* options, const char* restart_options) {
  char line[4096];
  int fd = open("restart", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  char here[PATH_MAX - 64];
  if (fd < 0 || !getcwd(here, sizeof here)) cp_fail("file restart: %s", strerror(errno));
  int length =
      snprintf(line, sizeof line, "%s/image.%d.%d %s\n", here, getpid(), images, restart_options);
  if (write(fd, line, (size_t)length) != length) cp_fail("file restart: %s", strerror(errno));
  close(fd);
  snprintf(line, sizeof line, "--kill %s", options);
  int status = cp_checkpoint(getpid(), line);
  /* Where the command was saved with us it has been restarted with us, and ends well. */
  int command_saved = strstr(line, " -T") || strstr(line, " -g") || strstr(line, " -s");
  if (status != CP_RESTARTED && !(status == 0 && command_saved))
    cp_fail("cr_checkpoint --kill exits %d: %s", status, cp_said());
}

void cp_restart(const char* options) {
  cp_restart_with(options, "");
}

pid_t cp_restart_child(const char* path, const char* options) {
  char line[8192];
  snprintf(line, sizeof line, "%s %s %s", cp_command("cr_restart"), options, path);
  return cp_spawn(line);
}

pid_t cp_restarted_child(const char* path) {
  unlink("restarted");
  pid_t restart = cp_restart_child(path, "--run-on-success=>restarted");
  UNTIL(access("restarted", F_OK) == 0 || cp_state(restart) == 'Z');
  if (access("restarted", F_OK)) cp_fail("cr_restart fails: %s", cp_said());
  return restart;
}

static int entries(const char* folder) {
  DIR* directory = opendir(folder);
  if (!directory) cp_fail("%s: %s", folder, strerror(errno));
  int count = 0;
  for (struct dirent* entry; (entry = readdir(directory));) count += entry->d_name[0] != '.';
  closedir(directory);
  return count;
}

int cp_descriptors(void) {
  return entries("/proc/self/fd") - 1;
}

int cp_threads(void) {
  return entries("/proc/self/task");
}

int main(int argc, char** argv) {
  if (argc == 2 && !strcmp(argv[1], "--list")) {
    for (int i = 0; i < case_count; i++) printf("%s\n", cases[i].name);
    return 0;
  }
  for (int i = 0; argc == 2 && i < case_count; i++) {
    if (strcmp(argv[1], cases[i].name)) continue;
    current = cases[i].name;
    cases[i].body();
    say("ok", "");
    return 0;
  }
  fprintf(stderr, "usage: %s --list | CASE\n", argv[0]);
  return 2;
}
