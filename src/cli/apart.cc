// Name, session, signals, descriptors.
#include "apart.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

namespace stasis::cli {

// The words lie one behind the other (execve(2)), so that they are one stretch to write over.
void rename_process(const std::string& name, const std::string& title, ArgumentWords words) {
  (void)::prctl(PR_SET_NAME, name.c_str(), 0, 0, 0);  // cannot fail
  if (words.empty()) return;
  char* const start = words.front();
  char* end = start;
  for (char* const word : words) {
    if (word != end) break;
    end = word + std::strlen(word) + 1;
  }
  const std::span<char> room(start, end);
  std::ranges::fill(room, '\0');
  std::ranges::copy(title.substr(0, room.size() - 1), room.begin());
}

void leave_session() {
  (void)::setsid();  // a forked process leads no group, so it cannot fail
  refuse_stops();
  sigset_t set;
  (void)::sigprocmask(SIG_SETMASK, nullptr, &set);  // fails only for a bad `how`
  for (const int signal : {SIGQUIT, SIGUSR1, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGXCPU,
                           SIGSTKFLT, SIGTSTP, SIGTTIN, SIGTTOU}) {
    ::sigaddset(&set, signal);
  }
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) ::sigaddset(&set, signal);
  (void)::sigprocmask(SIG_SETMASK, &set, nullptr);
}

void refuse_stops() {
  for (const int signal : {SIGTSTP, SIGTTIN, SIGTTOU}) (void)std::signal(signal, SIG_IGN);
}

void fill_standard_descriptors() {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    const int wrong_way = number == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (::fcntl(number, F_GETFD) < 0) (void)::open("/dev/null", wrong_way | O_CLOEXEC);
  }
}

bool was_given(int fd) {
  const int flags = ::fcntl(fd, F_GETFD);
  return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

}  // namespace stasis::cli
