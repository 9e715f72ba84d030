// The first process of a private pid namespace, and what it and the others that make one tell each
// other.
#pragma once

#include <unistd.h>

#include "base/types.h"

namespace stasis::restart {

enum class NamespaceStep : int { kDone, kUnshare, kMaps, kTime, kInit, kMount, kClone };

// What the helper tells us, and init the helper.
struct NamespaceReport {
  NamespaceStep step = NamespaceStep::kDone;
  int code = 0;
  Pid pid = 0;
};

template <class T>
bool send_message(int fd, const T& message) {
  return ::write(fd, &message, sizeof message) == static_cast<ssize_t>(sizeof message);
}

template <class T>
bool receive_message(int fd, T& message) {
  return ::read(fd, &message, sizeof message) == static_cast<ssize_t>(sizeof message);
}

// Whether the mount namespace is private already.
enum class Mounts { kPrivate, kToMake };

// Reports through `helper` and waits there for the first other process. Ends with the last one;
// until then it holds `kept`, if that is not -1.
[[noreturn]] void live_as_init(int helper, int kept, Mounts mounts);

}  // namespace stasis::restart
