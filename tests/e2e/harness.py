"""What the end-to-end tests share: running the commands, waiting for events with a limit, looking at
a process from outside, and reporting. Standard library only. It asserts no times."""

import concurrent.futures
import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

# Under emulation everything takes longer; scripts/test-kernels sets this.
SLOW = float(os.environ.get("STASIS_TEST_SLOW", "1"))
LIMIT = 40 * SLOW  # seconds until an awaited event counts as never coming


# An ordinary user gets a saved pid by walking the pid counter; two who walk at the same time take the
# ids away from each other. So one at a time.
walking = threading.Lock() if os.geteuid() else contextlib.nullcontext()


# A shell without job control starts what runs in the background with these ignored, which programs
# under test would inherit.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


class Failed(Exception):
    """The case failed: why, in a sentence."""


class Skipped(Exception):
    """The case cannot run here: why."""


def until(condition, what, limit=LIMIT):
    """Waits until condition() gives something true and returns it."""
    end = time.monotonic() + limit
    pause = 0.0005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {limit:.0f} s in vain: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def read(path, default=""):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return default


def status_field(pid, name, tid=None):
    text = read(f"/proc/{pid}/task/{tid}/status" if tid else f"/proc/{pid}/status")
    found = re.search(rf"^{name}:\s*(.*)$", text, re.M)
    return found.group(1) if found else ""


def inside(pid, name="NSpid"):
    """A process's id as it sees it itself: in private namespaces another one than here; 0: ended.
    NSpgid, NSsid: its group, its session."""
    return int((status_field(pid, name).split() or [0])[-1])


def tids(pid):
    try:
        return sorted(int(tid) for tid in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return []


def children(pid):
    found = []
    for tid in tids(pid):
        found += [int(child) for child in read(f"/proc/{pid}/task/{tid}/children").split()]
    return found


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def look(pid):
    """A process and all below it, as others see them; a zombie has little to be looked at."""
    seen = {}
    for each in [pid, *descendants(pid)]:
        for key, value in look_at(each).items():
            seen[key if each == pid else f"{key} of process {each}"] = value
    return seen


def look_at(pid):
    """A process as others see it; equal before and after something that must leave no trace."""
    stat = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # A stack that is full to its last page is made a few pages longer, as by a call of a function.
    maps = re.sub(r"^[0-9a-f]+(?=-.*\[stack\]$)", "", read(f"/proc/{pid}/maps"), flags=re.M)
    seen = {"maps": maps, "threads": tids(pid), "children": children(pid),
            "parent, group, session": stat[1:4], "zombie or stopped": stat[:1] in (["Z"], ["T"])}
    fds = {}
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            flags = re.search(r"flags:\s*(\d+)", read(f"/proc/{pid}/fdinfo/{number}"))
            fds[number] = (os.readlink(f"/proc/{pid}/fd/{number}"), flags and flags.group(1))
    except OSError:
        pass
    seen["descriptors"] = fds
    for tid in seen["threads"]:
        for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "TracerPid", "Seccomp"):
            seen[f"{name} of thread {tid}"] = status_field(pid, name, tid)
    return seen


def differences(before, after, threads_may_end=False):
    """threads_may_end: of a fixture whose calls run out of time by themselves, and that joins all."""
    if threads_may_end and set(after["threads"]) < set(before["threads"]):
        gone = set(before["threads"]) - set(after["threads"])
        before = {key: value for key, value in before.items()
                  if not any(str(key).endswith(f" of thread {tid}") for tid in gone)}
        before["threads"] = after["threads"]
        before["maps"] = after["maps"]  # their stacks may have been unmapped
    return [f"{key}: was {before.get(key)}, is {after.get(key)}"
            for key in sorted(set(before) | set(after), key=str)
            if before.get(key) != after.get(key)]


def kill_family(ancestor, itself=False):
    """Kills all below `ancestor`, which lives or has not been waited for; who they were. By pidfds:
    while ids are walked through, a number may be somebody else's a moment later."""
    handles = {}
    for pid in [*([ancestor] if itself else []), *descendants(ancestor)]:
        with contextlib.suppress(OSError):
            handles[pid] = os.pidfd_open(pid)
    still = {ancestor, *descendants(ancestor)}  # what the handles are for
    for pid, handle in handles.items():
        if pid in still:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
    return list(handles)


