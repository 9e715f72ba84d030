// Wrappers of system calls: ownership, EINTR, and the only place that reads errno.
#include "base/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace stasis::sys {
namespace {

template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

std::string fd_name(int fd) {
  return fmt::format("descriptor {}", fd);
}

// Repeats `step(rest)` until `out` is full or the file ends.
template <class Step>
Result<size_t> fill(ByteSpan out, Step step) {
  size_t done = 0;
  while (done < out.size()) {
    const size_t got = TRY(step(out.subspan(done), done));
    if (got == 0) break;
    done += got;
  }
  return done;
}

std::optional<int> as_number(std::string_view name) {
  int number = 0;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (problem != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

Error error_of(int error_number, std::string_view verb, std::string_view subject) {
  const int code = error_number < 0 ? -error_number : error_number;
  return fail(code, fmt::format("cannot {} {}: {}", verb, subject, ::strerror(code)));
}

int last_code() noexcept {
  return errno;
}

Error last_error(std::string_view verb, std::string_view subject) {
  return error_of(errno, verb, subject);
}

Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) {
  return open_at(AT_FDCWD, path, flags, mode);
}

Result<UniqueFd> open_at(int directory, const std::string& path, int flags, mode_t mode) {
  const int fd = retry([&] { return ::openat(directory, path.c_str(), flags | O_CLOEXEC, mode); });
  return UniqueFd(TRY(check(fd, "open", path)));
}

Result<UniqueFd> duplicate(int fd, int lowest) {
  return UniqueFd(TRY(check(::fcntl(fd, F_DUPFD_CLOEXEC, lowest), "duplicate", fd_name(fd))));
}

Result<size_t> read_some(int fd, ByteSpan out) {
  const auto got = retry([&] { return ::read(fd, out.data(), out.size()); });
  return static_cast<size_t>(TRY(check(got, "read", fd_name(fd))));
}

Result<size_t> pread_some(int fd, ByteSpan out, u64 offset) {
  const auto got =
      retry([&] { return ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset)); });
  return static_cast<size_t>(TRY(check(got, "read", fd_name(fd))));
}

Result<size_t> pread_full(int fd, ByteSpan out, u64 offset) {
  return fill(out, [&](ByteSpan rest, size_t done) { return pread_some(fd, rest, offset + done); });
}

Result<size_t> read_full(int fd, ByteSpan out) {
  return fill(out, [&](ByteSpan rest, size_t) { return read_some(fd, rest); });
}

Result<void> write_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const auto put = retry([&] { return ::write(fd, bytes.data(), bytes.size()); });
    bytes = bytes.subspan(static_cast<size_t>(TRY(check(put, "write", fd_name(fd)))));
  }
  return {};
}

Result<void> pwrite_all(int fd, ByteView bytes, u64 offset) {
  while (!bytes.empty()) {
    const auto put =
        retry([&] { return ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    const auto count = static_cast<size_t>(TRY(check(put, "write", fd_name(fd))));
    bytes = bytes.subspan(count);
    offset += count;
  }
  return {};
}

Result<Bytes> read_bytes(const std::string& path) {
  const UniqueFd fd = TRY(open(path, O_RDONLY));
  Bytes content;
  std::array<std::byte, 16384> block;
  while (true) {
    const auto got = read_some(fd.get(), block);
    if (!got) return error_of(got.error().code, "read", path);
    if (*got == 0) return content;
    content.insert(content.end(), block.begin(), block.begin() + static_cast<long>(*got));
  }
}

Result<std::string> read_file(const std::string& path) {
  const Bytes content = TRY(read_bytes(path));
  std::string text(content.size(), '\0');
  if (!content.empty()) std::memcpy(text.data(), content.data(), content.size());
  return text;
}

Result<void> write_file(const std::string& path, std::string_view text) {
  const UniqueFd fd = TRY(open(path, O_WRONLY));
  auto written = write_all(fd.get(), std::as_bytes(std::span(text.data(), text.size())));
  if (!written) return error_of(written.error().code, "write", path);
  return {};
}

Result<std::string> read_link(const std::string& path) {
  std::string target(4096, '\0');
  const auto length =
      TRY(check(::readlink(path.c_str(), target.data(), target.size()), "read the link", path));
  target.resize(static_cast<size_t>(length));
  return target;
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return last_error("list", path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    const auto x = as_number(a);
    const auto y = as_number(b);
    return x && y ? *x < *y : a < b;
  });
  return names;
}

Result<std::vector<int>> list_numbers(const std::string& path) {
  std::vector<int> numbers;
  for (const std::string& name : TRY(list_directory(path))) {
    if (const auto number = as_number(name)) numbers.push_back(*number);
  }
  return numbers;
}

Result<struct stat> stat(const std::string& path) {
  struct stat result = {};
  TRY(check(::stat(path.c_str(), &result), "look up", path));
  return result;
}

Result<struct stat> lstat(const std::string& path) {
  struct stat result = {};
  TRY(check(::lstat(path.c_str(), &result), "look up", path));
  return result;
}

Result<struct stat> fstat(int fd) {
  struct stat result = {};
  TRY(check(::fstat(fd, &result), "look up", fd_name(fd)));
  return result;
}

Result<UniqueFd> pidfd_open(Pid pid, bool thread) {
  const int flags = thread ? O_EXCL : 0;  // PIDFD_THREAD
  const long fd = TRY(raw("find", fmt::format("process {}", pid), SYS_pidfd_open, pid, flags));
  return UniqueFd(static_cast<int>(fd));
}

Result<void> pidfd_send_signal(int pidfd, int signal) {
  TRY(raw("send", fmt::format("signal {} to a process", signal), SYS_pidfd_send_signal, pidfd,
          signal, nullptr, 0U));
  return {};
}

Result<UniqueFd> pidfd_getfd(int pidfd, int number) {
  const long fd = TRY(raw("obtain", fmt::format("descriptor {} of the process", number),
                          SYS_pidfd_getfd, pidfd, number, 0));
  return UniqueFd(static_cast<int>(fd));
}

Result<bool> same_open_file(Pid a, int fd_a, Pid b, int fd_b) {
  const std::string subject = fmt::format("descriptors {}:{} and {}:{}", a, fd_a, b, fd_b);
  return TRY(raw("compare", subject, SYS_kcmp, a, b, KCMP_FILE, fd_a, fd_b)) == 0;
}

Result<void> set_close_on_exec(int fd, bool on) {
  TRY(check(::fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0), "set close-on-exec of", fd_name(fd)));
  return {};
}

Mapping::~Mapping() {
  if (start_ != nullptr) (void)::munmap(start_, length_);  // our own mapping: cannot fail
}

Result<Mapping> Mapping::anonymous(size_t length) {
  void* start = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return last_error("allocate", fmt::format("{} bytes", length));
  return Mapping(start, length);
}

}  // namespace stasis::sys
