// Free address space: where the build may put its own things so that they are in nobody's way.
// Pure but for choose_scratch(), which also reads our own maps.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "model/image.h"
#include "restart/target.h"

namespace stasis::restart {

// The addresses a program can have: mmap_min_addr to the end of 47 bits.
inline constexpr RemoteAddr kLowestAddress{0x10000};
inline constexpr RemoteAddr kAddressEnd{0x7ffffffff000};

class Layout {
 public:
  Layout() = default;
  // Everything that any process of the image has mapped.
  explicit Layout(const model::Image& image);

  void add(RemoteAddr start, u64 length);
  // Start of `length` free bytes with some distance to everything else, preferably far away from
  // where kernels put programs, libraries and stacks.
  [[nodiscard]] std::optional<RemoteAddr> hole(u64 length) const;
  [[nodiscard]] bool is_free(RemoteAddr start, u64 length) const;

 private:
  [[nodiscard]] std::optional<RemoteAddr> hole_from(RemoteAddr lowest, u64 length) const;
  std::map<RemoteAddr, RemoteAddr> taken_;  // start -> end; may overlap
};

// Where every SharedMemory of the image is mapped whole while the build lasts. The same answer for
// every process of the image.
Result<std::map<model::ResourceIndex, RemoteAddr>> shared_homes(const model::Image& image,
                                                                const Scratch& scratch);

// Room for this kernel's vdso where that of the image differs and keeps its place.
Result<RemoteAddr> foreign_vdso_home(const model::Image& image, const Scratch& scratch, u64 length);

}  // namespace stasis::restart
