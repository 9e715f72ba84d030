#!/usr/bin/python3
"""The commands as scripts meet them: options, messages, exit codes, what goes to stdout and what to
stderr. What is saved and how well is not looked at here.

usage: cli_test.py --build FOLDER [PATTERN...]
"""

import argparse
import fnmatch
import os
import re
import shlex
import signal
import subprocess
import sys

from cli_cases_accidents import ACCIDENT_CASES
from cli_cases_callbacks import CALLBACK_CASES
from cli_cases_checkpoint import CONTENT_CASES, DESTINATION_CASES
from cli_cases_elsewhere import ELSEWHERE_CASES
from cli_cases_ids import ID_CASES
from cli_cases_info import INFO_CASES, RUN_CASES
from cli_cases_inside import INSIDE_CASES, RESTART_INSIDE_CASES
from cli_cases_jobs import JOB_CASES
from cli_cases_memory import MEMORY_CASES
from cli_cases_odd import ODD_CASES
from cli_cases_outside import OUTSIDE_CASES
from cli_cases_restart import RESTART_CASES
from cli_cases_restartable import RESTARTABLE_CASES
from cli_targets import check, free_pid, idle, looks_alive, said_by, wait_state
from harness import Commands, Failed, Report, Skipped, until

EPTRACED = 2360 & 255


def usage(case):
    """Misuse: 255, a sentence and a pointer on stderr, nothing on stdout."""
    for line in (["cr_checkpoint"], ["cr_checkpoint", "--bogus", "1"], ["cr_checkpoint", "1", "2"],
                 ["cr_checkpoint", "-S", "65", "1"], ["cr_checkpoint", "-f"],
                 ["cr_checkpoint", "x"], ["cr_restart"], ["cr_restart", "-Z"],
                 ["cr_restart", "a", "b"], ["cr_restart", "--relocate", "a=b", "x"], ["cr_run"],
                 ["cr_run", "--bogus", "true"], ["cr_info"], ["cr_info", "a", "b"]):
        done = case.commands.run(*line, expect=255)
        check(done.stdout == "", f"{line}: stdout is {done.stdout!r}")
        check(re.fullmatch(rf"{line[0]}: .+\nTry '{line[0]} --help' for the options\.\n",
                           done.stderr), f"{line}: stderr is {done.stderr!r}")


def help_and_version(case):
    """--help and --version: stdout, 0."""
    for name in ("cr_checkpoint", "cr_restart", "cr_run", "cr_info"):
        for option in ("--help", "-?", "-h"):
            done = case.commands.run(name, option)
            check(done.stdout.startswith(f"usage: {name} ") and done.stderr == "",
                  f"{name} {option}: {done.stdout!r}")
        done = case.commands.run(name, "--version")
        between = ": " if name == "cr_run" else " "
        check(re.fullmatch(rf"{name}{between}version \d+\.\d+\.\d+\n", done.stdout),
              f"{name} --version: {done.stdout!r}")


def two_destinations(case):
    done = case.commands.run("cr_checkpoint", "-f", "a", "--cwd", os.getpid(), expect=22)
    check("only one of" in done.stderr, done.stderr)


def no_process(case):
    pid = free_pid()
    done = case.commands.run("cr_checkpoint", "-f", case.file("x"), pid, expect=3)
    check(done.stderr.endswith("Checkpoint failed: no processes checkpointed\n"), done.stderr)
    check(str(pid) in done.stderr, f"does not name the process: {done.stderr}")
    quiet = case.commands.run("cr_checkpoint", "-q", "-f", case.file("x"), pid, expect=3)
    check(quiet.stderr == "" and quiet.stdout == "", f"--quiet prints {quiet.stderr!r}")
    plain = case.commands.run("cr_checkpoint", "--kmsg-none", "-f", case.file("x"), pid, expect=3)
    check(plain.stderr == "Checkpoint failed: no processes checkpointed\n", plain.stderr)
    check(os.listdir(case.folder) == [], f"left behind: {os.listdir(case.folder)}")


def somebody_elses(case):
    if os.getuid() == 0:
        raise Skipped("to root no process is somebody else's")
    done = case.commands.run("cr_checkpoint", "-f", case.file("x"), 1, expect=1)
    check(done.stderr.startswith("- "), f"no reason: {done.stderr}")
    check(done.stderr.endswith("Checkpoint failed: Operation not permitted\n"), done.stderr)
    listed = case.commands.run("cr_checkpoint", "--check", 1, expect=1)
    check("1" in listed.stdout + listed.stderr, "--check does not name the process")


