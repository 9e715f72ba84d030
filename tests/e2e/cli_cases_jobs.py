"""Cases of cli_test.py: cr_restart as the parent of a job: its descriptors, signals and hooks."""

import os
import shutil
import signal
import subprocess

from cli_targets import check, idle, large_file, looks_alive, wait_state
from harness import LIMIT, children, descendants, read, status_field, until

# Copies its standard input to its standard output and error, a line each, until there is no more.
ECHO = """
import os, sys
kept = b"echo"
open(sys.argv[1], "w").close()
while True:
    line = os.read(0, 100)
    if not line: os._exit(9)
    os.write(1, b"out " + line)
    os.write(2, b"err " + line)
"""


def standard_descriptors_follow(case):
    """Pipes that lead outside become cr_restart's standard input, output and error."""
    line = ["/usr/bin/python3", "-c", ECHO, case.file("ready")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    target = case.start(line, **pipes)
    until(lambda: os.path.exists(case.file("ready")), "the target is ready")
    wait_state(target.pid, "S")
    image = case.checkpoint_kill(target, target.pid)
    process = case.start([case.commands.path("cr_restart"), "--no-restore-pid", image], **pipes)
    out, err = process.communicate(b"hello\n", timeout=2 * LIMIT)
    check(process.returncode == 9, f"exits {process.returncode}: {err}")
    check(out == b"out hello\n" and err == b"err hello\n", f"{out} {err}")


def signals_of_a_stopped_program_wait(case):
    """What came while it was stopped is taken when it goes on, not by the restart; also beside the
    signal that stopped it."""
    for stop in (signal.SIGSTOP, signal.SIGTSTP):
        # A group of its own is no orphan, where SIGTSTP would do nothing: we are of another one.
        target = case.start(["/bin/sleep", "1000"], process_group=0)
        until(lambda: read(f"/proc/{target.pid}/comm") == "sleep\n", "the program")
        wait_state(target.pid, "S")
        os.kill(target.pid, stop)
        wait_state(target.pid, "T")
        os.kill(target.pid, signal.SIGTERM)
        image = case.checkpoint_kill(target, target.pid)
        process = case.restart(image, "--no-restore-pid")
        pid = case.restarted_pid(process, "1000")
        wait_state(pid, "T")
        pending = int(status_field(pid, "ShdPnd"), 16)
        check(pending == 1 << signal.SIGTERM - 1, f"pending are {pending:#x}")
        check(process.poll() is None, f"cr_restart ends with {process.returncode}")
        os.kill(pid, signal.SIGCONT)
        check(process.wait(60) == -signal.SIGTERM, f"status {process.returncode}")


def no_descriptor_is_inherited(case):
    """The job has the descriptors that were saved; the context file is not among them."""
    target = idle(case)

    def numbers(pid):
        return sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
    before = numbers(target.pid)
    image = case.checkpoint_kill(target, target.pid)
    for line in ([image], ["-f", image], ["-F", "9"]):
        with open(image, "rb") as file:
            os.dup2(file.fileno(), 9)
            process = case.start([case.commands.path("cr_restart"), "--no-restore-pid", *line],
                                 pass_fds=[9] if "-F" in line else [])
            os.close(9)
        pid = case.restarted_pid(process, "kept = os.urandom")
        check(numbers(pid) == before, f"{line}: {numbers(pid)}, were {before}")
        links = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in numbers(process.pid)]
        check(image not in links, f"cr_restart keeps its context file: {links}")


def job_control(case):
    """SIGTSTP, SIGTTIN and SIGTTOU stop both the job and cr_restart; SIGCONT wakes both."""
    target = idle(case)
    image = case.checkpoint_kill(target, target.pid)
    # Not an orphaned group, whose members the kernel does not let stop.
    process = case.restart(image, "--no-restore-pid", process_group=0)
    pid = case.restarted_pid(process, "kept = os.urandom")
    for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        until(lambda: "sigtimedwait" in read(f"/proc/{process.pid}/wchan") or
              status_field(process.pid, "State").startswith("S"), "cr_restart waits")
        process.send_signal(number)
        wait_state(process.pid, "T")
        wait_state(pid, "T")
        process.send_signal(signal.SIGCONT)
        wait_state(process.pid, "S")
        wait_state(pid, "S")
    process.kill()
    process.wait(LIMIT)
    looks_alive(pid)
    os.kill(pid, signal.SIGKILL)


