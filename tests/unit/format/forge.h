// Context files made by hand, with right checksums and wrong contents.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "format/layout.h"
#include "model/image.h"

namespace stasis::format {

struct ForgedFrame {
  Bytes stored;
  u32 length = 0;
};

struct Forgery {
  Header header;
  std::vector<ForgedFrame> frames;
  Bytes manifest;           // as stored
  u64 manifest_length = 0;  // what the footer promises

  explicit Forgery(const model::Image& image);
  Forgery();  // of an image with one page
  void set_manifest(const nlohmann::json& json);
  void set_cbor(ByteView cbor);
  [[nodiscard]] std::vector<FrameEntry> index() const;
  // The footer that belongs to it all; change it and hand it to bytes().
  [[nodiscard]] Footer footer() const;
  [[nodiscard]] Bytes bytes(const Footer& footer) const;
  [[nodiscard]] Bytes bytes() const { return bytes(footer()); }
};

Bytes compressed(ByteView contents);
Bytes bytes_from(const std::vector<u8>& values);

}  // namespace stasis::format