class OwnProcess(subprocess.Popen):
    """A process that waits for itself: wait_for_orphans() leaves it alone."""
    making = threading.Lock()
    made = {}  # pid: the last one that had it

    def __init__(self, *arguments, **options):
        with self.making:
            super().__init__(*arguments, **options)
            self.made[self.pid] = self


SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


@contextlib.contextmanager
def init_adopts():
    """Meanwhile orphans are init's; for one case at a time."""
    prctl = ctypes.CDLL(None).prctl
    prctl(SUBREAPER, 0, 0, 0, 0)
    try:
        yield
    finally:
        prctl(SUBREAPER, 1, 0, 0, 0)


def adopt_orphans():
    """Processes whose parent has been killed become ours instead of init's, and are waited for at
    once: their ids are free as soon as they can be."""
    if ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0) == 0:
        subprocess.Popen = OwnProcess
        threading.Thread(target=wait_for_orphans, daemon=True).start()


def wait_for_orphans():
    while True:
        with OwnProcess.making:
            for pid in children(os.getpid()):
                own = OwnProcess.made.get(pid)
                if own and own.returncode is None or status_field(pid, "State")[:1] != "Z":
                    continue
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)


class Commands:
    """The commands under test, in a build folder."""

    def __init__(self, build):
        self.build = os.path.abspath(build)

    def path(self, name):
        return os.path.join(self.build, "src/cli", name)

    def run(self, name, *arguments, expect=0, **options):
        """Runs a command to its end; expect: its status, or None for any."""
        line = [self.path(name), *map(str, arguments)]
        try:
            done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", timeout=2 * LIMIT, **options)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{name} hangs: {late.stderr or ''}") from late
        if expect == 0 and done.returncode == 95 and "this kernel does not" in done.stderr:
            raise Skipped(done.stderr.strip().replace("\n", " | "))
        if expect is not None and done.returncode != expect:
            said = (done.stderr + done.stdout).strip().replace("\n", " | ")
            raise Failed(f"{name} exits {done.returncode}, not {expect}: {said}")
        return done


