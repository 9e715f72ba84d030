// Printing. stderr is unbuffered, so each call makes one write of one string.
#include "console.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <string>

#include "messages.h"

namespace stasis::cli {
namespace {

// Names in messages come from images and programs: they must not steer a terminal.
std::string harmless(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool control = (byte < ' ' && c != '\n' && c != '\t') || byte == 0x7f;
    out += control ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  return out;
}

}  // namespace

void Console::say(std::string_view text) const {
  if (quiet) return;
  const std::string said = harmless(text);
  (void)std::fwrite(said.data(), 1, said.size(), stderr);  // nobody left to tell
}

void Console::fail(const Error& error, std::string_view verdict) const {
  say(fmt::format("{}{}\n", show_details ? details(error) : std::string(), verdict));
}

void Console::note(const std::vector<std::string>& notes) const {
  if (!show_details || (!show_warnings && verbosity == 0)) return;
  for (const std::string& text : notes) say(behind_dashes(text));
}

void Console::misuse(std::string_view command, const Error& error) const {
  const std::string hint = error.hint.empty() ? std::string() : fmt::format(" ({})", error.hint);
  say(fmt::format("{0}: {1}{2}\nTry '{0} --help' for the options.\n", command, error.message(),
                  hint));
}

void Console::set_up_log() const {
  spdlog::set_default_logger(spdlog::stderr_color_mt("stasis"));
  spdlog::set_pattern("[%H:%M:%S.%f] %^%l%$: %v");
  spdlog::set_level(quiet            ? spdlog::level::off
                    : verbosity >= 3 ? spdlog::level::trace
                    : verbosity == 2 ? spdlog::level::debug
                    : verbosity == 1 ? spdlog::level::warn
                                     : spdlog::level::err);
}

bool answer(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
         std::fflush(stdout) == 0;
}

}  // namespace stasis::cli
