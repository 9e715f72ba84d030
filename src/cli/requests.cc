// Settings to requests, field by field.
#include "requests.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <new>

#include "apart.h"
#include "base/sys.h"

namespace stasis::cli {

Result<engine::CheckpointRequest> to_request(const CheckpointSettings& settings) {
  engine::CheckpointRequest request;
  request.target = settings.target;
  request.scope = settings.scope;
  if (settings.fd) {
    if (!was_given(*settings.fd)) {
      return Result<engine::CheckpointRequest>(
                 sys::error_of(EBADF, "use", fmt::format("descriptor {}", *settings.fd)))
          .context(fmt::format("--fd {}", *settings.fd));
    }
    request.fd = TRY(sys::duplicate(*settings.fd).context(fmt::format("--fd {}", *settings.fd)));
  } else {
    request.file = context_file_name(settings);
  }
  request.destination = settings.destination;
  request.write = settings.write;
  request.save_executable = settings.save_executable;
  request.save_private = settings.save_private;
  request.save_shared = settings.save_shared;
  request.carry_small = settings.carry_small;
  request.signal = settings.signal;
  request.time_limit_ms = settings.time_limit_ms;
  request.require_libcr = settings.require_libcr;
  request.check_restart = settings.check_restart;
  request.ptraced = settings.ptraced;
  request.ptracers = settings.ptracers;
  return request;
}

Result<engine::CheckpointReport> without_exceptions(engine::CheckpointRequest request) {
  try {
    return engine::checkpoint(std::move(request));
  } catch (const std::bad_alloc&) {
    return fail(ENOMEM, "cannot save: Cannot allocate memory",
                "the program goes on as before; give the command more memory (ulimit -v)");
  }
}

Result<UniqueFd> open_source(const RestartSettings& settings) {
  if (settings.file) return format::open_source(*settings.file);
  UniqueFd source = TRY(sys::duplicate(*settings.fd, 3));
  if (*settings.fd > STDERR_FILENO) {
    (void)::close(*settings.fd);  // the duplicate is what counts
  } else {
    // The job's standard descriptors follow ours; an empty number would be taken by another file.
    const UniqueFd null = TRY(sys::open("/dev/null", O_RDWR));
    TRY(sys::check(::dup2(null.get(), *settings.fd), "replace", "the context file's descriptor"));
  }
  return source;
}

std::string source_name(const RestartSettings& settings) {
  return settings.file ? *settings.file : fmt::format("descriptor {}", *settings.fd);
}

engine::RestartRequest to_request(const RestartSettings& settings, UniqueFd source) {
  engine::RestartRequest request;
  request.source = std::move(source);
  request.name = source_name(settings);
  request.files = settings.files;
  request.pids = settings.pids;
  request.allow_namespaces = settings.allow_namespaces;
  request.namespaces_if_held = settings.namespaces_if_held;
  request.namespaces_if_strangers = settings.allow_namespaces;
  request.walk_time_ms = settings.walk_time_ms;
  request.restore_group = settings.restore_group;
  request.restore_session = settings.restore_session;
  request.ignore_cpu_features = settings.ignore_cpu_features;
  // "Early" (negative) is no difference: a signal comes before anything runs that is not a
  // callback.
  request.signal = std::abs(settings.signal);
  return request;
}

}  // namespace stasis::cli
