// Remote memory by process_vm_readv and process_vm_writev (several GB/s, no copy through a file)
// with /proc/PID/mem behind them for pages whose protection forbids the access.
#include "trace/remote_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/sys.h"

namespace stasis::trace {
namespace {

constexpr size_t kMostSpans = 1024;  // UIO_MAXIOV of the kernel

std::string place(Pid pid, RemoteAddr address, u64 length) {
  return fmt::format("{} bytes at {:#x} of process {}", length, address.value, pid);
}

// What /proc/PID/mem answers, said as process_vm_readv would: no such page is EFAULT, not EIO.
Error memory_error(int code, std::string_view verb, Pid pid, RemoteAddr address, u64 length) {
  return sys::error_of(code == EIO ? EFAULT : code, verb, place(pid, address, length));
}

// Reads through /proc/PID/mem: also pages that are not readable.
Result<void> read_by_file(int mem, Pid pid, RemoteAddr from, ByteSpan out) {
  const auto got = sys::pread_full(mem, out, from.value);
  if (!got) return memory_error(got.error().code, "read", pid, from, out.size());
  // 0 bytes: the address space is gone with its process.
  if (*got < out.size()) return memory_error(ESRCH, "read", pid, from, out.size());
  return {};
}

iovec remote_vector(RemoteAddr address, u64 length) {
  // The kernel's interface types an address elsewhere as a pointer; it is never followed here.
  return {reinterpret_cast<void*>(address.value), length};  // NOLINT
}

}  // namespace

Result<RemoteMemory> RemoteMemory::open(Pid pid) {
  RemoteMemory memory;
  memory.pid_ = pid;
  memory.mem_ = TRY(sys::open(fmt::format("/proc/{}/mem", pid), O_RDWR));
  return memory;
}

Result<void> RemoteMemory::read(RemoteAddr from, ByteSpan out) const {
  const RemoteSpan span = {from, out.size()};
  return read(std::span(&span, 1), out);
}

Result<void> RemoteMemory::read(std::span<const RemoteSpan> spans, ByteSpan out) const {
  std::vector<iovec> remote;
  remote.reserve(std::min(spans.size(), kMostSpans));
  u64 skip = 0;  // bytes of spans.front() that have been read
  while (!spans.empty()) {
    if (spans.front().length == skip) {
      spans = spans.subspan(1);
      skip = 0;
      continue;
    }
    remote.clear();
    u64 wanted = 0;
    for (const RemoteSpan& span : spans.first(std::min(spans.size(), kMostSpans))) {
      const u64 from = remote.empty() ? skip : 0;
      if (wanted + span.length - from > out.size()) {
        return fail(EINVAL, "less room than memory to read");
      }
      remote.push_back(remote_vector(span.start + from, span.length - from));
      wanted += span.length - from;
    }
    const iovec local = {out.data(), wanted};
    const auto result = ::process_vm_readv(pid_, &local, 1, remote.data(), remote.size(), 0);
    u64 got = 0;
    if (result >= 0) {
      got = static_cast<u64>(result);
    } else {
      Error error = sys::last_error("read", place(pid_, spans.front().start, wanted));
      // EPERM: Yama lets only the tracer's process call this, but not only it read the file.
      if (error.code != EFAULT && error.code != EINTR && error.code != EPERM) return error;
    }
    if (got == 0) {
      // The first page resists: the rest of its span by the other way.
      const u64 rest = spans.front().length - skip;
      TRY(read_by_file(mem_.get(), pid_, spans.front().start + skip, out.first(rest)));
      got = rest;
    }
    out = out.subspan(got);
    for (got += skip; !spans.empty() && got >= spans.front().length; spans = spans.subspan(1)) {
      got -= spans.front().length;
    }
    skip = got;
  }
  return {};
}

Result<void> RemoteMemory::write(RemoteAddr to, ByteView bytes) const {
  while (!bytes.empty()) {
    // The kernel only reads through the local vector of a write.
    const iovec local = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    const iovec remote = remote_vector(to, bytes.size());
    const auto put = ::process_vm_writev(pid_, &local, 1, &remote, 1, 0);
    if (put == -1) return sys::last_error("write", place(pid_, to, bytes.size()));
    if (put == 0) return memory_error(EFAULT, "write", pid_, to, bytes.size());
    bytes = bytes.subspan(static_cast<size_t>(put));
    to = to + static_cast<u64>(put);
  }
  return {};
}

Result<void> RemoteMemory::write_forced(RemoteAddr to, ByteView bytes) const {
  const auto put = sys::pwrite_all(mem_.get(), bytes, to.value);
  if (!put) return memory_error(put.error().code, "write", pid_, to, bytes.size());
  return {};
}

}  // namespace stasis::trace
