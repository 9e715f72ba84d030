/* A long computation that saves itself now and then, and goes on from there after a restart. It
 * needs nobody who knows when: no batch system, no signal, no cr_checkpoint.
 *
 *   self_checkpoint STEPS EVERY FILE      from the beginning
 *   cr_restart FILE                       from the last time it was saved
 *
 * FILE is complete at any time: a new one gets its name when it is written. */
#include <errno.h>
#include <fcntl.h>
#include <libcr.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Returns 1 in the program that was saved, 2 in the one that was restarted, 0 if it failed. */
static int save(const char* path) {
  cr_checkpoint_args_t args;
  cr_checkpoint_handle_t handle;
  char unfinished[PATH_MAX];
  char* log = NULL;
  int code;

  snprintf(unfinished, sizeof unfinished, "%s.new", path);
  cr_initialize_checkpoint_args_t(&args);
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_flags = CR_CHKPT_ASYNC_ERR;
  args.cr_fd = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (args.cr_fd < 0) return 0;
  code = cr_request_checkpoint(&args, &handle);
  close(args.cr_fd);
  if (code < 0) return 0;

  do {
    code = cr_poll_checkpoint_msg(&handle, NULL, &log);
  } while (code == CR_POLL_CHKPT_ERR_PRE && errno == EINTR);
  if (code > 0) return rename(unfinished, path) == 0;
  if (errno == CR_ERESTARTED) return 2;
  fprintf(stderr, "%s%s\n", log != NULL ? log : "", cr_strerror(errno));
  free(log);
  unlink(unfinished);
  return 0;
}

int main(int argc, char** argv) {
  uint64_t value = 1;
  long step, steps, every;

  if (argc != 4 || (every = atol(argv[2])) <= 0) {
    fprintf(stderr, "usage: %s STEPS EVERY FILE\n", argv[0]);
    return 2;
  }
  steps = atol(argv[1]);
  if (cr_init() < 0) {
    fprintf(stderr, "%s: no checkpoints: %s\n", argv[0], cr_strerror(errno));
    return 1;
  }
  for (step = 1; step <= steps; ++step) {
    value = value * 6364136223846793005u + 1442695040888963407u; /* the work of one step */
    printf("step %ld: %016llx\n", step, (unsigned long long)value);
    if (step % every != 0) continue;
    fflush(stdout);
    switch (save(argv[3])) {
      case 0:
        fprintf(stderr, "step %ld: not saved\n", step);
        break;
      case 2:
        fprintf(stderr, "step %ld: restarted\n", step);
        break;
    }
  }
  return 0;
}
