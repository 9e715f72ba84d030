"""Cases of cli_test.py: what is saved can be restarted, and what cannot be is refused at once."""

import os
import resource
import shutil
import signal
import subprocess

from cli_targets import check, idle, looks_alive, said_by
from harness import Skipped, read_bytes, status_field, until

THREADS = """
import os, sys, threading, time
def start(count):
    for _ in range(count):
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
start(3)
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(.01)
start(2)
print("more", flush=True)
time.sleep(1000)
"""


def thread_after_restart(case):
    """A thread that is made after a restart in namespaces has a lower id than older ones there; the
    program is saved and restarted all the same."""
    target = case.start(["/usr/bin/python3", "-c", THREADS, case.file("go on")], log="target.log")
    until(lambda: "ready" in said_by(case, "target.log"), "the target is ready")
    image = case.checkpoint(target.pid)
    # Beside the original, so that it takes namespaces, whose counter of ids begins at 1.
    process = case.restart(image, "--namespaces")
    pid = case.restarted_pid(process, "go on")
    target.kill()
    target.wait(60)
    open(case.file("go on"), "w").close()
    until(lambda: "more" in said_by(case, "target.log"), "new threads after the restart")
    second = case.checkpoint_kill(None, pid)
    process.wait(60)
    process = case.restart(second, "--namespaces")
    pid = case.restarted_pid(process, "go on")
    check(status_field(pid, "Threads") == "6", f"{status_field(pid, 'Threads')} threads, not 6")
    os.kill(pid, signal.SIGKILL)
    process.wait(60)


def pipeline_member(case):
    """A member of a pipeline, saved alone: -v says who holds the other end, and how to save both."""
    reader = case.start(["/bin/sh", "-c", "sleep 1000 | { echo $$ > ready; exec cat; }"],
                        cwd=case.folder, preexec_fn=os.setpgrp)
    until(lambda: os.path.exists(case.file("ready")), "the pipeline")
    children = until(lambda: (lambda found: found if len(found) == 2 else None)(
        subprocess.run(["pgrep", "-P", str(reader.pid)], capture_output=True,
                       text=True).stdout.split()), "both members")
    cat = next(pid for pid in children if "cat" in open(f"/proc/{pid}/comm").read())
    other = next(pid for pid in children if pid != cat)
    done = case.commands.run("cr_checkpoint", "-v", "-f", case.new_image(), cat)
    check(f"descriptor 0 of process {cat} (cat) is a pipe from process {other} " in done.stderr,
          done.stderr)
    check(f"`cr_checkpoint -g {reader.pid}` saves both" in done.stderr, done.stderr)
    done = case.commands.run("cr_checkpoint", "-v", "-f", case.new_image(), "-g", reader.pid)
    check("is a pipe" not in done.stderr, done.stderr)
    os.killpg(reader.pid, signal.SIGKILL)


def refused_alike(case, target, *words):
    """--check and the checkpoint refuse with the same words; nothing happens to the target."""
    listed = case.commands.run("cr_checkpoint", "--check", target.pid, expect=1)
    image = case.new_image()
    done = case.commands.run("cr_checkpoint", "--kill", "-f", image, target.pid, expect=95)
    for word in words:
        check(word in listed.stdout, f"--check does not say {word!r}: {listed.stdout}")
    for line in listed.stdout.splitlines():
        check(line.strip() in done.stderr, f"{line!r} is not said by the checkpoint: {done.stderr}")
    check(not os.path.exists(image), "a file remains")
    looks_alive(target.pid)


PROC = """
import os, sys, time
kind = sys.argv[1]
kept = os.open("/proc/self" + kind, os.O_RDONLY | (os.O_PATH if sys.argv[2] else 0))
print("ready", flush=True)
time.sleep(1000)
"""


def proc_directories(case):
    """Open directories and files of /proc about a process, the target's own or another one's."""
    for i, (kind, by_path) in enumerate([("/fd", ""), ("/task", ""), ("", ""), ("/net", ""),
                                         ("/fdinfo", "path"), ("", "path"), ("/stat", "path"),
                                         ("/mem", ""), ("/mountinfo", "")]):
        log = f"target.{i}.log"
        target = case.start(["/usr/bin/python3", "-c", PROC, kind, by_path], log=log)
        until(lambda: "ready" in said_by(case, log), "the target is ready")
        refused_alike(case, target, "of /proc about a process cannot be opened again")


