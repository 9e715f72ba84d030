// Random values by field list, and the repairs that make an image of them.
#include "model/random.h"

#include <algorithm>
#include <random>
#include <set>

#include "model/names.h"
#include "model/shapes.h"

namespace stasis::model {
namespace {

class Source {
 public:
  explicit Source(u64 seed) : engine_(seed) {}

  u64 below(u64 limit) { return engine_() % limit; }
  bool chance(u64 one_in) { return below(one_in) == 0; }

  // Small numbers, extremes and anything else, in that order of frequency.
  template <Integer T>
  void fill(T& out) {
    if (chance(8)) {
      out = chance(2) ? std::numeric_limits<T>::max() : std::numeric_limits<T>::min();
    } else {
      out = static_cast<T>(chance(2) ? below(100) : engine_());
    }
  }
  void fill(bool& out) { out = chance(2); }
  void fill(RemoteAddr& out) { fill(out.value); }
  void fill(Bytes& out) {
    out.resize(below(40));
    for (auto& each : out) each = static_cast<std::byte>(engine_());
  }
  void fill(std::string& out) {
    out.resize(below(20));
    const bool text = !chance(8);  // a path may hold any byte
    for (auto& each : out) each = static_cast<char>(text ? 'a' + below(26) : below(256));
  }
  template <Enumeration T>
  void fill(T& out) {
    constexpr auto kAll = EnumValues<T>::kAll;
    out = kAll[below(kAll.size())];
  }
  template <Optional T>
  void fill(T& out) {
    out.reset();
    if (chance(2)) fill(out.emplace());
  }
  template <Sequence T>
  void fill(T& out) {
    out.resize(below(4));
    for (auto& each : out) fill(each);
  }
  template <Choice T>
  void fill(T& out) {
    fill_alternative<T>(out, below(std::variant_size_v<T>));
  }
  template <HasFields T>
  void fill(T& out) {
    for_each_field(out, [&](const auto&, auto& member) { fill(member); });
  }

 private:
  template <class T, size_t I = 0>
  void fill_alternative(T& out, size_t wanted) {
    if constexpr (I < std::variant_size_v<T>) {
      if (wanted == I) return fill(out.template emplace<I>());
      fill_alternative<T, I + 1>(out, wanted);
    }
  }

  std::mt19937_64 engine_;
};

class Maker {
 public:
  explicit Maker(u64 seed) : random_(seed) {}

  Image make() {
    random_.fill(image_);
    image_.origin.page_size = kPageSize;
    image_.resources.resize(4 + random_.below(8));
    for (auto& each : image_.resources) random_.fill(each);
    image_.resources.emplace_back(RegularFile{.path = "/bin/program"});
    image_.open_files.resize(1 + random_.below(6));
    image_.spaces.clear();
    for (auto& each : image_.resources) repair(each);
    for (auto& each : image_.open_files) each.resource = index(image_.resources.size());
    if (image_.processes.empty()) random_.fill(image_.processes.emplace_back());
    for (auto& each : image_.processes) repair(each);
    for (auto& each : image_.zombies) repair(each);
    return std::move(image_);
  }

 private:
  u32 index(size_t count) { return static_cast<u32>(random_.below(count)); }

  SpaceIndex add_space(u64 size) {
    Space& space = image_.spaces.emplace_back();
    random_.fill(space.label);
    space.size = size;
    if (size > 0) add_runs(space, 0, page_up(size));
    return static_cast<SpaceIndex>(image_.spaces.size() - 1);
  }

  // Runs of some pages with gaps between start and end.
  void add_runs(Space& space, u64 start, u64 end) {
    for (u64 at = start + random_.below(3) * kPageSize; at < end;) {
      const u64 length = std::min(end - at, (1 + random_.below(20)) * kPageSize);
      const RunKind kind = random_.chance(6)    ? RunKind::kZero
                           : random_.chance(12) ? RunKind::kGuard
                                                : RunKind::kData;
      space.runs.push_back({at, length, kind});
      at += length + random_.below(4) * kPageSize;
    }
  }

  void repair(Resource& resource) {
    const u64 size = random_.below(30 * kPageSize);
    if (auto* file = std::get_if<RegularFile>(&resource); file != nullptr && file->content) {
      file->content = add_space(size);
    } else if (auto* memfd = std::get_if<Memfd>(&resource)) {
      memfd->content = add_space(memfd->size = size);
    } else if (auto* shared = std::get_if<SharedMemory>(&resource)) {
      shared->content = add_space(shared->size = size);
    } else if (auto* epoll = std::get_if<Epoll>(&resource)) {
      for (auto& item : epoll->items) item.open_file = index(image_.open_files.size());
    }
  }

  void repair(Process& process) {
    process.pid = next_id_++;
    process.parent = process.pid == 100 ? 1 : 100;
    process.exit_signal = static_cast<i32>(random_.below(65));
    if (process.executable) process.executable = last_resource();
    process.credentials.uids.resize(4);
    process.credentials.gids.resize(4);
    i32 signal = 0;
    for (auto& each : process.actions)
      each.signal = signal += 1 + static_cast<i32>(random_.below(9));
    if (process.threads.empty()) random_.fill(process.threads.emplace_back());
    for (auto& each : process.threads) each.tid = next_id_++;
    process.threads[0].tid = process.pid;
    i32 number = -1;
    for (auto& each : process.descriptors) {
      each.number = number += 1 + static_cast<i32>(random_.below(5));
      each.open_file = index(image_.open_files.size());
    }
    repair(process.memory);
  }

  void repair(Zombie& zombie) {
    zombie.pid = next_id_++;
    zombie.parent = 100;
    zombie.exit_signal = static_cast<i32>(random_.below(65));
    const auto code = static_cast<i32>(random_.below(256));
    zombie.wait_status = random_.chance(2) ? code << 8 : 9;
  }

  u32 last_resource() const { return static_cast<u32>(image_.resources.size() - 1); }

  void repair(Memory& memory) {
    memory.space = add_space(0);
    u64 at = 0x10000;
    for (auto& vma : memory.vmas) {
      at += random_.below(3) * 0x10000;
      vma.start = {at};
      at += (1 + random_.below(200)) * kPageSize;
      vma.end = {at};
      vma.resource.reset();
      if (vma.kind == VmaKind::kFile) vma.resource = last_resource();
      add_runs(image_.spaces[memory.space], vma.start.value, vma.end.value);
    }
  }

  Source random_;
  Image image_;
  Pid next_id_ = 100;
};

}  // namespace

Image random_image(u64 seed) {
  return Maker(seed).make();
}

}  // namespace stasis::model
