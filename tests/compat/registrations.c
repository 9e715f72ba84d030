/*
 * The ends of what cr_register_callback() takes: memory, and CR_MAX_CALLBACKS of one context.
 */
#include "compat.h"

#include <sys/resource.h>

static long kilobytes(const char* name) {
  char line[256];
  long value = -1;
  FILE* file = fopen("/proc/self/status", "re");
  while (file && value < 0 && fgets(line, sizeof line, file))
    if (!strncmp(line, name, strlen(name))) value = atol(line + strlen(name));
  if (file) fclose(file);
  return value;
}

static void memory(long long bytes) {
  struct rlimit limit = {(rlim_t)bytes, (rlim_t)bytes};
  CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

static int sums(void* number) {
  static long long sum;
  sum += (long long)(long)number;
  return 0;
}

/* Registers until it fails; the number of successes. */
static int register_all(int context) {
  for (int i = 0;; i++) {
    errno = 0;
    if (cr_register_callback(sums, (void*)(long)i, context) < 0) return i;
  }
}

static void no_memory(int context) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, (void*)"a", context) >= 0);
  memory(kilobytes("VmSize:") * 1024LL + (24 << 20));
  int count = register_all(context);
  if (count >= CR_MAX_CALLBACKS - 1) cp_skip("all of them fit into 24 MiB");
  CHECK_EQ(errno, ENOMEM);
  CHECK_FAILS(cr_register_callback(sums, NULL, context), ENOMEM);
  CHECK_EQ(cr_status(), CR_STATE_IDLE); /* and all else goes on */
  CHECK_EQ(cr_enter_cs(0), 0);
  CHECK_EQ(cr_leave_cs(0), 0);
}

CP_CASE(no_memory_is_enomem) {
  no_memory(CR_SIGNAL_CONTEXT);
}

CP_CASE(no_memory_is_enomem_in_thread_context) {
  no_memory(CR_THREAD_CONTEXT);
}

CP_CASE(the_greatest_number_is_enospc) {
  CHECK(cr_init() >= 0);
  memory(3LL << 30); /* of the machine's memory */
  int count = register_all(CR_SIGNAL_CONTEXT);
  if (errno == ENOMEM) cp_skip("no memory for more than %d callbacks", count);
  CHECK_EQ(errno, ENOSPC);
  CHECK_EQ(count, CR_MAX_CALLBACKS);
  CHECK(cr_register_callback(cp_noting, (void*)"a", CR_THREAD_CONTEXT) >= 0); /* another context */
}