def inotify_unlinked(case):
    """A watch on a file that is gone but held open: refused, and never saved as a path of ours."""
    code = ("import ctypes, os, time\n"
            "libc = ctypes.CDLL(None)\n"
            "kept = os.open('watched', os.O_CREAT | os.O_RDWR)\n"
            "watch = libc.inotify_init1(os.O_NONBLOCK)\n"
            "libc.inotify_add_watch(watch, b'watched', 2)\n"
            "os.unlink('watched')\n"
            "print('ready', flush=True)\n"
            "time.sleep(1000)\n")
    target = case.start(["/usr/bin/python3", "-c", code], log="target.log", cwd=case.folder)
    until(lambda: "ready" in said_by(case, "target.log"), "the target is ready")
    refused_alike(case, target, "watched, which has been removed")


MAPPED = """
import mmap, os, sys, time
os.mkdir(sys.argv[1])
file = open(sys.argv[1] + "/mapped", "w+b")
file.truncate(32768)
kept = mmap.mmap(file.fileno(), 32768)
file.close()
kept[100] = 7
opened = open(sys.argv[1] + "/opened", "w+")
opened.write("some text")
opened.flush()
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(.01)
opened.seek(0)
print("goes on", kept[100], opened.read(), os.path.exists(sys.argv[1] + "/opened"), flush=True)
time.sleep(1000)
"""


def cleaned_tmp(case):
    """Small files below /tmp that are mapped or open and cleaned away after the kill: they come out
    of the image, under their names. Where they are still there they are used as they are."""
    if not case.folder.startswith("/tmp/"):
        raise Skipped("the cases' folders are not below /tmp")
    place = case.file("place")
    target = case.start(["/usr/bin/python3", "-c", MAPPED, place, case.file("go on")],
                        log="target.log")
    until(lambda: "ready" in said_by(case, "target.log"), "the target is ready")
    image = case.checkpoint_kill(target, target.pid)
    process = case.restart(image, "--no-restore-pid")
    pid = case.restarted_pid(process, "goes on")
    check(not said_by(case, os.path.basename(process.log)), "files in place are made again")
    os.kill(pid, signal.SIGKILL)
    process.wait(60)
    shutil.rmtree(place)
    process = case.restart(image, "--no-restore-pid", "-v")
    pid = case.restarted_pid(process, "goes on")
    check("mapped was gone and was made again from the context file" in
          said_by(case, os.path.basename(process.log)), "no word of it")
    open(case.file("go on"), "w").close()
    until(lambda: "goes on 7 some text True" in said_by(case, "target.log"),
          f"the target goes on with its files: {said_by(case, 'target.log')}")
    os.kill(pid, signal.SIGKILL)
    process.wait(60)
    check(read_bytes(place + "/mapped")[100:101] == b"\7", "the mapping is not that of the file")


def no_carry(case):
    """--no-carry: small files below /tmp are named only, so that a restart misses them."""
    if not case.folder.startswith("/tmp/"):
        raise Skipped("the cases' folders are not below /tmp")
    data = case.file("data")
    target = idle(case, data=data)
    image = case.checkpoint(target.pid, "--no-carry")
    target.kill()
    target.wait(60)
    os.unlink(data)
    done = case.commands.run("cr_restart", "--no-restore-pid", image, expect=2)
    check(f"({data})" in done.stderr, done.stderr)


TWO_NAMES = """
import os, sys, time
os.chdir(sys.argv[1])
os.mkfifo("a", 0o600)
os.link("a", "b")
kept = [os.open(name, os.O_RDWR) for name in "ab"]
print("ready", flush=True)
time.sleep(1000)
"""


def linked_fifo(case):
    """A fifo open under two names: what is left of them is used and linked, what is another thing
    by now is refused by name, before anything is made."""
    place = case.file("place")
    os.mkdir(place)
    target = case.start(["/usr/bin/python3", "-c", TWO_NAMES, place], log="target.log")
    until(lambda: "ready" in said_by(case, "target.log"), "the target is ready")
    image = case.checkpoint_kill(target, target.pid)
    a, b = os.path.join(place, "a"), os.path.join(place, "b")

    def restarted(names):
        process = case.restart(image, "--no-restore-pid")
        pid = case.restarted_pid(process, "kept = [os.open")
        links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
        check({a, b} <= set(links), f"open are {links}")
        one, other = os.stat(a), os.stat(b)
        check(one.st_ino == other.st_ino and one.st_nlink == 2, f"{names}: they are not one fifo")
        os.kill(pid, signal.SIGKILL)
        process.wait(60)

    def refused(why):
        before = sorted(os.listdir(place))
        done = case.commands.run("cr_restart", "--no-restore-pid", image, expect=None)
        check(done.returncode != 0 and why in done.stderr, f"not {why}: {done.stderr}")
        check(sorted(os.listdir(place)) == before, f"{os.listdir(place)}, not {before}")
    restarted("both are there")
    inode = os.stat(b).st_ino
    os.unlink(a)
    restarted("one is gone")
    check(os.stat(a).st_ino == inode, "the fifo that is left was not used")
    os.unlink(a)
    os.unlink(b)
    restarted("both are gone")
    os.unlink(b)
    os.mkfifo(b)
    refused(f"{a} and {b} were one fifo and are two things now")
    os.unlink(b)
    open(b, "w").close()
    os.unlink(a)
    refused(f"{b} was a fifo and is a regular file now")


