#!/usr/bin/python3
"""What has changed between checkpoint and restart: files mapped or open, the executable, the context
file itself. Each is refused with a sentence that names it, before any process exists; and whole images
still restart afterwards.

  changes.py --build BUILD [--list] [PATTERN]..."""

import argparse
import fnmatch
import os
import random
import shlex
import shutil
import sys
import tempfile

from harness import Commands, Failed, Report, children, read, read_bytes, until
from run import Fixture


def fixture(case, name):
    return Fixture(case, os.path.join(case.commands.build, "tests/fixtures", name))


def exists(pid):
    return os.path.exists(f"/proc/{pid}")


def refused(case, image, *words, options=()):
    """cr_restart refuses the image, says these words, and no process comes of it."""
    done = case.commands.run("cr_restart", *options, image, expect=None)
    if done.returncode == 0:
        raise Failed("cr_restart exits 0")
    for word in words:
        if word not in done.stderr:
            raise Failed(f"refused without the words '{word}': {done.stderr}")
    return done


def mapped_file_changed(case):
    job = fixture(case, "mem_private_file")
    image = job.checkpoint_kill()
    data = bytearray(read_bytes(job.file("data")))
    kept = job.file("data.kept")
    os.rename(job.file("data"), kept)
    with open(job.file("data"), "wb") as file:
        file.write(data[:-1])
    refused(case, image, job.file("data"), "changed")
    os.unlink(job.file("data"))
    refused(case, image, job.file("data"))
    if exists(job.pid):
        raise Failed("a process is left after the refusal")
    os.rename(kept, job.file("data"))
    job.restart(image)
    job.go()


def executable_changed(case):
    """A program that was updated meanwhile (another build-id) is not mixed with the saved one."""
    own = case.file("program")
    shutil.copy(os.path.join(case.commands.build, "tests/fixtures/process_brk"), own)
    job = Fixture(case, own)
    image = job.checkpoint_kill()
    os.rename(own, own + ".kept")
    shutil.copy(os.path.join(case.commands.build, "tests/fixtures/mem_private"), own)
    refused(case, image, own)
    os.unlink(own)
    refused(case, image, own)
    os.rename(own + ".kept", own)
    job.restart(image)
    job.go()


def open_file_gone(case):
    job = fixture(case, "fd_regular")
    image = job.checkpoint_kill()
    os.rename(job.file("a"), job.file("elsewhere"))
    os.rename(job.file("b"), job.file("b.kept"))
    refused(case, image, job.file("a"), job.file("b"))  # both at once
    os.mkdir(job.file("b"))
    refused(case, image, job.file("b"))
    os.rmdir(job.file("b"))
    os.rename(job.file("b.kept"), job.file("b"))
    os.rename(job.file("elsewhere"), job.file("a"))
    job.restart(image)
    job.go()


def relocated(case):
    """A file has moved; --relocate says where to."""
    job = fixture(case, "fd_regular")
    image = job.checkpoint_kill()
    moved = case.file("moved")
    os.rename(job.file("a"), moved)
    refused(case, image, job.file("a"))
    job.restart(image, "--relocate", f"{job.file('a')}={moved}")
    job.go()


def damaged_image(case):
    """Truncations and single changed bytes: an error, never a process, a crash or a hang."""
    job = fixture(case, "process_brk")
    image = job.checkpoint_kill()
    whole = read_bytes(image)
    generator = random.Random(7)
    os.chmod(image, 0o600)
    lengths = [0, 1, 15, len(whole) // 2, len(whole) - 1]
    lengths += [generator.randrange(len(whole)) for _ in range(10)]
    damaged = [whole[:length] for length in lengths]
    for _ in range(25):
        at = generator.randrange(len(whole))
        damaged.append(whole[:at] + bytes([whole[at] ^ (1 << generator.randrange(8))])
                       + whole[at + 1:])
    broken = case.file("broken")
    for content in damaged:
        with open(broken, "wb") as file:
            file.write(content)
        for command in ("cr_restart", "cr_info"):
            options = ["--verify"] if command == "cr_info" else []
            done = case.commands.run(command, *options, broken, expect=None)
            if done.returncode <= 0 or not done.stderr.strip():
                raise Failed(f"{command} of a damaged image ends with {done.returncode}, "
                             f"says: {done.stderr}")
    if exists(job.pid) or children(os.getpid()) and any(
            "process_brk" in read(f"/proc/{pid}/comm") for pid in children(os.getpid())):
        raise Failed("a process came of a damaged image")
    job.restart(image)
    job.go()


def copies_at_once(case):
    """Three copies of one image run at the same time, with new pids."""
    job = fixture(case, "process_clocks")
    image = job.checkpoint_kill()
    restarts = [case.restart(image, "--no-restore-pid") for _ in range(3)]
    pids = [case.restarted_pid(restart, job.folder) for restart in restarts]
    if len(set(pids)) != 3:
        raise Failed(f"the copies have the pids {pids}")

    def all_ended():
        # Whichever copy waits at the gate takes the word; each checks itself and ends. A word is lost when
        # a copy that has one already still holds the gate: hence again and again.
        try:
            gate = os.open(job.file("gate"), os.O_WRONLY | os.O_NONBLOCK)
            os.write(gate, b"go newpid")
            os.close(gate)
        except OSError:
            pass
        return all(restart.poll() is not None for restart in restarts)
    until(all_ended, "the end of three copies")
    for restart in restarts:
        if restart.returncode:
            raise Failed(f"a copy ends with {restart.returncode}: {job.status()}")


CASES = [mapped_file_changed, executable_changed, open_file_gone, relocated, damaged_image,
         copies_at_once]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    cases = [(f"changes {body.__name__}", body) for body in CASES if not options.patterns
             or any(fnmatch.fnmatch(body.__name__, pattern) for pattern in options.patterns)]
    if options.list:
        print("\n".join(name for name, _ in cases))
        return 0

    def again(case):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, case.split()[1]])
    # Not below /tmp: small files there are carried, and made again when they are gone.
    work = options.work or tempfile.mkdtemp(prefix="stasis-e2e-", dir="/var/tmp")
    return Report(Commands(options.build), again, work, options.jobs).run(cases)


if __name__ == "__main__":
    sys.exit(main())
