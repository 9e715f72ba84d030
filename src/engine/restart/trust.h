// Whether an image is believed: an image is worth what its owner is worth. An ordinary user
// restarts whatever he likes, as it gets his own rights only. Root would lend others' rights to
// what somebody wrote into a file, so that root restarts only images that root owns, and images
// that the one user of all their processes owns, who then gets nothing that he could not have had
// by himself. docs/security.md says it for people. Pure: all facts are given.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/image.h"

namespace stasis::restart {

// Where the image comes from, by fstat of the descriptor that it is read from.
struct ImageSource {
  bool is_file = false;  // a regular file; else a pipe or a socket, whose maker counts as owner
  u32 owner = 0;
  u32 mode = 0;
  bool open_for_writing = false;  // by another process, as far as root can know
  bool forgeable_owner = false;   // its file system says whatever somebody else made it say
};
ImageSource source_of(int fd);

// Who restarts.
struct Caller {
  u32 real = 0, effective = 0;
  bool other_group = false;  // the effective group id is not the real one
  bool by_file = false;  // its rights come from the command's file: set-id bits, file capabilities
};
Caller this_caller();

// All groups of a user by the system's database; nullopt: there is no such user.
using GroupsOfUser = std::function<std::optional<std::vector<u32>>(u32 uid)>;
std::optional<std::vector<u32>> groups_of_user(u32 uid);

struct Trust {
  // Everything in the image counts, also what only root can give: root's own image, or one that an
  // ordinary user restarts, for whom the kernel decides. False: see above.
  bool full = true;
  bool honour_capabilities = true;
  std::vector<Refusal> refusals;
  std::vector<std::string> notes;
};
Trust judge(const model::Image& image, const ImageSource& source, const Caller& caller,
            const GroupsOfUser& groups_of);

}  // namespace stasis::restart
