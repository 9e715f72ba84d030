// signalfds: nothing but a mask. What is read from one are the pending signals of the reader, which
// are saved with its threads.
#include <fmt/format.h>
#include <sys/syscall.h>

#include "base/sys.h"
#include "resource/kinds.h"
#include "resource/uses.h"

namespace stasis::resource {
namespace {

using model::SignalFd;

constexpr int kCloseOnExec = 02000000;  // SFD_CLOEXEC

Result<UniqueFd> create(model::OpenFileIndex index, RestoreContext& context) {
  const model::OpenFile& open_file = context.image.open_files[index];
  const auto& signals = std::get<SignalFd>(context.image.resources[open_file.resource]);
  // By number: glibc's sigset_t would lose the two signals it keeps for itself.
  const long fd = TRY(sys::raw("make", subject_of(context.image, index, "signalfd"), SYS_signalfd4,
                               -1, &signals.mask, sizeof signals.mask, kCloseOnExec));
  return UniqueFd(static_cast<int>(fd));
}

}  // namespace

const Handler kSignalFdHandler = {
    .kind = SignalFd::kKind,
    .recognises = [](const FdFacts& facts) { return facts.info.has_signalfd; },
    .obstacle = [](const FdFacts&, CaptureContext&) { return std::optional<Refusal>(); },
    .identity = [](const FdFacts&) { return std::string(); },
    .capture = [](const FdFacts& facts, CaptureContext&) -> Result<model::Resource> {
      return model::Resource(SignalFd{facts.info.signalfd_mask});
    },
    .restore_obstacles = [](const model::Resource&,
                            const RestoreContext&) { return std::vector<Refusal>(); },
    .create = create,
    .settle = nullptr};

}  // namespace stasis::resource
