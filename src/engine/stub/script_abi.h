// The bytes that the engine and the stub agree on. The stub runs an array of operations inside a
// process that is being built, each one system call whose arguments may be results of earlier ones.
// Freestanding, C and C++: included by the stub, by trace/script, by nothing else.
#pragma once

#ifdef __cplusplus
namespace stasis::stub {
#endif

struct Operation {
  long number;  // system call, or kBurn
  unsigned long args[6];
  unsigned int from_result;  // bit i: args[i] is the index of the operation whose result is meant
  unsigned int check;        // kCheck*
  long expected;             // for kCheckEquals
  long result;               // written by the stub
};

// When the result fails its check the stub stops at that operation.
enum {
  kCheckNone = 0,     // any result will do
  kCheckSuccess = 1,  // not in -4095..-1
  kCheckEquals = 2    // exactly `expected`
};

// Instead of a system call: at most args[0] threads that exit at once, until one had the id
// `expected` (ids are given out ascending, so the next one is the one after it).
enum { kBurn = -1 };

// CLONE_VM | FS | FILES | SIGHAND | VFORK | THREAD | SYSVSEM; nobody sees or reaps such a thread.
enum { kBurnFlags = 0x100 | 0x200 | 0x400 | 0x800 | 0x4000 | 0x10000 | 0x40000 };

struct Header {
  unsigned long count;  // operations that follow
  unsigned long done;   // written by the stub: how many ran, a failed one not counted
};

// Entry: the address of the Header in the first argument register. Ends in a breakpoint trap.

#ifdef __cplusplus
}  // namespace stasis::stub
#endif
