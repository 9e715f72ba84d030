"""Cases of cli_test.py: what a program has in common with others that are not saved is told."""

import os
import subprocess

from cli_targets import check, said_by
from harness import until

SHARES = """
import ctypes, mmap, os, sys, time
os.chdir(sys.argv[1])
text = open("shared text", "w")
memory = mmap.mmap(-1, 4096)
lock = open("lock", "w")
import fcntl
fcntl.flock(lock, fcntl.LOCK_EX)
event = os.eventfd(0)
own = os.fork()
if own == 0:
    alone = open("alone", "w")
    own_memory = mmap.mmap(-1, 8192)
    time.sleep(1000)
print(own, flush=True)
time.sleep(1000)
"""

SEMAPHORES = """
import ctypes, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
wanted = libc.semget(0, 1, 0o600)
assert wanted >= 0, ctypes.get_errno()
assert libc.semop(wanted, struct.pack("Hhh", 0, 1, 0x1000), 1) == 0, ctypes.get_errno()
print(wanted, flush=True)
time.sleep(1000)
"""

KEYS = """
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
for keyring in (-1, -2):  # of the thread, of the process
    if libc.syscall(248, b"user", b"a key", b"its text", ctypes.c_size_t(8), keyring) < 0:
        print("no keys:", ctypes.get_errno(), flush=True)
print("ready", flush=True)
time.sleep(1000)
"""


def notes_on(case, pid, *options):
    done = case.commands.run("cr_checkpoint", "-v", *options, "-f", case.new_image(), pid)
    quiet = case.commands.run("cr_checkpoint", *options, "-f", case.new_image(), pid)
    check(quiet.stderr == "" and quiet.stdout == "", f"without -v it says {quiet.stdout!r} {quiet.stderr!r}")
    return done.stderr


def shared_with_outsiders(case):
    """A position, a lock, an event counter and memory that the parent has as well: by name, with the
    option that saves both. What nobody else has is not told."""
    parent = case.start(["/usr/bin/python3", "-c", SHARES, case.folder], log="parent.log", start_new_session=True)
    until(lambda: said_by(case, "parent.log").strip(), "the child")
    child = int(said_by(case, "parent.log"))
    until(lambda: os.path.exists(case.file("alone")), "the child is ready")
    notes = notes_on(case, child, "--process")
    for name in ("shared text", "lock", "[eventfd]"):
        line = [each for each in notes.splitlines() if name in each and "one open file" in each]
        check(len(line) == 1, f"{name}: {notes}")
        check(f"process {parent.pid} (python3), which is not being saved" in line[0], line[0])
        check(f"`cr_checkpoint -g {parent.pid}` saves both" in line[0], line[0])
        check(("the lock on it can be had" in line[0]) == (name == "lock"), line[0])
    memory = [each for each in notes.splitlines() if "is shared with process" in each]
    check(len(memory) == 1 and "memory at 0x" in memory[0], f"{memory}: {notes}")
    check("alone" not in notes, notes)
    whole = notes_on(case, parent.pid, "--tree")
    check("not being saved" not in whole, whole)


def semaphores_that_are_undone(case):
    """SEM_UNDO: what the kernel undoes at a kill, a restart does not do again."""
    target = case.start(["/usr/bin/python3", "-c", SEMAPHORES], log="target.log")
    until(lambda: said_by(case, "target.log").strip(), "the semaphore")
    semaphore = said_by(case, "target.log").strip()
    try:
        notes = notes_on(case, target.pid)
        check(f"process {target.pid} (python3) has changed System V semaphores ({semaphore})" in notes, notes)
    finally:
        subprocess.run(["ipcrm", "-s", semaphore], check=True)


def keys_are_not_saved(case):
    target = case.start(["/usr/bin/python3", "-c", KEYS], log="target.log")
    until(lambda: "ready" in said_by(case, "target.log"), "the target is ready")
    notes = notes_on(case, target.pid)
    for kind in ("thread", "process"):
        told = f"thread {target.pid}: the keys of its {kind} keyring are not saved" in notes
        check(told or "no keys" in said_by(case, "target.log"), f"{kind}: {notes}")


OUTSIDE_CASES = [shared_with_outsiders, semaphores_that_are_undone, keys_are_not_saved]
