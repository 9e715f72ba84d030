/* cr_init() and what it makes for a thread; how long that lasts (cr_inc_persist). */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

__thread struct cri_thread cri_self __attribute__((tls_model("initial-exec")));

static pthread_key_t key;
static int key_made;
static pthread_mutex_t key_lock = PTHREAD_MUTEX_INITIALIZER;

int cri_error(int code) {
  errno = code;
  return -1;
}

int cri_thread_known(void) {
  return cri_self.initialized || cri_self.is_callback_thread;
}

int cri_in_callback(void) {
  return cri_self.taking_part;
}

int cri_in_critical_section(void) {
  return cri_self.sections > 0;
}

static void destroy(void) {
  /* A section that the thread takes with it would hold up checkpoints for ever. */
  if (cri_self.sections > 1) cri_self.sections = 1;
  if (cri_self.sections == 0) cri_enter();
  cri_self.initialized = 0;
  cri_callbacks_release(&cri_self.signal_callbacks);
  cri_self.next_id = 0;
  cri_self.persist = 0;
  cri_self.destructions = 0;
  cri_leave();
}

/* The C library makes only so many rounds of destructors. In the last one the data of a thread that
 * has not balanced its uses goes as well: nobody can run its callbacks. */
static void at_thread_exit(void* data) {
  (void)data;
  if (cri_self.taking_part) cri_abandon();
  if (!cri_self.initialized) return;
  ++cri_self.destructions;
  if (cri_self.persist > 0 && cri_self.destructions < PTHREAD_DESTRUCTOR_ITERATIONS &&
      pthread_setspecific(key, &cri_self) == 0) {
    return;
  }
  destroy();
  if (gettid() == getpid()) cri_leader_ends();
}

static int make_key(void) {
  int error = 0;
  pthread_mutex_lock(&key_lock);
  if (!key_made) {
    error = pthread_key_create(&key, at_thread_exit);
    key_made = error == 0;
  }
  pthread_mutex_unlock(&key_lock);
  return error;
}

CRI_PUBLIC cr_client_id_t cr_init(void) {
  if (cri_block_get() == NULL) return cri_error(ENOSYS);
  cri_adopt_process();
  if (!cri_thread_known()) {
    int error = make_key();
    if (error == 0) error = pthread_setspecific(key, &cri_self);
    if (error != 0) return cri_error(error);
    cri_self.hold = CR_HOLD_DFLT;
    cri_self.initialized = 1;
  }
  return cri_self.next_id++;
}

CRI_PUBLIC int cr_inc_persist(void) {
  if (!cri_thread_known()) return cri_error(CR_ENOINIT);
  if (cri_self.persist == INT_MAX) return cri_error(ERANGE);
  return cri_self.persist++;
}

CRI_PUBLIC int cr_dec_persist(void) {
  if (!cri_thread_known()) return cri_error(CR_ENOINIT);
  if (cri_self.persist == 0) return cri_error(ERANGE);
  return cri_self.persist--;
}

/* The memory of the parent's list is lost to the child: freeing it would need that fork(2) was not
 * called in the middle of the C library. */
void cri_thread_data_forked(void) {
  static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
  memset(&cri_self, 0, sizeof cri_self);
  key_lock = unlocked;
}
