// Messages whole, with a limit on how long one may be under way.
#include "engine/writer_channel.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <vector>

#include "base/sys.h"

namespace stasis::engine {
namespace {

constexpr timeval kPatience = {.tv_sec = 5, .tv_usec = 0};

struct Head {
  Channel::Kind kind = Channel::Kind::kFailed;
  u32 length = 0;
};

Result<void> put(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const auto sent = sys::check(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), "tell",
                                 "the other process of the checkpoint");
    if (!sent && sent.error().code == EINTR) continue;
    bytes = bytes.subspan(static_cast<size_t>(TRY(sent)));
  }
  return {};
}

Result<void> get(int fd, ByteSpan out) {
  if (TRY(sys::read_full(fd, out)) == out.size()) return {};
  return fail(EPIPE, "the other process of the checkpoint has ended");
}

}  // namespace

Result<Channel::Pair> Channel::make() {
  int fds[2] = {-1, -1};
  TRY(sys::check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), "create",
                 "a pair of sockets"));
  Pair pair{Channel(UniqueFd(fds[0])), Channel(UniqueFd(fds[1]))};
  for (const int fd : fds) {
    for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
      (void)::setsockopt(fd, SOL_SOCKET, option, &kPatience, sizeof kPatience);  // cannot fail
    }
  }
  return pair;
}

Result<void> Channel::send(Kind kind, ByteView bytes) const {
  const Head head{kind, static_cast<u32>(bytes.size())};
  TRY(put(socket_.get(), pack_object(head)));
  return put(socket_.get(), bytes);
}

Result<Channel::Message> Channel::receive() const {
  Head head;
  TRY(get(socket_.get(), std::as_writable_bytes(std::span(&head, 1))));
  Message message{head.kind, Bytes(head.length)};
  TRY(get(socket_.get(), message.bytes));
  return message;
}

// The code, then the texts, each ended by a zero byte.
Bytes pack(const Error& error) {
  std::string text;
  for (const std::string& part : {error.what, error.hint}) text.append(part).push_back('\0');
  for (const std::string& part : error.contexts) text.append(part).push_back('\0');
  Bytes bytes(sizeof error.code + text.size());
  std::memcpy(bytes.data(), &error.code, sizeof error.code);
  std::memcpy(bytes.data() + sizeof error.code, text.data(), text.size());
  return bytes;
}

Error unpack_error(ByteView bytes) {
  const int code = unpack_object<int>(bytes);
  bytes = bytes.subspan(std::min(sizeof code, bytes.size()));
  std::vector<std::string> parts(1);
  for (const std::byte each : bytes) {
    if (each == std::byte{0}) {
      parts.emplace_back();
    } else {
      parts.back().push_back(static_cast<char>(each));
    }
  }
  parts.resize(std::max<size_t>(parts.size(), 3));
  Error error = fail(code == 0 ? EIO : code, parts[0], parts[1]);
  error.contexts.assign(parts.begin() + 2, parts.end() - 1);
  return error;
}

}  // namespace stasis::engine
