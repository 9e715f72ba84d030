"""Cases of cli_test.py: odd surroundings of a user's day: a terminal that stands, a long name, a small stack."""

import ctypes
import os
import pty
import resource
import signal
import struct
import termios

from cli_targets import check, idle, looks_alive
from harness import LIMIT, Skipped, status_field, until


def terminal_that_takes_nothing(case):
    """Ctrl-S: neither the target nor the checkpoint waits until somebody looks at the progress."""
    target = idle(case, megabytes=220)
    ours, theirs = pty.openpty()
    case.descriptors += [ours, theirs]
    termios.tcflow(theirs, termios.TCOOFF)
    process = case.start([case.commands.path("cr_checkpoint"), "-f", case.new_image(), str(target.pid)], stdin=theirs,
                         stdout=theirs, stderr=theirs)
    check(process.wait(2 * LIMIT) == 0, f"exits {process.returncode}")
    looks_alive(target.pid)


def name_of_255_bytes(case):
    target = idle(case)
    name = case.file("n" * 255)
    case.commands.run("cr_checkpoint", "-f", name, target.pid)
    case.commands.run("cr_checkpoint", "--clobber", "-f", name, target.pid)
    case.commands.run("cr_info", "--verify", name)


def small_stack(case):
    """A limit on the stack that programs still start with is none that ends a command."""
    target = idle(case)
    for kib in (512, 256, 128):
        def lower(size=kib << 10):
            resource.setrlimit(resource.RLIMIT_STACK, (size, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        done = case.commands.run("cr_run", "true", expect=None, preexec_fn=lower)
        check(done.returncode == 0, f"cr_run with {kib} KiB: {done.returncode} {done.stderr}")
        done = case.commands.run("cr_checkpoint", "--check", target.pid, expect=None, preexec_fn=lower)
        check(done.returncode == 0, f"cr_checkpoint --check with {kib} KiB: {done.returncode} {done.stderr}")


def emptied_log(case):
    """logrotate's copytruncate, or `: > log`: what is only appended to may become shorter; it is told."""
    log = case.file("log")
    target = case.start(["/usr/bin/python3", "-c",
                         "import os, time\nprint('x' * 96, flush=True)\nopen('ready', 'w')\ntime.sleep(1000)"],
                        log="log", cwd=case.folder)
    until(lambda: os.path.exists(case.file("ready")), "the target is ready")
    image = case.checkpoint_kill(target, target.pid)
    with open(log, "w"):
        pass
    process = case.restart(image, "-v", "--no-restore-pid")
    case.restarted_pid(process, "ready")
    with open(process.log, encoding="utf-8") as said:
        text = said.read()
    check("has 0 bytes and had 97" in text, text)


def under_a_filter(filter_words):
    libc = ctypes.CDLL(None)
    program = ctypes.create_string_buffer(filter_words)
    head = struct.pack("HxxxxxxQ", len(filter_words) // 8, ctypes.addressof(program))
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if libc.prctl(22, 2, ctypes.create_string_buffer(head, len(head)), 0, 0) != 0:  # PR_SET_SECCOMP
        os._exit(77)


def filter_of_the_restarter(case):
    """A seccomp filter that cr_restart has is the program's from then on: told."""
    target = idle(case)
    image = case.checkpoint_kill(target, target.pid)
    allow = struct.pack("HBBI", 6, 0, 0, 0x7fff0000)  # BPF_RET, SECCOMP_RET_ALLOW
    process = case.restart(image, "-v", "--no-restore-pid", preexec_fn=lambda: under_a_filter(allow))
    pid = case.restarted_pid(process, "kept = os.urandom")
    check(status_field(pid, "Seccomp") == "2", status_field(pid, "Seccomp"))
    with open(process.log, encoding="utf-8") as said:
        check("it runs under the seccomp filter that cr_restart has" in said.read(), process.log)


def names_do_not_steer_a_terminal(case):
    """What a message says of a name that holds control characters is written as they are called."""
    name = case.file("name\x1b]0;owned\x07")
    done = case.commands.run("cr_restart", name, expect=255)
    check("name\\x1b]0;owned\\x07" in done.stderr and "\x1b" not in done.stderr, repr(done.stderr))


def walks_take_turns(case):
    """Several restarts at once, as after a reboot: walking the pid counter each in his turn."""
    if os.geteuid() == 0 or int(open("/proc/sys/kernel/pid_max").read()) > 40000:
        raise Skipped("only an ordinary user where the pid counter is short walks")
    images = []
    for _ in range(4):
        target = idle(case)
        images.append(case.checkpoint_kill(target, target.pid))
    processes = [case.restart(image, "--no-namespaces") for image in images]
    for process in processes:
        pid = case.restarted_pid(process, "kept = os.urandom")
        os.kill(pid, signal.SIGKILL)
        process.wait(LIMIT)


ODD_CASES = [terminal_that_takes_nothing, name_of_255_bytes, small_stack, emptied_log, filter_of_the_restarter,
             names_do_not_steer_a_terminal, walks_take_turns]
