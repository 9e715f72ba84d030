// Workers that make frames side by side, and one consumer that gets them in order. Memory is
// bounded: a worker may run ahead of the consumer by a few frames only.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "format/frame_maker.h"

namespace stasis::format {

class Pipeline {
 public:
  // Without a thread (one batch, one worker asked for, or none to be had) the consumer does the
  // work itself.
  Pipeline(const Plan& plan, const FileAreas& areas, model::PageSource& pages,
           const WriteOptions& options);
  ~Pipeline();  // stops the workers, whatever they are at
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // The next frame in order, valid until the next call. Call it once for every batch.
  Result<const Frame*> next();

 private:
  struct Slot {
    Frame frame;
    std::optional<Result<void>> made;  // set once the frame is there
  };

  void start(unsigned workers);
  void work();
  std::optional<size_t> claim();
  Slot& slot(size_t batch) { return slots_[batch % slots_.size()]; }

  const Plan& plan_;
  const FileAreas& areas_;
  model::PageSource& pages_;
  const WriteOptions& options_;
  std::vector<Slot> slots_;
  std::optional<FrameMaker> own_maker_;  // of the consumer, when there are no workers

  std::mutex mutex_;  // guards all below, and which slots are whose
  std::condition_variable made_, room_;
  size_t claimed_ = 0;   // batches that a worker took
  size_t consumed_ = 0;  // batches whose slot is free again
  size_t wanted_ = 0;    // batch that next() returns next
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace stasis::format
