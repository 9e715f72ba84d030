"""Cases of cli_test.py: ids, how they are restored, and how processes in namespaces are found."""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import tempfile

from cli_cases_restart import resume
from cli_targets import check, free_pid, idle, looks_alive, wait_state
from harness import Failed, Skipped, inside, read, status_field, until

USER = 1001


def copy_in_namespaces(case, *options):
    """A copy of a program that has ended: (image, cr_restart, pid here, pid that it sees)."""
    target = idle(case, data=case.file("data"))
    image = case.checkpoint(target.pid)
    process, pid = resume(case, image, "--namespaces", *options)
    target.kill()
    target.wait(60)
    check(inside(pid) == target.pid and pid != target.pid, f"{pid} is {inside(pid)} inside")
    return image, process, pid, target.pid


def end(process, pid):
    os.kill(pid, signal.SIGKILL)
    process.wait(60)


def namespaces_say_nothing(case):
    """A success prints nothing; --kmsg-warning tells what there is to know."""
    image, process, pid, _ = copy_in_namespaces(case)
    check(read(process.log) == "", f"prints {read(process.log)!r}")
    for options, silent in (((), True), (("--kmsg-error",), True), (("--kmsg-warning",), False)):
        other, now = resume(case, image, "--namespaces", *options)
        if inside(now) != now:  # in namespaces: the pid was free by now, and could be had otherwise
            check((read(other.log) == "") == silent, f"{options}: prints {read(other.log)!r}")
        end(other, now)
    end(process, pid)


def pid_as_the_program_sees_it(case):
    """cr_checkpoint takes the pid that a restarted program in namespaces has for itself."""
    image, process, pid, saved = copy_in_namespaces(case)
    if os.path.exists(f"/proc/{saved}"):
        raise Skipped("the pid is in use again")
    done = case.commands.run("cr_checkpoint", "-v", saved, cwd=case.folder)
    check(f"process {saved} of a restarted program is process {pid} here" in done.stderr,
          done.stderr)
    check(os.path.exists(case.file(f"context.{saved}")), os.listdir(case.folder))
    checked = case.commands.run("cr_checkpoint", "--check", saved)
    check(checked.stdout == f"process {saved} can be checkpointed\n", checked.stdout)
    silent = case.commands.run("cr_checkpoint", "-f", case.file("x"), saved)
    check(silent.stdout + silent.stderr == "", f"prints {silent.stderr!r}")
    other, second = resume(case, image, "--namespaces", "--pid-walk-time", "0")
    if second != saved:
        done = case.commands.run("cr_checkpoint", "-f", case.file("y"), saved, expect=22)
        check(str(pid) in done.stderr and str(second) in done.stderr, done.stderr)
        check(not os.path.exists(case.file("y")), "a file is left behind")
    end(other, second)
    case.commands.run("cr_checkpoint", "-f", case.file("y"), "--kill", pid)
    check(process.wait(60) == -signal.SIGKILL, f"cr_restart ends with {process.returncode}")


def pid_here_wins(case):
    """A process here that has the pid is meant, whoever has it in namespaces."""
    target = idle(case, data=case.file("data"))
    image = case.checkpoint(target.pid)
    process, pid = resume(case, image, "--namespaces")
    done = case.commands.run("cr_checkpoint", "-v", "-f", case.file("x"), "--kill", target.pid)
    check("of a restarted program" not in done.stderr, done.stderr)
    check(target.wait(60) == -signal.SIGKILL, "the original lives")
    looks_alive(pid)
    end(process, pid)


def second_restart_in_namespaces(case):
    """As long as restarted processes live in namespaces another restart is EBUSY, cr_restart
    killed or not; copies that were asked for are made all the same."""
    image, process, pid, _ = copy_in_namespaces(case)
    done = case.commands.run("cr_restart", image, expect=16)
    check("has been restarted already" in done.stderr and "--namespaces" in done.stderr, done.stderr)
    check(done.stderr.endswith("Restart failed: Device or resource busy\n"), done.stderr)
    process.kill()
    process.wait(60)
    looks_alive(pid)
    case.commands.run("cr_restart", image, expect=16)
    for option in ("--namespaces", "--no-restore-pid"):
        other, now = resume(case, image, option)
        end(other, now)
    case.commands.run("cr_restart", image, expect=16)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the copy")
    other, now = resume(case, image)
    end(other, now)


def restart_at_work(case):
    """Two at once: the second one is told that the first is at work."""
    target = idle(case)
    image = case.checkpoint_kill(target, target.pid)
    with open(image, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = case.commands.run("cr_restart", image, expect=16)
    check("another cr_restart is at work on" in done.stderr, done.stderr)
    process, pid = resume(case, image)
    end(process, pid)


def checkpoint_of_a_restart_at_work(case):
    """A process that is in a restart or checkpoint is EBUSY, as in BLCR, not merely traced."""
    target = idle(case)
    with open(f"/proc/{target.pid}/mem", "rb") as memory:
        fcntl.flock(memory, fcntl.LOCK_EX)
        done = case.commands.run("cr_checkpoint", "-f", case.file("x"), target.pid, expect=16)
    check("in another checkpoint or restart" in done.stderr, done.stderr)
    looks_alive(target.pid)


def without_namespaces(case, image, *options):
    """cr_restart, as this user, where no user namespaces can be made."""
    if os.getuid() == 0:
        raise Skipped("to root the kernel gives ids on demand")
    drop = "exec setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all"
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces"
    line = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c",
            f'{forbid} && {drop} "$@"', "sh", case.commands.path("cr_restart"), *options, image]
    if subprocess.run([*line[:4], "sh", "-c", forbid], capture_output=True).returncode != 0:
        raise Skipped("user namespaces cannot be forbidden here")
    return line


