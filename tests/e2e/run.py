#!/usr/bin/python3
"""Runs every fixture (tests/fixtures) under every scenario, as whoever calls it.

  run.py --build BUILD [--jobs N] [--scenario NAME]... [--list] [FIXTURE-PATTERN]...

A line a case: PASS, FAIL with why and the command that repeats it, or SKIP with the reason."""

import argparse
import contextlib
import fcntl
import fnmatch
import os
import re
import shlex
import signal
import subprocess
import sys
import termios

from harness import (LIMIT, Case, Commands, Failed, Report, Skipped, adopt_orphans, descendants,
                     differences, kill_family, look, read, said, status_field, tids, until, walking)


class Fixture:
    """A fixture that runs or was restarted: speaks the protocol of tests/fixtures/fixture.h."""

    def __init__(self, case: Case, path):
        self.case = case
        self.folder = case.file("at")
        os.mkdir(self.folder)
        os.mkfifo(self.file("gate"))
        self.on_terminal = os.path.basename(path).startswith("tty_")
        self.terminal = None  # the master's end
        self.process = case.start([path, self.folder], **self.standard_descriptors())
        self.restarted = False
        until(lambda: self.status() or self.process.poll() is not None, "the fixture's ready line")
        word, _, rest = self.status().partition(" ")
        if word == "skip":
            raise Skipped(rest)
        if word != "ready":
            raise Failed(f"setting up: {self.status()} {read(case.file('out.log'))}")
        self.pid = self.own_pid = int(rest.split()[0])  # as we see it, as it sees itself
        self.hint = rest.split()[1:]
        self.until_waiting()

    def standard_descriptors(self):
        """Options of Popen that give a new terminal, for fixtures that want one."""
        if not self.on_terminal:
            return {}
        self.terminal, slave = os.openpty()
        self.case.descriptors += [self.terminal, slave]

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        return {"stdin": slave, "stdout": slave, "stderr": slave, "preexec_fn": take_terminal}

    def file(self, name):
        return os.path.join(self.folder, name)

    def status(self):
        return read(self.file("status")).strip()

    def until_waiting(self):
        """Until a thread of it sleeps in the open() of the gate, and all others are at rest: who is
        still on its way somewhere would be seen at another place the next time."""
        self.until_at_gate()
        if "busy" not in self.hint:
            until(self.is_at_rest, f"all threads of process {self.pid} to be at rest, not: "
                                   f"{sorted(self.moving())}")

    def moving(self, switches=None):
        """Threads that run, or are held; `switches`: gets how often each one was switched."""
        found = set()
        for pid in [self.pid, *descendants(self.pid)]:
            for tid in tids(pid):
                status = read(f"/proc/{pid}/task/{tid}/status")
                fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.M))
                held = self.restarted and fields.get("TracerPid") != "0"  # is still being built
                if not fields or fields["State"][0] not in "STZ" or held:
                    found.add((pid, tid, fields.get("State")))
                elif switches is not None:
                    switches[tid] = [fields[name] for name in fields if name.endswith("_switches")]
        return found

    def is_at_rest(self):
        """Nobody runs, and nobody has run between two looks."""
        spinning = 1 if "spins" in self.hint else 0
        before, after = {}, {}
        return (len(self.moving(before)) <= spinning and len(self.moving(after)) <= spinning
                and before == after)

    def until_at_gate(self):
        def waits():
            if self.process.poll() is not None:
                raise Failed(f"ended with {self.process.returncode} instead of waiting: "
                             f"{self.status()} {said(self.process)}")
            if self.restarted and status_field(self.pid, "TracerPid") != "0":
                return False  # still being built
            for tid in tids(self.pid):
                call = read(f"/proc/{self.pid}/task/{tid}/syscall").split()
                if call and call[0] in ("257", "2", "56"):  # openat, open; openat of others
                    return True
                if not call and status_field(self.pid, "State").startswith("S"):
                    return True  # it hides from us (not dumpable)
            return False
        until(waits, f"process {self.pid} to wait at its gate (state "
                     f"{status_field(self.pid, 'State')}; {said(self.process)})")

    def say(self, word):
        def opened():
            try:
                return os.open(self.file("gate"), os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                if self.process.poll() is not None:
                    raise Failed(f"gone with status {self.process.returncode} before its gate: "
                                 f"{self.status()} {said(self.process)}") from None
                return None
        gate = until(opened, f"the gate to be waited for (state "
                             f"{status_field(self.pid, 'State')}; {said(self.process)})")
        os.write(gate, word.encode())
        os.close(gate)

    def ping(self):
        """It runs and answers."""
        if os.path.exists(self.file("pong")):
            os.unlink(self.file("pong"))
        self.say("ping")
        until(lambda: os.path.exists(self.file("pong")), "the answer to a ping")
        self.until_waiting()

    def go(self, word="go"):
        """Lets it check itself."""
        self.say(word)
        if self.on_terminal:
            os.write(self.terminal, b"typed\n")
            self.until_on_terminal(b"the fixture got typed")
        try:
            status = self.process.wait(LIMIT)
        except Exception:
            raise Failed(f"does not end after go: {self.status()} (state "
                         f"{status_field(self.pid, 'State')})") from None
        if status == 77 and self.status().startswith("skip "):
            raise Skipped(self.status()[5:])
        if status != 0 or self.status() != "ok":
            raise Failed(f"status {status}: {self.status()} {said(self.process)}")

    def until_on_terminal(self, words):
        got = b""
        os.set_blocking(self.terminal, False)

        def seen():
            nonlocal got
            try:
                got += os.read(self.terminal, 4096)
            except OSError:
                pass
            return words in got
        until(seen, f"{words} on the terminal")

    def stop(self):
        """Unless it is stopped already: a second SIGSTOP would stay pending."""
        if "stop" in self.hint and not status_field(self.pid, "State").startswith("T"):
            os.kill(self.pid, signal.SIGSTOP)
            self.until_stopped()

    def until_stopped(self):
        until(lambda: status_field(self.pid, "State").startswith("T (stopped")
              and status_field(self.pid, "TracerPid") == "0",
              f"process {self.pid} to be stopped, not {status_field(self.pid, 'State')}")

    def proceed(self):
        """After a stop: still stopped, then SIGCONT."""
        if "stop" in self.hint:
            self.until_stopped()
            os.kill(self.pid, signal.SIGCONT)

    def checkpoint(self, *options):
        self.stop()
        self.case.check_first(self.pid)
        image = self.case.checkpoint(self.pid, *options)
        if "small" in self.hint and os.path.getsize(image) > 1 << 20:
            raise Failed(f"the image has {os.path.getsize(image)} bytes, not less than 1 MiB")
        return image

    def checkpoint_kill(self):
        """Saves it with --kill; a file `grow.dat` in its folder then grows, as a log does."""
        self.stop()
        self.case.check_first(self.pid)
        image = self.case.checkpoint_kill(None if self.restarted else self.process, self.pid)
        if self.restarted:
            self.reap_restart()
        if os.path.exists(self.file("grow.dat")):
            with open(self.file("grow.dat"), "ab") as file:
                file.write(b"written after the checkpoint\n" * 1000)
        return image

    def kill(self):
        """All of its processes; those below it may be anybody's children by then."""
        family = kill_family(self.pid, itself=True)
        if self.restarted:
            self.reap_restart()
        else:
            self.process.wait(LIMIT)
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family[1:]),
              f"the end of the killed processes {family[1:]}")

    def reap_restart(self):
        try:
            status = self.process.wait(LIMIT)
        except Exception:
            raise Failed("cr_restart still waits although its child was killed") from None
        if status != -signal.SIGKILL:
            raise Failed(f"cr_restart of a killed process ends with {status}, not by signal 9")

    def restart(self, image, *options, stay_stopped=False):
        if "groups" in self.hint:
            options = ["--restore-pgid", "--restore-sid", *options]
        with contextlib.nullcontext() if "--no-restore-pid" in options else walking:
            self.process = self.case.restart(image, *options, **self.standard_descriptors())
            self.restarted = True
            self.pid = self.case.restarted_pid(self.process, self.folder)
        inside = status_field(self.pid, "NSpid").split()[-1:]
        if "--no-restore-pid" not in options and inside != [str(self.own_pid)]:
            raise Failed(f"restarted with pid {inside} ({self.pid} outside), not {self.own_pid}")
        if stay_stopped and "stop" in self.hint:
            self.until_stopped()
        else:
            self.proceed()
            self.until_waiting()


