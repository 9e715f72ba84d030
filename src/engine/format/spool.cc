// Spooling of what cannot seek.
#include "format/spool.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>

#include "base/sys.h"
#include "format/layout.h"

namespace stasis::format {
namespace {

constexpr size_t kBlock = size_t{1} << 20;

Result<UniqueFd> unnamed_file() {
  const char* wanted = ::secure_getenv("TMPDIR");
  for (const char* directory : {wanted, "/var/tmp", "/tmp"}) {
    if (directory == nullptr) continue;
    auto fd = sys::open(directory, O_TMPFILE | O_RDWR | O_EXCL, 0600);
    if (fd) return fd;
  }
  return UniqueFd(
      TRY(sys::check(::memfd_create("context", MFD_CLOEXEC), "create", "a memory file")));
}

}  // namespace

Result<UniqueFd> spool(int fd) {
  Bytes block(kBlock);
  size_t got = TRY(sys::read_full(fd, ByteSpan(block).first(kHeaderBytes)));
  if (got < kHeaderBytes) return fail(EIO, "truncated: it is shorter than the header");
  (void)TRY(decode_header(ByteView(block).first(kHeaderBytes)));
  UniqueFd file = TRY(unnamed_file());
  while (got > 0) {
    TRY(sys::write_all(file.get(), ByteView(block).first(got)).context("spool"));
    got = TRY(sys::read_full(fd, block));
  }
  TRY(sys::check(::lseek(file.get(), 0, SEEK_SET), "rewind", "the spooled context file"));
  return file;
}

}  // namespace stasis::format
