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
#include "base/unique_fd.h"
#include "model/image.h"

namespace stasis::resource {

struct Identity {
  u32 uid = 0, gid = 0;  // effective ones
  std::vector<u32> groups;
  u64 capabilities = 0;  // effective ones

  bool operator==(const Identity&) const = default;
};
Result<Identity> own_identity();

class Acting;

// How a thing is made again that no path leads to (contents, a memfd, a pipe). Who owns a thing may
// do more than a descriptor allows: change its permissions and open it once more.
struct Making {
  // Only in root's image: we make it and give it to its saved owner; its holders get descriptors
  // with the saved access modes. Else its first holder makes it, with rights of his own.
  bool by_root = false;
  bool several_users = false;  // processes of several users hold it
};

// Whose rights the resources of one image are used with. Empty: everywhere our own.
struct Rights {
  // Of each resource: whoever holds it, the less privileged ones if holders differ. All of them
  // must be able to open what has a path.
  std::vector<std::vector<Identity>> resources;
  std::vector<Making> making;       // of each resource
  Identity ours;                    // what we were when it was decided
  std::vector<Identity> processes;  // for working directories

  // The one identity of all processes, if there is only one.
  [[nodiscard]] const Identity* only() const;
  [[nodiscard]] Making making_of(size_t resource) const;
  // Acts as the first holder of the resource, with whose rights its path is looked up; and as who
  // makes it. As before where nobody decided.
  [[nodiscard]] Result<Acting> act_for_holder(size_t resource) const;
  [[nodiscard]] Result<Acting> act_to_make(size_t resource) const;
};

// `ours` is what we are; capabilities of a process count only as far as we have them, and not at
// all unless `honour_capabilities`. With `trusted` (root's own image) a file that nobody but root
// can have replaced (see is_roots_alone) is opened as root.
Rights rights_of(const model::Image& image, const Identity& ours, bool honour_capabilities,
                 bool trusted);

// Whether the path leads, without any link, through directories that only root can change to a
// thing with this device and inode.
bool is_roots_alone(const std::string& path, u64 device, u64 inode);

// A descriptor (O_PATH) of the directory at `path`, reached without any link through directories of
// root's in which nobody else can replace what is there: others may not write, or only as in /tmp.
Result<UniqueFd> open_roots_folder(const std::string& path);

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
