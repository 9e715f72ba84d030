#!/usr/bin/python3
"""Kills a checkpointer at every step and at random times, and looks whether its target was hurt.

The checkpointer is any command (--command, "{pid}" is the target); the target is a program that checks
itself and shows its state in a file (status.h). After every kill the target is compared from
outside with what it was before: states, tracer, signal masks, pending signals, children, threads,
mappings, descriptors, and whether every activity goes on.
"""
import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time

SKIPPED = 77
REAL_TIME = 44  # the signal that target.c counts; SIGRTMIN differs from library to library
STATUS = struct.Struct("=Q16QQQ256s")
LIMIT = 20.0  # seconds that the target gets to be as before; it takes milliseconds


def read(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


class Target:
    """The running target and what it looked like before anybody touched it."""

    def __init__(self, program, folder, relaxed):
        self.status_file = os.path.join(folder, "status")
        with open(self.status_file, "wb") as file:
            file.write(bytes(STATUS.size))
        os.chmod(self.status_file, 0o600)
        self.relaxed = relaxed  # a runtime that changes its own threads, masks and mappings
        null = os.open("/dev/null", os.O_RDWR)
        self.pid = os.posix_spawn(program, [program, self.status_file], os.environ, file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 0)])
        os.close(null)
        self.wait_until(lambda: self.status()[0] == 1, "start")
        self.wait_until(lambda: all(self.status()[1:9]) or self.relaxed, "work")
        # Masks as most of many looks show them: handlers change them for moments.
        self.masks = {}
        for _ in range(20):
            for tid, lines in self.thread_lines().items():
                self.masks.setdefault(tid, set()).add(lines.get("SigBlk"))
            time.sleep(0.002)
        self.maps = self.mappings()
        self.fds = self.descriptors()
        self.threads = self.tids()

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it has ended before, which was told

    def wait_until(self, condition, what):
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end or not os.path.exists(f"/proc/{self.pid}"):
                raise SystemExit(f"the target does not {what}")
            time.sleep(0.01)

    def status(self):
        data = read(self.status_file)
        return STATUS.unpack(data[: STATUS.size])

    def failure(self):
        return self.status()[19].split(b"\0")[0].decode(errors="replace")

    def tids(self):
        return sorted(int(tid) for tid in os.listdir(f"/proc/{self.pid}/task"))

    def thread_lines(self):
        result = {}
        for tid in self.tids():
            text = read(f"/proc/{self.pid}/task/{tid}/status").decode()
            result[tid] = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return result

    def mappings(self):
        return read(f"/proc/{self.pid}/maps")

    def descriptors(self):
        result = {}
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                result[name] = os.readlink(f"/proc/{self.pid}/fd/{name}")
            except OSError:
                pass
        return result

    def differences(self, progress):
        """What is not as before, as a list of sentences; empty when all is well."""
        wrong = []
        try:
            if os.waitpid(self.pid, os.WNOHANG)[0] == self.pid:
                return ["the target died"]
        except ChildProcessError:
            return ["the target is gone"]
        lines = self.thread_lines()
        for tid, fields in lines.items():
            if fields.get("State", "?")[0] in "tTZXD?":
                wrong.append(f"thread {tid} is in state {fields.get('State')}")
            if fields.get("TracerPid") != "0":
                wrong.append(f"thread {tid} has a tracer")
            if int(fields.get("SigPnd", "0"), 16) or int(fields.get("ShdPnd", "0"), 16):
                wrong.append(f"thread {tid} has pending signals")
            if not self.relaxed and fields.get("SigBlk") not in self.masks.get(tid, ()):
                wrong.append(f"thread {tid} blocks {fields.get('SigBlk')}")
            if read(f"/proc/{self.pid}/task/{tid}/children"):
                wrong.append(f"thread {tid} has children")
        if not self.relaxed and sorted(lines) != self.threads:
            wrong.append("the threads are others")
        if not self.relaxed and self.mappings() != self.maps:
            wrong.append("the mappings are others")
        if self.descriptors() != self.fds:
            wrong.append(f"the descriptors are others: {self.descriptors()}")
        now = self.status()[1:17]
        # Activity 8 waits for signals.
        stuck = [i for i in range(16) if i != 8 and progress[i] and now[i] == progress[i]]
        if stuck:
            wrong.append(f"activities {stuck} do not go on")
        return wrong

    def check(self, patience=LIMIT):
        """None, or what is wrong with the target even after a while."""
        progress = self.status()[1:17]
        end = time.monotonic() + patience
        while True:
            if self.failure():
                return [f"the target says: {self.failure()}"]
            wrong = self.differences(progress)
            if not wrong:
                return None
            if "died" in wrong[0] or "gone" in wrong[0] or time.monotonic() > end:
                return wrong
            time.sleep(0.001)


