// Words and numbers of print_text.
#pragma once

#include <string>
#include <vector>

#include "model/image.h"

namespace stasis::model {

std::string size_words(u64 bytes);                            // "812 B", "61.3 KiB"
std::string time_words(i64 time_ns);                          // "850 us", "1.5 s"
std::string date_words(i64 realtime_ns);                      // "2026-11-21 21:05:33 UTC"
std::string count_words(u64 count, const std::string& noun);  // "1 thread", "3 threads"
// "SIGINT, SIGTERM" of a mask with bit n-1 for signal n.
std::string signal_words(u64 mask);
std::string signal_name(int signal);
// What a resource is, in one phrase: "pipe [8123], 13 B buffered".
std::string resource_words(const Image& image, const Resource& resource);
std::string open_flags_words(u32 flags);  // "rw append nonblock"
// Unprintable bytes as \xNN, so that a name cannot play with the terminal.
std::string safe_words(const std::string& text);

// Lines of cells in columns as wide as their widest cell; the last column is not padded.
class Table {
 public:
  // `right`: which columns are numbers, a letter each: "rlr".
  Table(std::string alignment, std::vector<std::string> head);
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string text(const std::string& indent) const;

 private:
  std::string alignment_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace stasis::model
