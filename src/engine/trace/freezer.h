// Freezer: the rounds in which all threads of some processes are found, seized and stopped. Holds
// the seizure of every thread it has met until release(). Internal to trace/.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "arch/registers.h"
#include "base/result.h"
#include "proc/status.h"
#include "trace/child_signal.h"
#include "trace/freeze.h"
#include "trace/ptrace.h"
#include "trace/seize_watch.h"
#include "trace/time_left.h"

namespace stasis::trace {

struct HeldThread {
  enum class Phase {
    kSeized,   // runs
    kStopped,  // at a get_signal stop
    kZombie,   // a leader that has exited while threads go on
    kGone,
  };
  Pid pid = 0, tid = 0;
  Phase phase = Phase::kSeized;
  bool adopted = false;  // born during the freeze: attached and stopped by the kernel
  bool running = false;  // on a CPU, or waiting for one, when looked at
  bool late = false;     // in a call of the epoll_wait class
  std::string channel;   // where it waited, asked only if it was in restart_syscall
  std::optional<SleepSample> sleep;
  int stop_signal = 0;  // SIGTRAP, or the signal of the group stop it was in
  i64 stopped_ns = 0;
  arch::Registers registers;  // with -ERESTARTNOHAND already in place of EINTR
};

class Freezer {
 public:
  Freezer(Members members, i64 deadline_ns);
  Freezer(const Freezer&) = delete;
  Freezer& operator=(const Freezer&) = delete;
  ~Freezer() { (void)release(); }  // a dead thread is no news here

  // Rounds until all threads of all members are stopped and nobody else belongs to them. After an
  // error: release().
  Result<void> freeze_all();
  // Lets all run on; tells which had died.
  Result<void> release();

  // The members as the last round found them.
  [[nodiscard]] const std::vector<Pid>& pids() const { return pids_; }
  [[nodiscard]] const std::map<Pid, HeldThread>& threads() const { return threads_; }
  std::map<Pid, HeldThread>& threads() { return threads_; }
  // CLOCK_MONOTONIC of the first interruption; 0 before it.
  [[nodiscard]] i64 first_interrupt_ns() const { return first_interrupt_ns_; }

 private:
  Result<void> find_members();
  Result<bool> round(SleepClock& clock);
  Result<std::vector<Pid>> seize_new(SleepClock& clock);
  [[nodiscard]] bool must_run_on(Pid pid) const;
  Result<void> cannot_seize(Pid pid, Pid tid, const Error& error);
  Result<void> seize_one(Pid pid, Pid tid, SleepClock& clock, std::vector<Pid>& found);
  static void observe(HeldThread& thread, SleepClock& clock);
  Result<void> interrupt_one(HeldThread& thread);
  Result<void> settle(std::vector<HeldThread*> waiting, ChildSignal& signal);
  Result<void> spin_for(HeldThread& thread);
  Result<void> look_at(HeldThread& thread);
  Result<void> look_for_silent(HeldThread& thread);
  Result<void> take_stop(HeldThread& thread, const Stop& stop);
  Result<void> take_birth(const HeldThread& parent, int event);
  Result<void> finish_stop(HeldThread& thread, const Stop& stop);
  Result<void> let_newborn_go(Pid child);
  void release_running(HeldThread& thread);
  // Whether it runs on or had gone before; otherwise it has died and is added to `dead`.
  bool release_one(HeldThread& thread, std::vector<const HeldThread*>& dead);
  static void bury(const HeldThread& thread);
  static std::string see_off(std::vector<const HeldThread*> dead);
  Result<bool> complete();
  static bool note_woken(const std::vector<HeldThread*>& threads, bool look_at_all);
  void bury_dead(Pid pid);
  [[nodiscard]] Error too_late(const HeldThread& thread) const;
  [[nodiscard]] Error unsettled() const;
  [[nodiscard]] bool expired() const { return monotonic_ns() >= deadline_ns_; }

  Members members_;
  std::vector<Pid> pids_;
  std::map<Pid, int> denied_;  // how often a thread could not be seized
  i64 deadline_ns_;
  i64 first_interrupt_ns_ = 0;
  std::map<Pid, HeldThread> threads_;
  SeizeWatch watch_{threads_};
};

}  // namespace stasis::trace
