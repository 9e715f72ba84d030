#!/usr/bin/python3
"""Runs the compatibility programs (tests/compat), which show what libcr.h promises, as whoever calls it.

  compat.py --build BUILD [--jobs N] [--repeat N] [--list] [PATTERN]...

A case is PROGRAM.CASE: a process of its own in an empty folder. When it dies of SIGKILL and has left a
file `restart` (an image and options), cr_restart takes its place, as often as it likes. Cases that concern
library files, preloading and linking are in compat_files.py and compat_stubs.py.
A line a case: PASS, FAIL with why and the command that repeats it, or SKIP with the reason."""

import argparse
import contextlib
import fnmatch
import os
import shlex
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import compat_files  # noqa: E402
import compat_stubs  # noqa: E402
from harness import (LIMIT, Commands, Failed, Report, Skipped, descendants, read, read_bytes,  # noqa: E402
                     said, status_field, tids, until, walking)

CASE_LIMIT = 3 * LIMIT
# Not programs of cases: what the cases of compat_stubs.py run.
OTHERS = ("echo", "loads")


def is_marked(pid, mark):
    return mark in read_bytes(f"/proc/{pid}/environ").split(b"\0")


def marked(mark):
    """The pids of all that have the mark of a case in their environment: also what lost its parent."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and is_marked(name, mark)]


def end_all(mark):
    """By pidfds: a number may be another's a moment later."""
    for pid in marked(mark):
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            if is_marked(pid, mark):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


def doing(pid):
    """What a process that does not end is doing, for the report."""
    lines = []
    for one in [pid] + descendants(pid):
        name = read(f"/proc/{one}/comm").strip()
        calls = [f"{tid}: {status_field(one, 'State', tid)[:1]} call "
                 f"{(read(f'/proc/{one}/task/{tid}/syscall').split() or ['?'])[0]}" for tid in tids(one)]
        lines.append(f"{name} {one} ({', '.join(calls)})")
    return "; ".join(lines)


class Run:
    """One case of a program: the process, then each cr_restart that takes its place."""

    def __init__(self, case, path, name, command=()):
        self.case = case
        self.name = name
        self.folder = case.file("at")
        os.mkdir(self.folder)
        self.mark = f"STASIS_CASE={case.folder}"
        self.environment = dict(os.environ, STASIS_BIN=os.path.join(case.commands.build, "src/cli"),
                                STASIS_CASE=case.folder)
        self.start = lambda line, log: case.start(line, log=log, cwd=self.folder, env=self.environment,
                                                  start_new_session=True)
        self.process = self.start([*command, path, name], "out.log")

    def wait(self):
        try:
            return self.process.wait(CASE_LIMIT)
        except subprocess.TimeoutExpired:
            raise Failed(f"does not end: {doing(self.process.pid)}; {self.output()}") from None

    def output(self):
        text = read(self.case.file("out.log")) + said(self.process)
        return text.strip().replace("\n", " | ")

    def restart(self, words):
        line = [self.case.commands.path("cr_restart"), *words[1:], words[0]]
        log = f"restart.{len(self.case.started)}.log"

        def settled():
            return self.process.poll() is not None or any(
                status_field(pid, "TracerPid") == "0" for pid in descendants(self.process.pid))
        with contextlib.nullcontext() if "--no-restore-pid" in words else walking:
            self.process = self.start(line, log)
            self.process.log = self.case.file(log)
            until(settled, "a restarted process", CASE_LIMIT)

    def to_the_end(self):
        marker = os.path.join(self.folder, "restart")
        while True:
            status = self.wait()
            if status != -signal.SIGKILL or not os.path.exists(marker):
                break
            words = read(marker).split()
            os.unlink(marker)
            # The others of its tree are killed as well, but not at the same instant, and hold ids.
            with contextlib.suppress(Failed):
                until(lambda: not marked(self.mark.encode()), "the end of all of it", LIMIT / 4)
            self.restart(words)
        self.judge(status)

    def judge(self, status):
        lines = read(self.case.file("out.log")).splitlines()
        failed = [line[5:] for line in lines if line.startswith("FAIL ")]
        if failed:
            raise Failed(" | ".join(failed))
        if status == 77:
            raise Skipped(" | ".join(line.partition(": ")[2] for line in lines if line.startswith("skip ")))
        if status or lines.count(f"ok {self.name}") != 1:
            raise Failed(f"status {status}: {self.output()}")


def body(path, name, command=()):
    def run(case):
        started = Run(case, path, name, command)
        try:
            started.to_the_end()
        finally:
            end_all(started.mark.encode())
    return run


def program_cases(build):
    folder = os.path.join(build, "tests/compat")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        path = os.path.join(folder, name)
        if (name.startswith(OTHERS) or "." in name or not os.path.isfile(path)
                or not os.access(path, os.X_OK)):
            continue
        listed = subprocess.run([path, "--list"], capture_output=True, text=True, timeout=LIMIT,
                                stdin=subprocess.DEVNULL)
        if listed.returncode:
            yield f"{name}.starts", failing(f"status {listed.returncode}: {listed.stderr.strip()}")
        for case in listed.stdout.split():
            yield f"{name}.{case}", body(path, case)


def failing(why):
    def run(case):
        raise Failed(why)
    return run


def python_cases(module):
    """Functions case_NAME(case, run) of a module; run(program, case, command=()) runs a program's case."""
    def bound(function):
        def run_program(case, program, name, command=()):
            body(os.path.join(case.commands.build, "tests/compat", program), name, command)(case)
        return lambda case: function(case, run_program)
    stem = module.__name__.removeprefix("compat_")
    for name, function in sorted(vars(module).items()):
        if name.startswith("case_"):
            yield f"{stem}.{name[5:]}", bound(function)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    # An ordinary user gets saved pids by walking the pid counter; two who walk disturb each other.
    parser.add_argument("--jobs", type=int, default=1 if os.geteuid() else 2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--work", help="folder for the cases' folders")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    cases = [*program_cases(build), *python_cases(compat_files), *python_cases(compat_stubs)]
    if options.patterns:
        cases = [(name, run) for name, run in cases
                 if any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)]
    if options.list:
        print("\n".join(name for name, _ in cases))
        return 0
    if options.repeat > 1:
        cases = [(f"{name}#{i}", run) for i in range(options.repeat) for name, run in cases]

    def again(name):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, name.partition("#")[0]])
    return Report(Commands(build), again, options.work, options.jobs).run(cases)


if __name__ == "__main__":
    sys.exit(main())
