// The passes of capture() that need no frozen process.
#include "capture/sketch.h"

#include "capture/areas.h"
#include "capture/builder.h"
#include "capture/facts.h"
#include "proc/status.h"

namespace stasis::capture {
namespace {

// Without resources: what files are mapped is not looked at.
Result<std::vector<model::Vma>> sketch_areas(Pid pid) {
  std::vector<model::Vma> vmas =
      TRY(to_vmas(TRY(proc::read_smaps(proc::live_thread(pid))),
                  [](const proc::Area&) -> Result<model::ResourceIndex> { return 0; }));
  for (model::Vma& vma : vmas) vma.resource.reset();
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
    process.memory.vmas = TRY(sketch_areas(pid));
    process.memory.space = builder.add_space("memory", 0);
    process.descriptors = builder.descriptors(pid);
    builder.image.processes.push_back(std::move(process));
  }
  return std::move(builder.image);
}

}  // namespace stasis::capture