def hook_of_success(case):
    """--run-on-success: with 0 the job is waited for; otherwise cr_restart ends with its code at
    once and the job runs on."""
    target = idle(case, data=case.file("data"))
    image = case.checkpoint_kill(target, target.pid)
    process = case.restart(image, "--no-restore-pid", "--run-on-success",
                           f"cat /proc/$PPID/task/$PPID/children >{case.file('pids')}; exit 17")
    check(process.wait(2 * LIMIT) == 17, f"exits {process.returncode}: {read(process.log)}")
    # The hook's own shell is a child of cr_restart as well.
    pids = [int(pid) for pid in read(case.file("pids")).split()]
    jobs = [pid for pid in pids if "kept = os.urandom" in read(f"/proc/{pid}/cmdline")]
    check(len(jobs) == 1, f"of {pids} {jobs} are the job")
    looks_alive(jobs[0])
    os.kill(jobs[0], signal.SIGKILL)
    check(read(process.log) == "", f"prints {read(process.log)!r}")


def hooks_of_failure(case):
    """--run-on-fail-*: by what failed; with 0 the message and the code are printed all the same."""
    large_file(case.file("data"))
    target = idle(case, data=case.file("data"))
    image = case.checkpoint(target.pid)
    say = ["--run-on-fail-temp", "echo temp; exit 71", "--run-on-fail-env", "echo env; exit 72",
           "--run-on-fail-args", "echo args; exit 73", "--run-on-fail-perm", "echo perm; exit 74"]
    with open(case.file("short"), "wb") as file:
        file.write(open(image, "rb").read()[:100])
    with open(case.file("foreign"), "w") as file:
        file.write("no image\n" * 1000)
    failures = [(["--no-namespaces", image], 71, "temp", 16, "Device or resource busy"),
                ([case.folder], 72, "env", 21, "Is a directory"),
                ([case.file("none")], 73, "args", 255, "No such file or directory"),
                (["-F", "77"], 73, "args", 255, "Bad file descriptor"),
                ([case.file("short")], 74, "perm", 5, "Input/output error"),
                ([case.file("foreign")], 74, "perm", 22, "Invalid argument")]
    for line, code, word, plain, text in failures:
        done = case.commands.run("cr_restart", *say, *line, expect=code)
        check(done.stdout == word + "\n" and done.stderr == "", f"{line}: {done}")
        done = case.commands.run("cr_restart", "--run-on-failure", "echo any", *line, expect=plain)
        check(done.stdout == "any\n" and done.stderr.endswith(f": {text}\n"), f"{line}: {done}")
    target.kill()
    target.wait(LIMIT)
    os.unlink(case.file("data"))
    done = case.commands.run("cr_restart", *say, image, expect=72)
    check(done.stdout == "env\n", f"a missing file: {done}")


def restart_messages(case):
    """--kmsg-none: the verdict alone; --quiet: nothing; both keep the code."""
    target = idle(case)
    image = case.checkpoint(target.pid)
    line = ["--no-namespaces", image]
    done = case.commands.run("cr_restart", *line, expect=16)
    check(f"found pid {target.pid} in use" in done.stderr, done.stderr)
    for options in (["--kmsg-error"], ["--kmsg-warning"]):
        check(case.commands.run("cr_restart", *options, *line, expect=16).stderr == done.stderr,
              f"{options} prints something else")
    verdict = done.stderr.splitlines(keepends=True)[-1]
    none = case.commands.run("cr_restart", "--kmsg-none", *line, expect=16)
    check(none.stderr == verdict == "Restart failed: Device or resource busy\n", none.stderr)
    quiet = case.commands.run("cr_restart", "--quiet", *line, expect=16)
    check(quiet.stderr == "" and quiet.stdout == "", f"{quiet}")


