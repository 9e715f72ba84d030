// The bytes that the engine and the stub agree on. The stub runs an array of operations inside a
// process that is being built, each one system call whose arguments may be results of earlier ones.
// Freestanding: included by the stub, by trace/script, by nothing else.
#pragma once

namespace stasis::stub {

struct Operation {
  long number;              // system call
  unsigned long args[6];
  unsigned int from_result; // bit i: args[i] is the index of the operation whose result is meant
  unsigned int check;       // kCheck*
  long expected;            // for kCheckEquals
  long result;              // written by the stub
};

// When the result fails its check the stub stops at that operation.
enum : unsigned int {
  kCheckNone = 0,     // any result will do
  kCheckSuccess = 1,  // not in -4095..-1
  kCheckEquals = 2,   // exactly `expected`
};

struct Header {
  unsigned long count;  // operations that follow
  unsigned long done;   // written by the stub: how many ran, a failed one not counted
};

// Entry: the address of the Header in the first argument register. Ends in a breakpoint trap.

}  // namespace stasis::stub
