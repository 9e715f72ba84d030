// The lock itself. The descriptor of the image will not do: who gave it to us may hold it longer
// than the processes live.
#include "engine/image_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include <cerrno>

#include "base/log.h"
#include "base/sys.h"

namespace stasis::engine {
namespace {

// An init whose last process has just ended needs a moment to end as well.
constexpr int kLooks = 400;
constexpr long kLookAgainNs = 2'500'000;

// EWOULDBLOCK, another errno, or 0.
int try_lock(int file, int how) {
  return ::flock(file, how | LOCK_NB) == 0 ? 0 : sys::last_code();
}

int lock_alone(int file) {
  int code = try_lock(file, LOCK_EX);
  for (int look = 0; code == EWOULDBLOCK && look < kLooks; ++look) {
    const timespec pause = {.tv_sec = 0, .tv_nsec = kLookAgainNs};
    (void)::nanosleep(&pause, nullptr);  // waking early is harmless
    code = try_lock(file, LOCK_EX);
  }
  return code;
}

Error busy(int file, const std::string& name) {
  // Who works holds it alone, who only lives shares it.
  if (try_lock(file, LOCK_SH) != 0) {
    return fail(EBUSY, fmt::format("another cr_restart is at work on {}", name),
                "Wait for that one to end.");
  }
  return fail(EBUSY,
              fmt::format("{} has been restarted already, and its processes live in namespaces of "
                          "their own",
                          name),
              "--namespaces restarts it once more beside them, --no-restore-pid with new ids");
}

}  // namespace

Result<ImageLock> ImageLock::take(int image, const std::string& name, bool alone) {
  ImageLock lock;
  struct stat status = {};
  if (::fstat(image, &status) != 0 || !S_ISREG(status.st_mode)) return lock;
  auto file = sys::open(fmt::format("/proc/self/fd/{}", image), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) {
    log::debug("{} is not locked: {}", name, file.error().message());
    return lock;
  }
  const int code = alone ? lock_alone(file->get()) : try_lock(file->get(), LOCK_SH);
  if (code == EWOULDBLOCK && alone) return busy(file->get(), name);
  // One that is at work elsewhere, which must not hinder us, may be over when share() is called.
  if (code != 0 && code != EWOULDBLOCK) {
    log::debug("{} is not locked: errno {}", name, code);
    return lock;
  }
  lock.file_ = std::move(*file);
  return lock;
}

void ImageLock::share() {
  if (file_) (void)try_lock(file_.get(), LOCK_SH);  // at worst others do not see us
}

}  // namespace stasis::engine
