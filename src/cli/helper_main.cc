// cr_helper: the process that does the work of cr_request_checkpoint() and cr_request_restart().
// libcr starts it (include/stasis/request.h tells how); it is no command for people. Prints
// nothing: what is to be said goes into the pipe to libcr.
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <limits>

#include "apart.h"
#include "backtrace/backtrace.h"
#include "base/guard.h"
#include "base/sys.h"
#include "cancel.h"
#include "helper_reply.h"
#include "program.h"
#include "requests.h"
#include "stasis/request.h"

namespace stasis::cli {
namespace {

// What libcr says in front of the options.
struct Head {
  std::string_view what;  // "checkpoint" or "restart"
  Pid requester = 0;
  bool early = false, not_self = false;
  Words options;
};

// Numbers 0 to 2 must not be taken by files of ours. Close-on-exec, they count as not given.
void fill_standard_descriptors() {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    if (::fcntl(number, F_GETFD) < 0) (void)::open("/dev/null", O_RDWR | O_CLOEXEC);
  }
}

void set_up_process() {
  fill_standard_descriptors();
  spdlog::set_level(spdlog::level::off);
  // A requester or reader that goes away, or a file size limit, is an error to be told, not a
  // death.
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);  // fails only for a bad `how`
}

// The pipe under a number that restarted processes do not see.
Result<UniqueFd> take_pipe(int number) {
  UniqueFd pipe = TRY(sys::duplicate(number, 3));
  (void)::close(number);
  fill_standard_descriptors();  // the number was a standard one, if the requester had that closed
  return pipe;
}

Result<Head> read_head(Words words) {
  constexpr long kMax = std::numeric_limits<int>::max();
  Head head{.what = words[0],
            .requester = static_cast<Pid>(TRY(parse_number(words[2], 1, kMax, "requester"))),
            .options = words.subspan(3)};
  for (; !head.options.empty(); head.options = head.options.subspan(1)) {
    const std::string_view word = head.options[0];
    if (word == CRI_HELPER_EARLY) {
      head.early = true;
    } else if (word == CRI_HELPER_NOT_SELF) {
      head.not_self = true;
    } else {
      break;
    }
  }
  return head;
}

// The process that made us, whose id our session has, is its parent's zombie until libcr has
// reaped it, and must not get into an image.
void await_end_of_maker() {
  constexpr int kPatienceMs = 2000;
  const Pid maker = ::getsid(0);
  for (int waited = 0; waited < kPatienceMs && ::kill(maker, 0) == 0; ++waited) ::usleep(1000);
}

// Behind the name of the program (`words` has it not) only whom it saves, not the context file, by
// whose name a program may be meant (pkill -f).
void stand_apart(const CheckpointSettings& settings, ArgumentWords words) {
  rename_process("cr_helper", std::to_string(settings.target), words);
  refuse_stops();
}

Result<void> save(const Head& head, ArgumentWords words, HelperReply& reply) {
  CheckpointSettings settings;
  TRY(parse_checkpoint(settings, head.options));
  stand_apart(settings, words);
  engine::CheckpointRequest request = TRY(to_request(settings));
  if (settings.fd) (void)::close(*settings.fd);  // the request has a duplicate
  CancelWatch watch(settings.time_limit_ms, 1, [&reply] {
    reply.failed(fail(ETIMEDOUT, "the time limit has passed, and the context file takes no more"));
  });
  request.write.progress = [&watch](u64 done, u64 total) { return watch.keep_going(done, total); };
  request.signal = head.early ? -settings.signal : settings.signal;
  request.requester = head.requester;
  request.prohibit_self = head.not_self;
  request.accepted = [&](const std::vector<Pid>& pids) {
    reply.accepted(std::ranges::find(pids, head.requester) != pids.end());
  };
  request.explain_late = [](const model::Image& image, model::PageSource& pages,
                            std::span<const Pid> tids) { return backtraces(image, pages, tids); };
  const engine::CheckpointReport report = TRY(without_exceptions(std::move(request)));
  reply.done(0, log_lines(report.notes));
  return {};
}

// A pipe's other end may be the requester itself, which writes once it has been told to go on.
bool comes_through_a_pipe(int source) {
  const auto status = sys::fstat(source);
  return status.ok() && !S_ISREG(status->st_mode) && !S_ISDIR(status->st_mode);
}

Result<void> rebuild(const Head& head, HelperReply& reply) {
  RestartSettings settings;
  TRY(parse_restart(settings, head.options));
  UniqueFd source = TRY(open_source(settings));
  if (comes_through_a_pipe(source.get())) reply.accepted(false);
  engine::RestartRequest request = to_request(settings, std::move(source));
  request.signal = head.early ? -settings.signal : settings.signal;
  request.requester = head.requester;
  request.parent_is_caller = true;
  // Programs were promised EBUSY; where an id only takes long to be had, anything is better.
  request.namespaces_if_strangers = false;
  request.made_for_parent = [&reply](Pid child) { reply.made(child); };
  // Called when the file has been found to be good, and nothing stands in the way.
  request.progress = [&reply](u64, u64) {
    reply.accepted(false);
    return true;
  };
  const engine::RestartReport report = TRY(engine::restart(std::move(request)));
  reply.done(report.root, log_lines(report.notes));
  return {};
}

Result<void> work(ArgumentWords words, HelperReply& reply) {
  const Head head = TRY(read_head(Words(words)));
  if (head.what == "restart") return rebuild(head, reply);
  if (head.what != "checkpoint") return fail(kUsageError, fmt::format("unknown: {}", head.what));
  await_end_of_maker();
  return save(head, words, reply);
}

// Without libcr there is nobody to answer to: the only words for people.
int misused() {
  (void)answer("cr_helper is started by libcr; the command is cr_checkpoint or cr_restart\n");
  return kUsageError;
}

int run(ArgumentWords all) {
  const ArgumentWords words = all.subspan(all.empty() ? 0 : 1);
  if (words.size() < 4) return misused();
  const auto number = parse_number(words[1], 0, std::numeric_limits<int>::max(), "descriptor");
  if (!number || ::fcntl(static_cast<int>(*number), F_GETFD) < 0) return misused();
  set_up_process();
  auto pipe = take_pipe(static_cast<int>(*number));
  if (!pipe) return 1;  // libcr sees the end of the pipe
  HelperReply reply(std::move(*pipe));
  const auto done = guarded(fmt::format("do the {}", words[0]), [&] { return work(words, reply); });
  if (!done) reply.failed(done.error());
  return done ? 0 : 1;
}

}  // namespace
}  // namespace stasis::cli

int main(int argc, char** argv) {
  return stasis::cli::run_program("cr_helper", 1, argc, argv, stasis::cli::run);
}
