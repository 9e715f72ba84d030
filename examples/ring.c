/* What the launcher of a parallel program does: it starts processes that work together, and saves
 * all of them, itself included, at one moment.
 *
 *   ring PROCESSES ROUNDS FILE
 *   kill -USR1 PID        saves them to FILE
 *   cr_restart FILE       all of them go on
 *
 * The processes stand in a ring of pipes; a number goes round and each adds its rank. Bytes that
 * are on their way in the pipes are part of the checkpoint: nobody has to empty them before. */
#include <errno.h>
#include <fcntl.h>
#include <libcr.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int work(int rank, long rounds, int from, int to) {
  long number = 0, round;

  for (round = 1; round <= rounds; ++round) {
    if (rank != 0 && read(from, &number, sizeof number) != (ssize_t)sizeof number) return 1;
    number += rank;
    if (write(to, &number, sizeof number) != (ssize_t)sizeof number) return 1;
    if (rank != 0) continue;
    if (read(from, &number, sizeof number) != (ssize_t)sizeof number) return 1;
    printf("round %ld: %ld\n", round, number);
    fflush(stdout);
    usleep(1000);
  }
  return 0;
}

static int start(int processes, long rounds) {
  int first[2], in, rank;

  if (pipe(first) != 0) return -1;
  in = first[0];
  for (rank = 0; rank < processes; ++rank) {
    int next[2] = {-1, first[1]};

    if (rank + 1 < processes && pipe(next) != 0) return -1;
    switch (fork()) {
      case -1:
        return -1;
      case 0:
        if (next[0] >= 0) close(next[0]);
        if (next[1] != first[1]) close(first[1]);
        _exit(work(rank, rounds, in, next[1]));
    }
    close(in);
    if (next[1] != first[1]) close(next[1]);
    in = next[0];
  }
  close(first[1]);
  return 0;
}

static void save(const char* path) {
  cr_checkpoint_args_t args;
  cr_checkpoint_handle_t handle;
  char* log = NULL;
  int code;

  cr_initialize_checkpoint_args_t(&args);
  args.cr_scope = CR_SCOPE_TREE; /* not PGRP: a restarted program is in cr_restart's group */
  args.cr_flags = CR_CHKPT_ASYNC_ERR;
  args.cr_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  code = cr_request_checkpoint(&args, &handle);
  if (args.cr_fd >= 0) close(args.cr_fd);
  if (code == 0) code = cr_poll_checkpoint_msg(&handle, NULL, &log);
  if (code > 0) {
    fprintf(stderr, "saved\n");
  } else if (errno == CR_ERESTARTED) {
    fprintf(stderr, "restarted\n");
  } else {
    fprintf(stderr, "not saved: %s\n%s", cr_strerror(errno), log != NULL ? log : "");
  }
  free(log);
}

int main(int argc, char** argv) {
  int processes, which, status, failed = 0;
  sigset_t awaited;

  if (argc != 4 || (processes = atoi(argv[1])) < 1) {
    fprintf(stderr, "usage: %s PROCESSES ROUNDS FILE\n", argv[0]);
    return 2;
  }
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGUSR1);
  sigaddset(&awaited, SIGCHLD);
  sigprocmask(SIG_BLOCK, &awaited, NULL);
  setpgid(0, 0); /* so that one kill(1) ends all */
  if (cr_init() < 0 || start(processes, atol(argv[2])) != 0) {
    perror(argv[0]);
    return 1;
  }
  while (processes > 0 && sigwait(&awaited, &which) == 0) {
    if (which == SIGUSR1) save(argv[3]);
    while (waitpid(-1, &status, WNOHANG) > 0) {
      failed |= status;
      --processes;
    }
  }
  return failed != 0;
}
