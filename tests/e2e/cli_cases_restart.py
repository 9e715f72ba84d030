"""Cases of cli_test.py: cr_restart."""

import os
import re
import signal
import subprocess

from cli_targets import check, idle, large_file, looks_alive, said_by, wait_state
from harness import Skipped, descendants, read, status_field, until


def saved(case, **how):
    """The context file of an idle program that was killed, and the pid it had."""
    target = idle(case, **how)
    image = case.checkpoint_kill(target, target.pid)
    return image, target.pid


def saved_running(case, **how):
    """The same of a program that ran on, and was killed later."""
    target = idle(case, **how)
    image = case.checkpoint(target.pid)
    target.kill()
    target.wait(60)
    return image


def resume(case, image, *options):
    """cr_restart with the job running: (its process, the job's pid). It is in its sleep again: a
    signal just before that call begins anew would be handled, and the sleep begun all the same."""
    process = case.restart(image, *options)
    pid = case.restarted_pid(process, "kept = os.urandom")
    wait_state(pid, "T" if "--stop" in options else "S")
    return process, pid


def no_file(case):
    done = case.commands.run("cr_restart", case.file("none"), expect=255)
    check(done.stderr == f"Failed to open({case.file('none')}, O_RDONLY): No such file or "
          "directory\n", done.stderr)
    quiet = case.commands.run("cr_restart", "-q", case.file("none"), expect=255)
    check(quiet.stderr == "", f"--quiet prints {quiet.stderr}")


def bad_files(case):
    """Empty, foreign, cut and damaged files, and a directory: told apart, nothing is created."""
    image, pid = saved(case)
    whole = open(image, "rb").read()
    middle = len(whole) // 2
    files = {"empty": (b"", 5), "foreign": (b"#!/bin/sh\necho this is no image\n" * 100, 22),
             "cut": (whole[:middle], 5),
             "damaged": (whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:], 5)}
    for name, (content, code) in files.items():
        with open(case.file(name), "wb") as file:
            file.write(content)
        done = case.commands.run("cr_restart", case.file(name), expect=code)
        check(re.search(r"^- .+\nRestart failed: .+\n$", done.stderr, re.S), f"{name}: {done.stderr}")
        check(not os.path.exists(f"/proc/{pid}"), f"{name}: process {pid} exists")
    done = case.commands.run("cr_restart", case.folder, expect=21)
    check("Restart failed: Is a directory" in done.stderr, done.stderr)


def pid_in_use(case):
    """The original still runs: EBUSY, naming the id; the original is not touched."""
    target = idle(case)
    image = case.checkpoint(target.pid)
    done = case.commands.run("cr_restart", image, expect=16)
    check(f"found pid {target.pid} in use by" in done.stderr, done.stderr)
    check("--namespaces" in done.stderr, done.stderr)
    check(str(target.pid) in done.stderr, f"does not name the id: {done.stderr}")
    check(done.stderr.endswith("Restart failed: Device or resource busy\n"), done.stderr)
    looks_alive(target.pid)


def namespaces(case):
    """--namespaces: a copy beside the original, which has its saved pid inside."""
    target = idle(case, data=case.file("data"))
    image = case.checkpoint(target.pid)
    process, pid = resume(case, image, "--namespaces")
    check(pid != target.pid, "the copy is the original")
    inside = status_field(pid, "NSpid").split()[-1]
    check(inside == str(target.pid), f"inside it is {inside}, not {target.pid}")
    looks_alive(target.pid)
    process.send_signal(signal.SIGUSR1)
    check(process.wait(60) == 5, f"exits {process.returncode}, not 5")


def ends_like_the_job(case):
    """Signals go through, and cr_restart exits with the job's code or dies of its signal."""
    image, _ = saved(case, data=case.file("data"))
    process, _ = resume(case, image, "--no-restore-pid")
    process.send_signal(signal.SIGUSR1)
    check(process.wait(60) == 5, f"exits {process.returncode}, not 5")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSEGV):
        process, pid = resume(case, image, "--no-restore-pid")
        os.kill(pid if number == signal.SIGSEGV else process.pid, number)
        # python makes KeyboardInterrupt of SIGINT and dies of it all the same
        check(process.wait(60) == -number, f"{number.name}: status {process.returncode}")


