// Writer: a process of its own that compresses and writes an image, while this one only holds the
// processes still. It is the one that grows, that a full disk or a pipe without reader makes wait,
// and that the kernel kills first where memory is short: whatever becomes of it, we are awake and
// let the processes go. In turn it removes the file when we are gone, and continues us when
// somebody has stopped us.
#pragma once

#include <functional>

#include "base/result.h"
#include "base/types.h"
#include "engine/writer_channel.h"
#include "format/destination.h"
#include "format/image_file.h"

namespace stasis::engine {

class Writer {
 public:
  // Asked some times a second with what is written and what there is; false ends the work
  // (ECANCELED).
  using KeepGoing = std::function<bool(u64 done, u64 total)>;

  // Begins to write `image` to `destination`, which is not committed before commit(). All of the
  // arguments must outlive this. The processes behind `pages` must not run before written() has
  // returned.
  static Result<Writer> start(format::Destination& destination, model::Image& image,
                              model::PageSource& pages, const format::WriteOptions& options);
  Writer(Writer&& other) noexcept;
  Writer& operator=(Writer&&) = delete;
  ~Writer();  // ends it; the file is then the destination's owner's to remove

  // Waits for the image to be complete, serving pages that the writer may not read.
  Result<format::WriteReport> written(const KeepGoing& keep_going);
  // Lets the file appear under its name, and waits for it. Afterwards `destination` owns nothing.
  Result<void> commit(const KeepGoing& keep_going);

 private:
  Writer(Channel channel, Pid pid, format::Destination& destination, model::PageSource& pages)
      : channel_(std::move(channel)), pid_(pid), destination_(destination), pages_(pages) {}

  Result<Channel::Message> await(Channel::Kind wanted, const KeepGoing& keep_going);
  Result<void> serve(ByteView question);
  [[nodiscard]] Error how_it_ended();
  [[nodiscard]] bool is_stopped() const;
  void end();

  Channel channel_;
  Pid pid_;
  format::Destination& destination_;
  model::PageSource& pages_;
  Channel::Progress progress_;
};

// What runs in the new process. Does not return.
[[noreturn]] void run_writer(const Channel& channel, Pid owner, format::Destination& destination,
                             model::Image& image, model::PageSource& pages,
                             const format::WriteOptions& options);

}  // namespace stasis::engine
