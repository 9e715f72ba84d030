// restart's own validation; the room between capture and restart that sees both.
#include "engine/foresee.h"

#include <fmt/format.h>

#include <algorithm>

#include "capture/sketch.h"
#include "resource/restore.h"
#include "restart/foresee.h"

namespace stasis::engine {
namespace {

class NoPages : public model::PageSource {
 public:
  Result<void> read(model::SpaceIndex, std::span<const model::Run>, ByteSpan) override {
    return fail(ENODATA, "a sketch has no contents");
  }
};

// What is true whatever options cr_restart is given.
std::vector<Refusal> file_obstacles(const model::Image& image, model::PageSource& pages) {
  const resource::RestoreContext context{
      .image = image,
      .pages = pages,
      .options = {.relocations = {}, .ignore_changed_files = true, .drop_pipe_data = true},
      .made = {}};
  std::vector<Refusal> refusals = resource::lasting_obstacles(context);
  const auto directories = restart::directory_obstacles(image, context);
  refusals.insert(refusals.end(), directories.begin(), directories.end());
  return refusals;
}

// The codes are those of the restart; a checkpoint that is refused is not supported.
std::vector<Refusal> together(std::vector<Refusal> all, const std::vector<Refusal>& more) {
  all.insert(all.end(), more.begin(), more.end());
  for (Refusal& refusal : all) refusal.code = 0;
  return all;
}

}  // namespace

std::vector<Refusal> restart_obstacles(const model::Image& image, model::PageSource& pages) {
  return together(restart::foresee(image), file_obstacles(image, pages));
}

Error not_restartable(std::string_view who, const std::vector<Refusal>& refusals) {
  Error error = refused(fmt::format("process {} cannot be saved: it could not be restarted here "
                                    "and now",
                                    who),
                        refusals);
  error.hint = "--no-check-restart saves it all the same";
  return error;
}

// They run and change as we look: what stands in the way every time is no accident.
std::vector<Refusal> restart_obstacles(std::span<const Pid> pids) {
  constexpr int kLooks = 3;
  std::vector<Refusal> lasting;
  for (int i = 0; i < kLooks; ++i) {
    const auto image = capture::sketch(pids);
    if (!image) return {};
    NoPages pages;
    std::vector<Refusal> now =
        together(restart::foresee_sketch(*image), file_obstacles(*image, pages));
    if (i > 0) {
      std::erase_if(now, [&](const Refusal& one) {
        return std::ranges::find(lasting, one) == lasting.end();
      });
    }
    lasting = std::move(now);
    if (lasting.empty()) return {};
  }
  return lasting;
}

}  // namespace stasis::engine