class Noise(threading.Thread):
    """Signals, and SIGSTOP with SIGCONT, from somebody else at the same time."""

    def __init__(self, pid, signals, stops):
        super().__init__(daemon=True)
        self.pid, self.signals, self.stops = pid, signals, stops
        self.sent = 0
        self.pause = threading.Event()
        self.idle = threading.Event()
        self.end = False

    def run(self):
        chance = random.Random(7)
        while not self.end:
            if self.pause.is_set():
                self.idle.set()
                time.sleep(0.0005)
                continue
            self.idle.clear()
            try:
                if self.signals:
                    for _ in range(chance.randrange(1, 4)):
                        os.kill(self.pid, REAL_TIME)
                        self.sent += 1
                if self.stops and chance.random() < 0.3:
                    os.kill(self.pid, signal.SIGSTOP)
                    time.sleep(chance.random() * 0.001)
                    os.kill(self.pid, signal.SIGCONT)
            except ProcessLookupError:
                return
            time.sleep(chance.random() * 0.002)
        self.idle.set()

    def quiet(self):
        self.idle.clear()
        self.pause.set()
        self.idle.wait(2)


def state_of(pid):
    return read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1]


def children(pid):
    return [int(word) for word in read(f"/proc/{pid}/task/{pid}/children").split()]


def kill_some(pid, whom):
    """Kills the command, its worker, the writer, or all of them: how many. Returns when all of them are
    dead, by our hands or by themselves."""
    # The writer comes late and goes soon.
    while whom == "writer" and state_of(pid) not in ([], [b"Z"]) and not any(map(children, children(pid))):
        pass
    workers = children(pid)
    writers = [writer for worker in workers for writer in children(worker)]
    victims = {"command": [pid], "worker": workers, "writer": writers, "all": [*workers, pid, *writers]}[whom]
    for each in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    end = time.monotonic() + 60
    while any(state_of(each) not in ([], [b"Z"], [b"X"]) for each in [*workers, *writers]):
        if time.monotonic() > end:
            facts = [f"{each}: " + " | ".join(
                read(f"/proc/{each}/{name}").decode(errors="replace").strip().replace("\n", " ")
                for name in ("comm", "stat", "wchan", "syscall", "task/%d/children" % each))
                for each in [*workers, *writers]]
            raise SystemExit(f"after a kill of {victims} of {pid} some still live: {facts}")
        time.sleep(0.0005)
    return len(victims)


