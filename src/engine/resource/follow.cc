// Following cr_restart's descriptors. What is shared with cr_restart is never changed here: its
// flags belong to whoever else has that terminal or pipe.
#include "resource/follow.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/sys.h"
#include "resource/path.h"
#include "resource/restore.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

bool can_be_opened_again(int number) {
  const auto status = sys::fstat(number);
  return status.ok() && (S_ISCHR(status->st_mode) || S_ISFIFO(status->st_mode));
}

// Gives descriptor `number` an open file of its own if cr_restart's is another one than for
// `first`.
bool must_separate(int first, int number) {
  if (number == first || !requester_has(number)) return false;
  const Pid self = ::getpid();
  const auto same = sys::same_open_file(self, first, self, number);
  return same.ok() && !*same;
}

}  // namespace

bool requester_has(int number) {
  const int flags = ::fcntl(number, F_GETFD);
  return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

std::vector<int> numbers_of(const model::Image& image, model::OpenFileIndex open_file) {
  std::set<int> numbers;
  for (const model::Process& process : image.processes) {
    for (const model::Descriptor& descriptor : process.descriptors) {
      if (descriptor.open_file == open_file) numbers.insert(descriptor.number);
    }
  }
  return {numbers.begin(), numbers.end()};
}

std::optional<int> followed_number(const model::Image& image, model::OpenFileIndex open_file) {
  for (const int number : numbers_of(image, open_file)) {
    if (requester_has(number)) return number;
  }
  return std::nullopt;
}

Result<UniqueFd> follow(int number, u32 flags, const std::string& subject,
                        RestoreContext& context) {
  const int have = TRY(sys::check(::fcntl(number, F_GETFL), "look at", subject));
  const auto saved = static_cast<int>(flags);
  if (((have ^ saved) & O_NONBLOCK) == 0) return sys::duplicate(number);
  if (can_be_opened_again(number)) {
    const int wanted = (have & O_ACCMODE) | (saved & (O_NONBLOCK | O_APPEND)) | O_NOCTTY;
    auto own = sys::open(fd_path(number), wanted);
    if (own) return own;
  }
  context.notes.push_back(fmt::format("{} shares cr_restart's descriptor {}, which {} block",
                                      subject, number,
                                      (have & O_NONBLOCK) != 0 ? "does not" : "does"));
  return sys::duplicate(number);
}

bool follows_requester(const model::Resource& resource) {
  if (std::holds_alternative<model::Terminal>(resource)) return true;
  const auto* pipe = std::get_if<model::Pipe>(&resource);
  return pipe != nullptr && pipe->external;
}

void separate_followers(model::Image& image) {
  const auto count = static_cast<model::OpenFileIndex>(image.open_files.size());
  for (model::OpenFileIndex index = 0; index < count; ++index) {
    if (!follows_requester(image.resources[image.open_files[index].resource])) continue;
    const auto first = followed_number(image, index);
    if (!first) continue;
    for (const int number : numbers_of(image, index)) {
      if (!must_separate(*first, number)) continue;
      const auto own = static_cast<model::OpenFileIndex>(image.open_files.size());
      image.open_files.push_back(image.open_files[index]);
      for (model::Process& process : image.processes) {
        for (model::Descriptor& descriptor : process.descriptors) {
          const bool here = descriptor.open_file == index && descriptor.number == number;
          if (here) descriptor.open_file = own;
        }
      }
    }
  }
}

}  // namespace stasis::resource
