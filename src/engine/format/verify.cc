// verify and check_frames: every frame of an opened file, by several threads.
#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "base/guard.h"
#include "format/file_pages.h"

namespace stasis::format {
namespace {

class Checker {
 public:
  Checker(FilePages& pages, bool contents) : pages_(pages), contents_(contents) {}

  Result<u64> run() {
    const size_t most = std::min<size_t>(std::thread::hardware_concurrency(), pages_.frames() / 4);
    std::vector<std::thread> threads;
    try {
      while (threads.size() + 1 < most) threads.emplace_back([this] { work(); });
    } catch (const std::exception&) {  // no thread to be had, or no memory for it: fewer do
    }
    work();
    for (std::thread& each : threads) each.join();
    if (failed_) return std::move(*failed_).take_error();
    return bytes_.load();
  }

 private:
  void work() {
    for (size_t frame = next_++; frame < pages_.frames(); frame = next_++) {
      auto checked =
          guarded("check the page frames", [&] { return pages_.check_frame(frame, contents_); });
      if (checked) {
        bytes_ += *checked;
        continue;
      }
      next_ = pages_.frames();
      const std::lock_guard lock(mutex_);
      if (!failed_) failed_ = std::move(checked);
    }
  }

  FilePages& pages_;
  bool contents_;
  std::atomic<size_t> next_ = 0;
  std::atomic<u64> bytes_ = 0;
  std::mutex mutex_;  // guards failed_
  std::optional<Result<u64>> failed_;
};

// open_image makes no other kind of source.
FilePages& file_pages(OpenedImage& opened) {
  return static_cast<FilePages&>(*opened.pages);
}

}  // namespace

Result<u64> verify(OpenedImage& opened) {
  return Checker(file_pages(opened), true).run();
}

Result<u64> check_frames(OpenedImage& opened) {
  return Checker(file_pages(opened), false).run();
}

}  // namespace stasis::format
