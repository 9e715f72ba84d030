/*
 * cr_get_checkpoint_info() and cr_get_restart_info().
 */
#include "compat.h"

#include <libgen.h>
#include <limits.h>
#include <signal.h>

static struct cr_checkpoint_info seen[4];
static char destination[4][PATH_MAX];
static const void* place[4];
static pid_t parent_of_requester[4];
static pid_t restart_requester[4];
static char source[4][PATH_MAX];
static int calls;

static pid_t parent_of(pid_t pid) {
  char path[64], line[256];
  int parent = -1;
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE* file = fopen(path, "re");
  while (file && parent < 0 && fgets(line, sizeof line, file))
    if (!strncmp(line, "PPid:", 5)) parent = atoi(line + 5);
  if (file) fclose(file);
  return parent;
}

static int copies(void* unused) {
  int index = __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
  const struct cr_checkpoint_info* info = cr_get_checkpoint_info();
  CHECK(info != NULL);
  CHECK(info->dest != NULL);
  place[index] = info;
  seen[index] = *info;
  parent_of_requester[index] = parent_of(info->requester);
  snprintf(destination[index], PATH_MAX, "%s", info->dest);
  if (cr_checkpoint(0) > 0) {
    const struct cr_restart_info* restart = cr_get_restart_info();
    CHECK(restart != NULL);
    CHECK(restart->src != NULL);
    restart_requester[index] = restart->requester;
    snprintf(source[index], PATH_MAX, "%s", restart->src);
  }
  return unused != NULL;
}

static void begin(int context) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(copies, NULL, context) >= 0);
}

static void check_fields(int context) {
  begin(context);
  pid_t command = cp_start(getpid(), "");
  CHECK_EQ(cp_finish(command), 0);
  CHECK_EQ(seen[0].signal, 0);
  CHECK_EQ(seen[0].scope, CR_SCOPE_PROC);
  CHECK_EQ(seen[0].target, getpid());
  /* The command or its child: the command itself stays free to be saved. */
  CHECK(seen[0].requester == command || parent_of_requester[0] == command);
  char image[PATH_MAX];
  snprintf(image, sizeof image, "%s", cp_image());
  if (!strstr(destination[0], basename(image)) ||
      strncmp(destination[0], image, strlen(dirname(image))))
    cp_fail("the destination is %s, not beside %s", destination[0], cp_image());
}

CP_CASE(tells_of_the_checkpoint_signal_context) {
  check_fields(CR_SIGNAL_CONTEXT);
}

CP_CASE(tells_of_the_checkpoint_thread_context) {
  check_fields(CR_THREAD_CONTEXT);
}

CP_CASE(path_is_the_file_when_there_is_no_other_name) {
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(cp_checkpoint(getpid(), "--clobber"), 0);
  CHECK(!strcmp(destination[0], cp_image()));
}

CP_CASE(tells_the_signal) {
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(cp_checkpoint(getpid(), "--cont"), 0);
  CHECK_EQ(seen[0].signal, SIGCONT);
  CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
  CHECK_EQ(cp_checkpoint(getpid(), "-S 10"), 0);
  CHECK_EQ(seen[1].signal, SIGUSR1);
}

CP_CASE(tells_group_and_scope) {
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(cp_checkpoint(getpgrp(), "-g"), 0);
  CHECK_EQ(seen[0].scope, CR_SCOPE_PGRP);
  CHECK_EQ(seen[0].target, getpgrp());
  CHECK_EQ(cp_checkpoint(getpid(), "-T"), 0);
  CHECK_EQ(seen[1].scope, CR_SCOPE_TREE);
  CHECK_EQ(seen[1].target, getpid());
}

CP_CASE(tells_the_session) {
  begin(CR_SIGNAL_CONTEXT);
  CHECK_EQ(cp_checkpoint(getsid(0), "-s"), 0);
  CHECK_EQ(seen[0].scope, CR_SCOPE_SESS);
  CHECK_EQ(seen[0].target, getsid(0));
}

CP_CASE(threads_have_their_own_copies) {
  begin(CR_SIGNAL_CONTEXT);
  CHECK(cr_register_callback(copies, NULL, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK_EQ(calls, 2);
  CHECK(place[0] != place[1]);
  CHECK_EQ(seen[0].requester, seen[1].requester);
}

CP_CASE(null_outside_callbacks) {
  CHECK(cr_get_checkpoint_info() == NULL);
  CHECK(cr_get_restart_info() == NULL);
  begin(CR_SIGNAL_CONTEXT);
  CHECK(cr_get_checkpoint_info() == NULL);
  CHECK(cr_get_restart_info() == NULL);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  CHECK(cr_get_checkpoint_info() == NULL);
  CHECK(cr_get_restart_info() == NULL);
  cp_restart("");
  CHECK(cr_get_checkpoint_info() == NULL);
  CHECK(cr_get_restart_info() == NULL);
}

/* In namespaces of their own processes have no parent; their first process asked, as they see it.
 */
static pid_t who_restarted(void) {
  return getppid() != 0 ? getppid() : 1;
}

static void check_restart(int context) {
  begin(context);
  cp_restart("");
  CHECK(!strcmp(source[0], cp_image()));
  CHECK_EQ(restart_requester[0], who_restarted());
  CHECK(!kill(restart_requester[0], 0));
  cp_restart("");
  CHECK(!strcmp(source[1], cp_image())); /* not that of the first one */
  CHECK_EQ(restart_requester[1], who_restarted());
}

CP_CASE(tells_of_the_restart_signal_context) {
  check_restart(CR_SIGNAL_CONTEXT);
}

CP_CASE(tells_of_the_restart_thread_context) {
  check_restart(CR_THREAD_CONTEXT);
}
