"""Cases of cli_test.py: where cr_checkpoint writes to, what it saves, and what happens afterwards."""

import os
import re
import shutil
import signal
import subprocess
import threading

from cli_targets import check, idle, looks_alive, nameless_files, said_by, saved_pids, wait_state
from harness import LIMIT, Skipped, children, descendants, read, status_field, until

EPTRACED, EPTRACER = 56, 57


def verified(case, path):
    case.commands.run("cr_info", "--verify", path)


def destinations(case):
    """context.ID in the current directory (-c, default), in another (-d), -f FILE, -F FD."""
    target = idle(case)
    name = f"context.{target.pid}"
    for options, path in (([], name), (["-c"], name), (["--cwd"], name), (["-f", "x"], "x"),
                          (["--file=y"], "y"), (["-d", "there"], f"there/{name}"),
                          (["--dir", "there"], f"there/{name}")):
        os.makedirs(case.file("there"), exist_ok=True)
        case.commands.run("cr_checkpoint", *options, target.pid, cwd=case.folder)
        verified(case, case.file(path))
        os.unlink(case.file(path))
        left = [entry for entry in os.listdir(case.folder) if entry != "there"]
        check(left == [] and os.listdir(case.file("there")) == [], f"{options}: besides {left}")
    with open(case.file("z"), "wb") as file:
        file.write(b"kept")
        file.flush()
        case.commands.run("cr_checkpoint", "--fd", file.fileno(), "--noclobber", target.pid,
                          pass_fds=[file.fileno()])
    check(read(case.file("z"))[:4] == "kept", "-F does not write from the descriptor's position")
    done = case.commands.run("cr_checkpoint", "-d", case.file("none"), target.pid, expect=2)
    check("none" in done.stderr, done.stderr)
    looks_alive(target.pid)