def signals_after_a_restart(case):
    """The job gets the signal first of all; cr_restart ends as it does."""
    target = idle(case)
    image = case.checkpoint_kill(target, target.pid)
    for options, number in ((["--term"], signal.SIGTERM), (["--kill"], signal.SIGKILL),
                            (["--abort"], signal.SIGABRT), (["--early-abrt"], signal.SIGABRT),
                            (["-S", "USR2"], signal.SIGUSR2), (["--signal=10"], signal.SIGUSR1)):
        process = case.restart(image, "--no-restore-pid", *options)
        check(process.wait(2 * LIMIT) == -number, f"{options}: ended with {process.returncode}")
    for option, state in (("--stop", "T"), ("--freeze", "T"), ("--early-stop", "T"), ("--cont", "S"),
                          ("--run", "S")):
        process = case.restart(image, "--no-restore-pid", option)
        wait_state(case.restarted_pid(process, "kept = os.urandom"), state)


def relocated(case):
    """--relocate: program, directory and files, by whole components; the first match counts."""
    for name in ("old", "old/sub", "oldest"):
        os.mkdir(case.file(name))
    shutil.copy("/bin/sleep", case.file("old/program"))
    os.truncate(case.file("old/program"), 5 << 20)  # too large to be carried without being asked for
    for name in ("old/sub/data", "oldest/data"):
        with open(case.file(name), "w") as file:
            file.write("data")
    line = (f"cd {case.file('old/sub')}; exec {case.file('old/program')} 1021"
            f" 7<{case.file('old/sub/data')} 8<{case.file('oldest/data')}")
    target = case.start(["/bin/sh", "-c", line])
    until(lambda: read(f"/proc/{target.pid}/comm") == "program\n", "it is the program")
    wait_state(target.pid, "S")
    image = case.checkpoint_kill(target, target.pid)
    os.rename(case.file("old"), case.file("n=w"))
    escaped = case.file("n=w").replace("=", "\\=")
    process = case.restart(image, "--no-restore-pid", "--relocate", f"{case.file('old')}={escaped}",
                           "--relocate", f"{case.file('old')}/sub=/none")
    pid = case.restarted_pid(process, "1021")
    new = case.file("n=w")
    for link, wanted in (("exe", f"{new}/program"), ("cwd", f"{new}/sub"), ("fd/7", f"{new}/sub/data"),
                         ("fd/8", case.file("oldest/data"))):
        is_now = os.readlink(f"/proc/{pid}/{link}")
        check(is_now == wanted, f"{link} is {is_now}, not {wanted}")
    maps = read(f"/proc/{pid}/maps")
    check(f"{new}/program" in maps and f"{case.file('old')}/" not in maps, maps)
    done = case.commands.run("cr_restart", "--no-restore-pid", image, expect=2)
    check(case.file("old/program") in done.stderr, done.stderr)


def parents_of_the_restarted(case):
    """The first is cr_restart's child; the others have the parents that they had."""
    line = "(sleep 1031 & wait) & sleep 1032"
    shell = case.start(["/bin/bash", "-c", line])

    def by_name():
        pids = {read(f"/proc/{pid}/cmdline"): pid for pid in descendants(shell.pid)}
        return pids if {"sleep\x001031\0", "sleep\x001032\0"} <= pids.keys() else None
    until(by_name, "all sleep")
    saved = {pid: int(status_field(pid, "PPid")) for pid in descendants(shell.pid)}
    for pid in saved:
        wait_state(pid, "S")
    image = case.checkpoint_kill(shell, shell.pid)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in saved), "all are gone")
    process = case.restart(image, "--no-namespaces" if os.geteuid() == 0 else "-q")
    until(lambda: len([pid for pid in descendants(process.pid)
                       if status_field(pid, "TracerPid") == "0"]) == len(saved) + 1, "all are there")
    check(len(children(process.pid)) == 1, f"children of cr_restart: {children(process.pid)}")
    if os.geteuid() == 0:
        now = {pid: int(status_field(pid, "PPid")) for pid in descendants(shell.pid)}
        check(now == saved, f"parents were {saved}, are {now}")
        check(status_field(shell.pid, "PPid") == str(process.pid), "the first has another parent")


JOB_CASES = [standard_descriptors_follow, no_descriptor_is_inherited, signals_of_a_stopped_program_wait,
             job_control, hook_of_success, hooks_of_failure, restart_messages, signals_after_a_restart,
             relocated, parents_of_the_restarted]