def traced(case):
    """A process that somebody traces: refused, the tracer named, still traced afterwards."""
    target = idle(case)
    tracer = case.start(["/usr/bin/python3", "-c", """
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
if libc.ptrace(0x4206, int(sys.argv[1]), None, None) != 0: sys.exit(77)
time.sleep(1000)""", str(target.pid)])
    until(lambda: tracer.poll() is not None or f"TracerPid:\t{tracer.pid}\n" in
          open(f"/proc/{target.pid}/status").read(), "the tracer seizes")
    if tracer.poll() is not None:
        raise Skipped("tracing a sibling is not allowed here")
    done = case.commands.run("cr_checkpoint", "-f", case.file("x"), target.pid, expect=EPTRACED)
    check(str(tracer.pid) in done.stderr, f"does not name the tracer: {done.stderr}")
    check(done.stderr.endswith(
        "Checkpoint failed: One or more target processes is being ptraced\n"), done.stderr)
    looks_alive(target.pid)


def success_is_silent(case):
    target = idle(case)
    done = case.commands.run("cr_checkpoint", target.pid, cwd=case.folder)
    check(done.stdout == "" and done.stderr == "", f"prints {done.stdout!r}, {done.stderr!r}")
    image = case.file(f"context.{target.pid}")
    check(os.path.exists(image), "context.PID is not there")
    check(os.stat(image).st_mode & 0o7777 == 0o400, f"mode {os.stat(image).st_mode:o}")
    case.commands.run("cr_checkpoint", "-d", case.folder, f"--backup={case.file('old')}", target.pid)
    check(os.path.exists(case.file("old")), "--backup=NAME: no NAME beside the file")
    looks_alive(target.pid)


def summary(case):
    target = idle(case)
    done = case.commands.run("cr_checkpoint", "-v", "-f", case.file("x"), target.pid)
    check(done.stdout == "", f"stdout: {done.stdout!r}")
    check(re.fullmatch(r"cr_checkpoint: saved 1 process, 1 thread, [\d.]+ [KMG]?i?B of memory in "
                       r"\S+x \([\d.]+ KiB\); paused [\d.]+ [um]?s, [\d.]+ [um]?s in all\n",
                       done.stderr), f"stderr: {done.stderr!r}")
    log = case.commands.run("cr_checkpoint", "-vv", "-f", case.file("x"), target.pid)
    check(log.stdout == "", f"the log goes to stdout: {log.stdout!r}")


def policies(case):
    target = idle(case)
    path = case.file("x")

    def put(text):
        if os.path.exists(path):
            os.unlink(path)
        with open(path, "w") as file:
            file.write(text)

    put("precious")
    done = case.commands.run("cr_checkpoint", "--noclobber", "-f", path, target.pid, expect=17)
    check("Checkpoint failed: File exists" in done.stderr, done.stderr)
    check(open(path).read() == "precious", "--noclobber touched the file")
    case.commands.run("cr_checkpoint", "--backup", "-f", path, target.pid)
    check(open(path + ".~1~").read() == "precious", "--backup: FILE.~1~ is not the old file")
    for policy in ("--atomic", "--clobber"):
        put("old")
        case.commands.run("cr_checkpoint", policy, "-f", path, target.pid)
        case.commands.run("cr_info", "--verify", path)
    check(sorted(os.listdir(case.folder)) == ["x", "x.~1~"], os.listdir(case.folder))


def bad_destinations(case):
    target = idle(case)
    for path, code in ((case.folder, 21), ("/dev/null", 22), (case.file("no/x"), 2)):
        done = case.commands.run("cr_checkpoint", "-f", path, target.pid, expect=code)
        check(path.split("/")[-1] in done.stderr, f"does not name {path}: {done.stderr}")
        check("Checkpoint failed: " in done.stderr, done.stderr)
    done = case.commands.run("cr_checkpoint", "-F", 99, target.pid, expect=9)
    check("Checkpoint failed: Bad file descriptor" in done.stderr, done.stderr)
    looks_alive(target.pid)


def to_pipe(case):
    target = idle(case)
    line = [case.commands.path("cr_checkpoint"), "-F", "1", str(target.pid)]
    done = subprocess.run(line, capture_output=True, check=True, timeout=60)
    with open(case.file("x"), "wb") as file:
        file.write(done.stdout)
    case.commands.run("cr_info", "--verify", case.file("x"))


def no_room(case):
    """A full disk and a closed pipe are told, and the target goes on."""
    target = idle(case)
    with open("/dev/full", "wb") as full:
        done = case.commands.run("cr_checkpoint", "-F", full.fileno(), target.pid, expect=28,
                                 pass_fds=[full.fileno()])
    check("Checkpoint failed: No space left on device" in done.stderr, done.stderr)
    reader, writer = os.pipe()
    os.close(reader)
    done = case.commands.run("cr_checkpoint", "-F", writer, target.pid, expect=32,
                             pass_fds=[writer])
    os.close(writer)
    check("Checkpoint failed: Broken pipe" in done.stderr, done.stderr)
    looks_alive(target.pid)


