/* Spins with known values in all general and vector registers, in the red zone, in the direction
 * flag and in MXCSR, and compares afterwards. Assembly, because no compiler leaves all registers
 * alone. */
#include "registers.h"

#include <stdlib.h>
#include <string.h>

/* rdi: struct spin. All offsets are checked below. */
#define BODY(NAME, LOAD, STORE)                                                                \
  __asm__(".text\n.globl " #NAME "\n.type " #NAME ", @function\n" #NAME                        \
          ":\n"                                                                                \
          "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdi\n" LOAD \
          "mov 256(%rdi), %rax\nmov %rax, -64(%rsp)\n" /* rounds: in the red zone */           \
          "mov (%rdi), %rax\nmov %rax, -128(%rsp)\nmov %rax, -72(%rsp)\n"                      \
          "mov 0(%rdi), %rax\nmov 8(%rdi), %rbx\nmov 16(%rdi), %rcx\nmov 24(%rdi), %rdx\n"     \
          "mov 32(%rdi), %rsi\nmov 48(%rdi), %rbp\nmov 56(%rdi), %r8\nmov 64(%rdi), %r9\n"     \
          "mov 72(%rdi), %r10\nmov 80(%rdi), %r11\nmov 88(%rdi), %r12\nmov 96(%rdi), %r13\n"   \
          "mov 104(%rdi), %r14\nmov 112(%rdi), %r15\nmov 40(%rdi), %rdi\nstd\n"                \
          "1: decq -64(%rsp)\njnz 1b\n"                                                        \
          "xchg %rdi, (%rsp)\n"                                                                \
          "mov %rax, 128(%rdi)\nmov %rbx, 136(%rdi)\nmov %rcx, 144(%rdi)\n"                    \
          "mov %rdx, 152(%rdi)\nmov %rsi, 160(%rdi)\nmov %rbp, 176(%rdi)\n"                    \
          "mov %r8, 184(%rdi)\nmov %r9, 192(%rdi)\nmov %r10, 200(%rdi)\n"                      \
          "mov %r11, 208(%rdi)\nmov %r12, 216(%rdi)\nmov %r13, 224(%rdi)\n"                    \
          "mov %r14, 232(%rdi)\nmov %r15, 240(%rdi)\n"                                         \
          "mov (%rsp), %rax\nmov %rax, 168(%rdi)\n"                                            \
          "mov -128(%rsp), %rax\nmov %rax, 264(%rdi)\nmov -72(%rsp), %rax\n"                   \
          "mov %rax, 272(%rdi)\npushfq\npop %rax\nmov %rax, 280(%rdi)\ncld\n"                  \
          "stmxcsr 288(%rdi)\n" STORE                                                          \
          "pop %rax\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"        \
          ".size " #NAME ", . - " #NAME "\n")

#define EACH(F) \
  F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define LOAD_X(N) "movups 320+" #N "*64(%rdi), %xmm" #N "\n"
#define STORE_X(N) "movups %xmm" #N ", 1344+" #N "*64(%rdi)\n"
#define LOAD_Y(N) "vmovups 320+" #N "*64(%rdi), %ymm" #N "\n"
#define STORE_Y(N) "vmovups %ymm" #N ", 1344+" #N "*64(%rdi)\n"
#define LOAD_Z(N) "vmovups 320+" #N "*64(%rdi), %zmm" #N "\n"
#define STORE_Z(N) "vmovups %zmm" #N ", 1344+" #N "*64(%rdi)\n"

BODY(spin_x, EACH(LOAD_X), EACH(STORE_X));
BODY(spin_y, EACH(LOAD_Y), EACH(STORE_Y));
BODY(spin_z, EACH(LOAD_Z), EACH(STORE_Z));
void spin_x(struct spin*), spin_y(struct spin*), spin_z(struct spin*);

_Static_assert(__builtin_offsetof(struct spin, rounds) == 256, "assembly");
_Static_assert(__builtin_offsetof(struct spin, flags) == 280, "assembly");
_Static_assert(__builtin_offsetof(struct spin, vector_in) == 320, "assembly");
_Static_assert(__builtin_offsetof(struct spin, vector_out) == 1344, "assembly");

const char* spin_and_check(struct spin* spin, unsigned long rounds) {
  const size_t width = __builtin_cpu_supports("avx512f") ? 64
                       : __builtin_cpu_supports("avx")   ? 32
                                                         : 16;
  for (int i = 0; i < 15; ++i)
    spin->in[i] = 0x0101010101010101ul * (unsigned)(rand() % 255 + 1) + (unsigned)i;
  for (size_t i = 0; i < sizeof spin->vector_in; ++i) spin->vector_in[i] = (unsigned char)rand();
  memset(spin->out, 0, sizeof spin->out);
  memset(spin->vector_out, 0, sizeof spin->vector_out);
  spin->rounds = rounds;
  unsigned int before;
  __asm__ volatile("stmxcsr %0" : "=m"(before));
  (width == 64 ? spin_z : width == 32 ? spin_y : spin_x)(spin);
  if (memcmp(spin->in, spin->out, 15 * sizeof *spin->in)) return "a general register changed";
  if (spin->red_zone[0] != spin->in[0] || spin->red_zone[1] != spin->in[0])
    return "the red zone changed";
  if (!(spin->flags & 0x400)) return "the direction flag was lost";
  if (spin->mxcsr != before) return "MXCSR changed";
  for (int i = 0; i < 16; ++i)
    if (memcmp(spin->vector_in + 64 * i, spin->vector_out + 64 * i, width))
      return "a vector register changed";
  return NULL;
}
