// The instructions of x86_64 that the stub needs: a system call, a clone whose child exits at once,
// a breakpoint. System call convention: syscall(2). It uses no memory but through its arguments.
#pragma once

static inline long machine_call(long number, unsigned long a, unsigned long b, unsigned long c,
                                unsigned long d, unsigned long e, unsigned long f) {
  long result;
  register unsigned long r10 __asm__("r10") = d;
  register unsigned long r8 __asm__("r8") = e;
  register unsigned long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

// clone(flags) on the same stack; the child (result 0) runs exit(0) and touches no memory.
static inline long machine_clone_and_exit(unsigned long flags) {
  long result;
  register unsigned long r10 __asm__("r10") = 0;
  register unsigned long r8 __asm__("r8") = 0;
  __asm__ volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "mov $60, %%eax\n\t"  // exit
      "xor %%edi, %%edi\n\t"
      "syscall\n"
      "1:"
      : "=a"(result)
      : "a"(56L /* clone */), "D"(flags), "S"(0UL), "d"(0UL), "r"(r10), "r"(r8)
      : "rcx", "r11", "memory", "cc");
  return result;
}

static inline void machine_trap(void) {
  __asm__ volatile("int3");
}
