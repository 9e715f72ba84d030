"""Cases of cli_test.py: restarts where something is other than it was: rights, CPUs, clocks."""

import os
import re
import shutil
import subprocess

from cli_targets import check, idle, wait_state
from harness import LIMIT, Skipped, read, status_field, until

# A program that sleeps to points in time that it computes itself, a line a tenth of a second. argv:
# where to; how: clock_nanosleep(2) until a time, a futex with one (a lock with a time limit), or a
# timerfd that is armed until one.
SLEEPS = """
import ctypes, os, struct, sys, threading, time
how, out = sys.argv[2], open(sys.argv[1], "a", buffering=1)
libc = ctypes.CDLL(None, use_errno=True)
def until(t):
    if how == "sleep":
        time.sleep(max(0, t - time.monotonic()))
    elif how == "lock":
        lock.acquire(timeout=max(0, t - time.monotonic()))
    else:
        fd = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
        libc.timerfd_settime(fd, 1, struct.pack("qqqq", 0, 0, int(t), int(t % 1 * 10**9)), None)
        os.read(fd, 8)
        os.close(fd)
lock = threading.Lock()
lock.acquire()
due, last = time.monotonic(), time.monotonic()
while True:
    due += 0.1
    while time.monotonic() < due:
        until(due)
    now = time.monotonic()
    out.write("ok\\n" if now >= last else f"the clock went back from {last} to {now}\\n")
    last = now
"""


def with_rights(case, *line):
    if not shutil.which(line[0]):
        raise Skipped(f"there is no {line[0]}")
    return list(line)


def open_to_all(case):
    """Its folder, for programs of another user."""
    os.chmod(os.path.dirname(case.folder), 0o711)
    os.chmod(case.folder, 0o777)


def restart_under(case, prefix, image, *options):
    process = case.start([*prefix, case.commands.path("cr_restart"), *options, image],
                         log=f"restart.{len(case.started)}.log")
    process.log = case.file(f"restart.{len(case.started) - 1}.log")
    return process


def no_new_privs_is_no_obstacle(case):
    """A restart under no_new_privs is only stricter: it works, and -v says so."""
    prefix = with_rights(case, "setpriv", "--no-new-privs")
    target = idle(case)
    image = case.checkpoint_kill(target, target.pid)
    restart = restart_under(case, prefix, image, "-v")
    pid = case.restarted_pid(restart, "kept = os.urandom")
    wait_state(pid, "S")
    check(status_field(pid, "NoNewPrivs") == "1", "it is not under no_new_privs")
    until(lambda: "no_new_privs" in read(restart.log), "the note")


def smaller_bounding_set_is_no_obstacle(case):
    """A job without capabilities is restarted where the bounding set is another one, with a note."""
    if os.geteuid() != 0:
        raise Skipped("needs root to make two bounding sets")
    user = ["setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", "--inh-caps=-all"]
    open_to_all(case)
    target = case.start([*user, "--bounding-set=-all", "sleep", "1017"], stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL)
    until(lambda: "1017" in read(f"/proc/{target.pid}/cmdline"), "it sleeps")
    wait_state(target.pid, "S")
    image = case.checkpoint_kill(target, target.pid)
    os.chmod(image, 0o644)
    os.chown(image, 1001, 1001)
    restart = restart_under(case, user, image, "-v")
    wait_state(case.restarted_pid(restart, "1017"), "S")
    until(lambda: "were bounded to 0x0" in read(restart.log), "the note")


def affinity_of_the_image(case):
    """A restart by a command that is bound to one CPU gives a thread the CPUs that it had."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Skipped("one CPU")
    prefix = with_rights(case, "taskset", "-c", str(cpus[0]))
    target = idle(case)
    os.sched_setaffinity(target.pid, {cpus[1]})
    image = case.checkpoint_kill(target, target.pid)
    restart = restart_under(case, prefix, image)
    pid = case.restarted_pid(restart, "kept = os.urandom")
    wait_state(pid, "S")
    check(os.sched_getaffinity(pid) == {cpus[1]}, f"bound to {os.sched_getaffinity(pid)}")


def clocks_behind(case):
    """Restarted where the monotonic clocks are behind (a time namespace stands for another machine),
    programs that sleep until a time go on at once, and their clock never goes back."""
    if os.geteuid() != 0:
        raise Skipped("needs root to make a machine whose clock is behind")
    uptime = int(float(read("/proc/uptime").split()[0]))
    behind = uptime - 30
    if subprocess.run(["unshare", "--time", "--monotonic", "1", "true"], check=False).returncode != 0:
        raise Skipped("no time namespaces here")
    prefix = ["unshare", "--time", "--fork", "--monotonic", f"-{behind}", "--boottime", f"-{behind}"]
    user = ["setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all"]
    open_to_all(case)
    for rights in ([], user):
        for how in ("sleep", "lock", "timerfd"):
            out = case.file(f"out.{how}.{len(rights)}")
            target = case.start([*rights, "/usr/bin/python3", "-c", SLEEPS, out, how],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until(lambda: len(read(out).splitlines()) > 3, f"{how}: it runs")
            image = case.checkpoint_kill(target, target.pid)
            os.chmod(image, 0o644)
            if rights:
                os.chown(image, 1001, 1001)
            for generation in range(2):
                before = len(read(out).splitlines())
                restart = restart_under(case, prefix + rights, image, "-v")
                until(lambda: len(read(out).splitlines()) > before + 3,
                      f"{how}, generation {generation}: it goes on; {read(restart.log)}")
                check("back" not in read(out), read(out)[-200:])
                pid = case.restarted_pid(restart, "how, out")
                offset = re.search(r"monotonic\s+(-?\d+)", read(f"/proc/{pid}/timens_offsets"))
                check(offset and int(offset.group(1)) == 0, f"offsets: {offset}")
                # Saved again, by a command outside: the clocks as the program sees them.
                image = case.checkpoint(pid, "--kill")
                os.chmod(image, 0o644)
                if rights:
                    os.chown(image, 1001, 1001)
                restart.wait(LIMIT)


def clocks_behind_for_ever(case):
    """Where no time namespace can be made, sleeps that the kernel keeps are shortened, and -v warns."""
    if os.geteuid() != 0:
        raise Skipped("needs root to make a machine whose clock is behind")
    uptime = int(float(read("/proc/uptime").split()[0]))
    prefix = ["unshare", "--time", "--fork", "--monotonic", f"-{uptime - 30}", "--boottime",
              f"-{uptime - 30}", "setpriv", "--reuid=1001", "--regid=1001", "--clear-groups",
              "--inh-caps=-all", "--bounding-set=-all"]
    open_to_all(case)
    out = case.file("out")
    target = case.start([*prefix[-6:], "/usr/bin/python3", "-c",
                         "import time; time.sleep(2); open(%r, 'w').write('woke')" % out],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: "time.sleep" in read(f"/proc/{target.pid}/cmdline"), "it runs")
    wait_state(target.pid, "S")
    image = case.checkpoint_kill(target, target.pid)
    os.chmod(image, 0o644)
    os.chown(image, 1001, 1001)
    restart = restart_under(case, prefix, image, "-v", "--no-restore-pid")
    until(lambda: read(out) == "woke", f"it wakes up; {read(restart.log)}")
    check("seconds behind those of the image" in read(restart.log), read(restart.log))


ELSEWHERE_CASES = [no_new_privs_is_no_obstacle, smaller_bounding_set_is_no_obstacle,
                   affinity_of_the_image, clocks_behind, clocks_behind_for_ever]
