// The rules of the model, one broken at a time.
#include <doctest/doctest.h>

#include <functional>

#include "model/validate.h"
#include "sample.h"

namespace stasis::model {
namespace {

bool valid_after(const std::function<void(Image&)>& change) {
  Image image = sample_image();
  change(image);
  return validate(image).ok();
}

Process& add_child(Image& image) {
  Process child = image.processes[0];
  child.pid = 5000;
  child.parent = 4711;
  child.threads.resize(1);
  child.threads[0].tid = 5000;
  child.memory.space = static_cast<SpaceIndex>(image.spaces.size());
  image.spaces.push_back({"", 0, {}});
  return image.processes.emplace_back(child);
}

}  // namespace

TEST_CASE("a good image, and one with a child") {
  CHECK(valid_after([](Image&) {}));
  CHECK(valid_after([](Image& i) { add_child(i); }));
}

TEST_CASE("processes and threads") {
  CHECK(!valid_after([](Image& i) { i.processes[0].parent = add_child(i).pid; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].parent = 4711; }));
  CHECK(!valid_after([](Image& i) { add_child(i).threads[0].tid = 4712; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].threads[1].tid = 4711; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].threads[1].tid = -5; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].threads.clear(); }));
  CHECK(!valid_after(
      [](Image& i) { std::swap(i.processes[0].threads[0], i.processes[0].threads[1]); }));
  CHECK(!valid_after([](Image& i) { i.processes[0].actions[0].signal = 65; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].actions[0].signal = 13; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].credentials.uids.pop_back(); }));
  CHECK(!valid_after([](Image& i) { i.processes[0].executable = 2; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].executable = 99; }));
}

TEST_CASE("descriptors, open files, resources") {
  CHECK(!valid_after([](Image& i) { i.processes[0].descriptors[1].number = 0; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].descriptors[0].number = -1; }));
  CHECK(!valid_after([](Image& i) { i.processes[0].descriptors[1].open_file = 3; }));
  CHECK(!valid_after([](Image& i) { i.open_files[0].resource = 4; }));
  CHECK(!valid_after([](Image& i) { i.resources[3] = Epoll{{{.open_file = 3}}}; }));
  CHECK(!valid_after([](Image& i) { i.resources[3] = Memfd{.content = 1}; }));
  CHECK(!valid_after([](Image& i) { i.resources[3] = Memfd{.content = 0}; }));  // it is the memory
  CHECK(!valid_after([](Image& i) {
    i.spaces.push_back({"", 100, {}});
    i.resources[2] = Memfd{.content = 1};
    i.resources[3] = Memfd{.content = 1};
  }));
  CHECK(!valid_after([](Image& i) {
    i.spaces.push_back({"", 100, {{0x1000, 0x1000}}});
    i.resources[3] = Memfd{.content = 1};
  }));
}

TEST_CASE("memory") {
  const auto after = [](const std::function<void(std::vector<Vma>&)>& change) {
    return valid_after([&](Image& i) { change(i.processes[0].memory.vmas); });
  };
  CHECK(!after([](auto& v) { v[1].start.value += 1; }));
  CHECK(!after([](auto& v) { v[1].end = v[1].start; }));
  CHECK(!after([](auto& v) { std::swap(v[1], v[2]); }));
  CHECK(!after([](auto& v) { v[1].end = v[2].end; }));
  CHECK(!after([](auto& v) { v[0].resource = 4; }));
  CHECK(!after([](auto& v) { v[0].resource.reset(); }));
  CHECK(!after([](auto& v) { v[1].resource = 0; }));
  CHECK(!after([](auto& v) { v.erase(v.begin() + 1); }));  // runs where no area is
  CHECK(!valid_after([](Image& i) { i.processes[0].memory.space = 1; }));
}

}  // namespace stasis::model
