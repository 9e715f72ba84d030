"""Cases of cli_test.py: what happens to a checkpoint must not happen to what it saves.

Each case is an accident (Ctrl-Z, kill -9, a limit, a full disk, ...) in the middle of a checkpoint, or
from its beginning. Afterwards the program runs on, nothing of ours is in it, and no file remains."""

import os
import pty
import resource
import signal
import subprocess
import time

from cli_targets import check, idle, looks_alive, nameless_files
from harness import Skipped, children, read, status_field, tids, until

MUCH = 160  # MiB: too much to be copied aside, so that the program stands still while it is written


def comm(pid):
    return read(f"/proc/{pid}/comm").strip()


def child_called(pid, name):
    return next((child for child in children(pid) if comm(child) == name), 0)


def holds(pid):
    """The program stands still, held by a tracer."""
    return status_field(pid, "TracerPid") != "0" and status_field(pid, "State").startswith("t")


def runs(pid):
    return status_field(pid, "TracerPid") == "0" and not status_field(pid, "State").startswith(("t", "T"))


class Saving:
    """A checkpoint in the middle of its writing: whole processes, and the program that stands still.
    What it writes to is a pipe that nobody reads, or (`slow`) a file that takes long."""

    def __init__(self, case, *options, slow=False, **more):
        self.case, self.slow = case, slow
        self.target = idle(case, megabytes=MUCH)
        self.folder = case.file("images")
        os.mkdir(self.folder)
        line = [case.commands.path("cr_checkpoint"), *options]
        if slow:
            line += ["--level", "19", "-f", f"{self.folder}/image"]
        else:
            self.reader, writer = os.pipe()
            case.descriptors.append(self.reader)
            line += ["-F", str(writer), "--compress=none"]
            more["pass_fds"] = [writer]
        more.setdefault("start_new_session", True)
        self.command = case.start([*line, str(self.target.pid)], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, **more)
        if not slow:
            os.close(writer)
        self.worker = until(lambda: child_called(self.command.pid, "stasis-worker"), "the worker")
        self.writer = until(lambda: child_called(self.worker, "stasis-writer"), "the writer")
        until(lambda: holds(self.target.pid), "the program stands still")

    def begun(self):
        """Waits for the file to have begun."""
        until(lambda: any(nameless_files(self.worker, self.folder)), "the file grows")

    def is_over(self):
        """All of its processes have ended, the program runs, and no file remains."""
        until(lambda: runs(self.target.pid), "the program runs on", limit=15)
        looks_alive(self.target.pid)
        for pid in (self.worker, self.writer):
            until(lambda pid=pid: status_field(pid, "State")[:1] in ("", "Z"), f"{pid} ends")
        left = os.listdir(self.folder)
        check(left == [], f"left behind: {left}")

    def said(self):
        return self.command.communicate(timeout=60)[0]


def killed_command(case):
    """kill -9 of the command: the work is given up."""
    for slow in (False, True):
        saving = Saving(case, slow=slow) if not slow else another(case, slow=True)
        if slow:
            saving.begun()
        os.kill(saving.command.pid, signal.SIGKILL)
        saving.is_over()


def another(case, **options):
    os.rmdir(case.file("images"))
    return Saving(case, **options)


def killed_worker(case):
    """kill -9 of the process that holds the program: the writer removes the file."""
    saving = Saving(case, slow=True)
    saving.begun()
    os.kill(saving.worker, signal.SIGKILL)
    saving.said()
    check(saving.command.returncode == -signal.SIGKILL, saving.command.returncode)
    saving.is_over()


def killed_writer(case):
    """kill -9 of the writer, as when memory is short: told, and no file remains."""
    saving = Saving(case, slow=True)
    saving.begun()
    check(int(read(f"/proc/{saving.writer}/oom_score_adj")) >= 900, "the writer is not the first victim")
    os.kill(saving.writer, signal.SIGKILL)
    said = saving.said()
    check("writes the context file was killed by signal 9" in said, said)
    check(saving.command.returncode == 5, f"exits {saving.command.returncode}: {said}")
    saving.is_over()


def stopped_writer(case):
    saving = Saving(case, slow=True)
    os.kill(saving.writer, signal.SIGSTOP)
    said = saving.said()
    check("writes the context file was stopped" in said, said)
    saving.is_over()


