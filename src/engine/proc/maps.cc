// /proc/PID/maps and smaps: one line an area, in smaps followed by its "Key: value kB" lines
// (proc_pid_maps(5), proc_pid_smaps(5)).
#include "proc/maps.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/sys.h"
#include "proc/text.h"

namespace stasis::proc {
namespace {

constexpr std::string_view kFile = "/proc/PID/maps";

// Splits `text` at the first `separator`; takes it and what is before it off.
std::string_view take_until(std::string_view& text, char separator) {
  const size_t position = std::min(text.find(separator), text.size());
  const std::string_view head = text.substr(0, position);
  text.remove_prefix(std::min(position + 1, text.size()));
  return head;
}

// "rwxp", the last letter p or s.
Result<void> set_permissions(Area& area, std::string_view letters, std::string_view line) {
  if (letters.size() != 4) return unreadable(kFile, line);
  if (letters[0] == 'r') area.protection |= PROT_READ;
  if (letters[1] == 'w') area.protection |= PROT_WRITE;
  if (letters[2] == 'x') area.protection |= PROT_EXEC;
  area.shared = letters[3] == 's';
  return {};
}

// The kernel escapes a newline in a path as \012, and nothing else: a file whose name holds those
// four characters cannot be told from one with a newline, so users compare device and inode too.
std::string unescape_path(std::string_view text) {
  std::string path;
  while (!text.empty()) {
    if (take_prefix(text, "\\012")) {
      path += '\n';
    } else {
      path += text.front();
      text.remove_prefix(1);
    }
  }
  return path;
}

void set_path(Area& area, std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  constexpr std::string_view kDeleted = " (deleted)";
  if (!text.starts_with('[') && text.ends_with(kDeleted)) {
    area.deleted = true;
    text.remove_suffix(kDeleted.size());
  }
  area.path = unescape_path(text);
}

// "55d0c8a00000-55d0c8a21000 rw-p 00000000 fe:00 332383       /path"
Result<Area> parse_head(std::string_view line) {
  Area area;
  std::string_view rest = line;
  std::string_view range = take_word(rest);
  area.start.value = TRY(number_of<u64>(take_until(range, '-'), kFile, line, 16));
  area.end.value = TRY(number_of<u64>(range, kFile, line, 16));
  if (area.end <= area.start) return unreadable(kFile, line);
  TRY(set_permissions(area, take_word(rest), line));
  area.offset = TRY(number_of<u64>(take_word(rest), kFile, line, 16));
  std::string_view device = take_word(rest);
  area.device_major = TRY(number_of<u32>(take_until(device, ':'), kFile, line, 16));
  area.device_minor = TRY(number_of<u32>(device, kFile, line, 16));
  area.inode = TRY(number_of<u64>(take_word(rest), kFile, line));
  set_path(area, rest);
  return area;
}

// Whether a line of smaps is a head: "Key:" lines have a colon at the end of their first word.
bool is_head(std::string_view line) {
  const std::string_view first = line.substr(0, line.find(' '));
  return !first.ends_with(':') && first.find('-') != std::string_view::npos;
}

// VmFlags, sorted. Before Linux 6.12 or so mlock2's MLOCK_ONFAULT had no letters and showed as
// "??"; in an area that is locked nothing else does.
void set_flags(Area& area, std::string_view letters) {
  for (const std::string_view flag : words(letters)) area.flags.emplace_back(flag);
  const bool unnamed = std::erase(area.flags, "??") > 0;
  const bool locked = std::find(area.flags.begin(), area.flags.end(), "lo") != area.flags.end();
  if (unnamed && locked) area.flags.emplace_back("lf");
  std::sort(area.flags.begin(), area.flags.end());
}

Result<void> set_detail(Area& area, std::string_view line) {
  std::string_view rest = line;
  const std::string_view key = take_word(rest);
  if (key == "VmFlags:") {
    set_flags(area, rest);
    return {};
  }
  if (key == "ProtectionKey:") {
    area.protection_key = TRY(number_of<u32>(take_word(rest), "/proc/PID/smaps", line));
    return {};
  }
  // Huge pages of hugetlbfs are not part of Rss and Anonymous: they have lines of their own.
  const bool huge = key == "Private_Hugetlb:" || key == "Shared_Hugetlb:";
  if (key != "Rss:" && key != "Anonymous:" && key != "Swap:" && !huge) return {};
  const u64 kilobytes = TRY(number_of<u64>(take_word(rest), "/proc/PID/smaps", line));
  if (key == "Rss:" || huge) area.rss_kb += kilobytes;
  if (key == "Swap:") area.swap_kb = kilobytes;
  if (key != "Rss:" && kilobytes > 0) area.has_anonymous = true;
  return {};
}

}  // namespace

bool Area::has_flag(std::string_view flag) const {
  return std::binary_search(flags.begin(), flags.end(), flag);
}

Result<std::vector<Area>> parse_maps(std::string_view text) {
  std::vector<Area> areas;
  while (const auto line = take_line(text)) areas.push_back(TRY(parse_head(*line)));
  return areas;
}

Result<std::vector<Area>> parse_smaps(std::string_view text) {
  std::vector<Area> areas;
  while (const auto line = take_line(text)) {
    if (is_head(*line)) {
      areas.push_back(TRY(parse_head(*line)));
    } else if (areas.empty()) {
      return unreadable("/proc/PID/smaps", *line);
    } else {
      TRY(set_detail(areas.back(), *line));
    }
  }
  return areas;
}

Result<std::vector<Area>> read_maps(Pid pid) {
  return parse_maps(TRY(sys::read_file(fmt::format("/proc/{}/maps", pid))));
}

Result<std::vector<Area>> read_smaps(Pid pid) {
  return parse_smaps(TRY(sys::read_file(fmt::format("/proc/{}/smaps", pid))));
}

}  // namespace stasis::proc
