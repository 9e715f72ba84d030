/* Locks that spin: usable in signal handlers and callbacks, as long as nobody is interrupted by who
 * waits for it. 0 is open. */
#include <sched.h>

#include "internal.h"

#define SPINS_BEFORE_YIELD 1000

CRI_PUBLIC void cr_spinlock_init(cr_spinlock_t* lock) {
  __atomic_store_n(lock, CR_SPINLOCK_INITIALIZER, __ATOMIC_RELEASE);
}

CRI_PUBLIC int cr_spinlock_trylock(cr_spinlock_t* lock) {
  return __atomic_exchange_n(lock, 1U, __ATOMIC_ACQUIRE) == 0U;
}

CRI_PUBLIC void cr_spinlock_lock(cr_spinlock_t* lock) {
  for (int spins = 0; !cr_spinlock_trylock(lock); ++spins) {
    while (__atomic_load_n(lock, __ATOMIC_RELAXED) != 0U) {
      if (++spins > SPINS_BEFORE_YIELD) (void)sched_yield();
    }
  }
}

CRI_PUBLIC void cr_spinlock_unlock(cr_spinlock_t* lock) {
  __atomic_store_n(lock, 0U, __ATOMIC_RELEASE);
}
