// docs/man: every option of a command's table is an item of its page, every item is an option, and
// mandoc, where it is installed, has nothing to complain of.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>

#include "base/sys.h"
#include "checkpoint_options.h"
#include "info_options.h"
#include "restart_options.h"
#include "run_options.h"

using namespace stasis;
using namespace stasis::cli;

namespace {

std::string page_path(std::string_view command) {
  return std::string(STASIS_MAN_DIRECTORY) + "/" + std::string(command) + ".1";
}

// "-f" and "--file" from ".It Fl f , -file Ar FILE": words that follow Fl, or a comma after one.
void add_items(const std::string& line, std::set<std::string>& names) {
  std::istringstream words(line);
  bool flag = false;
  for (std::string word; words >> word;) {
    if (word == "Fl" || word == ",") {
      flag = true;
    } else if (flag) {
      if (word.starts_with("\\&")) word.erase(0, 2);
      names.insert("-" + word);
      flag = false;
    }
  }
}

std::set<std::string> documented(std::string_view command) {
  std::set<std::string> names;
  std::istringstream page(*sys::read_file(page_path(command)));
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with(".It Fl") || line.starts_with(".It \\&")) add_items(line, names);
  }
  return names;
}

void compare(std::string_view command, const std::vector<Option>& table) {
  std::set<std::string> known;
  for (const Option& option : table) {
    for (const std::string& name : spellings(option)) known.insert(name);
  }
  const std::set<std::string> written = documented(command);
  for (const std::string& name : known) {
    CHECK_MESSAGE(written.contains(name), command << ".1 does not describe " << name);
  }
  for (const std::string& name : written) {
    CHECK_MESSAGE(known.contains(name), command << ".1 describes " << name << ", which is none");
  }
}

}  // namespace

TEST_CASE("pages and option tables name the same options") {
  CheckpointSettings checkpoint;
  RestartSettings restart;
  RunSettings run;
  InfoSettings info;
  compare("cr_checkpoint", checkpoint_options(checkpoint));
  compare("cr_restart", restart_options(restart));
  compare("cr_run", run_options(run));
  compare("cr_info", info_options(info));
}

TEST_CASE("mandoc finds nothing wrong with the pages") {
  if (std::system("command -v mandoc >/dev/null") != 0) {
    MESSAGE("skipped: mandoc is not installed");
    return;
  }
  for (const char* command : {"cr_checkpoint", "cr_restart", "cr_run", "cr_info"}) {
    CAPTURE(command);
    CHECK(std::system(("mandoc -Tlint -W warning " + page_path(command)).c_str()) == 0);
  }
}