class Hammer:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.kills = self.finished = self.failed_runs = self.eintr = 0
        self.random = random.Random(options.seed)
        self.target = Target(options.target, folder, options.relaxed)
        self.noise = None
        if options.signals or options.stops:
            self.noise = Noise(self.target.pid, options.signals, options.stops)
            self.noise.start()

    def start(self, step=0, count_file=None):
        environment = dict(os.environ)
        if step or count_file:
            environment["LD_PRELOAD"] = self.options.preload
            environment["STASIS_KILL_STEP"] = str(step)
            if count_file:
                environment["STASIS_STEP_FILE"] = count_file
        words = [word.format(pid=self.target.pid, dir=self.folder)
                 for word in self.options.command.split()]
        return os.posix_spawn(words[0], words, environment)

    def end(self, pid):
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            self.kills += 1
        elif os.WEXITSTATUS(status) == 0:
            self.finished += 1
        else:
            self.failed_runs += 1
        return status

    def tidy(self):
        """Removes what a killed checkpointer has begun to write (its own business, not the target's)."""
        for name in os.listdir(self.folder):
            if name not in ("status", "steps"):
                with contextlib.suppress(FileNotFoundError):  # it may be renamed just now
                    os.unlink(os.path.join(self.folder, name))

    def judge(self, what):
        self.tidy()
        if self.noise:
            self.noise.quiet()
        wrong = self.target.check()
        if self.noise:
            self.noise.pause.clear()
        eintr = self.target.status()[18]
        if eintr != self.eintr and not self.options.stops:
            print(f"note: {what}: epoll_wait said EINTR", flush=True)
        self.eintr = eintr
        if wrong:
            print(f"HURT after {what}: " + "; ".join(wrong), flush=True)
            raise SystemExit(1)

    def calibrate(self):
        """Duration and number of steps of an undisturbed run."""
        times, steps = [], []
        for round_number in range(5):
            begin = time.monotonic()
            status = self.end(self.start())
            times.append(time.monotonic() - begin)
            if status and round_number == 0:
                print(f"the command fails by itself (status {status})", flush=True)
                raise SystemExit(1)
        count_file = os.path.join(self.folder, "steps")
        for _ in range(3):
            if self.options.preload:
                self.end(self.start(count_file=count_file))
                steps.append(int(read(count_file) or b"0"))
        self.judge("undisturbed runs")
        return sorted(times)[1], max(steps, default=0)

    def every_step(self, count):
        if not count or not self.options.steps:
            return
        stride = max(1, count // self.options.steps) if self.options.steps > 0 else 1
        for step in range(self.random.randrange(stride) + 1, count + 1, stride):
            self.end(self.start(step=step))
            self.judge(f"a kill after step {step} of {count}")

    def random_times(self, duration):
        for number in range(self.options.kills):
            delay = self.random.random() * duration * 1.1
            pid = self.start()
            end = time.monotonic() + delay
            while time.monotonic() < end:
                pass
            killed = kill_some(pid, self.options.whom)
            status = self.end(pid)
            if killed and not os.WIFSIGNALED(status):
                self.kills += 1
            # Sometimes the next one comes at once.
            if self.random.random() < 0.2:
                continue
            self.judge(f"kill {number} at {delay * 1000:.3f} ms")
        self.judge("the last kill")

    def run(self):
        begin = time.monotonic()
        duration, steps = self.calibrate()
        self.every_step(steps)
        self.random_times(duration)
        lost = 0
        if self.noise:
            self.noise.quiet()
            self.noise.end = True
            os.kill(self.target.pid, signal.SIGCONT)
            self.target.wait_until(lambda: self.target.status()[17] >= self.noise.sent
                                   or not self.options.signals, "handle all signals")
            lost = self.noise.sent - self.target.status()[17] if self.options.signals else 0
        wrong = self.target.check()
        print(json.dumps({
            "whom": self.options.whom, "kills": self.kills, "finished": self.finished, "failed_runs": self.failed_runs,
            "steps": steps, "run_ms": round(duration * 1000, 2), "epoll_eintr": self.eintr,
            "signals": self.noise.sent if self.noise else 0, "signals_lost": lost,
            "rounds": sum(self.target.status()[1:17]), "uid": os.getuid(),
            "seconds": round(time.monotonic() - begin, 1)}), flush=True)
        if wrong or lost or self.kills == 0:
            print(f"HURT at the end: {wrong}, {lost} signals lost, {self.kills} kills")
            return 1
        return 0


def stage(options):
    """Copies of the programs that every user may read: the build folder need not be open to all."""
    folder = tempfile.mkdtemp(prefix="stasis-kill-stage-", dir="/tmp")
    os.chmod(folder, 0o755)

    def copy(path):
        there = shutil.copy(path, folder)
        os.chmod(there, 0o755)
        return there

    command, _, arguments = options.command.partition(" ")
    options.command = f"{copy(command)} {arguments}"
    options.target = copy(options.target)
    if options.preload:
        options.preload = copy(options.preload)
    return folder


def become(uid):
    if os.getuid() == uid:
        return
    if os.getuid() != 0:
        print(f"skipped: only root can become user {uid}")
        sys.exit(SKIPPED)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", required=True, help="checkpointer; {pid} and {dir} are replaced")
    parser.add_argument("--target", required=True)
    parser.add_argument("--preload", help="library that kills at a step; without it no step is tried")
    parser.add_argument("--steps", type=int, default=100, help="how many steps to try; -1: every one")
    parser.add_argument("--kills", type=int, default=200, help="kills at random times")
    parser.add_argument("--whom", choices=["all", "command", "worker", "writer"], default="all",
                        help="which of the checkpointer's processes to kill at random times")
    parser.add_argument("--signals", action="store_true", help="send real-time signals meanwhile")
    parser.add_argument("--stops", action="store_true", help="send SIGSTOP and SIGCONT meanwhile")
    parser.add_argument("--relaxed", action="store_true",
                        help="the target's runtime changes threads, masks and mappings by itself")
    parser.add_argument("--user", type=int, help="run all as this user (needs root)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.user is not None and os.getuid() == 0:
        staged = stage(options)
        child = os.fork()  # root stays behind to remove the copies
        if child:
            status = os.waitpid(child, 0)[1]
            shutil.rmtree(staged)
            return os.waitstatus_to_exitcode(status)
    if options.user is not None:
        become(options.user)
    with tempfile.TemporaryDirectory(prefix="stasis-kill-", dir="/tmp") as folder:
        hammer = Hammer(options, folder)
        try:
            return hammer.run()
        finally:
            hammer.target.end()


if __name__ == "__main__":
    sys.exit(main())