def stuck(case, *options):
    """A checkpoint that cannot go on: its pipe is not read. (process, target, reader)"""
    target = idle(case, megabytes=8)
    reader, writer = os.pipe()
    process = case.start([case.commands.path("cr_checkpoint"), *options, "-F", str(writer),
                          "--compress=none", str(target.pid)], pass_fds=[writer],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    os.close(writer)
    case.descriptors.append(reader)
    return process, target, reader


def time_limit(case):
    process, target, _ = stuck(case, "--time", "1")
    said = process.communicate(timeout=60)[0]
    check(process.returncode == 110, f"exits {process.returncode}: {said}")
    check(said.endswith("Checkpoint failed: time limit exceeded\n"), said)
    looks_alive(target.pid)


def cancelled(case):
    """SIGTERM ends it, by that signal; the target goes on."""
    process, target, reader = stuck(case)
    os.read(reader, 1)  # it writes: everything is set up
    process.terminate()
    said = process.communicate(timeout=60)[0]
    check(process.returncode == -signal.SIGTERM, f"status {process.returncode}: {said}")
    looks_alive(target.pid)


def signals_afterwards(case):
    target = idle(case)
    case.commands.run("cr_checkpoint", "--stop", "-f", case.file("x"), target.pid)
    wait_state(target.pid, "T")
    case.commands.run("cr_checkpoint", "-f", case.file("x"), target.pid)
    wait_state(target.pid, "T")
    case.commands.run("cr_checkpoint", "--cont", "-f", case.file("x"), target.pid)
    wait_state(target.pid, "S")
    for options, number in ((["--term"], signal.SIGTERM), (["-S", "USR1"], signal.SIGUSR1),
                            (["--abort"], signal.SIGABRT), (["--kill"], signal.SIGKILL),
                            (["--early-abrt"], signal.SIGABRT), (["--signal=12"], signal.SIGUSR2)):
        target = idle(case)
        case.commands.run("cr_checkpoint", *options, "-f", case.file("x"), target.pid)
        check(target.wait(30) == -number, f"{options}: ended with {target.returncode}")


def refusals(case):
    """--check and a refused checkpoint tell all obstacles, a line each, and leave no file."""
    target = case.start(["/usr/bin/python3", "-c", "import socket, time\n"
                         "kept = [socket.socket(), socket.socket(socket.AF_UNIX)]\n"
                         "print('ready', [s.fileno() for s in kept], flush=True)\n"
                         "time.sleep(1000)"], log="target.log")
    words = until(lambda: said_by(case, "target.log"), "the target is ready")
    numbers = re.findall(r"\d+", words)
    listed = case.commands.run("cr_checkpoint", "--check", target.pid, expect=1)
    done = case.commands.run("cr_checkpoint", "-f", case.file("x"), target.pid, expect=95)
    for number in numbers:
        for text in (listed.stdout, done.stderr):
            check(len(re.findall(rf"descriptor {number}\b", text)) == 1,
                  f"descriptor {number} is not named once: {text}")
    check(done.stderr.endswith("Checkpoint failed: Operation not supported\n"), done.stderr)
    check(all(line.startswith("- ") for line in done.stderr.splitlines()[:-1]), done.stderr)
    check(not os.path.exists(case.file("x")), "a file remains")
    looks_alive(target.pid)
    fine = idle(case)
    listed = case.commands.run("cr_checkpoint", "--check", fine.pid)
    check(listed.stdout == f"process {fine.pid} can be checkpointed\n", listed.stdout)


def no_group(case):
    """A group and a session that nobody is in are told as such."""
    for option, name in (("--pgid", "group"), ("--sid", "session")):
        pid = free_pid()
        done = case.commands.run("cr_checkpoint", option, "-f", case.file("x"), pid, expect=3)
        check(re.search(rf"- .*{name} {pid}", done.stderr), done.stderr)
        check(done.stderr.endswith("Checkpoint failed: no processes checkpointed\n"), done.stderr)


CHECKPOINT_CASES = [usage, help_and_version, two_destinations, no_process, somebody_elses, traced,
                    success_is_silent, summary, policies, bad_destinations, to_pipe, no_room,
                    time_limit, cancelled, signals_afterwards, refusals, no_group]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", help="folder for the cases' folders")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    groups = (CHECKPOINT_CASES, DESTINATION_CASES, CONTENT_CASES, RESTART_CASES, ID_CASES, JOB_CASES,
              INSIDE_CASES, RESTART_INSIDE_CASES, CALLBACK_CASES, RUN_CASES, INFO_CASES,
              RESTARTABLE_CASES, ACCIDENT_CASES, MEMORY_CASES, OUTSIDE_CASES, ODD_CASES, ELSEWHERE_CASES)
    cases = [(body.__name__, body) for bodies in groups for body in bodies
             if not options.patterns
             or any(fnmatch.fnmatch(body.__name__, pattern) for pattern in options.patterns)]

    def again(case):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, case])
    return Report(Commands(options.build), again, options.work, options.jobs).run(cases)


if __name__ == "__main__":
    sys.exit(main())
