"""Programs of users, saved by them or by root, for attacks.py."""

import os
import re
import subprocess

from cli_targets import check
from harness import Failed, Skipped, read, status_field, tids, until

ALICE, BOB = 1001, 1002

# Holds a file, one that is deleted, a fifo, and a pipe that sends signals; at SIGUSR1 it writes there.
PROGRAM = """
import fcntl, os, signal, sys, threading, time
data = open("data", "a+")
data.write("a line\\n")
data.flush()
gone = os.open("gone", os.O_RDWR | os.O_CREAT, 0o755)
os.write(gone, b"#!/bin/sh\\nid\\n")
os.unlink("gone")
os.mkfifo("fifo")
fifo = os.open("fifo", os.O_RDWR)
out, into = os.pipe()
fcntl.fcntl(out, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
signal.signal(signal.SIGIO, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, lambda *_: (os.write(into, b"x"), print("sent", flush=True)))
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print(gone, fifo, flush=True)
while True:
    time.sleep(1000)
"""


def as_user(uid):
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all"]


def log_of(case, uid):
    """Where the program's output goes: the user's own file, as he must be able to open it again."""
    path = case.file("program.log")
    with open(path, "w"):
        os.chown(path, uid, uid)
    return "program.log"


class Job:
    """A program of a user's, saved by him and killed."""

    def __init__(self, case, uid=ALICE, saved_by=None):
        if os.geteuid() != 0:
            raise Skipped("only root can play several users")
        self.case, self.uid = case, uid
        os.chmod(case.folder, 0o755)
        self.home = case.file("home")
        os.mkdir(self.home)
        os.chown(self.home, uid, uid)
        self.program = case.start([*as_user(uid), "/usr/bin/python3", "-c", PROGRAM, case.name],
                                  log=log_of(case, uid), cwd=self.home)
        words = until(lambda: read(case.file("program.log")).split(), "the program is ready")
        if not all(word.isdigit() for word in words):
            raise Failed(f"the program says {words}")
        self.gone, self.fifo = words
        self.image = f"{self.home}/image"
        command = [case.commands.path("cr_checkpoint"), "--kill", "-f", self.image,
                   str(self.program.pid)]
        saver = uid if saved_by is None else saved_by
        done = subprocess.run((as_user(saver) if saver else []) + command, capture_output=True,
                              text=True, timeout=60)
        check(done.returncode == 0, f"cr_checkpoint: {done.stderr}")
        self.program.wait(30)

    def path(self, name):
        return f"{self.home}/{name}"

    def forged(self, *changes, owner=None):
        image = f"{self.image}.forged"
        tool = os.path.join(self.case.commands.build, "tests/e2e/imageedit")
        subprocess.run([tool, self.image, image, *changes], check=True, timeout=60)
        os.chown(image, *(self.uid if owner is None else owner,) * 2)
        os.chmod(image, 0o400)
        return image

    def refused(self, image, *words, options=()):
        done = self.case.commands.run("cr_restart", *options, image, expect=None, cwd="/")
        check(done.returncode not in (0, 255) and done.returncode > 0,
              f"cr_restart exits {done.returncode}: {done.stderr}")
        for word in words:
            check(word in done.stderr, f"not told: {word}: {done.stderr}")
        return done

    def restarted(self, image, *options):
        restart = self.case.restart(image, *options, cwd="/")
        return restart, self.case.restarted_pid(restart, self.case.name)


def has_rights_of(pid, uid):
    for tid in tids(pid):
        for field in ("Uid", "Gid"):
            ids = status_field(pid, field, tid).split()
            check(ids == [str(uid)] * 4, f"thread {tid}: {field} {ids}")
        groups = re.search(r"^Groups:(.*)$", read(f"/proc/{pid}/task/{tid}/status"), re.M).group(1)
        check(groups.split() == [], f"thread {tid} has groups {groups}")
        for field in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            check(int(status_field(pid, field, tid), 16) == 0, f"thread {tid} has {field}")
