/*
 * The spinlocks, and cr_strerror().
 */
#include "compat.h"

static cr_spinlock_t lock = CR_SPINLOCK_INITIALIZER;

CP_CASE(initializer_and_init_give_an_open_lock) {
  cr_spinlock_t other;
  memset(&other, 0xFF, sizeof other);
  cr_spinlock_init(&other);
  CHECK(cr_spinlock_trylock(&lock) != 0);
  CHECK(cr_spinlock_trylock(&other) != 0);
  cr_spinlock_init(&lock);
  CHECK(cr_spinlock_trylock(&lock) != 0);
}

CP_CASE(trylock_is_nonzero_only_with_the_lock) {
  cr_spinlock_lock(&lock);
  CHECK_EQ(cr_spinlock_trylock(&lock), 0);
  CHECK_EQ(cr_spinlock_trylock(&lock), 0);
  cr_spinlock_unlock(&lock);
  CHECK(cr_spinlock_trylock(&lock) != 0);
  CHECK_EQ(cr_spinlock_trylock(&lock), 0);
  cr_spinlock_unlock(&lock);
}

CP_CASE(needs_no_cr_init) {
  cr_spinlock_lock(&lock);
  cr_spinlock_unlock(&lock);
}

static long long counter;
static void* adds(void* unused) {
  for (int i = 0; i < 200000; i++) {
    cr_spinlock_lock(&lock);
    counter++;
    cr_spinlock_unlock(&lock);
  }
  return unused;
}

CP_CASE(excludes_other_threads) {
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) threads[i] = cp_thread(adds, NULL);
  for (int i = 0; i < 4; i++) cp_join(threads[i]);
  CHECK_EQ(counter, 800000);
}

static void* waits_for_it(void* unused) {
  cp_note('w');
  cr_spinlock_lock(&lock);
  cp_note('l');
  cr_spinlock_unlock(&lock);
  return unused;
}

CP_CASE(any_thread_may_unlock) {
  cr_spinlock_lock(&lock);
  pthread_t thread = cp_thread(waits_for_it, NULL);
  UNTIL(cp_noted('w'));
  CHECK_NOTES("w");
  cr_spinlock_unlock(&lock);
  cp_join(thread);
  CHECK_NOTES("wl");
}

/* A handler tries the lock that the interrupted code may hold, and locks another one. */
static volatile long handled, got_it;
static cr_spinlock_t handlers_lock = CR_SPINLOCK_INITIALIZER;
static void tries(int unused) {
  (void)unused;
  cr_spinlock_lock(&handlers_lock);
  if (cr_spinlock_trylock(&lock)) {
    got_it++;
    counter++;
    cr_spinlock_unlock(&lock);
  }
  cr_spinlock_unlock(&handlers_lock);
  handled++;
}

CP_CASE(signal_handlers_may_use_it) {
  struct sigaction action = {0};
  struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
  action.sa_handler = tries;
  action.sa_flags = SA_RESTART;
  CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
  CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
  long long mine = 0;
  for (long long since = 0; handled < 50;) {
    for (int i = 0; i < 10000; i++, mine++) {
      cr_spinlock_lock(&lock);
      counter++;
      cr_spinlock_unlock(&lock);
    }
    if (cp_late(&since)) cp_fail("the timer does not fire: %ld", handled);
  }
  CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
  CHECK_EQ(counter, mine + got_it);
}

static int locks_in_callback(void* unused) {
  cr_spinlock_lock(&lock);
  CHECK(cr_checkpoint(0) >= 0);
  CHECK_EQ(cr_spinlock_trylock(&lock), 0); /* its state is saved like any other memory */
  cr_spinlock_unlock(&lock);
  cp_note('c');
  return unused != NULL;
}

CP_CASE(locks_are_saved) {
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(locks_in_callback, NULL, CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_NOTES("cc");
  CHECK(cr_spinlock_trylock(&lock) != 0);
}

/* ---- cr_strerror() */

CP_CASE(strerror_knows_our_codes) {
  static const struct {
    int code;
    const char* text;
  } known[] = {
      {CR_ETEMPFAIL, "Temporary error: checkpoint cancelled"},
      {CR_EPERMFAIL, "Permanent failure: checkpoint cancelled and job killed"},
      {CR_ENOSUPPORT, "Checkpoint support not linked into one or more processes"},
      {CR_EVERSION, "Requested kernel interface version is not supported"},
      {CR_EOMITTED, "Process omitted from checkpoint at a callback's request"},
      {CR_EBADARCH, "Context file does not match the kernel architecture"},
      {CR_EPTRACED, "One or more target processes is being ptraced"},
      {CR_EPTRACER, "One or more target processes has ptrace children"},
      {CR_ERSTRTABRT, "Restart aborted: restart cancelled and job killed"},
      {CR_ERESTARTED, "Request is invalid across a restart"},
      {CR_ENOTCB, "Call is only valid from a checkpoint callback"},
      {CR_ENOINIT, "Calling thread has not called cr_init()"},
  };
  CHECK_EQ(sizeof known / sizeof *known, CR_MAX_ERRCODE - CR_MIN_ERRCODE - 1);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(cr_strerror(known[i].code), known[i].text))
      cp_fail("code %d: \"%s\", not \"%s\"", known[i].code, cr_strerror(known[i].code),
              known[i].text);
}

CP_CASE(strerror_knows_the_systems_codes) {
  for (int code = 0; code < 134; code++)
    if (strcmp(cr_strerror(code), strerror(code)))
      cp_fail("code %d: \"%s\", not \"%s\"", code, cr_strerror(code), strerror(code));
}

CP_CASE(strerror_is_never_null) {
  static const int codes[] = {-1, -CR_ETEMPFAIL, CR_MIN_ERRCODE, CR_MAX_ERRCODE, 99999, 135};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    CHECK(cr_strerror(codes[i]) != NULL);
    CHECK(*cr_strerror(codes[i]) != 0);
  }
}