def undisturbed(case, fixture):
    fixture.stop()
    fixture.proceed()
    fixture.go()


def continue_(case, fixture):
    fixture.stop()
    before = look(fixture.pid)
    image = fixture.checkpoint()
    changed = differences(before, look(fixture.pid), threads_may_end="ends" in fixture.hint)
    if changed and "busy" not in fixture.hint:
        raise Failed("changed by the checkpoint: " + "; ".join(changed))
    if fixture.process.poll() is not None:
        raise Failed(f"died of the checkpoint: status {fixture.process.returncode}")
    case.commands.run("cr_info", "--verify", image)
    fixture.proceed()
    fixture.go()


def kill_restart(case, fixture):
    image = fixture.checkpoint_kill()
    fixture.restart(image)
    fixture.go()


def restart_twice(case, fixture):
    image = fixture.checkpoint_kill()
    # Walking the pid counter takes an ordinary user a second; once is enough here.
    same = os.geteuid() == 0 or "groups" in fixture.hint  # new_pids tells why
    fixture.restart(image, *([] if same else ["--no-restore-pid"]))
    fixture.ping()
    fixture.kill()
    fixture.restart(image)
    fixture.go()


def restart_of_restart(case, fixture):
    image = fixture.checkpoint_kill()
    for _ in range(2 if os.geteuid() == 0 else 1):  # walking the pid counter takes its time
        fixture.restart(image)
        fixture.ping()
        image = fixture.checkpoint_kill()
    fixture.restart(image)
    fixture.go()


