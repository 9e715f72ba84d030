// imageedit FROM TO CHANGE...: a context file with other contents of its model and right checksums,
// as somebody would forge it. Changes, for all processes unless a path is named:
//   uids=N gids=N groups=N,N capabilities=N securebits=N no-ids
//   cwd=PATH nice=N fifo-priority=N io-priority=N oom=N limit=WHICH:N alarm-clock
//   sigio=PID            every open file sends SIGKILL to that process
//   path=OLD:NEW mode=PATH:N owner=PATH:N
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "base/sys.h"
#include "format/image_file.h"

namespace stasis {
namespace {

u64 number(const std::string& text) {
  return std::strtoull(text.c_str(), nullptr, 0);
}

std::vector<u32> numbers(const std::string& text) {
  std::vector<u32> all;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    all.push_back(static_cast<u32>(number(text.substr(at, end - at))));
    at = end + 1;
  }
  return all;
}

void change_credentials(model::Credentials& who, const std::string& what, const std::string& to) {
  const auto value = static_cast<u32>(number(to));
  if (what == "uids") who.uids.assign(4, value);
  if (what == "gids") who.gids.assign(4, value);
  if (what == "groups") who.groups = numbers(to);
  if (what == "capabilities") who.permitted = who.effective = number(to);
  if (what == "securebits") who.securebits = value;
  if (what == "no-ids") who.uids = who.gids = {};
}

void change_process(model::Process& process, const std::string& what, const std::string& to) {
  change_credentials(process.credentials, what, to);
  if (what == "cwd") process.working_directory = to;
  if (what == "oom") process.oom_score_adj = static_cast<i32>(std::atoi(to.c_str()));
  if (what == "limit") {
    for (model::ResourceLimit& limit : process.limits) {
      if (limit.which == std::atoi(to.c_str())) limit.hard = number(to.substr(to.find(':') + 1));
    }
  }
  if (what == "alarm-clock") {
    constexpr i32 kBoottimeAlarm = 9;
    process.posix_timers.push_back({.clock = kBoottimeAlarm, .notify = 1});
    process.next_timer_id = 1;
  }
  for (model::Thread& thread : process.threads) {
    model::Scheduling& scheduling = thread.scheduling;
    if (what == "nice") scheduling.nice = std::atoi(to.c_str());
    if (what == "io-priority") scheduling.io_priority = static_cast<u32>(number(to));
    if (what == "fifo-priority") {
      scheduling.policy = SCHED_FIFO;
      scheduling.priority = static_cast<u32>(number(to));
      scheduling.runtime_ns = 0;
    }
  }
}

std::string* path_of(model::Resource& resource) {
  if (auto* file = std::get_if<model::RegularFile>(&resource)) return &file->path;
  if (auto* directory = std::get_if<model::Directory>(&resource)) return &directory->path;
  if (auto* pipe = std::get_if<model::Pipe>(&resource)) return &pipe->path;
  return nullptr;
}

void change_resource(model::Resource& resource, const std::string& what, const std::string& value) {
  const auto value32 = static_cast<u32>(number(value));
  if (what == "path") *path_of(resource) = value;
  auto* file = std::get_if<model::RegularFile>(&resource);
  auto* pipe = std::get_if<model::Pipe>(&resource);
  if (what == "mode" && file != nullptr) file->identity.mode = value32;
  if (what == "mode" && pipe != nullptr) pipe->mode = value32;
  if (what == "owner" && file != nullptr) file->identity.uid = file->identity.gid = value32;
  if (what == "owner" && pipe != nullptr) pipe->uid = pipe->gid = value32;
}

void change(model::Image& image, const std::string& text) {
  const size_t equals = std::min(text.find('='), text.size());
  const std::string what = text.substr(0, equals);
  const std::string to = equals < text.size() ? text.substr(equals + 1) : "";
  for (model::Process& process : image.processes) change_process(process, what, to);
  const size_t colon = to.find(':');
  for (model::Resource& resource : image.resources) {
    const std::string* path = path_of(resource);
    if (colon == std::string::npos || path == nullptr || *path != to.substr(0, colon)) continue;
    change_resource(resource, what, to.substr(colon + 1));
  }
  for (model::OpenFile& file : image.open_files) {
    if (what != "sigio") continue;
    file.owner_type = 1;  // F_OWNER_PID
    file.owner = static_cast<i32>(number(to));
    file.signal = 9;
  }
}

Result<void> edit(std::span<char* const> words) {
  auto opened = TRY(format::open_image(TRY(sys::open(words[1], O_RDONLY))));
  for (char* const word : words.subspan(3)) change(opened.image, word);
  const UniqueFd out = TRY(sys::open(words[2], O_WRONLY | O_CREAT | O_TRUNC, 0600));
  TRY(format::write_image(out.get(), opened.image, *opened.pages,
                          {.compression = opened.compression}));
  return {};
}

}  // namespace
}  // namespace stasis

int main(int argc, char** argv) {
  const std::span<char* const> words(argv, static_cast<size_t>(argc));
  if (words.size() < 3) return 2;
  const auto done = stasis::edit(words);
  if (!done) fmt::print(stderr, "imageedit: {}\n", done.error().message());
  return done ? 0 : 1;
}
