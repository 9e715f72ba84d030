// process_vm_readv and process_vm_writev by process id, not by a descriptor of its memory: a
// descriptor would go on showing the address space from before an execve.
#include "notify/block.h"

#include <fmt/format.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "proc/status.h"

namespace stasis::notify {
namespace {

iovec remote_vector(RemoteAddr address, u64 length) {
  // The kernel's interface types an address elsewhere as a pointer; it is never followed here.
  return {reinterpret_cast<void*>(address.value), length};  // NOLINT
}

std::string subject(Pid thread, RemoteAddr at) {
  return fmt::format("the control block at {:#x} of process {}", at.value, thread);
}

}  // namespace

Result<BlockHead> read_head(Pid thread, RemoteAddr block) {
  BlockHead head;
  const iovec local = {&head.fields, kHeadLength};
  const iovec remote = remote_vector(block, kHeadLength);
  const auto got = sys::check(::process_vm_readv(thread, &local, 1, &remote, 1, 0), "read",
                              subject(thread, block));
  if (got.ok() && static_cast<size_t>(*got) == kHeadLength) return head;
  if (!got.ok() && got.error().code != EFAULT && got.error().code != ESRCH) return got.error();
  return fail(ESRCH, subject(thread, block) + " is gone");
}

bool is_block(const BlockHead& head, RemoteAddr block, Pid inside) {
  const cri_block& fields = head.fields;
  return std::memcmp(fields.magic, CRI_BLOCK_MAGIC, sizeof fields.magic) == 0 &&
         fields.version == CRI_BLOCK_VERSION && fields.size >= CRI_BLOCK_SIZE_WITHOUT_ANSWERS &&
         fields.size <= CRI_BLOCK_AREA && fields.self == block.value && fields.pid == inside;
}

bool has_answers(const BlockHead& head) {
  return head.fields.size >= sizeof(cri_block);
}

bool takes_part(const BlockHead& head) {
  return head.fields.kind == CRI_KIND_FULL &&
         (head.fields.registered != 0 || head.fields.gate != 0);
}

Result<void> write_bytes(Pid thread, RemoteAddr to, ByteView bytes) {
  // The kernel only reads through the local vector of a write.
  const iovec local = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  const iovec remote = remote_vector(to, bytes.size());
  const auto put = TRY(sys::check(::process_vm_writev(thread, &local, 1, &remote, 1, 0), "write",
                                  subject(thread, to)));
  if (static_cast<size_t>(put) != bytes.size()) {
    return sys::error_of(EFAULT, "write", subject(thread, to));
  }
  return {};
}

Pid inner_id(Pid pid, Pid tid) {
  const auto status = proc::read_status(pid, tid);
  if (!status || status->namespace_pids.empty()) return tid;
  return status->namespace_pids.back();
}

Pid outer_id(Pid inner, Pid fellow) {
  const auto home = sys::read_link(fmt::format("/proc/{}/ns/pid", fellow));
  const auto pids = sys::list_numbers("/proc");
  if (!home || !pids) return 0;
  for (const Pid pid : *pids) {
    const auto status = proc::read_status(pid);
    if (!status || status->namespace_pids.empty() || status->namespace_pids.back() != inner)
      continue;
    const auto its = sys::read_link(fmt::format("/proc/{}/ns/pid", pid));
    if (its.ok() && *its == *home) return pid;
  }
  return 0;
}

}  // namespace stasis::notify