def waits_for_a_stopped_job(case):
    image, _ = saved(case, data=case.file("data"))
    process, pid = resume(case, image, "--no-restore-pid")
    os.kill(pid, signal.SIGSTOP)
    wait_state(pid, "T")
    check(process.poll() is None, f"ended with {process.returncode}")
    process.send_signal(signal.SIGUSR1)
    # Not later than SIGCONT, or it could come just before the sleep begins anew (see resume).
    until(lambda: int(status_field(pid, "ShdPnd"), 16) & 1 << signal.SIGUSR1 - 1, "it is passed on")
    os.kill(pid, signal.SIGCONT)
    check(process.wait(60) == 5, f"exits {process.returncode}, not 5")


def stop_and_cont(case):
    image, _ = saved(case, data=case.file("data"))
    process, pid = resume(case, image, "--no-restore-pid", "--stop")
    wait_state(pid, "T")
    os.kill(pid, signal.SIGCONT)
    wait_state(pid, "S")
    check(status_field(pid, "PPid") == str(process.pid), "the job is not cr_restart's child")


def hooks(case):
    """--run-on-*: by class; their exit code replaces ours, 0 lets ours through."""
    none = case.file("none")
    done = case.commands.run("cr_restart", "--run-on-fail-args", "echo args; exit 9", none, expect=9)
    check(done.stdout == "args\n" and done.stderr == "", f"{done.stdout!r} {done.stderr!r}")
    done = case.commands.run("cr_restart", "--run-on-failure", "true", none, expect=255)
    check("Failed to open" in done.stderr, done.stderr)
    done = case.commands.run("cr_restart", "--run-on-fail-temp", "exit 9", none, expect=255)
    with open(case.file("empty"), "w"):
        pass
    case.commands.run("cr_restart", "--run-on-fail-perm", "exit 8", case.file("empty"), expect=8)
    case.commands.run("cr_restart", "--run-on-fail-env", "exit 8", case.file("empty"), expect=5)
    case.commands.run("cr_restart", "--run-on-fail-args", "exit 7", "--bogus", expect=7)
    image, _ = saved(case, data=case.file("data"))
    process = case.restart(image, "--no-restore-pid", "--run-on-success",
                           "kill -USR1 $PPID; echo ran")
    check(process.wait(60) == 5, f"exits {process.returncode}, not 5")
    check("ran" in read(process.log), "--run-on-success did not run")


def missing_file(case):
    """A file that is gone: ENOENT with its name; --relocate finds it elsewhere."""
    where = case.file("old")
    os.mkdir(where)
    large_file(os.path.join(where, "data"))
    image, _ = saved(case, data=os.path.join(where, "data"))
    os.rename(where, case.file("new"))
    done = case.commands.run("cr_restart", "--no-restore-pid", image, expect=2)
    check(f"{where}/data" in done.stderr, f"does not name the file: {done.stderr}")
    check(done.stderr.endswith("Restart failed: No such file or directory\n"), done.stderr)
    process, pid = resume(case, image, "--no-restore-pid", "--relocate",
                          f"{where}={case.file('new')}")
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    check(case.file("new/data") in links, f"open are {links}")
    process.send_signal(signal.SIGUSR1)
    check(process.wait(60) == 5, f"exits {process.returncode}, not 5")


def file_sizes(case):
    """A file that has grown is cut back, unless --keep-file-sizes; -v tells, else nothing does."""
    data = case.file("data")
    image = saved_running(case, data=data)
    for options, size, told in (
            (["--keep-file-sizes", "-v"], 9, f"- {data} has grown from 5 to 9 bytes since it was saved"),
            (["-v"], 5, f"- cut back {data} from 9 to 5 bytes\n"), ([], 5, None)):
        with open(data, "w") as file:
            file.write("line\nmore")
        process, pid = resume(case, image, "--no-restore-pid", *options)
        check(os.stat(data).st_size == size, f"{options}: {os.stat(data).st_size} bytes, not {size}")
        os.kill(pid, signal.SIGKILL)
        process.wait(60)
        said = read(process.log)
        check(told in said if told else said == "", f"{options}: said {said!r}")
    with open(data, "w") as file:
        file.write("l")
    process, pid = resume(case, image, "--no-restore-pid", "-v")  # it is only appended to
    os.kill(pid, signal.SIGKILL)
    process.wait(60)
    check(f"- {data} has 1 bytes and had 5 when it was saved\n" in read(process.log), read(process.log))


