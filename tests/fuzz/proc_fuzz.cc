// Every parser of the room proc. The first line of an input names the parser, the rest is its text.
// tests/lint/fuzz_table.py compares the table with the headers: a new parser needs a row.
#include <algorithm>

#include "proc/exit.h"
#include "proc/fdinfo.h"
#include "proc/inner_ids.h"
#include "proc/maps.h"
#include "proc/status.h"
#include "target.h"

namespace stasis::fuzz {
namespace {

void check_areas(const Result<std::vector<proc::Area>>& areas) {
  if (!areas) return;
  for (const proc::Area& area : *areas) {
    require(area.start < area.end, "an area has a length");
    require(std::ranges::is_sorted(area.flags), "flags are sorted");
    for (const std::string& flag : area.flags) require(area.has_flag(flag), "a flag is found");
  }
}

void check_timers(const Result<std::vector<proc::TimerEntry>>& timers) {
  if (!timers) return;
  require(std::ranges::is_sorted(*timers, {}, &proc::TimerEntry::id), "timers are sorted");
}

void check_fdinfo(const Result<proc::FdInfo>& info) {
  if (!info) return;
  require(info->timerfd.value_ns >= 0 && info->timerfd.interval_ns >= 0, "a time left is not past");
}

void check_inner_ids(const proc::InnerIds& ids) {
  require(ids.pid >= 0 && ids.group >= 0 && ids.session >= 0, "ids are positive");
}

struct Parser {
  std::string_view name;
  void (*parse)(std::string_view text);
};

constexpr Parser kParsers[] = {
    {"exit", [](std::string_view text) { (void)proc::parse_exit(text); }},
    {"fdinfo", [](std::string_view text) { check_fdinfo(proc::parse_fdinfo(text)); }},
    {"inner_ids", [](std::string_view text) { check_inner_ids(proc::parse_inner_ids(text)); }},
    {"limits", [](std::string_view text) { (void)proc::parse_limits(text); }},
    {"maps", [](std::string_view text) { check_areas(proc::parse_maps(text)); }},
    {"smaps", [](std::string_view text) { check_areas(proc::parse_smaps(text)); }},
    {"stat", [](std::string_view text) { (void)proc::parse_stat(text); }},
    {"status", [](std::string_view text) { (void)proc::parse_status(text); }},
    {"syscall", [](std::string_view text) { (void)proc::parse_syscall(text); }},
    {"time_offsets", [](std::string_view text) { (void)proc::parse_time_offsets(text); }},
    {"timers", [](std::string_view text) { check_timers(proc::parse_timers(text)); }},
};

}  // namespace
}  // namespace stasis::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace stasis::fuzz;
  const std::string_view input = text_of(data, size);
  const size_t newline = input.find('\n');
  if (newline == std::string_view::npos) return 0;
  for (const Parser& parser : kParsers) {
    if (parser.name == input.substr(0, newline)) parser.parse(input.substr(newline + 1));
  }
  return 0;
}