def stopped_worker(case):
    """SIGSTOP of the process that holds the program: it is continued, whether its parent lives or
    not."""
    saving = Saving(case, "--time", "3")
    os.kill(saving.worker, signal.SIGSTOP)
    said = saving.said()
    check(saving.command.returncode == 110, f"exits {saving.command.returncode}: {said}")
    saving.is_over()
    saving = another(case)
    os.kill(saving.command.pid, signal.SIGSTOP)
    os.kill(saving.worker, signal.SIGSTOP)
    saving.is_over()
    os.kill(saving.command.pid, signal.SIGCONT)
    check("the command was stopped" in saving.said(), "the reason is not told")


def stopped_command(case):
    """SIGSTOP, or Ctrl-Z: the checkpoint goes on to its end, and the command tells it afterwards."""
    saving = Saving(case)
    os.kill(saving.command.pid, signal.SIGSTOP)
    with open(case.file("copy"), "wb") as copy:
        subprocess.run(["/bin/cat"], stdin=saving.reader, stdout=copy, check=True, timeout=60)
    until(lambda: runs(saving.target.pid), "the program runs on")
    check(saving.command.poll() is None, "a stopped command has ended")
    os.kill(saving.command.pid, signal.SIGCONT)
    said = saving.said()
    check((saving.command.returncode, said) == (0, ""), f"{saving.command.returncode}: {said}")
    case.commands.run("cr_info", "--verify", case.file("copy"))
    saving.is_over()


def stopped_with_its_reader(case):
    """Ctrl-Z of `cr_checkpoint -F 1 | reader`: nothing takes what is written, and it is given up."""
    for options, code in (([], 110), (["--time", "2"], 110)):
        saving = Saving(case, *options) if not options else another_with(case, *options)
        os.kill(saving.command.pid, signal.SIGTSTP)
        os.kill(saving.command.pid, signal.SIGSTOP)  # without a terminal SIGTSTP is ignored
        saving.is_over()
        os.kill(saving.command.pid, signal.SIGCONT)
        said = saving.said()
        check(saving.command.returncode == code, f"exits {saving.command.returncode}: {said}")


def another_with(case, *options):
    os.rmdir(case.file("images"))
    return Saving(case, *options)


def at_a_terminal(case, key):
    """A checkpoint under a shell with job control; the key is pressed when it writes. (terminal,
    saving)"""
    target = idle(case, megabytes=MUCH)
    os.mkfifo(case.file("fifo"))
    keeper = os.open(case.file("fifo"), os.O_RDWR)
    case.descriptors.append(keeper)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/bash", ["bash", "--norc", "-i"])
    case.descriptors.append(terminal)
    line = f"{case.commands.path('cr_checkpoint')} --compress=none -f {case.file('fifo')} {target.pid}\n"
    os.write(terminal, line.encode())
    command = until(lambda: child_called(pid, "cr_checkpoint"), "the command")
    worker = until(lambda: child_called(command, "stasis-worker"), "the worker")
    until(lambda: holds(target.pid), "the program stands still")
    os.write(terminal, key)
    return pid, terminal, target, command, worker