def no_way_to_ids(case):
    """Each way tells its own reason, none another's."""
    target = idle(case)
    image = case.checkpoint_kill(target, target.pid)
    line = without_namespaces(case, image, "--pid-walk-time", "0")
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    check(done.returncode == 16, f"exits {done.returncode}: {done.stderr}")
    for reason in ("the kernel gives no ids on demand: ", "Operation not permitted",
                   "cannot create namespaces: No space left on device", "max_user_namespaces",
                   "forbidden by --pid-walk-time 0", "--no-restore-pid"):
        check(reason in done.stderr, f"no {reason!r}: {done.stderr}")


def walk_without_namespaces(case):
    """Where there are no namespaces, the counter is walked; a signal ends the walk."""
    until(lambda: free_pid() > 300, "ids that the counter comes back to")
    target = idle(case, data=case.file("data"))
    image = case.checkpoint_kill(target, target.pid)
    line = without_namespaces(case, image, "-v")
    if int(read("/proc/sys/kernel/pid_max")) > 100_000:
        def last():
            return int(read("/proc/loadavg").split()[-1])
        before = last()
        process = case.start(line)
        until(lambda: last() > before + 20_000 or process.poll() is not None, "the walk begins")
        process.terminate()
        check(process.wait(60) == -signal.SIGTERM, f"ends with {process.returncode}")
        return
    process = case.start(line, log="walk.log")
    process.log = case.file("walk.log")
    pid = case.restarted_pid(process, "kept = os.urandom")
    check(pid == target.pid, f"restarted as {pid}, not {target.pid}")
    check("walking the pid counter" in read(process.log), read(process.log))
    end(process, pid)


def as_user(*options):
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *options]


def with_capability(case, how):
    """A user's program, saved, killed, and restarted by cr_restart with CAP_CHECKPOINT_RESTORE."""
    if os.getuid() != 0:
        raise Skipped("only root can give away a capability")
    folder = tempfile.mkdtemp(prefix="stasis-", dir="/tmp")
    try:
        os.chmod(folder, 0o777)
        ready, image = os.path.join(folder, "ready"), os.path.join(folder, "image")
        target = case.start([*as_user("--inh-caps=-all"), "/usr/bin/python3", "-c",
                             "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(1000)",
                             ready], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(ready), "the target is ready")
        wait_state(target.pid, "S")
        subprocess.run([*as_user("--inh-caps=-all"), case.commands.path("cr_checkpoint"), "--kill",
                        "-f", image, str(target.pid)], check=True, timeout=60)
        target.wait(60)
        process = case.start([*how(folder), "-v", image], log="restart.log")
        process.log = case.file("restart.log")
        pid = case.restarted_pid(process, ready)
        check(pid == target.pid, f"restarted as {pid}: {read(process.log)}")
        until(lambda: "ids" in read(process.log), "the summary")
        check("restored by clone3(set_tid)" in read(process.log), read(process.log))
        check(int(status_field(pid, "CapPrm"), 16) == 0, f"it has {status_field(pid, 'CapPrm')}")
        end(process, pid)
    finally:
        shutil.rmtree(folder)


def file_capability(case):
    """setcap cap_checkpoint_restore=eip cr_restart"""
    def how(folder):
        copy = shutil.copy(case.commands.path("cr_restart"), folder)
        half = 1 << (40 - 32)  # CAP_CHECKPOINT_RESTORE, in struct vfs_cap_data
        try:
            os.setxattr(copy, "security.capability",
                        struct.pack("<IIIII", 0x02000001, 0, 0, half, half))
        except OSError as error:
            raise Skipped(f"no file capabilities here: {error}") from error
        return [*as_user("--inh-caps=-all"), copy]
    with_capability(case, how)


def ambient_capability(case):
    def how(_):
        capability = "+checkpoint_restore"
        line = as_user(f"--inh-caps={capability}", f"--ambient-caps={capability}")
        if subprocess.run([*line, "true"], capture_output=True).returncode != 0:
            raise Skipped("setpriv does not know the capability")
        return [*line, case.commands.path("cr_restart")]
    with_capability(case, how)


def numbers_with_new_ids(case):
    """--restore-pgid without the saved pids: the saved number or EBUSY, never another."""
    target = idle(case, data=case.file("data"), start_new_session=True)
    image = case.checkpoint_kill(target, target.pid)
    for options in (["--restore-pgid"], ["--restore-sid"], ["--restore-pgid", "--restore-sid"]):
        process = case.restart(image, "--no-restore-pid", "--pid-walk-time", "5", *options)
        try:
            pid = case.restarted_pid(process, "kept = os.urandom")
        except Failed:
            check(process.poll() == 16, f"{options}: {process.poll()}: {read(process.log)}")
            continue
        number = os.getpgid(pid) if "--restore-pgid" in options else os.getsid(pid)
        check(number == target.pid, f"{options}: {number}, not {target.pid}")
        end(process, pid)


ID_CASES = [namespaces_say_nothing, pid_as_the_program_sees_it, pid_here_wins,
            second_restart_in_namespaces, restart_at_work, checkpoint_of_a_restart_at_work,
            no_way_to_ids, walk_without_namespaces, file_capability, ambient_capability,
            numbers_with_new_ids]