TWO_FILES = """
import os, sys, time
os.chdir(sys.argv[1])
kept = [os.open("a", os.O_RDWR | os.O_CREAT, 0o600)]
os.write(kept[0], b"some text")
os.link("a", "b")
kept.append(os.open("b", os.O_RDWR))
print("ready", flush=True)
time.sleep(1000)
"""


def linked_file_cleaned(case):
    """A small file that is open under two names, of which one or both were cleaned away: it is one
    file again."""
    if not case.folder.startswith("/tmp/"):
        raise Skipped("the cases' folders are not below /tmp")
    place = case.file("place")
    os.mkdir(place)
    target = case.start(["/usr/bin/python3", "-c", TWO_FILES, place], log="target.log")
    until(lambda: "ready" in said_by(case, "target.log"), "the target is ready")
    image = case.checkpoint_kill(target, target.pid)
    a, b = os.path.join(place, "a"), os.path.join(place, "b")
    for gone in ([b], [a], [a, b]):
        inode = os.stat(b if gone == [a] else a).st_ino
        for name in gone:
            os.unlink(name)
        process = case.restart(image, "--no-restore-pid")
        pid = case.restarted_pid(process, "kept = [os.open")
        one, other = os.stat(a), os.stat(b)
        check(one.st_ino == other.st_ino and one.st_nlink == 2, f"without {gone}: two files")
        check(len(gone) == 2 or one.st_ino == inode, f"without {gone}: another file than before")
        check(read_bytes(a) == b"some text", f"without {gone}: {read_bytes(a)}")
        links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
        check({a, b} <= set(links), f"open are {links}")
        os.kill(pid, signal.SIGKILL)
        process.wait(60)


def fifo_without_permission(case):
    """A fifo that could not be opened again is refused by the checkpoint already."""
    if os.geteuid() == 0:
        raise Skipped("root may open every fifo")
    place = case.file("place")
    os.mkdir(place)
    target = case.start(["/usr/bin/python3", "-c", TWO_NAMES, place], log="target.log")
    until(lambda: "ready" in said_by(case, "target.log"), "the target is ready")
    os.chmod(os.path.join(place, "a"), 0)
    done = case.commands.run("cr_checkpoint", "-f", case.new_image(), target.pid, expect=95)
    check(f"cannot open both ends of {place}/a: Permission denied" in done.stderr, done.stderr)


def directory_gone(case):
    """The working directory is gone: told before a process is made."""
    place = case.file("place")
    os.mkdir(place)
    target = case.start(["/bin/sleep", "1000"], cwd=place)
    image = case.checkpoint_kill(target, target.pid)
    os.rmdir(place)
    done = case.commands.run("cr_restart", image, expect=2)
    check(f"the working directory {place} of process {target.pid}" in done.stderr, done.stderr)
    check("cannot be restarted here" in done.stderr, done.stderr)


def no_check_restart(case):
    """What could not be restarted here is refused; --no-check-restart saves it, and -v says why."""
    if os.geteuid() == 0:
        raise Skipped("root may write every file")
    data = case.file("data")
    target = idle(case, data=data)
    os.chmod(data, 0o400)  # it is open for writing and could not be opened so again
    refused_alike(case, target, f"cannot open {data}: Permission denied")
    image = case.new_image()
    done = case.commands.run("cr_checkpoint", "-f", image, target.pid, expect=95)
    check("--no-check-restart" in done.stderr, done.stderr)
    done = case.commands.run("cr_checkpoint", "-v", "--no-check-restart", "-f", image, target.pid)
    check("could not be restarted here and now" in done.stderr, done.stderr)
    check(os.path.exists(image), "no file")
    os.chmod(data, 0o600)


