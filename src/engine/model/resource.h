// What descriptors and file mappings refer to, one struct a kind. A kind is this struct, its line
// in Resource, one file in engine/resource and one fixture (docs/howto-add-a-resource.md).
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/types.h"
#include "model/field.h"
#include "model/file_identity.h"
#include "model/memory.h"

namespace stasis::model {

// A regular file: by path, or carried whole when no path leads to it any more.
struct RegularFile {
  static constexpr std::string_view kKind = "file";
  std::string path;  // as the kernel told it, without " (deleted)"
  FileIdentity identity;
  bool deleted = false;               // unlinked (st_nlink 0) or O_TMPFILE
  bool linkable = false;              // made by O_TMPFILE without O_EXCL: linkat can still name it
  std::optional<SpaceIndex> content;  // set iff the image carries the bytes
  // Carried only for where its name leads to nothing any more; else the file in place is it.
  bool fallback = false;
  // A process outside the image had it open for writing, too, when it was saved; looked for only
  // where the image writes by O_APPEND.
  bool other_writers = false;

  bool operator==(const RegularFile&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("path", &RegularFile::path),
                      field("identity", &RegularFile::identity),
                      field("deleted", &RegularFile::deleted),
                      field("linkable", &RegularFile::linkable),
                      field("content", &RegularFile::content),
                      optional_field("fallback", &RegularFile::fallback),
                      optional_field("other_writers", &RegularFile::other_writers)};
  }
};

struct Directory {
  static constexpr std::string_view kKind = "directory";
  std::string path;
  FileIdentity identity;
  bool deleted = false;

  bool operator==(const Directory&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("path", &Directory::path), field("identity", &Directory::identity),
                      field("deleted", &Directory::deleted)};
  }
};

// A character device that is the same for everybody: null, zero, full, random, urandom.
struct Device {
  static constexpr std::string_view kKind = "device";
  std::string path;
  u64 number = 0;  // st_rdev

  bool operator==(const Device&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("path", &Device::path), field("number", &Device::number)};
  }
};

// A terminal. Restart uses cr_restart's own descriptor of the same number, else its terminal.
struct Terminal {
  static constexpr std::string_view kKind = "terminal";
  std::string path;
  u64 number = 0;            // st_rdev
  bool controlling = false;  // opened as /dev/tty, or the controlling terminal of the process
  bool hung_up = false;      // it is no more: reading ends, writing gives EIO

  bool operator==(const Terminal&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("path", &Terminal::path), field("number", &Terminal::number),
                      field("controlling", &Terminal::controlling),
                      optional_field("hung_up", &Terminal::hung_up)};
  }
};

// A pipe or, with a path, a fifo, with what is in it. Which end an open file is tells its flags.
struct Pipe {
  static constexpr std::string_view kKind = "pipe";
  u64 inode = 0;
  std::string path;            // of a fifo, one that it still has if there is any; empty for a pipe
  bool deleted = false;        // no name is left
  u32 mode = 0;                // st_mode
  u64 capacity = 0;            // F_GETPIPE_SZ, bytes
  std::vector<Bytes> packets;  // what was buffered; one element unless the pipe is in packet mode
  bool external = false;       // nobody in the image holds the other end: follows cr_restart's
  u32 uid = kUnknownId;        // st_uid, st_gid
  u32 gid = kUnknownId;

  bool operator==(const Pipe&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("inode", &Pipe::inode),       field("path", &Pipe::path),
                      field("deleted", &Pipe::deleted),   field("mode", &Pipe::mode),
                      field("capacity", &Pipe::capacity), field("packets", &Pipe::packets),
                      field("external", &Pipe::external), optional_field("uid", &Pipe::uid),
                      optional_field("gid", &Pipe::gid)};
  }
};

struct EventFd {
  static constexpr std::string_view kKind = "eventfd";
  u64 count = 0;
  bool semaphore = false;

  bool operator==(const EventFd&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("count", &EventFd::count), field("semaphore", &EventFd::semaphore)};
  }
};

struct EpollItem {
  i32 number = 0;               // the descriptor number it was added under
  OpenFileIndex open_file = 0;  // what it watches
  u32 events = 0;
  u64 data = 0;

  bool operator==(const EpollItem&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("number", &EpollItem::number),
                      field("open_file", &EpollItem::open_file),
                      field("events", &EpollItem::events), field("data", &EpollItem::data)};
  }
};

struct Epoll {
  static constexpr std::string_view kKind = "epoll";
  std::vector<EpollItem> items;

  bool operator==(const Epoll&) const = default;
  static constexpr auto fields() { return std::tuple{field("items", &Epoll::items)}; }
};

struct TimerFd {
  static constexpr std::string_view kKind = "timerfd";
  i32 clock = 0;
  u32 settime_flags = 0;
  u64 ticks = 0;     // expirations not read yet
  i64 value_ns = 0;  // time left; 0 when disarmed
  i64 interval_ns = 0;
  i64 captured_ns = 0;  // the timer's own clock when value_ns was read