def new_pids(case, fixture):
    image = fixture.checkpoint_kill()
    if "groups" in fixture.hint and os.geteuid() != 0:
        # Saved numbers of groups and sessions are ids, which the kernel gives only on demand. (The first
        # could be walked to, for a minute of both processors where pid_max is 4194304.)
        case.commands.run("cr_restart", "--no-restore-pid", "--restore-pgid", "--restore-sid",
                          "--pid-walk-time", "2", image, expect=16)
        return
    fixture.restart(image, "--no-restore-pid")
    fixture.go("go newpid")


def oracle(case, fixture):
    """What a checkpoint of the restarted process finds is what the first one found."""
    tool = os.path.join(case.commands.build, "tests/e2e/imagediff")
    if not os.path.exists(tool):
        raise Skipped("imagediff is not built")
    first = fixture.checkpoint_kill()
    fixture.restart(first, stay_stopped=True)
    second = fixture.checkpoint()
    done = subprocess.run([tool, first, second], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", timeout=LIMIT)
    if done.returncode:
        raise Failed("the images differ: " + (done.stdout + done.stderr).strip()[:3000]
                     .replace("\n", " | "))
    fixture.proceed()
    fixture.go()


def refused(case, fixture):
    """Refused by name, before it was touched; it runs on and no file is left."""
    words = " ".join(fixture.hint[1:]).lower().split(" & ")
    before = look(fixture.pid)
    image = case.new_image()
    said_by_check = []
    for options in (["--check", fixture.pid], ["-f", image, fixture.pid]):
        done = case.commands.run("cr_checkpoint", *options, expect=None)
        text = done.stdout + done.stderr
        if done.returncode == 0:
            raise Failed(f"cr_checkpoint {options[0]} exits 0, although this is not supported")
        missing = [word for word in words if word not in text.lower()]
        if missing:
            raise Failed(f"refused by {options[0]} without the words {missing}: {text.strip()}")
        said_by_check = said_by_check or [line.strip() for line in done.stdout.splitlines()]
    # What the checkpoint finds before its survey it says without the survey's subject.
    others = [line for line in said_by_check
              if (line.partition(": ")[2] or line) not in done.stderr]
    if others:
        raise Failed(f"--check says {others}, but the checkpoint: {done.stderr.strip()}")
    changed = differences(before, look(fixture.pid))
    if changed:
        raise Failed("changed by the refused checkpoint: " + "; ".join(changed))
    left = [name for name in os.listdir(case.folder) if "image" in name]
    if left:
        raise Failed(f"left behind by the refused checkpoint: {left}")
    fixture.go()


# These go on while the runner looks: a wait ends by time, a sleep notes what is left, a write is half
# done. A later image rightly differs.
NOT_FOR_ORACLE = {"call_epoll_wait", "call_futex_timeout", "call_poll", "call_semop",
                  "call_sigtimedwait", "call_sleep", "call_sleep_remaining", "call_spin_syscalls",
                  "call_write_pipe", "timer_expiring", "tree_exec_storm", "tree_fork_storm",
                  "tree_vfork"}

SCENARIOS = {"undisturbed": undisturbed, "continue": continue_, "kill_restart": kill_restart,
             "restart_twice": restart_twice, "restart_of_restart": restart_of_restart,
             "new_pids": new_pids, "oracle": oracle}


def body(path, scenario):
    def run(case):
        fixture = Fixture(case, path)
        if fixture.hint[:1] == ["refuse"] and scenario is not undisturbed:
            if scenario is not continue_:
                fixture.go()
                raise Skipped("to be refused; see scenario continue")
            refused(case, fixture)
        else:
            scenario(case, fixture)
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    parser.add_argument("--work", help="folder for the cases' folders")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    adopt_orphans()

    folder = os.path.join(os.path.abspath(options.build), "tests/fixtures")
    names = [name for name in sorted(os.listdir(folder))
             if os.access(os.path.join(folder, name), os.X_OK)
             and os.path.isfile(os.path.join(folder, name))
             and (not options.patterns
                  or any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns))]
    scenarios = options.scenario or [name for name in SCENARIOS if name != "undisturbed"]
    cases = []
    for name in names:
        for scenario in scenarios:
            # What is to be refused is refused once.
            if name.startswith("refuse_") and scenario not in ("undisturbed", "continue"):
                continue
            if scenario == "oracle" and name in NOT_FOR_ORACLE:
                continue
            # An ordinary user's restarts take their time, and the oracle does all of this and more.
            if (scenario == "kill_restart" and os.geteuid() and name not in NOT_FOR_ORACLE
                    and not options.scenario):
                continue
            cases.append((f"{name} {scenario}", body(os.path.join(folder, name),
                                                     SCENARIOS[scenario])))
    if options.list:
        print("\n".join(name for name, _ in cases))
        return 0

    def again(case):
        name, scenario = case.split()
        return shlex.join([os.path.abspath(__file__), "--build", options.build, "--scenario",
                           scenario, name])
    return Report(Commands(options.build), again, options.work, options.jobs).run(cases)


if __name__ == "__main__":
    sys.exit(main())
