// The texts. The numbers come from blcr_errcodes.h, whose values are BLCR's.
#include "messages.h"

#include "options.h"

#include <blcr_errcodes.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace stasis::cli {
namespace {

struct CodeText {
  int code;
  std::string_view text;
};

constexpr std::array kBlcrTexts = {
    CodeText{CR_ETEMPFAIL, "Temporary error: checkpoint cancelled"},
    CodeText{CR_EPERMFAIL, "Permanent failure: checkpoint cancelled and job killed"},
    CodeText{CR_ENOSUPPORT, "Checkpoint support not linked into one or more processes"},
    CodeText{CR_EVERSION, "Requested kernel interface version is not supported"},
    CodeText{CR_EOMITTED, "Process omitted from checkpoint at a callback's request"},
    CodeText{CR_EBADARCH, "Context file does not match the kernel architecture"},
    CodeText{CR_EPTRACED, "One or more target processes is being ptraced"},
    CodeText{CR_EPTRACER, "One or more target processes has ptrace children"},
    CodeText{CR_ERSTRTABRT, "Restart aborted: restart cancelled and job killed"},
    CodeText{CR_ERESTARTED, "Request is invalid across a restart"},
    CodeText{CR_ENOTCB, "Call is only valid from a checkpoint callback"},
    CodeText{CR_ENOINIT, "Calling thread has not called cr_init()"},
};

}  // namespace

std::string error_text(int code) {
  for (const CodeText& row : kBlcrTexts) {
    if (row.code == code) return std::string(row.text);
  }
  return ::strerror(code);
}

int exit_code(int code) {
  const int low = code & 255;
  return low == 0 ? kPermFail & 255 : low;
}

std::string checkpoint_failure(int code) {
  switch (code) {
    case CR_ETEMPFAIL:
      return "Checkpoint cancelled by application: try again later";
    case CR_EPERMFAIL:
      return "Checkpoint cancelled by application: unable to checkpoint";
    case ESRCH:
      return "Checkpoint failed: no processes checkpointed";
    case CR_ENOSUPPORT:
      return "Checkpoint failed: support missing from application";
    case ENOSYS:
      return "Checkpoint failed: support missing from kernel";
    case ETIMEDOUT:
      return "Checkpoint failed: time limit exceeded";
    case ECANCELED:
      return "Checkpoint cancelled";
    default:
      return "Checkpoint failed: " + error_text(code);
  }
}

std::string restart_failure(int code) {
  return "Restart failed: " + error_text(code);
}

std::string behind_dashes(std::string_view text) {
  std::string lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines += fmt::format("- {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string details(const Error& error) {
  return behind_dashes(error.message()) + behind_dashes(error.hint);
}

FailureClass classify_restart_failure(int code) {
  switch (code) {
    case ENOMEM:
    case EBUSY:
      return FailureClass::kTemporary;
    case EACCES:
    case EPERM:
    case ENOENT:
    case EEXIST:
    case EISDIR:
    case ENOTDIR:
      return FailureClass::kEnvironment;
    case kUsageError:
      return FailureClass::kArguments;
    default:
      return FailureClass::kPermanent;
  }
}

}  // namespace stasis::cli
