// What tells one file from another, and whose it is.
#pragma once

#include <string>
#include <tuple>

#include "base/types.h"
#include "model/field.h"

namespace stasis::model {

constexpr u32 kUnknownId = ~u32{0};  // of an owner or group: images made before it was saved

// Which file it was, to notice that it changed or is another one now.
struct FileIdentity {
  u64 device = 0;  // st_dev
  u64 inode = 0;
  u64 size = 0;  // bytes
  i64 mtime_ns = 0;
  u32 mode = 0;          // st_mode
  std::string build_id;  // hex of the ELF note; empty when there is none or nothing maps the file
  u32 uid = kUnknownId;  // st_uid, st_gid
  u32 gid = kUnknownId;

  bool operator==(const FileIdentity&) const = default;
  static constexpr auto fields() {
    return std::tuple{
        field("device", &FileIdentity::device),    field("inode", &FileIdentity::inode),
        field("size", &FileIdentity::size),        field("mtime_ns", &FileIdentity::mtime_ns),
        field("mode", &FileIdentity::mode),        field("build_id", &FileIdentity::build_id),
        optional_field("uid", &FileIdentity::uid), optional_field("gid", &FileIdentity::gid)};
  }
};

}  // namespace stasis::model
