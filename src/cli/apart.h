// What sets the process that does the work apart from the command that people see, so that what is
// meant for the command (Ctrl-C, Ctrl-Z, a hangup, `kill %1`, `pkill cr_checkpoint`) does not reach
// it on its own.
#pragma once

#include <span>
#include <string>

namespace stasis::cli {

// The words of main(): where /proc/PID/cmdline is read from.
using ArgumentWords = std::span<char* const>;

// Gives this process `name` for its comm, and `title` in place of all words of its command line.
// Those must not be read any more.
void rename_process(const std::string& name, const std::string& title, ArgumentWords words);

// A session of its own, and only signals that are for the work: those that ask to stop, those that
// the engine waits for, and faults. All others stay pending.
void leave_session();

// What of this a process can do that has to stay where it is: Ctrl-Z does not stop it.
void refuse_stops();

// Numbers 0 to 2 must not be taken by files of ours, which would get the messages. What is filled
// in is close-on-exec, and fails as a closed descriptor does when it is used.
void fill_standard_descriptors();

// Whether the descriptor came from whoever started us.
bool was_given(int fd);

}  // namespace stasis::cli
