// Where a command speaks: stderr, unless --quiet; and the level of the developers' log. The only
// room that prints is cli/, and its commands print through this (cr_info's answer goes to stdout).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace stasis::cli {

struct Console {
  bool quiet = false;
  int verbosity = 0;           // -v: a summary line; -vv: the log too; -vvv: all of it
  bool show_details = true;    // the "- " lines of a failure (not with --kmsg-none)
  bool show_warnings = false;  // those of a success (--kmsg-warning, -v)

  void say(std::string_view text) const;  // to stderr; text brings its newline
  void fail(const Error& error, std::string_view verdict) const;  // details, then the verdict
  // What the user should know of a success, a line each behind "- ". Only for those who ask: a
  // success says nothing by itself.
  void note(const std::vector<std::string>& notes) const;
  // "COMMAND: message", its hint, and where to find help.
  void misuse(std::string_view command, const Error& error) const;
  // Sends the log to stderr at the level that --quiet and -v ask for.
  void set_up_log() const;
};

// Text for stdout, written at once. False: it could not be written.
bool answer(std::string_view text);

}  // namespace stasis::cli