  bool operator==(const TimerFd&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("clock", &TimerFd::clock),
                      field("settime_flags", &TimerFd::settime_flags),
                      field("ticks", &TimerFd::ticks),
                      field("value_ns", &TimerFd::value_ns),
                      field("interval_ns", &TimerFd::interval_ns),
                      field("captured_ns", &TimerFd::captured_ns)};
  }
};

struct SignalFd {
  static constexpr std::string_view kKind = "signalfd";
  u64 mask = 0;  // bit n-1 = signal n

  bool operator==(const SignalFd&) const = default;
  static constexpr auto fields() { return std::tuple{field("mask", &SignalFd::mask)}; }
};

struct Memfd {
  static constexpr std::string_view kKind = "memfd";
  std::string name;
  u64 inode = 0;
  u64 size = 0;
  u32 seals = 0;           // F_GET_SEALS
  u32 mode = 0;            // st_mode
  u32 huge_page_log2 = 0;  // 0: ordinary pages
  SpaceIndex content = 0;
  u32 uid = kUnknownId;  // st_uid, st_gid
  u32 gid = kUnknownId;

  bool operator==(const Memfd&) const = default;
  static constexpr auto fields() {
    return std::tuple{
        field("name", &Memfd::name),       field("inode", &Memfd::inode),
        field("size", &Memfd::size),       field("seals", &Memfd::seals),
        field("mode", &Memfd::mode),       field("huge_page_log2", &Memfd::huge_page_log2),
        field("content", &Memfd::content), optional_field("uid", &Memfd::uid),
        optional_field("gid", &Memfd::gid)};
  }
};

// Shared anonymous memory ("/dev/zero (deleted)"): never a descriptor, only mapped.
struct SharedMemory {
  static constexpr std::string_view kKind = "shared-memory";
  u64 inode = 0;
  u64 size = 0;
  SpaceIndex content = 0;

  bool operator==(const SharedMemory&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("inode", &SharedMemory::inode), field("size", &SharedMemory::size),
                      field("content", &SharedMemory::content)};
  }
};

struct InotifyWatch {
  i32 descriptor = 0;  // wd
  u32 mask = 0;
  std::string path;

  bool operator==(const InotifyWatch&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("descriptor", &InotifyWatch::descriptor),
                      field("mask", &InotifyWatch::mask), field("path", &InotifyWatch::path)};
  }
};

struct Inotify {
  static constexpr std::string_view kKind = "inotify";
  std::vector<InotifyWatch> watches;

  bool operator==(const Inotify&) const = default;
  static constexpr auto fields() { return std::tuple{field("watches", &Inotify::watches)}; }
};

struct PidFd {
  static constexpr std::string_view kKind = "pidfd";
  Pid pid = 0;          // a process of the image
  bool thread = false;  // PIDFD_THREAD

  bool operator==(const PidFd&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("pid", &PidFd::pid), field("thread", &PidFd::thread)};
  }
};

using Resource = std::variant<RegularFile, Directory, Device, Terminal, Pipe, EventFd, Epoll,
                              TimerFd, SignalFd, Memfd, SharedMemory, Inotify, PidFd>;

// A POSIX (process) or flock (open file) lock.
struct FileLock {
  std::string type;  // "FLOCK", "POSIX" or "OFDLCK", as /proc/PID/fdinfo says
  bool exclusive = false;
  Pid owner = 0;  // POSIX: the process; FLOCK: the one that took it, 0 if that is not in the image
  u64 start = 0;
  u64 end = 0;  // inclusive; ~0 for the end of the file

  bool operator==(const FileLock&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("type", &FileLock::type), field("exclusive", &FileLock::exclusive),
                      field("owner", &FileLock::owner), field("start", &FileLock::start),
                      field("end", &FileLock::end)};
  }
};

// The kernel's open file description: shared by dup and fork.
struct OpenFile {
  ResourceIndex resource = 0;
  u32 flags = 0;       // O_* as fdinfo shows them, without O_CLOEXEC
  u64 offset = 0;      // bytes; for a directory the kernel's cookie
  i32 owner_type = 0;  // F_GETOWN_EX; 0 pid with owner 0 when none
  i32 owner = 0;
  i32 signal = 0;  // F_GETSIG
  std::vector<FileLock> locks;
  // Under which name it was opened and whether that name has been removed, where it is not that of
  // the resource: of a fifo with several names.
  std::string name;
  bool name_removed = false;

  bool operator==(const OpenFile&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("resource", &OpenFile::resource),
                      field("flags", &OpenFile::flags),
                      field("offset", &OpenFile::offset),
                      field("owner_type", &OpenFile::owner_type),
                      field("owner", &OpenFile::owner),
                      field("signal", &OpenFile::signal),
                      field("locks", &OpenFile::locks),
                      optional_field("name", &OpenFile::name),
                      optional_field("name_removed", &OpenFile::name_removed)};
  }
};

struct Descriptor {
  i32 number = 0;
  bool close_on_exec = false;
  OpenFileIndex open_file = 0;

  bool operator==(const Descriptor&) const = default;
  static constexpr auto fields() {
    return std::tuple{field("number", &Descriptor::number),
                      field("close_on_exec", &Descriptor::close_on_exec),
                      field("open_file", &Descriptor::open_file)};
  }
};

}  // namespace stasis::model
