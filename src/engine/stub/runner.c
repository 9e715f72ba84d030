// The stub: runs the operations of a script, one system call each, inside a process that is being
// built. It is all of ours that ever executes there. Why C and not assembly: the loop is the same
// on every architecture, which gives only its two instructions (machine_*.h). It may not have data,
// constants in memory, relocations or calls: stub.ld asserts that, as the code runs wherever it
// is put. It decides nothing: a failed check just ends the script.
// Essay: docs/design/restart.md.
#include "machine.h"
#include "script_abi.h"

static int passes(const struct Operation* operation) {
  const long result = operation->result;
  if (operation->check == kCheckSuccess) return (unsigned long)result < (unsigned long)-4095L;
  if (operation->check == kCheckEquals) return result == operation->expected;
  return 1;
}

static unsigned long argument(const struct Operation* all, const struct Operation* mine,
                              int index) {
  const unsigned long given = mine->args[index];
  return (mine->from_result >> index & 1U) != 0 ? (unsigned long)all[given].result : given;
}

// Threads of this process that exit before they have run anything: each takes the next free id.
// With CLONE_VFORK the next one is made when the last is gone, and all may share this stack.
static long burn(long last, unsigned long limit) {
  long id = -1;
  for (unsigned long made = 0; made < limit && id != last; ++made) {
    id = machine_clone_and_exit(kBurnFlags);
    if (id < 0) break;
  }
  return id;
}

__attribute__((section(".text.entry"), noreturn, used)) void stub_entry(struct Header* header) {
  struct Operation* operations = (struct Operation*)(header + 1);
  for (; header->done < header->count; ++header->done) {
    struct Operation* operation = &operations[header->done];
    if (operation->number == kBurn) {
      operation->result = burn(operation->expected, operation->args[0]);
    } else {
      operation->result = machine_call(
          operation->number, argument(operations, operation, 0), argument(operations, operation, 1),
          argument(operations, operation, 2), argument(operations, operation, 3),
          argument(operations, operation, 4), argument(operations, operation, 5));
    }
    if (!passes(operation)) break;
  }
  for (;;) machine_trap();
}
