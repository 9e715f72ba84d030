// A manifest is a tree, and of what changes single bytes of it hardly anything is still one. Here
// whole nodes change: numbers become those at which things go wrong, a node takes the value of
// another one with the same name (so that ids and indices meet), lists lose, repeat and swap
// elements.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "format/cbor.h"
#include "mutate.h"

namespace stasis::fuzz {
namespace {

using nlohmann::json;

struct Node {
  std::string name;  // of the member that it is, or is an element of
  json* value = nullptr;
};

void collect(json& value, const std::string& name, std::vector<Node>& nodes) {
  nodes.push_back({name, &value});
  if (value.is_object()) {
    for (auto& [key, each] : value.items()) collect(each, key, nodes);
  } else if (value.is_array()) {
    for (json& each : value) collect(each, name, nodes);
  }
}

json other_number(const json& number, Random& random) {
  constexpr u64 kNumbers[] = {0,
                              1,
                              2,
                              4,
                              64,
                              65,
                              127,
                              255,
                              4095,
                              4096,
                              8192,
                              0xffff,
                              0x7fffffff,
                              0x80000000,
                              0xffffffff,
                              0x100000000,
                              0x7ffffffff000,
                              u64{1} << 62,
                              u64{1} << 63,
                              ~u64{4095},
                              ~u64{0}};
  constexpr u64 kSteps[] = {1, 8, 4096};
  const u64 old =
      number.is_number_unsigned() ? number.get<u64>() : static_cast<u64>(number.get<i64>());
  switch (random() % 4) {
    case 0:
      return static_cast<i64>(kNumbers[random() % std::size(kNumbers)]);
    case 1:
      return kNumbers[random() % std::size(kNumbers)];
    case 2:
      return old + kSteps[random() % std::size(kSteps)];
    default:
      return old - kSteps[random() % std::size(kSteps)];
  }
}

std::string other_text(const std::string& text) {
  const ByteView view = std::as_bytes(std::span(text));
  const Bytes bytes = mutate_bytes({view.begin(), view.end()}, text.size() + 16);
  return {static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size()};
}

std::vector<u8> other_bytes(const std::vector<u8>& blob) {
  const auto view = std::as_bytes(std::span(blob));
  std::vector<u8> out;
  for (const std::byte each : mutate_bytes({view.begin(), view.end()}, blob.size() + 64)) {
    out.push_back(std::to_integer<u8>(each));
  }
  return out;
}

void change_list(json& list, Random& random) {
  if (list.empty()) return;
  const size_t at = random() % list.size();
  const auto place = list.begin() + static_cast<std::ptrdiff_t>(at);
  switch (random() % 4) {
    case 0:
      list.erase(place);
      break;
    case 1:
      list.insert(place, json(*place));
      break;
    case 2:
      std::swap(*place, list[random() % list.size()]);
      break;
    default:
      list.push_back(json(*place));
  }
}

void change_members(json& object, Random& random) {
  if (object.empty()) return;
  auto member = object.begin();
  std::advance(member, static_cast<std::ptrdiff_t>(random() % object.size()));
  if (one_in(random, 2)) object[other_text(member.key())] = json(*member);
  object.erase(member);
}

// The value of a node with the same name, or, rarely, of any.
void copy_another(const Node& node, const std::vector<Node>& nodes, Random& random) {
  const size_t first = random() % nodes.size();
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& other = nodes[(first + i) % nodes.size()];
    if (other.value == node.value || (other.name != node.name && !one_in(random, 1000))) continue;
    json copy = *other.value;  // may hold the node
    *node.value = std::move(copy);
    return;
  }
}

void change(json& root, Random& random) {
  std::vector<Node> nodes;
  collect(root, "", nodes);
  const Node& node = nodes[random() % nodes.size()];
  json& value = *node.value;
  if (one_in(random, 3)) return copy_another(node, nodes, random);
  if (value.is_number()) {
    value = other_number(value, random);
  } else if (value.is_string()) {
    value = other_text(value.get<std::string>());
  } else if (value.is_binary()) {
    value = json::binary(other_bytes(value.get_binary()));
  } else if (value.is_boolean()) {
    value = !value.get<bool>();
  } else if (value.is_array()) {
    change_list(value, random);
  } else if (value.is_object()) {
    change_members(value, random);
  } else {
    copy_another(node, nodes, random);
  }
}

// Whether nlohmann_json, which recurses as deep as a file says, may be given it.
bool is_bounded(const Bytes& cbor) {
  format::MemoryBudget budget(0);
  format::CborReader reader([&cbor]() -> Result<ByteView> { return ByteView(cbor); }, cbor.size(),
                            budget);
  return reader.skip() && reader.finish();
}

}  // namespace

Bytes mutate_cbor(const Bytes& cbor, size_t most, Random& random) {
  if (one_in(random, 16) || !is_bounded(cbor)) return mutate_bytes(cbor, most);
  const std::span<const u8> in(static_cast<const u8*>(static_cast<const void*>(cbor.data())),
                               cbor.size());
  json root = json::from_cbor(in.begin(), in.end(), true, false);
  if (root.is_discarded()) return mutate_bytes(cbor, most);
  for (u64 left = 1 + random() % 4; left > 0; --left) change(root, random);
  const std::vector<u8> changed = json::to_cbor(root);
  if (changed.size() > most) return mutate_bytes(cbor, most);
  const auto view = std::as_bytes(std::span(changed));
  return {view.begin(), view.end()};
}

}  // namespace stasis::fuzz