def files_of_others(case):
    """all.log, to which another running job appends as well, keeps its lines; --truncate cuts it."""
    data = case.file("all.log")
    image = saved_running(case, data=data)
    append = "import sys, time\nf = open(sys.argv[1], 'a')\nf.write('other job\\n')\nf.flush()\n"
    mapped = ("import mmap, sys\nf = open(sys.argv[1], 'r+')\n"
              "m = mmap.mmap(f.fileno(), 0)\nf.close()\n")
    for way in (append, mapped):
        with open(data, "w") as file:
            file.write("line\nmore\n")
        other = case.start(["/usr/bin/python3", "-c", way + "print('.', flush=True)\ninput()", data],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        other.stdout.read(1)
        size = os.stat(data).st_size
        process, pid = resume(case, image, "--no-restore-pid", "-v")
        check(os.stat(data).st_size == size, f"{os.stat(data).st_size} bytes, not {size}")
        check(f"{data} was not cut back from {size} to 5 bytes: process {other.pid}" in
              read(process.log), read(process.log))
        os.kill(pid, signal.SIGKILL)
        process.wait(60)
        process, pid = resume(case, image, "--no-restore-pid", "--truncate", "-v")
        check(os.stat(data).st_size == 5, f"--truncate: {os.stat(data).st_size} bytes, not 5")
        check(f"- cut back {data} from {size} to 5 bytes\n" in read(process.log), read(process.log))
        os.kill(pid, signal.SIGKILL)
        process.wait(60)
        other.kill()
        other.wait(60)


def not_cut(case, image, data, why):
    """A restart leaves what was appended to `data`, and -v says why; --truncate cuts it."""
    with open(data, "a") as file:
        file.write("line of another\n")
    size = os.stat(data).st_size
    process, pid = resume(case, image, "--no-restore-pid", "-v")
    check(os.stat(data).st_size == size, f"{os.stat(data).st_size} bytes, not {size}")
    check(f"{data} was not cut back from {size} to 5 bytes: {why}" in read(process.log), read(process.log))
    os.kill(pid, signal.SIGKILL)
    process.wait(60)
    process, pid = resume(case, image, "--no-restore-pid", "--truncate", "-v")
    check(os.stat(data).st_size == 5, f"--truncate: {os.stat(data).st_size} bytes, not 5")
    os.kill(pid, signal.SIGKILL)
    process.wait(60)


def lines_after_kill(case):
    """What was appended after --kill was not written by the job: it stays, though no process has
    the file open any more."""
    data = case.file("all.log")
    image, _ = saved(case, data=data)
    not_cut(case, image, data, "the checkpoint ended the processes")


def writer_that_ended(case):
    """Another process had the log open for writing at the checkpoint and has ended by the restart:
    its lines stay."""
    data = case.file("all.log")
    other = case.start(["/usr/bin/python3", "-c", "import sys\nf = open(sys.argv[1], 'a')\n"
                        "print('.', flush=True)\ninput()", data],
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.read(1)
    image = saved_running(case, data=data)
    other.kill()
    other.wait(60)
    not_cut(case, image, data, "another process had it open for writing, too, when it was saved")


LOSSES = """
import fcntl, os, sys, time
kept = os.urandom(1)
gone = open(os.path.join(sys.argv[2], "gone"), "w+")
os.unlink(gone.name)
pipe = os.pipe()
fcntl.fcntl(pipe[0], fcntl.F_SETOWN, int(sys.argv[3]))
open(sys.argv[1], "w").close()
while True:
    time.sleep(1000)
"""


def losses_are_told(case):
    """What comes back otherwise than it was: -v tells each, without -v nothing is printed."""
    owner = case.start(["/bin/sleep", "1000"])
    where = case.file("removed")
    os.mkdir(where)
    target = case.start(["/usr/bin/python3", "-c", LOSSES, case.file("ready"), where, str(owner.pid)],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: os.path.exists(case.file("ready")), "the target is ready")
    wait_state(target.pid, "S")
    image = case.checkpoint_kill(target, target.pid)
    owner.kill()
    owner.wait(60)
    os.rmdir(where)
    for options in (["-v"], []):
        process, pid = resume(case, image, "--no-restore-pid", *options)
        os.kill(pid, signal.SIGKILL)
        process.wait(60)
        said = read(process.log)
        if not options:
            check(said == "", f"without -v it prints {said!r}")
            continue
        for words in (f"- {where}/gone was made again in ", "cannot set the owner of descriptor "):
            check(words in said, f"{words!r} is not in {said!r}")


def from_descriptor(case):
    """-F: a file, and a pipe."""
    image, _ = saved(case, data=case.file("data"))
    for line in ("exec {0} -F 7 --no-restore-pid 7<{1}", "cat {1} | {0} -F 0 --no-restore-pid",
                 "cat {1} | {0} --no-restore-pid -"):
        process = case.start(["/bin/sh", "-c", line.format(case.commands.path("cr_restart"), image)])
        pid = until(lambda: ([pid for pid in descendants(process.pid) if "kept = os.urandom" in
                              read(f"/proc/{pid}/cmdline")
                              and status_field(pid, "TracerPid") == "0"] or [0])[0], "the job runs")
        wait_state(pid, "S")
        os.kill(pid, signal.SIGUSR1)
        check(process.wait(60) == 5, f"{line}: exits {process.returncode}, not 5")


def restart_summary(case):
    image, pid = saved(case, data=case.file("data"))
    process, now = resume(case, image, "-v")
    process.send_signal(signal.SIGUSR1)
    check(process.wait(60) == 5, f"exits {process.returncode}, not 5")
    check(re.fullmatch(r"(- .*\n)*"
                       rf"cr_restart: restarted {image} as process {now}( \(inside: {pid}\))?: "
                       r"1 process, 1 thread, [\d.]+ [KM]iB of memory in [\d.]+ m?s; .*ids.*\n",
                       read(process.log)), f"said {read(process.log)!r}")
    bare = case.commands.run("cr_restart", "-v")
    check(bare.stdout.startswith("cr_restart version "), bare.stdout)
    silent, pid = resume(case, image, "--no-restore-pid")
    os.kill(pid, signal.SIGUSR1)
    silent.wait(60)
    check(read(silent.log) == "", f"without -v it prints {read(silent.log)!r}")


def from_a_terminal(case):
    """Ctrl-C at a terminal reaches the job once, and Ctrl-Z stops both."""
    if not os.path.exists("/usr/bin/script"):
        raise Skipped("script(1) is not installed")
    count = ("import os, signal, sys, time\n"
             "n = 0\n"
             "def once(*_):\n"
             "    global n\n"
             "    n += 1\n"
             "    open(sys.argv[1], 'a').write('int\\n')\n"
             "    signal.setitimer(signal.ITIMER_REAL, 1)\n"
             "signal.signal(signal.SIGINT, once)\n"
             "signal.signal(signal.SIGALRM, lambda *_: os._exit(n))\n"
             "open(sys.argv[1], 'a').close()\n"
             "while True: time.sleep(1000)\n")
    target = case.start(["/usr/bin/python3", "-c", count, case.file("ready")],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: os.path.exists(case.file("ready")), "the target is ready")
    wait_state(target.pid, "S")
    image = case.checkpoint_kill(target, target.pid)
    # The shell would die of its own SIGINT before it tells the code.
    line = f"trap : INT; {case.commands.path('cr_restart')} --no-restore-pid {image}; echo code $?"
    terminal = case.start(["script", "-qec", f"sh -c '{line}'", "/dev/null"],
                          stdin=subprocess.PIPE, log="terminal.log")
    pid = case.restarted_pid(terminal, "open(sys.argv[1], 'a').close()")
    wait_state(pid, "S")
    terminal.stdin.write(b"\x03")
    terminal.stdin.flush()
    until(lambda: "code" in said_by(case, "terminal.log"), "cr_restart ends")
    check("code 1" in said_by(case, "terminal.log"),
          f"one Ctrl-C came more than once: {said_by(case, 'terminal.log')}")


RESTART_CASES = [no_file, bad_files, pid_in_use, namespaces, ends_like_the_job, waits_for_a_stopped_job,
                 stop_and_cont, hooks, missing_file, file_sizes, files_of_others,
                 lines_after_kill, writer_that_ended,
                 losses_are_told, from_descriptor, restart_summary,
                 from_a_terminal]
