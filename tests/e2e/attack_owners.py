"""Who owns what a restart has made again: descriptors that allow less than the owner may do, and
what else of root's a user's program could inherit."""

import ctypes
import os
import signal
import subprocess
import tempfile

from attack_jobs import ALICE, as_user, log_of
from cli_targets import check
from harness import Skipped, children, read, until

# What ALICE can do with the descriptors NAME=NUMBER, a line each, whenever she gets SIGUSR1.
PROBE = """
import os, signal, sys, time

def attempt(do):
    try:
        return do() or "yes"
    except OSError as error:
        return error.strerror.replace(" ", "-")

def opened(path, flags):
    file = os.open(path, flags | os.O_NONBLOCK)
    found = os.read(file, 40) if flags == os.O_RDONLY and os.fstat(file).st_size else b""
    os.close(file)
    return found.decode()

def probe(*_):
    for name, number in held.items():
        path, status = f"/proc/self/fd/{number}", os.fstat(number)
        print(name, status.st_uid, status.st_gid, oct(status.st_mode),
              attempt(lambda: os.chmod(path, status.st_mode & 0o7777)),
              attempt(lambda: opened(path, os.O_RDONLY)), attempt(lambda: opened(path, os.O_WRONLY)))
    print("done", flush=True)

def live():
    signal.signal(signal.SIGUSR1, probe)
    print("ready", flush=True)
    while True:
        time.sleep(1000)
"""

ALONE = PROBE + """
held = {name: int(number) for name, number in (each.split("=") for each in sys.argv[2:])}
live()
"""

# root's server: what it keeps, and what its worker, ALICE, gets of it.
SERVER = PROBE + """
import ctypes
def removed(name):
    file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(file, b"precious")
    return file
os.chdir(sys.argv[2])
state, log, mem = removed("state"), removed("log"), os.memfd_create("state", 0)
os.fchmod(mem, 0o600)
os.write(mem, b"precious")
reader, writer = os.pipe()
held = {"read-only": os.open("state", os.O_RDONLY), "path": os.open("state", os.O_PATH),
        "write-only": os.open("log", os.O_WRONLY | os.O_APPEND),
        "memfd": os.open(f"/proc/self/fd/{mem}", os.O_RDONLY), "pipe": reader}
os.unlink("state")
os.unlink("log")
if os.fork() == 0:
    for each in (state, log, mem, writer):
        os.close(each)
    os.setgroups([])
    os.setresgid(1001, 1001, 1001)
    os.setresuid(1001, 1001, 1001)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, to look at its own descriptors
    live()
while True:
    time.sleep(1000)
"""


def only_root():
    if os.geteuid() != 0:
        raise Skipped("only root can play several users")


def answer(case, pid):
    """What the probe says now."""
    before = read(case.file("program.log"))
    os.kill(pid, signal.SIGUSR1)
    until(lambda: read(case.file("program.log"))[len(before):].endswith("done\n"), "it has looked")
    return read(case.file("program.log"))[len(before):]


def saved(case, program, options=()):
    image = case.file("image")
    case.commands.run("cr_checkpoint", *options, "--kill", "-f", image, program.pid)
    program.wait(30)
    return image


def workers_descriptors(case):
    """A worker's descriptors of root's removed files, memfds and pipes do not become its own."""
    only_root()
    os.chmod(case.folder, 0o755)
    for folder in ("/run", case.folder):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            os.chmod(place, 0o755)
            program = case.start(["/usr/bin/python3", "-c", SERVER, case.name, place],
                                 log=log_of(case, ALICE), cwd="/")
            until(lambda: "ready" in read(case.file("program.log")), "the program is ready")
            first = answer(case, children(program.pid)[0])
            image = saved(case, program)
            restart = case.restart(image)
            pid = case.restarted_pid(restart, case.name)
            now = answer(case, until(lambda: children(pid), "the worker is there")[0])
            check(now == first, f"before:\n{first}after:\n{now}")
            os.kill(pid, signal.SIGKILL)
            restart.wait(30)
            os.unlink(image)


def holder(case, **held):
    program = case.start([*as_user(ALICE), "/usr/bin/python3", "-c", ALONE, case.name,
                          *(f"{name}={number}" for name, number in held.items())],
                         log=log_of(case, ALICE), cwd="/", pass_fds=held.values())
    until(lambda: "ready" in read(case.file("program.log")), "the program is ready")
    for each in held.values():
        os.close(each)
    return program


def roots_file(path):
    with open(path, "w", encoding="ascii") as file:
        file.write("precious")
    os.chmod(path, 0o600)
    return path


