/* Values in registers and what became of them (registers.c). */
#ifndef STASIS_KILL_REGISTERS_H
#define STASIS_KILL_REGISTERS_H

struct spin {
  unsigned long in[16], out[16]; /* rax rbx rcx rdx rsi rdi rbp r8..r15; the last unused */
  unsigned long rounds, red_zone[2], flags;
  unsigned int mxcsr, padding[7];
  unsigned char vector_in[16 * 64], vector_out[16 * 64];
};

/* Spins `rounds` times; NULL, or what was not as it should be. */
const char* spin_and_check(struct spin* spin, unsigned long rounds);

#endif
