// The passes of capture() that need no frozen process.
#include "capture/sketch.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "capture/areas.h"
#include "capture/builder.h"
#include "capture/facts.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

constexpr auto kNoResource = static_cast<model::ResourceIndex>(-1);

// A file that is shared and writable must be allowed to be opened so; of what else is mapped
// nothing is asked here.
Result<model::ResourceIndex> sketch_mapped(const proc::Area& area, model::Image& image) {
  const bool written = area.shared && (area.has_flag("mw") || (area.protection & PROT_WRITE) != 0);
  if (!written || area.deleted || !area.path.starts_with('/')) return kNoResource;
  const auto status = sys::lstat(area.path);
  if (!status || !S_ISREG(status->st_mode) || status->st_ino != area.inode) return kNoResource;
  for (model::ResourceIndex i = 0; i < image.resources.size(); ++i) {
    const auto* known = std::get_if<model::RegularFile>(&image.resources[i]);
    if (known != nullptr && known->path == area.path) return i;
  }
  model::RegularFile file;
  file.path = area.path;
  file.identity = resource::identity_of(*status);
  image.resources.emplace_back(std::move(file));
  return static_cast<model::ResourceIndex>(image.resources.size() - 1);
}

Result<std::vector<model::Vma>> sketch_areas(Pid pid, model::Image& image) {
  const auto areas = TRY(proc::read_smaps(proc::live_thread(pid)));
  std::vector<model::Vma> vmas =
      TRY(to_vmas(areas, [&image](const proc::Area& area) { return sketch_mapped(area, image); }));
  for (model::Vma& vma : vmas) {
    if (vma.resource == kNoResource) vma.resource.reset();
  }
  return vmas;
}

}  // namespace

Result<model::Image> sketch(std::span<const Pid> pids) {
  Builder builder(std::vector<Pid>(pids.begin(), pids.end()), {});
  std::vector<Refusal> unused;
  TRY(builder.load_descriptors(unused));
  builder.sketch_descriptors();
  for (const Pid pid : pids) {
    model::Process process = TRY(visible_facts(pid));
    process.memory.vmas = TRY(sketch_areas(pid, builder.image));
    process.memory.space = builder.add_space("memory", 0);
    process.descriptors = builder.descriptors(pid);
    builder.image.processes.push_back(std::move(process));
  }
  return std::move(builder.image);
}

}  // namespace stasis::capture