def to_output(case):
    """-f -: the context file is all that standard output gets; a terminal is refused."""
    target = idle(case)
    with open(case.file("out"), "wb") as file:
        done = subprocess.run([case.commands.path("cr_checkpoint"), "-v", "-f", "-", str(target.pid)], cwd=case.folder,
                              stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    check(done.returncode == 0 and done.stderr.startswith("cr_checkpoint: saved 1 process"), done.stderr)
    verified(case, case.file("out"))
    check(os.listdir(case.folder) == ["out"], f"besides: {os.listdir(case.folder)}")
    whole = open(case.file("out"), "rb").read()
    for name in ("-", "/dev/stdin"):
        reader = subprocess.Popen([case.commands.path("cr_info"), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        until(lambda: status_field(reader.pid, "State").startswith("S"), f"cr_info {name} waits for the pipe")
        told, _ = reader.communicate(whole, timeout=LIMIT)
        check(reader.returncode == 0 and b"1 process" in told, f"cr_info {name}: {reader.returncode} {told!r}")
    master, terminal = os.openpty()
    case.descriptors += [master, terminal]
    for options in (["-f", "-"], ["-F", "1"]):
        done = subprocess.run([case.commands.path("cr_checkpoint"), *options, str(target.pid)], stdout=terminal,
                              stderr=subprocess.PIPE, text=True, check=False)
        check(done.returncode == 22 and "would go to a terminal" in done.stderr, f"{done.returncode} {done.stderr}")
    looks_alive(target.pid)


def not_dumpable(case):
    """It is named, with what makes a program so."""
    if os.geteuid() == 0:
        raise Skipped("root may trace every process")
    ready = case.file("ready")
    code = f"import ctypes,os,signal; ctypes.CDLL(None).prctl(4, 0); os.mkdir({ready!r}); signal.pause()"
    target = case.start(["/usr/bin/python3", "-c", code])
    until(lambda: os.path.exists(ready), "it is not dumpable")
    done = case.commands.run("cr_checkpoint", "-f", case.file("x"), target.pid, expect=1)
    check("it is not dumpable" in done.stderr and "PR_SET_DUMPABLE" in done.stderr, done.stderr)
    check("as root" in done.stderr and not os.path.exists(case.file("x")), done.stderr)


def to_fifo(case):
    """A fifo as the file: whoever reads it gets the image."""
    target = idle(case)
    os.mkfifo(case.file("fifo"))
    got = []

    def reader():
        with open(case.file("fifo"), "rb") as fifo:
            got.append(fifo.read())
    thread = threading.Thread(target=reader)
    thread.start()
    # Opened without waiting for a reader, as BLCR does.
    until(lambda: case.commands.run("cr_checkpoint", "-q", "-f", case.file("fifo"), target.pid,
                                    expect=None).returncode == 0, "the fifo has a reader")
    thread.join(LIMIT)
    with open(case.file("image"), "wb") as file:
        file.write(got[0])
    verified(case, case.file("image"))
    check(os.path.exists(case.file("fifo")), "the fifo is gone")


def backup_numbers(case):
    """--backup: FILE.~1~, FILE.~2~, ..., whichever is free first."""
    target = idle(case)
    for _ in range(3):
        case.commands.run("cr_checkpoint", "--backup", "-f", case.file("x"), target.pid)
    check(sorted(os.listdir(case.folder)) == ["x", "x.~1~", "x.~2~"], os.listdir(case.folder))


def clobber(case):
    """--clobber overwrites even what may not be written; after a failure nothing remains."""
    target = idle(case)
    with open(case.file("x"), "w") as file:
        file.write("old")
    os.chmod(case.file("x"), 0o400)
    case.commands.run("cr_checkpoint", "--clobber", "-f", case.file("x"), target.pid)
    verified(case, case.file("x"))
    os.unlink(case.file("x"))
    process = writing(case, "--clobber", case.file("x"), idle(case, megabytes=16))
    process.terminate()
    check(process.wait(LIMIT) == -signal.SIGTERM, f"status {process.returncode}")
    check(not os.path.exists(case.file("x")), "a part of a file remains")


def writing(case, policy, path, target):
    """cr_checkpoint in the middle of its work, with seconds to go."""
    process = case.start([case.commands.path("cr_checkpoint"), policy, "--level", "19", "-f", path,
                          str(target.pid)])
    in_place = policy in ("--clobber", "--noclobber")
    until(lambda: os.path.exists(path) if in_place else
          nameless_files(process.pid, os.path.dirname(path)), "writing begins")
    return process


def atomic(case):
    """--atomic, --backup: until the new file is complete the old one is there, afterwards too if
    it never is."""
    for policy in ("--atomic", "--backup"):
        target = idle(case, megabytes=16)
        with open(case.file("x"), "w") as file:
            file.write("precious")
        process = writing(case, policy, case.file("x"), target)
        check(read(case.file("x")) == "precious", "the old file is gone before the new is there")
        process.terminate()
        check(process.wait(LIMIT) == -signal.SIGTERM, f"status {process.returncode}")
        left = [name for name in os.listdir(case.folder) if name != "out.log"]
        check(left == ["x"], f"{policy}: left are {left}")
        check(read(case.file("x")) == "precious", "the old file is changed")
        looks_alive(target.pid)


def sync(case):
    """--sync (default): file and directory are synced before success is told; --nosync: neither."""
    if not shutil.which("strace"):
        raise Skipped("strace is not installed")
    target = idle(case)
    for options, times in (([], 2), (["--sync"], 2), (["--nosync"], 0)):
        case.start(["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", case.file("trace"),
                    case.commands.path("cr_checkpoint"), *options, "-f", case.file("x"),
                    str(target.pid)]).wait(LIMIT)
        count = read(case.file("trace")).count("sync(")
        check(count == times, f"{options}: {count} syncs, not {times}")


def save_flags(case):
    """--save-exe, -private, -shared, -all carry files; without them they are needed by name."""
    names = {"exe": "program", "private": "library", "shared": "data"}

    def start():
        shutil.copy("/usr/bin/python3", case.file("program"))
        for name in ("library", "data"):
            with open(case.file(name), "wb") as file:
                file.write(os.urandom(5 << 20))  # too large to be carried without being asked for
        code = ("import mmap, os, sys, time\n"
                "maps = [mmap.mmap(os.open(name, os.O_RDWR), 0, flags=flags) for name, flags in"
                " ((sys.argv[1], mmap.MAP_PRIVATE), (sys.argv[2], mmap.MAP_SHARED))]\n"
                "os.closerange(3, 20)\n"
                "open(sys.argv[3], 'w').close()\n"
                "while True: time.sleep(1000)\n")
        process = case.start([case.file("program"), "-c", code, case.file("library"),
                              case.file("data"), case.file("ready")], cwd="/")
        until(lambda: os.path.exists(case.file("ready")), "the target is ready")
        wait_state(process.pid, "S")
        return process

    for option, gone in (("--save-exe", ["exe"]), ("--save-private", ["private"]),
                         ("--save-shared", ["shared"]), ("--save-all", list(names))):
        target = start()
        none = case.checkpoint(target.pid, "--save-none")
        image = case.checkpoint_kill(target, target.pid, option)
        for kind in gone:
            os.unlink(case.file(names[kind]))
        done = case.commands.run("cr_restart", "--no-restore-pid", none, expect=2)
        check(case.file(names[gone[0]]) in done.stderr, f"{option}: {done.stderr}")
        process = case.restart(image, "--no-restore-pid")
        pid = case.restarted_pid(process, "maps = [mmap")
        wait_state(pid, "S")
        check(case.file("program") in os.readlink(f"/proc/{pid}/exe"), f"{option}: another program")
        for kind, name in names.items():
            mapped = re.findall(rf"{case.file(name)}( \(deleted\))?$", read(f"/proc/{pid}/maps"), re.M)
            check(mapped and all(bool(each) == (kind in gone) for each in mapped),
                  f"{option}: {name} is mapped {mapped}")
        os.kill(pid, signal.SIGKILL)
        process.wait(LIMIT)
        os.unlink(case.file("ready"))


def signals_reach_all(case):
    """The signal is sent to every saved process."""
    for option, number in (("--term", signal.SIGTERM), ("--kill", signal.SIGKILL)):
        shell = case.start(["/bin/bash", "-c", "sleep 1011 & sleep 1012 & wait"])
        family = until(lambda: [pid for pid in children(shell.pid)
                                if read(f"/proc/{pid}/comm") == "sleep\n"][1:] and
                       descendants(shell.pid), "its children")
        case.checkpoint(shell.pid, option)
        check(shell.wait(LIMIT) == -number, f"{option}: ended with {shell.returncode}")
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family), "all have ended")


def states_in_the_image(case):
    """--stop and --cont do not enter the image: restarted, it is as it was before."""
    for before, option, after, restarted in (("S", "--stop", "T", "S"), ("T", "--cont", "S", "T"),
                                             ("T", "--run", "T", "T")):
        target = idle(case)
        if before == "T":
            os.kill(target.pid, signal.SIGSTOP)
            wait_state(target.pid, "T")
        image = case.checkpoint(target.pid, option)
        wait_state(target.pid, after)
        target.kill()
        target.wait(LIMIT)
        process = case.restart(image, "--no-restore-pid")
        wait_state(case.restarted_pid(process, "kept = os.urandom"), restarted)
        for cont, state in (("--cont", "S"), ("--stop", "T"), ("--freeze", "T")):
            process = case.restart(image, "--no-restore-pid", cont)
            wait_state(case.restarted_pid(process, "kept = os.urandom"), state)


# Traces its child until it is killed; a brother of it looks on.
TRACER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
child = os.fork()
if child == 0:
    while True: time.sleep(1000)
if libc.ptrace(0x4206, child, None, None) != 0: sys.exit(77)
with open(sys.argv[1] + ".tmp", "w") as file:
    file.write(str(child))
os.rename(sys.argv[1] + ".tmp", sys.argv[1])
while True: time.sleep(1000)
"""


def checkpoint_messages(case):
    """--kmsg-none: the verdict alone; --quiet: nothing; --verbose: a summary, a log; all on stderr."""
    line = ["-f", case.file("none/x"), idle(case).pid]
    verdict = "Checkpoint failed: No such file or directory\n"
    usual = case.commands.run("cr_checkpoint", *line, expect=2)
    check(usual.stderr.startswith("- ") and usual.stderr.endswith(verdict), usual.stderr)
    for options, wanted in ((["--kmsg-error"], usual.stderr), (["--kmsg-warning"], usual.stderr),
                            (["--kmsg-none"], verdict), (["--quiet"], ""), (["-q"], ""),
                            (["-qvv"], "")):
        done = case.commands.run("cr_checkpoint", *options, *line, expect=2)
        check(done.stderr == wanted and done.stdout == "", f"{options}: {done}")
    line[1] = case.file("x")
    for options, lines in (([], 0), (["-q"], 0), (["--verbose"], 1), (["-v", "-q"], 0)):
        done = case.commands.run("cr_checkpoint", *options, *line)
        check(done.stderr.count("\n") == lines and done.stdout == "", f"{options}: {done}")


def traced_family(case):
    """A shell whose first child traces its own child: (shell, tracer's pid, traced pid)."""
    shell = case.start(["/bin/bash", "-c", f"python3 -c '{TRACER}' {case.file('child')} & sleep 1013"])
    until(lambda: os.path.exists(case.file("child")), "it traces")
    traced = int(read(case.file("child")))
    tracer = int(status_field(traced, "TracerPid"))
    for pid in (traced, tracer, shell.pid):
        wait_state(pid, "S")
    return shell, tracer, traced


def ptraced_and_ptracer_error(case):
    """A traced process is 56, with its tracer's name, a tracing one 57; both go on as before."""
    shell, tracer, traced = traced_family(case)
    for options in (["-p", traced], ["--ptraced-error", "-p", traced], ["--ptracer-skip", shell.pid]):
        done = case.commands.run("cr_checkpoint", *options, "-f", case.file("x"), expect=EPTRACED)
        check(str(tracer) in done.stderr, f"does not name the tracer: {done.stderr}")
        check(done.stderr.endswith("One or more target processes is being ptraced\n"), done.stderr)
    for options in (["-p", tracer], ["--ptracer-error", "-p", tracer], ["--ptraced-skip", shell.pid]):
        done = case.commands.run("cr_checkpoint", *options, "-f", case.file("x"), expect=EPTRACER)
        check(str(tracer) in done.stderr, f"does not name the tracer: {done.stderr}")
        check(done.stderr.endswith("One or more target processes has ptrace children\n"), done.stderr)
    check(status_field(traced, "TracerPid") == str(tracer), "it is not traced any more")
    check(not os.path.exists(case.file("x")), "a file remains")


def ptraced_and_ptracer_skip(case):
    """Both are left out; if nobody remains it is 3."""
    shell, tracer, traced = traced_family(case)
    saved = saved_pids(case, "--ptraced-skip", "--ptracer-skip", shell.pid)
    check(shell.pid in saved and len(saved) == 2 and tracer not in saved and traced not in saved,
          f"saved {saved}; shell {shell.pid}, tracer {tracer}, traced {traced}")
    done = case.commands.run("cr_checkpoint", "--ptraced-skip", "-p", "-f", case.file("x"), traced,
                             expect=3)
    check(done.stderr.endswith("no processes checkpointed\n"), done.stderr)


def ptraced_allow(case):
    """Waits for the tracer to let go, as long as --time allows."""
    shell, tracer, traced = traced_family(case)
    done = case.commands.run("cr_checkpoint", "--ptraced-allow", "--time", "0.3", "-p", "-f",
                             case.file("x"), traced, expect=EPTRACED)
    check(str(tracer) in done.stderr, f"does not name the tracer: {done.stderr}")
    waiting = case.start([case.commands.path("cr_checkpoint"), "--ptraced-allow", "-p", "-f",
                          case.file("x"), str(traced)])
    until(lambda: children(waiting.pid) or waiting.poll() is not None, "it begins")
    os.kill(tracer, signal.SIGKILL)
    check(waiting.wait(2 * LIMIT) == 0, f"exits {waiting.returncode}: {said_by(case, 'out.log')}")
    verified(case, case.file("x"))
    os.kill(traced, signal.SIGKILL)


DESTINATION_CASES = [destinations, to_output, not_dumpable, to_fifo, backup_numbers, clobber, atomic, sync]
CONTENT_CASES = [save_flags, checkpoint_messages, signals_reach_all, states_in_the_image, ptraced_and_ptracer_error,
                 ptraced_and_ptracer_skip, ptraced_allow]
