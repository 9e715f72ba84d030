// Asking the loader, and unshare(2).
#include "run_setup.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include "base/sys.h"

namespace stasis::cli {
namespace {

Result<void> make_namespace() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  TRY(sys::check(::unshare(CLONE_NEWUSER), "create", "a user namespace"));
  // An ordinary user may map his group only if nobody inside can drop groups that deny something.
  TRY(sys::write_file("/proc/self/setgroups", "deny"));
  TRY(sys::write_file("/proc/self/uid_map", fmt::format("{0} {0} 1\n", user)));
  return sys::write_file("/proc/self/gid_map", fmt::format("{0} {0} 1\n", group));
}

}  // namespace

std::string preload_name(const std::string& library, std::span<const std::string> folders) {
  // Never closed: what the library does when it is loaded ends with the exec.
  if (::dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL) != nullptr) return library;
  for (const std::string& folder : folders) {
    std::string path = fmt::format("{}/{}", folder, library);
    // ld.so(8) takes spaces and colons for the end of a name.
    if (path.find_first_of(" :") != std::string::npos) continue;
    if (::access(path.c_str(), R_OK) == 0) return path;
  }
  return {};
}

Result<void> enter_user_namespace() {
  auto made = make_namespace();
  if (made) return {};
  Error error = std::move(made).take_error();
  error.hint =
      "this system may not let ordinary users have user namespaces: see user.max_user_namespaces, "
      "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns in "
      "sysctl(8)";
  return error;
}

}  // namespace stasis::cli
