// What the process that holds a freeze and the one that writes the image say to each other: a head,
// then bytes, through a pair of sockets. Both are one program, so that objects go as they lie.
#pragma once

#include <cstring>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace stasis::engine {

class Channel {
 public:
  enum class Kind : u32 {
    // By the writer.
    kProgress,   // a Progress
    kAsk,        // pages that it may not read itself: the space, then runs
    kWritten,    // a WriteReport: complete, but not under its name
    kCommitted,  // safe, and under its name
    kFailed,     // an error, as pack() puts it
    // To the writer.
    kPages,    // what was asked for
    kNoPages,  // an error
    kCommit,
  };
  struct Progress {
    u64 done = 0, total = 0;  // bytes of page contents
  };
  struct Message {
    Kind kind = Kind::kFailed;
    Bytes bytes;
  };

  struct Pair;
  static Result<Pair> make();
  explicit Channel(UniqueFd socket) : socket_(std::move(socket)) {}

  // Neither waits for more than some seconds in the middle of a message. EPIPE: the other side has
  // ended.
  Result<void> send(Kind kind, ByteView bytes = {}) const;
  Result<Message> receive() const;
  [[nodiscard]] int fd() const { return socket_.get(); }
  void close() { socket_.reset(); }

 private:
  UniqueFd socket_;
};

struct Channel::Pair {
  Channel ours, theirs;
};

Bytes pack(const Error& error);
Error unpack_error(ByteView bytes);

template <class T>
ByteView pack_object(const T& object) {
  return std::as_bytes(std::span(&object, 1));
}
template <class T>
T unpack_object(ByteView bytes) {
  T object{};
  std::memcpy(&object, bytes.data(), std::min(sizeof object, bytes.size()));
  return object;
}

}  // namespace stasis::engine
