// Buffered data of pipes. tee(2) duplicates the buffers into a pipe of ours, packet marks included
// (tests/unit/resource/pipe_test.cc shows it), and that one is read.
#include "resource/pipe_data.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/sys.h"
#include "base/unique_fd.h"

namespace stasis::resource {
namespace {

struct PipeEnds {
  UniqueFd read, write;
};

Result<PipeEnds> make_pipe(int capacity) {
  std::array<int, 2> ends = {-1, -1};
  TRY(sys::check(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), "make", "a pipe"));
  PipeEnds pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  const int own = ::fcntl(ends[1], F_GETPIPE_SZ);
  if (own >= capacity) return pipe;
  auto room = sys::check(::fcntl(ends[1], F_SETPIPE_SZ, capacity), "make room in", "a pipe");
  if (room) return pipe;
  Error error = std::move(room).take_error();
  if (error.code == EPERM) {
    error.hint =
        "an ordinary user's pipes get so much room only below /proc/sys/fs/pipe-user-pages-soft in "
        "all, and /proc/sys/fs/pipe-max-size each: end what else fills pipes, or raise these";
  }
  return error;
}

// A pipe of ours with the same buffers.
Result<PipeEnds> copy_pipe(int fd, size_t bytes) {
  const int capacity = TRY(sys::check(::fcntl(fd, F_GETPIPE_SZ), "ask for the size of", "a pipe"));
  PipeEnds copy = TRY(make_pipe(capacity));
  const auto copied = TRY(sys::check(::tee(fd, copy.write.get(), bytes, SPLICE_F_NONBLOCK),
                                     "copy what waits in", "a pipe"));
  if (static_cast<size_t>(copied) != bytes) {
    return fail(EIO, "what waits in a pipe changed while it was copied");
  }
  return copy;
}

// Reading one byte of a packet throws the rest of it away; a stream keeps it.
Result<bool> begins_with_packet(int fd, size_t bytes) {
  if (bytes == 1) return false;  // no difference that anybody could see
  const PipeEnds copy = TRY(copy_pipe(fd, bytes));
  std::byte first;
  (void)TRY(sys::read_some(copy.read.get(), std::span(&first, 1)));
  return TRY(waiting_bytes(copy.read.get())) != bytes - 1;
}

}  // namespace

Result<size_t> waiting_bytes(int fd) {
  int bytes = 0;
  TRY(sys::check(::ioctl(fd, FIONREAD, &bytes), "ask for the bytes in", "a pipe"));
  return static_cast<size_t>(bytes);
}

Result<std::vector<Bytes>> peek_pipe(int fd) {
  std::vector<Bytes> packets;
  const size_t bytes = TRY(waiting_bytes(fd));
  if (bytes == 0) return packets;
  const bool packet_mode = TRY(begins_with_packet(fd, bytes));
  const PipeEnds copy = TRY(copy_pipe(fd, bytes));
  for (size_t done = 0; done < bytes; done += packets.back().size()) {
    Bytes packet(bytes - done);
    packet.resize(TRY(sys::read_some(copy.read.get(), packet)));
    if (packet.empty()) return fail(EIO, "a pipe ended before its data");
    packets.push_back(std::move(packet));
  }
  if (packet_mode && packets.size() == 1) packets.emplace_back();
  return packets;
}

Result<void> fill_pipe(int fd, const std::vector<Bytes>& packets) {
  const int flags = TRY(sys::check(::fcntl(fd, F_GETFL), "look at", "a pipe"));
  const int way = (flags & ~O_DIRECT) | O_NONBLOCK | (packets.size() > 1 ? O_DIRECT : 0);
  TRY(sys::check(::fcntl(fd, F_SETFL, way), "prepare", "a pipe"));
  Result<void> written;
  for (const Bytes& packet : packets) {
    if (written && !packet.empty()) written = sys::write_all(fd, packet);
  }
  TRY(sys::check(::fcntl(fd, F_SETFL, flags), "reset", "a pipe"));
  return std::move(written).context("cannot fill a pipe with what waited in it");
}

u64 total_size(const std::vector<Bytes>& packets) {
  u64 sum = 0;
  for (const Bytes& packet : packets) sum += packet.size();
  return sum;
}

}  // namespace stasis::resource
