// --relocate: rules as they are written, and what they do to a path. Every line of an input but the
// last is OLD=NEW; the last one is a path of an image.
#include <algorithm>
#include <memory>
#include <string>

#include "relocate.h"
#include "resource/handler.h"
#include "target.h"

namespace stasis::fuzz {
namespace {

class NoPages : public model::PageSource {
 public:
  Result<void> read(model::SpaceIndex, std::span<const model::Run>, ByteSpan) override {
    return {};
  }
};

std::string escaped(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == '=' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

void check_rule(const resource::Relocation& rule) {
  require(rule.from.starts_with('/') && rule.to.starts_with('/'), "both sides are absolute");
  require(rule.from != rule.to, "a rule does something");
  const auto again = cli::parse_relocation(escaped(rule.from) + "=" + escaped(rule.to));
  require(again && *again && (*again)->from == rule.from && (*again)->to == rule.to,
          "a rule that is written again is the same");
}

std::string relocated(std::vector<resource::Relocation> rules, const std::string& path) {
  const model::Image image;
  NoPages pages;
  resource::RestoreContext context{
      .image = image, .pages = pages, .options = {.relocations = std::move(rules)}, .made = {}};
  return context.relocate(path);
}

void check_move(const std::vector<resource::Relocation>& rules, const std::string& path) {
  require(relocated({}, path) == path, "without rules a path stays");
  const std::string moved = relocated(rules, path);
  size_t longest = 0;
  for (const auto& rule : rules) longest = std::max(longest, rule.to.size());
  require(moved.size() <= path.size() + longest + 1, "a path grows by a rule at most");
  require(!path.starts_with('/') || moved.starts_with('/'), "an absolute path stays one");
  if (!rules.empty()) {
    require(relocated(rules, rules.front().from) == rules.front().to, "a rule moves its own path");
  }
}

}  // namespace
}  // namespace stasis::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace stasis::fuzz;
  std::string_view rest = text_of(data, size);
  std::vector<stasis::resource::Relocation> rules;
  for (size_t end = rest.find('\n'); end != rest.npos; end = rest.find('\n')) {
    auto rule = stasis::cli::parse_relocation(rest.substr(0, end));
    rest.remove_prefix(end + 1);
    if (!rule || !*rule) continue;
    check_rule(**rule);
    rules.push_back(std::move(**rule));
  }
  check_move(rules, std::string(rest));
  return 0;
}
