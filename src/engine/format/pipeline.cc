// Frames in parallel, results in order.
#include "format/pipeline.h"

#include <sched.h>

#include <algorithm>
#include <csignal>
#include <exception>

#include "base/guard.h"

namespace stasis::format {
namespace {

constexpr size_t kMinBatchesForThreads = 3;  // below it, starting threads costs more than it gives

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;  // more CPUs than cpu_set_t holds
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

}  // namespace

Pipeline::Pipeline(const Plan& plan, const FileAreas& areas, model::PageSource& pages,
                   const WriteOptions& options)
    : plan_(plan), areas_(areas), pages_(pages), options_(options) {
  unsigned workers = options.workers == 0 ? usable_cpus() : options.workers;
  workers = static_cast<unsigned>(std::min<size_t>(workers, plan.batches.size()));
  slots_.resize(std::max<size_t>(1, workers * 2));
  if (workers > 1 && plan.batches.size() >= kMinBatchesForThreads) start(workers);
  if (threads_.empty()) own_maker_.emplace(plan_, areas_, pages_, options_);
}

// No thread to be had (limits of the user, or memory) is no reason to fail. Signals stay the
// consumer's.
void Pipeline::start(unsigned workers) {
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  try {
    for (unsigned i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::exception&) {
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

Pipeline::~Pipeline() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  for (std::thread& each : threads_) each.join();
}

std::optional<size_t> Pipeline::claim() {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] {
    return stop_ || claimed_ == plan_.batches.size() || claimed_ < consumed_ + slots_.size();
  });
  if (stop_ || claimed_ == plan_.batches.size()) return std::nullopt;
  return claimed_++;
}

void Pipeline::work() {
  std::optional<FrameMaker> maker;
  while (const auto batch = claim()) {
    Slot& mine = slot(*batch);
    auto made = guarded("write page frames", [&] {
      if (!maker) maker.emplace(plan_, areas_, pages_, options_);
      return maker->make(plan_.batches[*batch], mine.frame);
    });
    {
      const std::lock_guard lock(mutex_);
      mine.made = std::move(made);
    }
    made_.notify_one();
  }
}

Result<const Frame*> Pipeline::next() {
  const size_t batch = wanted_++;
  if (own_maker_) {
    TRY(own_maker_->make(plan_.batches[batch], slots_[0].frame));
    return &slots_[0].frame;
  }
  std::unique_lock lock(mutex_);
  if (batch > 0) {
    slot(batch - 1).made.reset();
    consumed_ = batch;
    room_.notify_one();
  }
  Slot& wanted = slot(batch);
  made_.wait(lock, [&] { return wanted.made.has_value(); });
  TRY(*wanted.made);
  return &wanted.frame;
}

}  // namespace stasis::format
