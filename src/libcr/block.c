/* The control block's memory, and what a process needs to be found and traced: shared by libcr, the
 * stubs and cr_restart. Knows nothing of callbacks. */
#include "block.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "libcr.h"

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#endif

#define CHECK_OFFSET(member, at)                             \
  _Static_assert(offsetof(struct cri_block, member) == (at), \
                 #member " is not where the handshake says")
CHECK_OFFSET(self, 16);
CHECK_OFFSET(pid, 48);
CHECK_OFFSET(phase, 72);
CHECK_OFFSET(request, 80);
CHECK_OFFSET(answer, 128);
CHECK_OFFSET(handle, 400);
CHECK_OFFSET(destination, 656);
CHECK_OFFSET(source, 4752);
CHECK_OFFSET(forward_request, CRI_BLOCK_SIZE_WITHOUT_ANSWERS);

/* One page without access below and one above, so that the kernel does not merge the area with a
 * neighbour of the same kind and it is recognised by its size. */
struct cri_block* cri_block_create(uint32_t kind, uint32_t omit_rule) {
  const size_t guard = (size_t)sysconf(_SC_PAGESIZE);
  char* area =
      mmap(NULL, CRI_BLOCK_AREA + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return NULL;
  if (mprotect(area + guard, CRI_BLOCK_AREA, PROT_READ | PROT_WRITE) != 0) {
    (void)munmap(area, CRI_BLOCK_AREA + 2 * guard);
    return NULL;
  }
  struct cri_block* block = (struct cri_block*)(void*)(area + guard);
  block->version = CRI_BLOCK_VERSION;
  block->size = sizeof *block;
  block->self = (uint64_t)(uintptr_t)block;
  block->kind = kind;
  block->omit_rule = omit_rule;
  block->pid = getpid();
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  memcpy(block->magic, CRI_BLOCK_MAGIC, sizeof block->magic); /* last: now it is one */
  return block;
}

void cri_block_destroy(struct cri_block* block) {
  const size_t guard = (size_t)sysconf(_SC_PAGESIZE);
  memset(block->magic, 0, sizeof block->magic);
  (void)munmap((char*)block - guard, CRI_BLOCK_AREA + 2 * guard);
}

void cri_allow_tracing(void) {
  /* Fails where there is no Yama, and nothing needs allowing. */
  (void)prctl(PR_SET_PTRACER, (unsigned long)-1, 0, 0, 0);
}

extern int __libc_allocate_rtsig(int high); /* glibc's, for libraries like this one */

static void ignore_signal(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)info;
  (void)context;
}

void cri_reserve_signal(void) {
  /* Another of our libraries in the process may have done it. Not having the signal harms nobody:
   * checkpoints do not need it, only its number is known to programs. */
  if (SIGRTMAX == CR_SIGNUM) (void)__libc_allocate_rtsig(0);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = ignore_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  (void)sigaction(CR_SIGNUM, &action, NULL);
}