class Case:
    """One case: a folder of its own, and every process that it starts, ended at its end."""

    def __init__(self, commands, name, folder):
        self.commands = commands
        self.name = name
        self.folder = folder
        self.started = []
        self.descriptors = []  # closed at the end
        self.images = 0
        self.accepted = False  # --check said that what was saved last can be saved and restarted

    def file(self, name):
        return os.path.join(self.folder, name)

    def start(self, line, log="out.log", **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        if "stdout" not in options:
            with open(self.file(log), "ab") as out:
                process = subprocess.Popen(line, stdout=out, stderr=subprocess.STDOUT, **options)
        else:
            process = subprocess.Popen(line, **options)
        self.started.append(process)
        return process

    def new_image(self):
        self.images += 1
        return self.file(f"image.{self.images}")

    def check_first(self, pid):
        """What --check accepts can be saved, and restarted (failed_restart); what it refuses is
        refused."""
        done = self.commands.run("cr_checkpoint", "--check", pid, expect=None)
        self.accepted = done.returncode == 0
        if "this kernel does not" in done.stdout:
            raise Skipped(done.stdout.strip().replace("\n", " | "))
        if not self.accepted:
            raise Failed(f"refused by --check: {(done.stdout + done.stderr).strip()}")

    def failed_restart(self, process):
        """The fault that a restart which ended is: one of its own if --check had promised more."""
        if self.accepted and process.returncode not in (0, None):
            return Failed("accepted by --check, but its restart is refused: "
                          f"cr_restart exits {process.returncode}: {said(process)}")
        return Failed(f"cr_restart exits {process.returncode}: {said(process)}")

    def checkpoint(self, pid, *options):
        image = self.new_image()
        self.commands.run("cr_checkpoint", *options, "-f", image, pid)
        if not os.path.exists(image):
            raise Failed(f"cr_checkpoint exits 0 but {image} does not exist")
        return image

    def checkpoint_kill(self, process, pid, *options):
        """Saves, kills, and waits until nothing is left of it."""
        image = self.checkpoint(pid, "--kill", *options)
        if process:
            try:
                status = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                raise Failed(f"--kill: process {pid} still runs") from None
            if status != -signal.SIGKILL:
                raise Failed(f"--kill: its parent got status {status}, not -9")
        return image

    def restart(self, image, *options, log=None, **more):
        log = log or f"restart.{len(self.started)}.log"
        process = self.start([self.commands.path("cr_restart"), *options, image], log=log, **more)
        process.log = self.file(log)
        return process

    def restarted_pid(self, restart, marker):
        """The pid, seen from here, of the restarted root with `marker` in its command line. What is
        being born still has cr_restart's command line."""
        def found():
            for pid in descendants(restart.pid):  # a parent before its children
                if b"cr_restart" in read_bytes(f"/proc/{pid}/cmdline").split(b"\0")[0]:
                    continue
                # Of any thread: a first thread that has ended has no command line any more.
                if any(marker.encode() in read_bytes(f"/proc/{pid}/task/{tid}/cmdline")
                       for tid in tids(pid)):
                    # Its children may run already while it is still held.
                    return pid if status_field(pid, "TracerPid") == "0" else 0
            if restart.poll() is not None:
                raise self.failed_restart(restart)
            return 0
        return until(found, f"a restarted process; cr_restart said: {said(restart)}")

    def finish(self):
        for process in self.started:
            # One that was waited for has no descendants; its number may be another's by now.
            if process.poll() is None:
                kill_family(process.pid)
                process.kill()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        for descriptor in self.descriptors:
            os.close(descriptor)


def read_bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def said(process):
    return read(getattr(process, "log", "")).strip().replace("\n", " | ")


# A machine that stalls for a minute must not look like a defect, nor a defect like a stall: a few
# failures are tried again, alone. What passes then has neither passed nor failed: it is counted as
# unsteady (tests/tally.py), and its fault is to be found. More failures than these are not tried again.
SECOND_TRIES = 5


class Report:
    """Runs cases, prints a line for each, keeps the folders of the failed ones."""

    def __init__(self, commands, again, work=None, jobs=2):
        self.commands = commands
        self.again = again  # (case name, folder) -> the command that repeats it
        self.jobs = jobs
        self.counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
        self.unsteady = []
        self.lock = threading.Lock()
        self.work = work or tempfile.mkdtemp(prefix="stasis-e2e-")
        os.makedirs(self.work, exist_ok=True)

    def one(self, name, body):
        folder = os.path.join(self.work, name.replace(" ", "."))
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        case = Case(self.commands, name, folder)
        verdict, why = "PASS", ""
        try:
            body(case)
        except Failed as failure:
            verdict, why = "FAIL", str(failure)
        except Skipped as reason:
            verdict, why = "SKIP", str(reason)
        except Exception as error:  # a defect of the test is a failure, never a silent end
            verdict, why = "FAIL", f"the test itself: {type(error).__name__}: {error}"
        finally:
            case.finish()
        with self.lock:
            self.counts[verdict] += 1
            print(f"{verdict} {name}" + (f": {why}" if why else ""), flush=True)
            if verdict == "FAIL":
                print(f"  again: {self.again(name)}   (kept: {folder})", flush=True)
        if verdict != "FAIL":
            shutil.rmtree(folder, ignore_errors=True)
        return verdict

    def try_again(self, failed):
        if not failed or len(failed) > SECOND_TRIES:
            return
        for name, body in failed:
            print(f"once more, alone: {name}", flush=True)
            self.counts["FAIL"] -= 1
            verdict = self.one(name, body)
            if verdict != "FAIL":
                self.counts[verdict] -= 1
                self.unsteady.append(name)
                print(f"UNSTEADY {name}: failed first and not the second time", flush=True)

    def run(self, cases):
        """cases: (name, body) each. Returns the exit status."""
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            verdicts = [pool.submit(self.one, name, body) for name, body in cases]
            failed = [case for case, verdict in zip(cases, verdicts) if verdict.result() == "FAIL"]
        self.try_again(failed)
        counts = self.counts
        if not counts["FAIL"]:
            shutil.rmtree(self.work, ignore_errors=True)
        if self.unsteady:
            print(f"unsteady: {len(self.unsteady)} {', '.join(self.unsteady)}")
        print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
        if not sum(counts.values()) + len(self.unsteady):
            print("no case matches", file=sys.stderr)
            return 2
        return 1 if counts["FAIL"] else 0
