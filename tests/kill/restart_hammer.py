#!/usr/bin/python3
"""Kills cr_restart after each of its last acts: of the restarted tree all run on, or none does.

--preload is step_killer.c: it dies right after its k-th act on another process. The last acts of a restart
are those that let the processes live without it, and those that let them go.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PROCESSES = 12
LIMIT = 20.0
CODE = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
for _ in range(int(sys.argv[2]) - 1):
    if os.fork() == 0: break
open(sys.argv[3], "a").write("x")
while True: signal.pause()
"""


def read(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def members(marker):
    """pid -> state of those that exist and have not ended; a state "t" is held by a tracer."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if marker.encode() not in read(f"/proc/{pid}/cmdline") or int(pid) == os.getpid():
            continue
        if b"cr_restart" in read(f"/proc/{pid}/cmdline").split(b"\0")[0]:
            continue
        state = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1]
        if state and state[0] not in (b"Z", b"X"):
            found[int(pid)] = state[0].decode()
    return found


def until(condition, what):
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain: {what}")
        time.sleep(0.005)


class Hammer:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.marker = f"restart-hammer-{os.getpid()}"
        self.image = os.path.join(folder, "image")

    def save(self):
        ready = os.path.join(self.folder, "ready")
        with open("/dev/null", "r+b") as null:
            job = subprocess.Popen([sys.executable, "-c", CODE, self.marker, str(PROCESSES), ready],
                                   stdin=null, stdout=null, stderr=null, start_new_session=True)
        until(lambda: len(read(ready)) == PROCESSES, "the job begins")
        until(lambda: set(members(self.marker).values()) == {"S"}, "the job sleeps")
        subprocess.run([self.options.commands + "/cr_checkpoint", "--kill", "-f", self.image, str(job.pid)],
                       check=True, timeout=60)
        job.wait()
        until(lambda: not members(self.marker), "the job is gone")

    def restart(self, *more, **variables):
        with open("/dev/null", "r+b") as null:
            return subprocess.Popen([self.options.commands + "/cr_restart", "--no-restore-pid", *more, self.image],
                                    stdin=null, stdout=null, stderr=subprocess.STDOUT,
                                    env=dict(os.environ, LD_PRELOAD=self.options.preload, **variables))

    def end(self):
        """Ends what runs of the job, which exits with 0, so that cr_restart does."""
        for pid in sorted(members(self.marker), reverse=True):
            os.kill(pid, signal.SIGUSR1)
        until(lambda: not members(self.marker), "the job ends")

    def complete(self):
        return sorted(members(self.marker).values()) == ["S"] * PROCESSES

    def count_steps(self):
        path = os.path.join(self.folder, "steps")
        # A hook that fails makes it exit with the job left behind, and not like the job.
        process = self.restart("--run-on-success=exit 9", STASIS_STEP_FILE=path)
        until(self.complete, "the job runs again")
        self.end()
        process.wait(LIMIT)
        return int(read(path))

    def kill_after(self, step):
        """How many of the job are left."""
        process = self.restart(STASIS_KILL_STEP=str(step))
        until(lambda: process.poll() is not None or self.complete(), "cr_restart dies, or the job runs")
        end = time.monotonic() + LIMIT
        while members(self.marker) and not self.complete():
            if time.monotonic() > end:
                print(f"HURT: killed after step {step}, {members(self.marker)} are left", flush=True)
                raise SystemExit(1)
            time.sleep(0.005)
        left = len(members(self.marker))
        self.end()
        process.wait(LIMIT)
        return left

    def run(self):
        self.save()
        steps = self.count_steps()
        lived = died = 0
        # Each thread is let live, then let go; the waits for the job's end come behind.
        for step in range(max(1, steps - 3 * PROCESSES - 15), steps - PROCESSES + 8):
            if self.kill_after(step):
                lived += 1
            else:
                died += 1
        print(f"{steps} steps; killed near the end: {died} times none was left, {lived} times all")
        return 0 if lived and died else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", required=True, help="folder of cr_checkpoint and cr_restart")
    parser.add_argument("--preload", required=True)
    options = parser.parse_args()
    options.preload = os.path.abspath(options.preload)
    folder = tempfile.mkdtemp(prefix="stasis-restart-hammer-", dir="/tmp")
    hammer = Hammer(options, folder)
    try:
        return hammer.run()
    finally:
        for pid in members(hammer.marker):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
