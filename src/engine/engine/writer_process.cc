// The side that writes. It has a copy of everything the other side has, descriptors and objects
// alike, and must use none but the model, the pages and the destination: a freeze that is let go
// here, or a handshake that is given up, would be that of the other side. So it leaves by _exit().
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <mutex>

#include "base/guard.h"
#include "base/sys.h"
#include "engine/writer.h"
#include "proc/status.h"

namespace stasis::engine {
namespace {

using Kind = Channel::Kind;
using Clock = std::chrono::steady_clock;

// Reads what it can by itself and asks for the rest.
class PagesOrQuestions : public model::PageSource {
 public:
  PagesOrQuestions(model::PageSource& pages, const Channel& channel)
      : pages_(pages), channel_(channel) {}

  Result<void> read(model::SpaceIndex space, std::span<const model::Run> runs,
                    ByteSpan out) override {
    auto direct = pages_.read(space, runs, out);
    return direct.ok() ? std::move(direct) : ask(space, runs, out);
  }

  void tell_progress(u64 done, u64 total) {
    const std::scoped_lock lock(mutex_);
    const Channel::Progress progress{done, total};
    (void)channel_.send(Kind::kProgress, pack_object(progress));  // its end is seen elsewhere
  }

 private:
  Result<void> ask(model::SpaceIndex space, std::span<const model::Run> runs, ByteSpan out) {
    const std::scoped_lock lock(mutex_);
    Bytes question(sizeof space + runs.size_bytes());
    std::memcpy(question.data(), &space, sizeof space);
    std::memcpy(question.data() + sizeof space, runs.data(), runs.size_bytes());
    TRY(channel_.send(Kind::kAsk, question));
    const auto answer = TRY(channel_.receive());
    if (answer.kind != Kind::kPages) return unpack_error(answer.bytes);
    if (answer.bytes.size() != out.size()) return fail(EINVAL, "less room than pages to read");
    std::memcpy(out.data(), answer.bytes.data(), out.size());
    return {};
  }

  model::PageSource& pages_;
  const Channel& channel_;
  std::mutex mutex_;  // one message, or one question with its answer, at a time
};

// Whether whoever holds the processes is still there, looked at some times a second. Stopped by a
// signal, it would hold them for ever: it is continued.
class OwnerWatch {
 public:
  explicit OwnerWatch(Pid owner) : owner_(owner) {}
  [[nodiscard]] bool is_alive() const { return ::getppid() == owner_; }
  // True when it was time for a look.
  bool look() {
    constexpr auto kEvery = std::chrono::milliseconds(100);
    if (Clock::now() < next_) return false;
    next_ = Clock::now() + kEvery;
    const auto stat = proc::read_stat(owner_);
    if (stat.ok() && stat->state == 'T' && is_alive()) (void)::kill(owner_, SIGCONT);
    return true;
  }

 private:
  Pid owner_;
  Clock::time_point next_ = Clock::now();
};

// Ours is the memory that the kernel should take back first, and no core file should hold it.
void be_expendable() {
  constexpr std::string_view kFirst = "900";
  (void)::prctl(PR_SET_NAME, "stasis-writer", 0, 0, 0);  // cannot fail
  const auto now = sys::read_file("/proc/self/oom_score_adj");
  const bool already = now.ok() && now->size() > kFirst.size();  // "1000"
  if (!already) (void)sys::write_file("/proc/self/oom_score_adj", kFirst);
  const rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};
  (void)::setrlimit(RLIMIT_CORE, &no_core);  // lowering is always allowed
}

Result<void> work(const Channel& channel, Pid owner, format::Destination& destination,
                  model::Image& image, model::PageSource& pages, format::WriteOptions options) {
  PagesOrQuestions source(pages, channel);
  OwnerWatch watch(owner);
  options.progress = [&](u64 done, u64 total) {
    if (watch.look()) source.tell_progress(done, total);
    return watch.is_alive();
  };
  const auto report = TRY(format::write_image(destination.fd(), image, source, options));
  TRY(channel.send(Kind::kWritten, pack_object(report)));
  pollfd ready = {.fd = channel.fd(), .events = POLLIN, .revents = 0};
  while (::poll(&ready, 1, 100) <= 0) (void)watch.look();
  const auto order = TRY(channel.receive());
  if (order.kind != Kind::kCommit) return fail(EINVAL, "an unknown order");
  TRY(destination.commit());
  return channel.send(Kind::kCommitted);
}

}  // namespace

void run_writer(const Channel& channel, Pid owner, format::Destination& destination,
                model::Image& image, model::PageSource& pages,
                const format::WriteOptions& options) {
  be_expendable();
  const auto done = guarded("write the context file", [&] {
    return work(channel, owner, destination, image, pages, options);
  });
  if (!done) {
    (void)channel.send(Kind::kFailed, pack(done.error()));
    // Otherwise it is the owner's to remove, when we are dead.
    if (::getppid() != owner) destination.discard();
  }
  ::_exit(done.ok() ? 0 : 1);
}

}  // namespace stasis::engine
