// The side that holds the processes: it is never in a wait that it does not leave some times a
// second. The writer is forked from us with the model in its memory, and reads the pages itself:
// nothing but words goes through us. Where it may not (a page that only a tracer may read), it
// asks.
#include "engine/writer.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/sys.h"

namespace stasis::engine {
namespace {

constexpr int kTickMs = 50;

Error ended_error(std::string_view how) {
  return fail(EIO, fmt::format("the process that writes the context file {}", how),
              "the program goes on as before");
}

}  // namespace

Result<Writer> Writer::start(format::Destination& destination, model::Image& image,
                             model::PageSource& pages, const format::WriteOptions& options) {
  Channel::Pair pair = TRY(Channel::make());
  const Pid owner = ::getpid();
  const Pid pid = TRY(sys::check(::fork(), "create", "a process that writes the context file")
                          .context("cannot save"));
  if (pid == 0) {
    pair.ours.close();
    run_writer(pair.theirs, owner, destination, image, pages, options);
  }
  pair.theirs.close();
  return Writer(std::move(pair.ours), pid, destination, pages);
}

Writer::Writer(Writer&& other) noexcept
    : channel_(std::move(other.channel_)),
      pid_(std::exchange(other.pid_, 0)),
      destination_(other.destination_),
      pages_(other.pages_) {}

Writer::~Writer() {
  end();
}

// A process that hangs in the kernel (a disk, a server) dies when that lets go of it; it is not
// waited for.
void Writer::end() {
  constexpr int kPatienceMs = 1000;
  if (pid_ == 0) return;
  channel_.close();
  (void)::kill(pid_, SIGKILL);  // our child, not waited for: the number is its own
  for (int waited = 0; waited < kPatienceMs; ++waited) {
    if (::waitpid(pid_, nullptr, WNOHANG) != 0) break;
    constexpr timespec kPause = {.tv_sec = 0, .tv_nsec = 1'000'000};
    (void)::nanosleep(&kPause, nullptr);  // waking early is harmless
  }
  pid_ = 0;
}

bool Writer::is_stopped() const {
  siginfo_t info = {};
  const int flags = WSTOPPED | WNOHANG | WNOWAIT;
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, flags) == 0 && info.si_pid != 0;
}

// Its end of the channel is closed: it is dead, or dying.
Error Writer::how_it_ended() {
  siginfo_t info = {};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0) return ended_error("is gone");
  pid_ = 0;
  if (info.si_code == CLD_EXITED) {
    return ended_error(fmt::format("has exited with {}", info.si_status));
  }
  return ended_error(fmt::format(
      "was killed by signal {}{}", info.si_status,
      info.si_status == SIGKILL ? " (by hand, or by the kernel for want of memory)" : ""));
}

Result<void> Writer::serve(ByteView question) {
  const auto space = unpack_object<model::SpaceIndex>(question);
  question = question.subspan(std::min(sizeof space, question.size()));
  std::vector<model::Run> runs(question.size() / sizeof(model::Run));
  u64 length = 0;
  for (model::Run& run : runs) {
    run = unpack_object<model::Run>(question);
    question = question.subspan(sizeof run);
    length += run.length;
  }
  Bytes pages(length);
  const auto read = pages_.read(space, runs, pages);
  if (!read) return channel_.send(Channel::Kind::kNoPages, pack(read.error()));
  return channel_.send(Channel::Kind::kPages, pages);
}

// Waits for a message of a kind, or an error, and serves all others meanwhile.
Result<Channel::Message> Writer::await(Channel::Kind wanted, const KeepGoing& keep_going) {
  while (true) {
    pollfd ready = {.fd = channel_.fd(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, kTickMs) <= 0) {  // a signal is as good as a tick
      if (is_stopped()) return ended_error("was stopped by a signal");
      if (!keep_going(progress_.done, progress_.total)) return fail(ECANCELED, "stopped as asked");
      continue;
    }
    auto message = channel_.receive();
    if (!message && message.error().code == EPIPE) return how_it_ended();
    if (!message && message.error().code == ECONNRESET) return how_it_ended();
    if (!message || message->kind == wanted) return message;
    if (message->kind == Channel::Kind::kFailed) return unpack_error(message->bytes);
    if (message->kind == Channel::Kind::kAsk) TRY(serve(message->bytes));
    if (message->kind == Channel::Kind::kProgress) {
      progress_ = unpack_object<Channel::Progress>(message->bytes);
      if (!keep_going(progress_.done, progress_.total)) return fail(ECANCELED, "stopped as asked");
    }
  }
}

Result<format::WriteReport> Writer::written(const KeepGoing& keep_going) {
  const auto message = TRY(await(Channel::Kind::kWritten, keep_going));
  return unpack_object<format::WriteReport>(message.bytes);
}

Result<void> Writer::commit(const KeepGoing& keep_going) {
  const auto told = channel_.send(Channel::Kind::kCommit);
  if (!told) return how_it_ended();
  TRY(await(Channel::Kind::kCommitted, keep_going));
  destination_.disown();
  end();
  return {};
}

}  // namespace stasis::engine
