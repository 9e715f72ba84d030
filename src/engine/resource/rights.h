// With whose rights the paths of an image are used. Whoever restarts for another user (root) must
// not lend him his own: a path of the image may lead anywhere by now (a link, another file under
// the name). So every look-up, open and making is done as the user whose process holds the
// resource: his ids, his groups, and none of our capabilities that he did not have.
//
// It is the effective user id and the effective capabilities that change, not fsuid alone: the
// kernel asks for these too (sysctl files compare the effective uid, /proc/PID asks for
// CAP_SYS_PTRACE, O_NOATIME for CAP_FOWNER). The real id and the permitted set stay, so that it can
// be undone, and so that the user can neither signal nor trace us meanwhile. The calls are the
// kernel's own, for the calling thread only: threads that decompress pages open no path.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "model/image.h"

namespace stasis::resource {

struct Identity {
  u32 uid = 0, gid = 0;  // effective ones
  std::vector<u32> groups;
  u64 capabilities = 0;  // effective ones

  bool operator==(const Identity&) const = default;
};
Result<Identity> own_identity();

// Whose rights the resources of one image are used with. Empty: everywhere our own.
struct Rights {
  // Of each resource: whoever holds it, the less privileged ones if holders differ. All of them
  // must be able to open what has a path; what is made belongs to the first.
  std::vector<std::vector<Identity>> resources;
  std::vector<Identity> processes;  // for working directories

  // The one identity of all processes, if there is only one.
  [[nodiscard]] const Identity* only() const;
};

// `ours` is what we are; capabilities of a process count only as far as we have them, and not at
// all unless `honour_capabilities`. With `trusted` (root's own image) a file that nobody but root
// can have replaced (see is_roots_alone) is opened as root.
Rights rights_of(const model::Image& image, const Identity& ours, bool honour_capabilities,
                 bool trusted);

// Whether the path leads, without any link, through directories that only root can change to a
// thing with this device and inode.
bool is_roots_alone(const std::string& path, u64 device, u64 inode);

// While it lives, this thread acts as somebody. Not being able to return ends the program.
class Acting {
 public:
  static Result<Acting> as(const Identity& identity);
  Acting() = default;
  Acting(Acting&& other) noexcept;
  Acting& operator=(Acting&&) = delete;
  ~Acting();

 private:
  Identity before_;
  bool changed_ = false;
  int dumpable_ = 1;
};

}  // namespace stasis::resource