TAKEN = """
import mmap, os, sys, time
what = sys.argv[1]
if what == "directory":
    os.mkdir(what)
    kept = os.open(what, os.O_RDONLY)
else:
    kept = os.open(what, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(kept, 4096)
    mapped = mmap.mmap(kept, 4096, prot=mmap.PROT_READ | (what == "written" and mmap.PROT_WRITE))
    os.closerange(3, 64)
os.chmod(what, 0o444 if what != "directory" else 0)
print("ready", flush=True)
time.sleep(1000)
"""


def permissions_taken(case):
    """What is open or mapped and could not be opened so again, as its permissions are others by
    now: refused before anything is killed, and when it is allowed again, saved and restarted."""
    if os.geteuid() == 0:
        raise Skipped("root may open every file")
    for what in ("directory", "written", "shared"):
        target = case.start(["/usr/bin/python3", "-c", TAKEN, what], log=f"target.{what}.log",
                            cwd=case.folder)
        until(lambda: "ready" in said_by(case, f"target.{what}.log"), "the target is ready")
        try:
            refused_alike(case, target, f"cannot open {case.file(what)}: Permission denied")
        finally:
            os.chmod(case.file(what), 0o700)
        image = case.checkpoint_kill(target, target.pid)
        process = case.restart(image, "--no-restore-pid")
        os.kill(case.restarted_pid(process, "closerange"), signal.SIGKILL)
        process.wait(60)


def program_not_executable(case):
    """A program that lost its permission to be executed: both commands tell that /proc/PID/exe will
    be another one."""
    if os.geteuid() == 0:
        raise Skipped("root's rights are not an ordinary user's")
    program = case.file("program")
    shutil.copy("/bin/sleep", program)
    target = case.start([program, "1000"])
    until(lambda: os.readlink(f"/proc/{target.pid}/exe") == program, "it runs")
    os.chmod(program, 0o600)
    image = case.new_image()
    done = case.commands.run("cr_checkpoint", "-v", "--kill", "-f", image, target.pid)
    check(f"its program {program} may not be read and executed" in done.stderr, done.stderr)
    target.wait(60)
    process = case.restart(image, "--no-restore-pid", "-v")
    os.kill(case.restarted_pid(process, program), signal.SIGKILL)
    process.wait(60)
    said = said_by(case, os.path.basename(process.log))
    check("/proc/PID/exe of process" in said, said)


def soft_limits(case):
    """cr_restart's own soft limits are no obstacle: the program has its own at the end."""
    code = ("import ctypes, mmap, time\n"
            "kept = mmap.mmap(-1, 65536)\n"
            "at = ctypes.addressof(ctypes.c_char.from_buffer(kept))\n"
            "print('locked', ctypes.CDLL(None).mlock(ctypes.c_void_p(at), 65536), flush=True)\n"
            "time.sleep(1000)\n")
    target = case.start(["/usr/bin/python3", "-c", code], log="target.log")
    until(lambda: "locked" in said_by(case, "target.log"), "the target is ready")
    if "locked 0" not in said_by(case, "target.log"):
        raise Skipped("memory cannot be locked here")
    image = case.checkpoint_kill(target, target.pid)

    def lower():
        resource.setrlimit(resource.RLIMIT_MEMLOCK,
                           (4096, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]))
    process = case.restart(image, "--no-restore-pid", preexec_fn=lower)
    pid = case.restarted_pid(process, "kept = mmap")
    check(status_field(pid, "VmLck").split()[0] == "64", status_field(pid, "VmLck"))


def few_descriptors_to_restart(case):
    """A limit on open files that is too low: it is named, not the permissions of files."""
    target = idle(case)
    image = case.checkpoint_kill(target, target.pid)

    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))
    done = case.commands.run("cr_restart", "--no-restore-pid", image, expect=None, preexec_fn=lower)
    check(done.returncode != 0 and "Too many open files" in done.stderr, f"{done.returncode}: {done.stderr}")
    check("ulimit -n" in done.stderr and "check the permissions" not in done.stderr, done.stderr)


RESTARTABLE_CASES = [few_descriptors_to_restart, cleaned_tmp, no_carry, linked_fifo, linked_file_cleaned,
                     fifo_without_permission, directory_gone,
                     inotify_unlinked, no_check_restart, permissions_taken, proc_directories,
                     program_not_executable, soft_limits, thread_after_restart, pipeline_member]