def end_shell(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def ctrl_c(case):
    shell, _, target, command, worker = at_a_terminal(case, b"\x03")
    until(lambda: runs(target.pid), "the program runs on", limit=15)
    for pid in (command, worker):
        until(lambda pid=pid: status_field(pid, "State")[:1] in ("", "Z"), f"{pid} ends")
    looks_alive(target.pid)
    end_shell(shell)


def ctrl_z(case):
    shell, _, target, command, worker = at_a_terminal(case, b"\x1a")
    until(lambda: status_field(command, "State").startswith("T"), "the command stops")
    check(not status_field(worker, "State").startswith("T"), "the worker stops")
    until(lambda: runs(target.pid), "the program runs on", limit=15)
    looks_alive(target.pid)
    os.kill(command, signal.SIGKILL)
    end_shell(shell)


def hangup(case):
    """The terminal goes away."""
    shell, _, target, command, worker = at_a_terminal(case, b"")
    os.close(case.descriptors.pop())
    until(lambda: runs(target.pid), "the program runs on", limit=15)
    until(lambda: status_field(worker, "State")[:1] in ("", "Z"), "the worker ends")
    looks_alive(target.pid)
    end_shell(shell)


def out_of_reach(case):
    """The worker has a session and a name of its own: pkill of the command, with -f too, and kill %1
    mean the command."""
    saving = Saving(case)
    for pid in (saving.worker, saving.writer):
        check(os.getsid(pid) == saving.worker, f"process {pid} is in session {os.getsid(pid)}")
        words = read(f"/proc/{pid}/cmdline")
        check("cr_checkpoint" not in words + comm(pid) and words.startswith("stasis-worker"), words)
    os.killpg(saving.command.pid, signal.SIGKILL)
    saving.is_over()


def limited(case, what, value, *options, target=None, **more):
    """A checkpoint under a limit: (what it says, its status), and the program is unharmed."""
    target = target or idle(case)
    folder = case.file("images")
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run([case.commands.path("cr_checkpoint"), *options, "-f", f"{folder}/image",
                           str(target.pid)], capture_output=True, text=True, timeout=120, check=False,
                          preexec_fn=lambda: resource.setrlimit(what, (value, value)), **more)
    until(lambda: runs(target.pid), "the program runs on", limit=15)
    looks_alive(target.pid)
    left = os.listdir(folder)
    check(left == (["image"] if done.returncode == 0 else []), f"limit {value}: left {left}: {done}")
    if done.returncode == 0:
        case.commands.run("cr_info", "--verify", f"{folder}/image")
        os.unlink(f"{folder}/image")
    return done.stderr, done.returncode


def little_memory(case):
    """ulimit -v of any size: saved, or a reason and an exit code."""
    target = idle(case, megabytes=8)
    saved = []
    for megabytes in (1, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 80, 96, 128, 256, 1024):
        said, status = limited(case, resource.RLIMIT_AS, megabytes << 20, target=target)
        saved.append(status == 0)
        # Less than the program itself needs to begin: the loader's or the kernel's words.
        began = "Checkpoint failed" in said
        check(status == 0 or began or megabytes <= 16, f"{megabytes} MiB: {status}: {said}")
        check(not began or "allocate memory" in said or "temporarily" in said, f"{megabytes} MiB: {said}")
    check(saved[-1], "not even with 1 GiB")


def few_descriptors(case):
    """ulimit -n 4: the limit is named, not a process that does not exist."""
    target = idle(case)
    for count in (3, 4, 5, 6, 8, 10, 12, 16, 24):
        said, status = limited(case, resource.RLIMIT_NOFILE, count, target=target)
        # With 3 not even the loader can open a library.
        fits = status == 0 or count == 3 or "Too many open files" in said and "ulimit -n" in said
        check(fits, f"{count} descriptors: {status}: {said}")
        check("no process" not in said, f"{count} descriptors: {said}")


def no_more_processes(case):
    """ulimit -u: told, and nothing has happened."""
    if os.getuid() == 0:
        raise Skipped("the limit is not for root")
    said, status = limited(case, resource.RLIMIT_NPROC, 1)
    check(status == 11 and "cannot create a process" in said, f"{status}: {said}")


def small_file_size(case):
    """ulimit -f: an error, not SIGXFSZ."""
    said, status = limited(case, resource.RLIMIT_FSIZE, 64 << 10)
    check(status == 27 and "File too large" in said, f"{status}: {said}")


def full_disk(case):
    """A disk that fills up while the program stands still."""
    target = idle(case, megabytes=MUCH)
    with open("/dev/full", "wb") as full:
        done = case.commands.run("cr_checkpoint", "-F", full.fileno(), target.pid, expect=28,
                                 pass_fds=[full.fileno()])
    check("No space left on device" in done.stderr, done.stderr)
    looks_alive(target.pid)


def closed_descriptors(case):
    """With 0, 1 and 2 closed the file is still what it should be, and -F 1 is no descriptor."""
    target = idle(case)
    command = case.commands.path("cr_checkpoint")
    for redirections in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        image = case.new_image()
        line = f"exec {command} -vvv -f {image} {target.pid} {redirections}"
        done = subprocess.run(["/bin/bash", "-c", line], check=False, timeout=60,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(done.returncode == 0, f"{redirections}: {done.returncode}")
        case.commands.run("cr_info", "--verify", image)
        looks_alive(target.pid)
    done = subprocess.run(["/bin/bash", "-c", f"exec {command} -F 1 {target.pid} >&-"],
                          capture_output=True, text=True, check=False, timeout=60)
    check(done.returncode == 9 and "Bad file descriptor" in done.stderr, done)
    looks_alive(target.pid)


ACCIDENT_CASES = [killed_command, killed_worker, killed_writer, stopped_writer, stopped_worker,
                  stopped_command, stopped_with_its_reader, ctrl_c, ctrl_z, hangup, out_of_reach,
                  little_memory, few_descriptors, no_more_processes, small_file_size, full_disk,
                  closed_descriptors]
