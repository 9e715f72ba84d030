// Canonical order first, then the fields that may differ, then the areas.
#include "model/normalise.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

namespace stasis::model {
namespace {

constexpr std::string_view kAccountingFlags[] = {"ac", "sd", "um", "uw"};

// New numbers in the order of first use.
class Numbering {
 public:
  explicit Numbering(size_t count) : numbers_(count) {}

  // The new number of `old`; tells by `first` whether it was not met before.
  u32 number(u32 old, bool& first) {
    first = !numbers_[old].has_value();
    if (first) {
      numbers_[old] = static_cast<u32>(order_.size());
      order_.push_back(old);
    }
    return *numbers_[old];
  }
  [[nodiscard]] const std::vector<u32>& order() const { return order_; }

 private:
  std::vector<std::optional<u32>> numbers_;
  std::vector<u32> order_;
};

class Renumberer {
 public:
  explicit Renumberer(const Image& image)
      : in_(image),
        resources_(image.resources.size()),
        open_files_(image.open_files.size()),
        spaces_(image.spaces.size()) {}

  Normalised run() {
    Normalised out;
    out.image.origin = in_.origin;
    out_ = &out.image;
    out_->processes = in_.processes;
    out_->zombies = in_.zombies;
    std::ranges::sort(out_->zombies, {}, &Zombie::pid);
    for (Process& process : out_->processes) visit(process);
    for (u32 i = 0; i < in_.open_files.size(); ++i) (void)open_file(i);  // nobody's come last
    for (u32 i = 0; i < in_.resources.size(); ++i) (void)resource(i);
    for (u32 i = 0; i < in_.spaces.size(); ++i) (void)space(i);
    out.origins = spaces_.order();
    return out;
  }

 private:
  void visit(Process& process) {
    if (process.executable) process.executable = resource(*process.executable);
    process.memory.space = space(process.memory.space);
    for (Vma& vma : process.memory.vmas) {
      if (vma.resource) vma.resource = resource(*vma.resource);
    }
    for (Descriptor& each : process.descriptors) each.open_file = open_file(each.open_file);
  }

  SpaceIndex space(SpaceIndex old) {
    bool first = false;
    const u32 number = spaces_.number(old, first);
    if (first) out_->spaces.push_back(in_.spaces[old]);
    return number;
  }

  OpenFileIndex open_file(OpenFileIndex old) {
    bool first = false;
    const u32 number = open_files_.number(old, first);
    if (first) {
      out_->open_files.push_back(in_.open_files[old]);
      const ResourceIndex kept = resource(in_.open_files[old].resource);
      out_->open_files[number].resource = kept;
    }
    return number;
  }

  ResourceIndex resource(ResourceIndex old) {
    bool first = false;
    const u32 number = resources_.number(old, first);
    if (!first) return number;
    out_->resources.push_back(in_.resources[old]);
    Resource copy = in_.resources[old];  // renumbering its parts may grow the list
    if (auto* file = std::get_if<RegularFile>(&copy); file != nullptr && file->content) {
      file->content = space(*file->content);
    } else if (auto* memfd = std::get_if<Memfd>(&copy)) {
      memfd->content = space(memfd->content);
    } else if (auto* shared = std::get_if<SharedMemory>(&copy)) {
      shared->content = space(shared->content);
    } else if (auto* epoll = std::get_if<Epoll>(&copy)) {
      for (EpollItem& item : epoll->items) item.open_file = open_file(item.open_file);
    }
    out_->resources[number] = std::move(copy);
    return number;
  }

  const Image& in_;
  Image* out_ = nullptr;
  Numbering resources_, open_files_, spaces_;
};

void forget(FileIdentity& identity) {
  identity.mtime_ns = 0;
}
void forget_file(FileIdentity& identity) {
  identity.mtime_ns = 0;
  identity.inode = 0;
  identity.device = 0;
}

void forget(Resource& resource) {
  if (auto* file = std::get_if<RegularFile>(&resource)) {
    forget(file->identity);
    file->other_writers = false;  // of that moment
    if (file->deleted || file->content) forget_file(file->identity);
    if (file->deleted) file->path.clear();
  } else if (auto* directory = std::get_if<Directory>(&resource)) {
    forget(directory->identity);
    directory->identity.size = 0;  // grows with the names in it
    if (directory->deleted) forget_file(directory->identity);
  } else if (auto* terminal = std::get_if<Terminal>(&resource)) {
    *terminal = {};
  } else if (auto* pipe = std::get_if<Pipe>(&resource)) {
    if (pipe->path.empty() || pipe->deleted) pipe->inode = 0;
    if (pipe->external) *pipe = {.external = true};
  } else if (auto* memfd = std::get_if<Memfd>(&resource)) {
    memfd->inode = 0;
  } else if (auto* shared = std::get_if<SharedMemory>(&resource)) {
    shared->inode = 0;
  } else if (auto* timer = std::get_if<TimerFd>(&resource)) {
    timer->captured_ns = 0;
  }
}

void forget(Origin& origin) {
  Origin kept;
  kept.architecture = origin.architecture;
  kept.page_size = origin.page_size;
  kept.cpus = origin.cpus;
  kept.vdso = origin.vdso;
  origin = kept;
}

// Who the parent is, and which group and session, follows from who restarts, where it is outside.
void forget_outsiders(Image& image) {
  std::set<Pid> inside;
  for (const Process& each : image.processes) inside.insert(each.pid);
  for (size_t i = 0; i < image.processes.size(); ++i) {
    Process& process = image.processes[i];
    for (Pid* id : {&process.parent, &process.group, &process.session}) {
      if (i == 0 || !inside.contains(*id)) *id = 0;
    }
  }
  for (Zombie& zombie : image.zombies) {
    for (Pid* id : {&zombie.group, &zombie.session}) {
      if (!inside.contains(*id)) *id = 0;
    }
  }
}

bool alike(const Vma& a, const Vma& b) {
  const bool next = a.end == b.start && (!a.resource || a.offset + a.length() == b.offset);
  return next && a.protection == b.protection && a.shared == b.shared && a.kind == b.kind &&
         a.name == b.name && a.resource == b.resource && a.flags == b.flags;
}

void merge_areas(std::vector<Vma>& vmas) {
  std::vector<Vma> out;
  for (Vma& vma : vmas) {
    std::erase_if(vma.flags, [](const std::string& flag) {
      return std::ranges::find(kAccountingFlags, flag) != std::end(kAccountingFlags);
    });
    if (!vma.resource) vma.offset = 0;
    if (!out.empty() && alike(out.back(), vma)) {
      out.back().end = vma.end;
    } else {
      out.push_back(std::move(vma));
    }
  }
  vmas = std::move(out);
}

void keep_guards(std::vector<Run>& runs) {
  std::vector<Run> out;
  for (const Run& run : runs) {
    if (run.kind != RunKind::kGuard) continue;
    if (!out.empty() && out.back().offset + out.back().length == run.offset) {
      out.back().length += run.length;
    } else {
      out.push_back(run);
    }
  }
  runs = std::move(out);
}

}  // namespace

Normalised normalise(const Image& image) {
  Normalised out = Renumberer(image).run();
  forget(out.image.origin);
  forget_outsiders(out.image);
  for (Resource& each : out.image.resources) forget(each);
  for (Process& each : out.image.processes) {
    merge_areas(each.memory.vmas);
    for (PosixTimer& timer : each.posix_timers) timer.overrun = 0;
  }
  for (Space& each : out.image.spaces) {
    each.label.clear();
    keep_guards(each.runs);
  }
  return out;
}

}  // namespace stasis::model
