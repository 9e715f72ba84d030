// Character devices that are the same for everybody and hold no state: null, zero, full, random,
// urandom. All others are refused by name (refuse.cc); terminals have their own file.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>

#include "base/open.h"
#include "base/sys.h"
#include "resource/kinds.h"
#include "resource/reopen.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

using model::Device;

constexpr unsigned kMemoryMajor = 1;  // Documentation/admin-guide/devices.txt
constexpr std::array<unsigned, 5> kHarmless = {3, 5, 7, 8, 9};  // null zero full random urandom
constexpr std::array<const char*, 5> kNames = {"null", "zero", "full", "random", "urandom"};

bool is_harmless(u64 number) {
  return major(number) == kMemoryMajor &&
         std::ranges::find(kHarmless, minor(number)) != kHarmless.end();
}

bool recognises(const FdFacts& facts) {
  return S_ISCHR(facts.status.st_mode) && is_harmless(facts.status.st_rdev);
}

std::string identity(const FdFacts& facts) {
  return fmt::format("device:{}:{}", facts.status.st_rdev, facts.link);
}

Result<model::Resource> capture(const FdFacts& facts, CaptureContext&) {
  return model::Resource(Device{facts.link, facts.status.st_rdev});
}

bool is_device(const std::string& path, u64 number) {
  const auto status = sys::stat(path);
  // An image may say anything; opening another device may do anything.
  return is_harmless(number) && status.ok() && S_ISCHR(status->st_mode) &&
         status->st_rdev == number;
}

// The saved path, or the usual one if that is another file now (a container's own /dev, a chroot).
std::string find(const Device& device, const RestoreContext& context) {
  const std::string saved = context.relocate(device.path);
  if (is_device(saved, device.number)) return saved;
  for (size_t i = 0; i < kHarmless.size(); ++i) {
    const std::string usual = fmt::format("/dev/{}", kNames[i]);
    if (minor(device.number) == kHarmless[i] && is_device(usual, device.number)) return usual;
  }
  return {};
}

int device_flags(u32 saved) {
  return static_cast<int>(saved & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC)) |
         O_NOCTTY;
}

std::vector<Refusal> restore_obstacles(const model::Resource& resource,
                                       const RestoreContext& context) {
  const auto& device = std::get<Device>(resource);
  const std::string path = find(device, context);
  const std::string subject = subject_of(context.image, resource, device.path);
  for (const u32 flags : flags_of(context.image, resource)) {
    const auto obstacle =
        path.empty() ? std::nullopt : reopen_obstacle(path, device_flags(flags), S_IFCHR);
    if (!obstacle) continue;
    return {{subject, obstacle->message(), "check the permissions of the device", obstacle->code}};
  }
  if (!path.empty()) return {};
  return {{subject,
           fmt::format("there is no character device {}:{} here", major(device.number),
                       minor(device.number)),
           ""}};
}

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& device = std::get<Device>(context.image.resources[open_file.resource]);
  const std::string subject = subject_of(context.image, index, device.path);
  const int flags = device_flags(open_file.flags);
  UniqueFd fd = TRY(sys::open_of_type(find(device, context), flags, S_IFCHR).context(subject));
  if (!is_harmless(TRY(sys::fstat(fd.get())).st_rdev)) {
    return fail(ESTALE, fmt::format("{}: it was replaced just now", subject));
  }
  return fd;
}

}  // namespace

const Handler kDeviceHandler = {
    .kind = Device::kKind,
    .recognises = recognises,
    .obstacle = [](const FdFacts&, CaptureContext&) { return std::optional<Refusal>(); },
    .identity = identity,
    .capture = capture,
    .restore_obstacles = restore_obstacles,
    .create = create,
    .settle = nullptr};

}  // namespace stasis::resource
