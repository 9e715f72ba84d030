// cli/options: reading command lines as getopt_long(3) would, and the usage text.
#include "options.h"

#include <doctest/doctest.h>

#include <csignal>

using namespace stasis;
using namespace stasis::cli;

namespace {

struct Seen {
  std::vector<std::string> calls;
  bool done = false;
};

std::vector<Option> table_for(Seen& seen) {
  const auto note = [&seen](std::string_view name) {
    return [&seen, name](std::string_view value) -> Result<void> {
      seen.calls.push_back(std::string(name) + ":" + std::string(value));
      return {};
    };
  };
  return {
      {"f", "file", "FILE", "name a file", note("file")},
      {"v", "verbose", "", "say more", note("verbose")},
      {"", "pid|process", "", "one process", note("process")},
      {"", "backup", "[NAME]", "keep the old one", note("backup")},
      {"", "hidden", "", "", note("hidden")},
      {"h?", "help", "", "print this text", note("help"), true},
  };
}

Result<std::vector<std::string>> parse(Seen& seen, std::vector<const char*> words,
                                       Operands operands = Operands::kAnywhere) {
  const auto table = table_for(seen);
  return parse_options(table, words, operands);
}

std::string misuse(std::vector<const char*> words) {
  Seen seen;
  const auto parsed = parse(seen, std::move(words));
  REQUIRE(!parsed);
  CHECK(parsed.error().code == kUsageError);
  return parsed.error().message();
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("short options may be joined and long ones take = or the next word") {
  Seen seen;
  const auto parsed = parse(seen, {"-vfa", "1", "-f", "b", "--file=c", "2", "--file", "d"});
  REQUIRE(parsed.ok());
  CHECK(seen.calls == Words{"verbose:", "file:a", "file:b", "file:c", "file:d"});
  CHECK(*parsed == Words{"1", "2"});
}

TEST_CASE("long options may be abbreviated as far as that stays clear") {
  Seen seen;
  const auto parsed = parse(seen, {"--verb", "--fi=a", "--p", "--hel"});
  REQUIRE(parsed.ok());
  CHECK(seen.calls == Words{"verbose:", "file:a", "process:", "help:"});
}

TEST_CASE("all names of a row mean it, and an optional argument needs =") {
  Seen seen;
  const auto parsed = parse(seen, {"--pid", "--process", "--backup", "x", "--backup=y"});
  REQUIRE(parsed.ok());
  CHECK(seen.calls == Words{"process:", "process:", "backup:", "backup:y"});
  CHECK(*parsed == Words{"x"});
}

TEST_CASE("-- ends the options, as does the first operand where a program's words follow") {
  Seen seen;
  CHECK(*parse(seen, {"-v", "--", "-v", "--file"}) == Words{"-v", "--file"});
  CHECK(*parse(seen, {"ls", "-l", "--"}, Operands::kEndOptions) == Words{"ls", "-l", "--"});
  CHECK(seen.calls == Words{"verbose:"});
}

TEST_CASE("--help ends parsing, so that mistakes behind it do not matter") {
  Seen seen;
  CHECK(parse(seen, {"-?", "--bogus"}).ok());
  CHECK(seen.calls == Words{"help:"});
}

TEST_CASE("misuse is told in getopt's words") {
  CHECK(misuse({"--bogus"}) == "unrecognized option '--bogus'");
  CHECK(misuse({"--bogus=1"}) == "unrecognized option '--bogus'");
  CHECK(misuse({"--=1"}) == "unrecognized option '--'");
  CHECK(misuse({"-x"}) == "invalid option -- 'x'");
  CHECK(misuse({"-f"}) == "option requires an argument -- 'f'");
  CHECK(misuse({"--file"}) == "option '--file' requires an argument");
  CHECK(misuse({"--verbose=1"}) == "option '--verbose' doesn't allow an argument");
  CHECK(misuse({"--h"}) == "option '--h' is ambiguous");
}

TEST_CASE("the usage text has a line for every row that has help") {
  Seen seen;
  const std::string text = usage_text("tool [options] FILE", table_for(seen));
  CHECK(text.starts_with("usage: tool [options] FILE\n"));
  CHECK(text.find("  -f, --file FILE           name a file\n") != std::string::npos);
  CHECK(text.find("  --backup[=NAME]           keep the old one\n") != std::string::npos);
  CHECK(text.find("  --pid, --process          one process\n") != std::string::npos);
  CHECK(text.find("hidden") == std::string::npos);
}

TEST_CASE("numbers and signals are whole words in range") {
  CHECK(*parse_number("17", 1, 64, "signal") == 17);
  for (const char* bad : {"", "x", "1x", " 1", "0", "65", "99999999999999999999"}) {
    CAPTURE(bad);
    CHECK(!parse_number(bad, 1, 64, "signal").ok());
  }
  CHECK(*parse_signal("10", "signal") == 10);
  CHECK(*parse_signal("USR1", "signal") == SIGUSR1);
  CHECK(*parse_signal("SIGTERM", "signal") == SIGTERM);
  CHECK(parse_signal("65", "signal").error().message() ==
        "invalid signal '65': expected a number from 1 to 64");
}
