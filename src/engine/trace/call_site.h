// What remote calls need to know of a process, found once per freeze: instructions to make calls
// with, and where on which stack a signal frame may lie. Internal to trace/.
#pragma once

#include <memory>
#include <vector>

#include "arch/gadgets.h"
#include "base/result.h"
#include "proc/maps.h"
#include "trace/freeze.h"

namespace stasis::trace {

class CallSite {
 public:
  // The one of the process, made if there is none yet. EOPNOTSUPP: no such instructions.
  static Result<std::shared_ptr<CallSite>> of(FrozenProcess& process);

  [[nodiscard]] const arch::Gadgets& gadgets() const { return gadgets_; }

  struct Room {
    RemoteAddr lowest;
    bool borrowed = false;  // on the main thread's stack; only one thread at a time
  };
  // `length` bytes for a frame of `thread`. EOPNOTSUPP: nowhere; EBUSY: the borrowed place is in
  // use.
  Result<Room> room_for(const FrozenProcess& process, const FrozenThread& thread, u64 length) const;
  void set_borrowed(bool in_use) { borrowed_ = in_use; }

  // Makes the main thread's stack reach down to `lowest`, if it is `area` and may grow that far; a
  // program that has a large array there may have touched nothing below it.
  static bool grow(const proc::Area& area, const RemoteMemory& memory, RemoteAddr lowest);

 private:
  Result<void> search(const RemoteMemory& memory);
  void search_area(const proc::Area& area, const RemoteMemory& memory);
  [[nodiscard]] const proc::Area* area_of(RemoteAddr address) const;
  [[nodiscard]] const proc::Area* main_stack() const;
  [[nodiscard]] static bool is_own_stack(const proc::Area& area, const FrozenProcess& process,
                                         const FrozenThread& thread);
  static Result<bool> is_spare(const FrozenProcess& process, const proc::Area& stack, u64 length,
                               u64 needed);
  Result<Room> borrow(const FrozenProcess& process, const FrozenThread& thread, u64 length) const;

  std::vector<proc::Area> areas_;
  arch::Gadgets gadgets_;
  bool borrowed_ = false;
};

}  // namespace stasis::trace