def deleted_file_of_roots(case):
    """A user's program holds root's removed file without the right to read it."""
    only_root()
    os.chmod(case.folder, 0o755)
    path, log = roots_file(case.file("secret")), roots_file(case.file("log"))
    program = holder(case, path=os.open(path, os.O_PATH), write=os.open(log, os.O_WRONLY))
    os.unlink(path)
    os.unlink(log)
    first = answer(case, program.pid)
    image = saved(case, program)
    restart = case.restart(image)
    now = answer(case, case.restarted_pid(restart, case.name))
    check(now == first, f"before:\n{first}after:\n{now}")


def contents_behind_a_name(case):
    """Nobody's contents are saved for an O_PATH descriptor, for which no right is asked."""
    only_root()
    os.chmod(case.folder, 0o755)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        os.chmod(place, 0o755)
        kept, gone = roots_file(f"{place}/kept"), roots_file(f"{place}/gone")
        memory = os.memfd_create("state", 0)
        os.fchmod(memory, 0o600)
        os.write(memory, b"precious")
        program = holder(case, kept=os.open(kept, os.O_PATH), gone=os.open(gone, os.O_PATH),
                         memory=os.open(f"/proc/self/fd/{memory}", os.O_PATH))
        os.close(memory)
        os.unlink(gone)
        image = saved(case, program, ["--compress", "none"])
        with open(image, "rb") as file:
            check(b"precious" not in file.read(), "the image has what root's file holds")
        os.unlink(kept)
        done = case.commands.run("cr_restart", image, expect=None, cwd="/")
        check(done.returncode > 0 and "No such file" in done.stderr, f"{done.returncode} {done.stderr}")
        check(os.listdir(place) == [], "root's file was made again")


KEYCTL, ADD_KEY, SESSION = 250, 248, -3
LIBC = ctypes.CDLL(None, use_errno=True)

KEY_PROBE = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def probe(*_):
    found = libc.syscall(250, 10, -3, b"user", b"stasis-root", 0)
    print("found" if found > 0 else "nothing", os.getuid(), flush=True)
signal.signal(signal.SIGUSR1, probe)
if sys.argv[2] == "worker" and os.fork() == 0:
    os.setgroups([])
    os.setresgid(1001, 1001, 1001)
    os.setresuid(1001, 1001, 1001)
print("ready", flush=True)
while True:
    time.sleep(1000)
"""


def take_key():
    """A session keyring, of a process before its exec, that holds a key of root's."""
    LIBC.syscall(KEYCTL, 1, b"stasis-attack")
    LIBC.syscall(ADD_KEY, b"user", b"stasis-root", b"precious", 8, SESSION)


def session_keyring(case):
    """Keys of who restarts are not the user's: of his image, of root's, of a worker's."""
    only_root()
    if os.uname().machine != "x86_64" or LIBC.syscall(KEYCTL, 0, SESSION, 0) < 0:
        raise Skipped("no keyrings here, or other numbers of system calls")
    os.chmod(case.folder, 0o755)
    for saver, kind in ((ALICE, "user"), (0, "user"), (0, "worker")):
        user = as_user(ALICE) if kind == "user" else []
        program = case.start([*user, "/usr/bin/python3", "-c", KEY_PROBE, case.name, kind],
                             log=log_of(case, ALICE), cwd="/")
        until(lambda: read(case.file("program.log")).count("ready") == (1 if user else 2), "ready")
        folder = case.file(f"{saver}.{kind}")
        os.mkdir(folder)
        os.chown(folder, saver, saver)
        command = [case.commands.path("cr_checkpoint"), "--kill", "-f", f"{folder}/image",
                   str(program.pid)]
        subprocess.run([*(as_user(saver) if saver else []), *command], check=True, timeout=60)
        program.wait(30)
        restart = case.restart(f"{folder}/image", cwd="/", preexec_fn=take_key)
        pid = case.restarted_pid(restart, case.name)
        if kind == "worker":
            pid = until(lambda: children(pid), "the worker is there")[0]
        os.kill(pid, signal.SIGUSR1)
        said = until(lambda: read(case.file("program.log")).split("ready\n")[-1], "it has looked")
        check(said == f"nothing {ALICE}\n", f"saved by {saver}, {kind}: {said}")
        os.kill(pid, signal.SIGKILL)
        restart.kill()
        restart.wait(30)


CASES = [workers_descriptors, deleted_file_of_roots, contents_behind_a_name, session_keyring]
