// The kernel's calls as the engine uses them: descriptors come back owned and O_CLOEXEC, EINTR is
// retried, and failure is an Error "cannot VERB SUBJECT: strerror". This room is the only reader of
// errno; for calls without a wrapper here use check() or raw() with a verb and a subject.
#pragma once

#include <sys/stat.h>
#include <sys/uio.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace stasis::sys {

// errno as an Error: "cannot VERB SUBJECT: No such file or directory".
[[nodiscard]] Error last_error(std::string_view verb, std::string_view subject);
// The same for an errno value or a negative kernel result obtained elsewhere.
[[nodiscard]] Error error_of(int error_number, std::string_view verb, std::string_view subject);

// errno itself, for the few places that may not allocate (the child after a clone).
[[nodiscard]] int last_code() noexcept;

// Turns the -1 convention into a Result: check(::kill(pid, 0), "signal", "process 7").
template <class Int>
Result<Int> check(Int result, std::string_view verb, std::string_view subject) {
  if (result == static_cast<Int>(-1)) return last_error(verb, subject);
  return result;
}

// A system call by number for which there is no wrapper. Arguments are passed as given.
template <class... Args>
Result<long> raw(std::string_view verb, std::string_view subject, long number, Args... args) {
  return check(::syscall(number, args...), verb, subject);
}

Result<UniqueFd> open(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> open_at(int directory, const std::string& path, int flags, mode_t mode = 0);
// A duplicate at the lowest number >= `lowest`; close-on-exec.
Result<UniqueFd> duplicate(int fd, int lowest = 0);

Result<size_t> read_some(int fd, ByteSpan out);               // 0 at end of file
Result<size_t> pread_some(int fd, ByteSpan out, u64 offset);  // 0 at end of file
Result<size_t> pread_full(int fd, ByteSpan out, u64 offset);  // short only at end of file
Result<size_t> read_full(int fd, ByteSpan out);               // short only at end of file
Result<void> write_all(int fd, ByteView bytes);
Result<void> pwrite_all(int fd, ByteView bytes, u64 offset);

// A whole text file (of /proc, mostly), read until its end.
Result<std::string> read_file(const std::string& path);
Result<void> write_file(const std::string& path, std::string_view text);
// The raw bytes of a whole file.
Result<Bytes> read_bytes(const std::string& path);
Result<std::string> read_link(const std::string& path);
// Names in a directory without "." and "..", sorted; numbers sort as numbers.
Result<std::vector<std::string>> list_directory(const std::string& path);
// The names that are decimal numbers, as ascending numbers (of /proc/PID/task and /proc/PID/fd).
Result<std::vector<int>> list_numbers(const std::string& path);

Result<struct stat> stat(const std::string& path);  // follows links
Result<struct stat> lstat(const std::string& path);
Result<struct stat> fstat(int fd);

// `thread`: the id is a thread's that need not lead its process (PIDFD_THREAD, Linux 6.9).
Result<UniqueFd> pidfd_open(Pid pid, bool thread = false);
// ESRCH: the process has ended.
Result<void> pidfd_send_signal(int pidfd, int signal);
// A duplicate of descriptor `number` of the process behind `pidfd` (needs ptrace access).
Result<UniqueFd> pidfd_getfd(int pidfd, int number);
// Whether two descriptors of two processes are one open file description.
Result<bool> same_open_file(Pid a, int fd_a, Pid b, int fd_b);

// Sets or clears FD_CLOEXEC.
Result<void> set_close_on_exec(int fd, bool on);

// A memory mapping of ours.
class Mapping {
 public:
  Mapping() = default;
  Mapping(void* start, size_t length) : start_(start), length_(length) {}
  Mapping(Mapping&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)), length_(std::exchange(other.length_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(start_, other.start_);
    std::swap(length_, other.length_);
    return *this;
  }
  ~Mapping();

  static Result<Mapping> anonymous(size_t length);
  [[nodiscard]] ByteSpan bytes() const { return {static_cast<std::byte*>(start_), length_}; }

 private:
  void* start_ = nullptr;
  size_t length_ = 0;
};

}  // namespace stasis::sys
