// restart() and inspect(): the passes from a context file to running processes.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>

#include "base/guard.h"
#include "base/sys.h"
#include "capture/capture.h"
#include "engine/callbacks.h"
#include "engine/engine.h"
#include "engine/image_lock.h"
#include "notify/notify.h"
#include "resource/restore.h"
#include "restart/build.h"
#include "restart/foresee.h"
#include "restart/trust.h"

namespace stasis::engine {
namespace {

restart::BuildOptions build_options(const RestartRequest& request) {
  restart::BuildOptions options{.restore_pids = request.pids == PidPolicy::kRestore,
                                .allow_namespaces = request.allow_namespaces,
                                .namespaces_if_held = request.namespaces_if_held,
                                .namespaces_if_strangers = request.namespaces_if_strangers,
                                .restore_group = request.restore_group,
                                .restore_session = request.restore_session,
                                .ignore_cpu_features = request.ignore_cpu_features,
                                .parent_is_caller = request.parent_is_caller,
                                .signal = request.signal,
                                .requester = request.requester,
                                .source = {},
                                .progress = request.progress,
                                .walk_progress = request.walk_progress,
                                .made_for_parent = request.made_for_parent};
  if (request.walk_time_ms) {
    options.short_walk_ms = *request.walk_time_ms;
    options.long_walk_ms = *request.walk_time_ms;
  }
  return options;
}

// A command with file capabilities (setcap) is nondumpable, and so would be what it makes: the
// kernel would not let us trace it. Nobody gains by our being dumpable: who traces a process must
// have all of its capabilities: ptrace(2).
void become_dumpable() {
  (void)::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // cannot fail
}

// What callbacks are told they come from.
std::string source_path(const RestartRequest& request) {
  const auto link = sys::read_link(fmt::format("/proc/self/fd/{}", request.source.get()));
  return link.ok() && link->starts_with('/') ? *link : request.name;
}

u64 stored_bytes(const model::Image& image) {
  u64 bytes = 0;
  for (const model::Space& space : image.spaces) {
    for (const model::Run& run : space.runs) {
      if (run.kind == model::RunKind::kData) bytes += run.length;
    }
  }
  return bytes;
}

// Everything that stands in the way on this machine, before anything is created.
std::vector<Refusal> obstacles(const resource::RestoreContext& context,
                               const restart::BuildOptions& options) {
  std::vector<Refusal> refusals = restart::validate(context.image, options);
  const auto acting = resource::act_for_all(context);
  if (!acting) return {{"the image", acting.error().message(), "", acting.error().code}};
  const std::vector<Refusal> files = resource::restore_obstacles(context);
  refusals.insert(refusals.end(), files.begin(), files.end());
  const std::vector<Refusal> directories = restart::directory_obstacles(context.image, context);
  refusals.insert(refusals.end(), directories.begin(), directories.end());
  return refusals;
}

// Files that were there no more and that a restart which failed has made.
void remove_new_names(const resource::RestoreContext& context) {
  for (const auto& name : context.new_names) {
    const auto acting = name.by_root ? Result<resource::Acting>(resource::Acting())
                                     : resource::act_for_all(context);
    if (acting) (void)::unlink(name.path.c_str());  // gone is well
  }
}

}  // namespace

std::string_view describe(restart::IdWay way) {
  switch (way) {
    case restart::IdWay::kSetTid:
      return "restored by clone3(set_tid)";
    case restart::IdWay::kCounter:
      return "restored by walking the pid counter";
    case restart::IdWay::kNamespaces:
      return "restored in private user and pid namespaces";
    case restart::IdWay::kNew:
      return "new";
  }
  return "unknown";
}

namespace {

Result<RestartReport> rebuild(RestartRequest request) {
  const auto start = std::chrono::steady_clock::now();
  capture::allow_many_descriptors();
  restart::BuildOptions options = build_options(request);
  options.source = source_path(request);
  const restart::ImageSource source = restart::source_of(request.source.get());
  become_dumpable();
  // A checkpoint that meets us at work, or what we make, is told so.
  const Pid self = ::getpid();
  const auto claim = notify::Claim::take(std::span(&self, 1));
  if (!claim) return claim.error();
  ImageLock lock;
  if (options.restore_pids) {
    lock = TRY(ImageLock::take(request.source.get(), request.name, !options.namespaces_if_held));
  }
  options.image_lock = lock.fd();
  format::OpenedImage opened = TRY(format::open_image(std::move(request.source)));
  TRY(format::check_frames(opened).context(request.name));
  restart::Trust trust =
      restart::judge(opened.image, source, restart::this_caller(), restart::groups_of_user);
  if (!trust.refusals.empty()) {
    return refused(fmt::format("{} cannot be restarted here", request.name), trust.refusals);
  }
  options.trusted = trust.full;
  resource::separate_followers(opened.image);
  resource::RestoreContext context{.image = opened.image,
                                   .pages = *opened.pages,
                                   .options = std::move(request.files),
                                   .made = {},
                                   .notes = std::move(trust.notes),
                                   .rights = {}};
  const auto decide_rights = [&]() -> Result<void> {
    context.rights = resource::rights_of(opened.image, TRY(resource::own_identity()),
                                         trust.honour_capabilities, trust.full);
    return {};
  };
  TRY(decide_rights());
  resource::prefer_files_in_place(opened.image, context);
  TRY(decide_rights());  // of files that are found by their paths now
  const std::vector<Refusal> refusals = obstacles(context, options);
  if (!refusals.empty()) {
    return refused(fmt::format("{} cannot be restarted here", request.name), refusals);
  }
  for (std::string& note : restart::differences(opened.image)) {
    context.notes.push_back(std::move(note));
  }
  const restart::RawAccess raw{
      .fd = opened.compression == format::Compression::kNone ? opened.fd : -1,
      .position = opened.raw_position};
  auto made = restart::build(context, raw, options);
  if (!made) remove_new_names(context);
  const restart::Built built = TRY(std::move(made));

  TRY(await_callbacks(built, request.progress, context.notes));
  lock.share();

  RestartReport report;
  report.root = built.root;
  report.root_inside = built.root_inside;
  report.pids = built.pids;
  report.way = built.way;
  report.notes = std::move(context.notes);
  for (const model::Process& process : opened.image.processes) {
    report.threads += process.threads.size();
  }
  report.memory_bytes = stored_bytes(opened.image);
  report.total_us = std::chrono::duration_cast<std::chrono::microseconds>(
                        std::chrono::steady_clock::now() - start)
                        .count();
  return report;
}

}  // namespace

Result<RestartReport> restart(RestartRequest request) {
  return guarded("restart it", [&] { return rebuild(std::move(request)); });
}

Result<format::OpenedImage> inspect(const std::string& path) {
  if (path == "-") return format::open_image(TRY(sys::duplicate(STDIN_FILENO)));
  return format::open_image(TRY(format::open_source(path)));
}

}  // namespace stasis::engine
