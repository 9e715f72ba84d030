// Two restarts of one context file at once are noticed by a lock on the file (flock(2), of an open
// file description of its own): alone while a restart is at work, shared as long as processes that
// it made live in namespaces of their own, where their ids tell nobody that they are there. Their
// init holds it then, so that it outlives cr_restart and not them. Processes that have their ids
// here need none: the ids are in use. A context file that comes through a pipe has no lock.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace stasis::engine {

class ImageLock {
 public:
  // Locks what `image` is open on. `alone`: EBUSY when the file is being restarted, or has been and
  // its processes live; else it is only held for others to see. Where it cannot be locked (a pipe,
  // a file system without locks) nothing is.
  static Result<ImageLock> take(int image, const std::string& name, bool alone);

  // To be inherited by who keeps it; -1: there is none.
  [[nodiscard]] int fd() const { return file_.get(); }

  // The work is done: others may look, and take part if they were asked to.
  void share();

 private:
  UniqueFd file_;
};

}  // namespace stasis::engine
