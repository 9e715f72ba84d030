/* A helper that plays its part: libcr starts it in the place of cr_helper ($STASIS_HELPER). What it
 * does is in $PLAY, words separated by blanks:
 *   accept N         answers ACCEPTED with value N
 *   wait PATH        until somebody writes a byte into the fifo PATH
 *   log TEXT         adds a line to the log (no blanks)
 *   lines N          adds N long lines
 *   facts            adds lines on the process that it is
 *   child PID        tells of a child with DONE
 *   done CODE VALUE  answers DONE
 *   stay             like wait for something that never comes: until killed
 * It ends behind the last word. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stasis/request.h"

static int reply_fd;
static char* text;
static size_t text_length;
static int32_t child;
static FILE* log_lines;

static void answer(uint32_t type, int error, int value) {
  fflush(log_lines);
  const struct cri_reply reply = {.magic = CRI_REPLY_MAGIC,
                                  .type = type,
                                  .error = error,
                                  .value = value,
                                  .log_length = (uint32_t)text_length,
                                  .children = {child}};
  if (write(reply_fd, &reply, sizeof reply) != sizeof reply) _exit(3);
  for (size_t sent = 0; sent < text_length;) {
    const ssize_t more = write(reply_fd, text + sent, text_length - sent);
    if (more <= 0) _exit(4);
    sent += (size_t)more;
  }
  rewind(log_lines);
}

static void wait_for(const char* fifo) {
  char byte;
  const int fd = open(fifo, O_RDWR | O_CLOEXEC);
  if (fd < 0 || read(fd, &byte, 1) != 1) _exit(5);
  close(fd);
}

static void tell_descriptors(void) {
  DIR* directory = opendir("/proc/self/fd");
  for (struct dirent* entry; (entry = readdir(directory)) != NULL;) {
    const int fd = atoi(entry->d_name);
    char link[256];
    const ssize_t length = readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1);
    if (length < 0 || fd == dirfd(directory)) continue;
    link[length] = '\0';
    fprintf(log_lines, "descriptor %d %s\n", fd, link);
  }
  closedir(directory);
}

static void tell_signals(void) {
  sigset_t mask;
  sigprocmask(SIG_SETMASK, NULL, &mask);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) != 0) continue;
    if (action.sa_handler != SIG_DFL) fprintf(log_lines, "ignores %d\n", number);
    if (sigismember(&mask, number) == 0) fprintf(log_lines, "takes %d\n", number);
  }
}

static void tell_capabilities(void) {
  char line[256];
  FILE* status = fopen("/proc/self/status", "re");
  while (fgets(line, sizeof line, status) != NULL) {
    if (strncmp(line, "CapEff:", 7) == 0) fputs(line, log_lines);
  }
  fclose(status);
}

static void tell_facts(int count, char** words) {
  for (int i = 0; i < count; ++i) fprintf(log_lines, "word %s\n", words[i]);
  fprintf(log_lines, "pid %d\nparent %d\ngroup %d\nsession %d\n", getpid(), getppid(), getpgrp(),
          getsid(0));
  fprintf(log_lines, "preload %s\n", getenv("LD_PRELOAD") != NULL ? "yes" : "no");
  tell_descriptors();
  tell_signals();
  tell_capabilities();
}

static void play(char* word, int count, char** words) {
  if (strcmp(word, "accept") == 0) {
    answer(CRI_REPLY_ACCEPTED, 0, atoi(strtok(NULL, " ")));
  } else if (strcmp(word, "wait") == 0) {
    wait_for(strtok(NULL, " "));
  } else if (strcmp(word, "log") == 0) {
    fprintf(log_lines, "%s\n", strtok(NULL, " "));
  } else if (strcmp(word, "lines") == 0) {
    const int lines = atoi(strtok(NULL, " "));
    for (int i = 0; i < lines; ++i) fprintf(log_lines, "line %094d\n", i);
  } else if (strcmp(word, "facts") == 0) {
    tell_facts(count, words);
  } else if (strcmp(word, "child") == 0) {
    child = atoi(strtok(NULL, " "));
  } else if (strcmp(word, "done") == 0) {
    const int error = atoi(strtok(NULL, " "));
    answer(CRI_REPLY_DONE, error, atoi(strtok(NULL, " ")));
  } else if (strcmp(word, "stay") == 0) {
    pause();
  } else {
    _exit(2);
  }
}

int main(int argc, char** argv) {
  char script[1024];
  log_lines = open_memstream(&text, &text_length);
  if (argc < 4 || getenv("PLAY") == NULL || log_lines == NULL) return 2;
  reply_fd = atoi(argv[2]);
  snprintf(script, sizeof script, "%s", getenv("PLAY"));
  for (char* word = strtok(script, " "); word != NULL; word = strtok(NULL, " ")) {
    play(word, argc, argv);
  }
  return 0;
}
