// Timers of a frozen process and the signals that wait for it: state that goes on by itself.
//
// Frozen is the program, not the kernel. What changes meanwhile without the program, and why the
// image is one moment all the same:
// - A one-shot timer expires: at one reading it has time left, at the next its signal is pending,
//   and whoever reads the signals first and the timers afterwards has neither (the other way
//   round: both). So timers are read, then signals, then timers again, until no timer expired in
//   between. A one-shot timer of a stopped program expires once, so that this ends.
// - setitimer(ITIMER_REAL) with an interval stands still while its SIGALRM is pending (the kernel
//   starts it again when that is delivered): it shows no time left, but is not off.
// - CPU clocks go on with our insured calls, so that ITIMER_PROF may expire: as above.
// - A timerfd's expirations and time left come from one line of fdinfo each, read under its lock;
//   one that shows neither, but had time left a moment before, expires right now
//   (resource/timerfd.cc). Readiness of epoll and poll follows from it and is not saved.
// - Others write into pipes, fifos, eventfds, watched directories, append to files, send signals,
//   type at the terminal; children that are not saved end. Each object is read once, so that it is
//   as it was at some instant of the freeze, and objects come before signals: a signal that says
//   "there is data" (SIGIO, SIGCHLD) may be missing for what came later, as that is missing, too.
//   What arrives after the reading belongs to the program that lives on, as after any checkpoint.
// - Time itself: every timer has the time left that it had when it was read, each process its own
//   instant of one freeze.
#pragma once

#include "base/result.h"
#include "model/process.h"
#include "trace/freeze.h"
#include "trace/remote_call.h"

namespace stasis::capture {

// Interval and POSIX timers as they are now (what `into` had of them is replaced).
Result<void> ask_timers(trace::FrozenProcess& process, trace::RemoteCalls& calls,
                        model::Process& into);

// Whether no timer of `before` has expired until `after` (pure).
bool no_timer_expired(const model::Process& before, const model::Process& after);

// The pending signals of the process and of its threads (`into.threads`, parallel to the frozen
// ones), and its timers at that moment. The last question to a process; its timers have been asked
// for before.
Result<void> capture_signals(trace::FrozenProcess& process, model::Process& into);

}  // namespace stasis::capture
