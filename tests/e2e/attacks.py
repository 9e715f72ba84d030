#!/usr/bin/python3
"""What a user tries who wants more than he has: forged images that root restarts, paths that lead
elsewhere by now, things planted where an image is to be written. Runs as root and plays the users
1001 and 1002. docs/security.md says what each case shows.

usage: attacks.py --build FOLDER [PATTERN...]
"""

import argparse
import fnmatch
import os
import re
import shlex
import signal
import stat
import subprocess
import sys

import attack_images
import attack_owners
import attack_servers
from attack_jobs import ALICE, BOB, Job, as_user, has_rights_of
from cli_targets import check
from harness import Commands, Report, Skipped, read, until

def users_own(case):
    """Root restarts what a user saved: every thread has his rights, every thing is his."""
    job = Job(case)
    _, pid = job.restarted(job.image)
    has_rights_of(pid, ALICE)
    for number in (job.gone, job.fifo):
        check(os.stat(f"/proc/{pid}/fd/{number}").st_uid == ALICE, f"descriptor {number} is not his")
    check(os.readlink(f"/proc/{pid}/cwd") == job.home, "another working directory")


def forged_ids(case):
    """An image of a user's with other ids, groups, capabilities, or none at all is refused."""
    job = Job(case)
    for changes in (["uids=0"], ["uids=0", "gids=0"], [f"uids={BOB}"], ["gids=0"], ["groups=0"],
                    ["groups=42"], ["gids=6"], ["capabilities=0x1ffffffffff"], ["securebits=1"],
                    ["no-ids"]):
        done = job.refused(job.forged(*changes), "process")
        check(f"{job.program.pid}" in done.stderr, f"{changes}: {done.stderr}")


def no_ids_for_nobody(case):
    """Nor does its own user restart an image without ids."""
    job = Job(case)
    image = job.forged("no-ids")
    done = subprocess.run([*as_user(ALICE), case.commands.path("cr_restart"), image],
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    check(done.returncode == 1 and "with which user" in done.stderr, done.stderr)


def strangers_image(case):
    """An image of another user's, or one that others may write, is worth nothing to root."""
    job = Job(case)
    job.refused(job.forged(owner=BOB), f"user {BOB}'s")
    image = job.forged(owner=0)
    os.chmod(image, 0o666)
    job.refused(image, "others than its owner may write it")
    os.chmod(image, 0o600)
    _, pid = job.restarted(image)
    has_rights_of(pid, ALICE)


def out_of_a_pipe(case):
    """What root pipes in has no owner: root's own ids, or none."""
    job = Job(case)
    for source, words in ((job.image, "pipe"), (job.forged(f"uids={BOB}"), "pipe")):
        with subprocess.Popen(["cat", source], stdout=subprocess.PIPE) as cat:
            done = subprocess.run([case.commands.path("cr_restart"), "-F", "0"], stdin=cat.stdout,
                                  capture_output=True, text=True, timeout=60)
        check(done.returncode == 1 and words in done.stderr, f"{done.returncode}: {done.stderr}")


def deleted_set_id_file(case):
    """A deleted file comes back with set-id bits only for the user whose it was."""
    job = Job(case)
    path = job.path("gone")
    for changes, bits in (([f"mode={path}:0104755", f"owner={path}:0"], 0),
                          ([f"mode={path}:0106755", f"owner={path}:{BOB}"], 0),
                          ([f"mode={path}:0104755", f"owner={path}:0xffffffff"], 0),
                          ([f"mode={path}:0104755", f"owner={path}:{ALICE}"], stat.S_ISUID)):
        restart, pid = job.restarted(job.forged(*changes))
        found = os.stat(f"/proc/{pid}/fd/{job.gone}")
        check(found.st_uid == ALICE, f"{changes}: the file is user {found.st_uid}'s")
        check(found.st_mode & 0o6000 == bits, f"{changes}: mode {found.st_mode:o}")
        os.kill(pid, signal.SIGKILL)
        restart.wait(30)


def link_in_place_of_file(case):
    """A link to a file of root's at a saved path: neither opened nor cut."""
    job = Job(case)
    secret = case.file("secret")
    with open(secret, "w") as file:
        file.write("precious" * 100)
    os.chmod(secret, 0o600)
    for name in ("data", "fifo"):
        os.unlink(job.path(name))
        os.symlink(secret, job.path(name))
        job.refused(job.image)
        check(read(secret) == "precious" * 100, "root's file was changed")
        check(os.stat(secret).st_mode & 0o7777 == 0o600, "root's file has other permissions")
        os.unlink(job.path(name))
        if name == "data":
            with open(job.path(name), "w") as file:
                file.write("a line\n")
            os.chown(job.path(name), ALICE, ALICE)


def forged_paths(case):
    """Paths that only root may use: files of root's, of the kernel, working directories."""
    job = Job(case)
    hidden = case.file("hidden")
    os.mkdir(hidden, 0o700)
    with open(f"{hidden}/file", "w") as file:
        file.write("precious")
    for path in (f"{hidden}/file", "/proc/sys/kernel/core_pattern", "/proc/1/environ"):
        job.refused(job.forged(f"path={job.path('data')}:{path}"))
    check(read(f"{hidden}/file") == "precious", "root's file was changed")
    job.refused(job.forged(f"path={job.path('fifo')}:{hidden}/fifo"))
    check(os.listdir(hidden) == ["file"], "something was made where only root may")
    job.refused(job.forged(f"cwd={hidden}"), "working directory")
    job.refused(job.forged("cwd=/root/none"), "working directory")


def missing_fifo(case):
    """A fifo that is gone is made again as its user's, also under a name that is a link."""
    job = Job(case)
    os.unlink(job.path("fifo"))
    _, pid = job.restarted(job.image)
    found = os.stat(job.path("fifo"))
    check(found.st_uid == ALICE and stat.S_ISFIFO(found.st_mode), f"owner {found.st_uid}")
    check(os.stat(f"/proc/{pid}/fd/{job.fifo}").st_ino == found.st_ino, "it is another fifo")


def made_in_roots_folder(case):
    """A carried file whose folder is root's is made elsewhere, with the user's rights."""
    job = Job(case)
    hidden = case.file("hidden")
    os.mkdir(hidden, 0o700)
    _, pid = job.restarted(job.forged(f"path={job.path('gone')}:{hidden}/gone"))
    check(os.stat(f"/proc/{pid}/fd/{job.gone}").st_uid == ALICE, "it is not his")
    check(not os.readlink(f"/proc/{pid}/fd/{job.gone}").startswith(hidden), "made in root's folder")


def signals_to_others(case):
    """A descriptor's owner is set with the user's rights: his signals reach nobody else."""
    job = Job(case)
    victim = case.start(["sleep", "1000"])
    _, pid = job.restarted(job.forged(f"sigio={victim.pid}"))
    os.kill(pid, signal.SIGUSR1)
    until(lambda: "sent" in read(case.file("program.log")), "it has written")
    check(victim.poll() is None, "a process of root's was killed by a user's descriptor")


def privileges(case):
    """Limits, priorities and timers that only root can give."""
    job = Job(case)
    hard = 1 << 40
    for change, words in ((f"limit=7:{hard}", "hard limit of open files"), ("nice=-10", "nice -10"),
                          ("fifo-priority=10", "real-time priority"),
                          ("io-priority=8196", "real-time I/O priority"),
                          ("alarm-clock", "may wake the machine")):
        job.refused(job.forged(change), words)
    _, pid = job.restarted(job.forged("oom=-900"))
    check(int(read(f"/proc/{pid}/oom_score_adj")) > -900, "spared by the OOM killer")


def other_users_image(case):
    """An ordinary user restarts whatever he can read, with his own rights only, and is told."""
    job = Job(case)
    image = job.forged()
    os.chmod(image, 0o444)
    done = subprocess.run([*as_user(BOB), case.commands.path("cr_restart"), "-v", image],
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    check(done.returncode != 0 and "user ids" in done.stderr, done.stderr)


def planted_destinations(case):
    """A stranger's fifo, link or temporary name where root saves to in a folder like /tmp."""
    if os.geteuid() != 0:
        raise Skipped("only root can play several users")
    target = case.start(["sleep", "1000"])
    folder = case.file("tmp")
    os.mkdir(folder)
    os.chmod(folder, 0o1777)
    name = f"{folder}/context.{target.pid}"

    os.mkfifo(name)
    os.chown(name, ALICE, ALICE)
    reader = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    done = case.commands.run("cr_checkpoint", "-d", folder, target.pid, expect=1)
    check(f"user {ALICE}" in done.stderr, done.stderr)
    check(os.read(reader, 1) == b"", "the image went into a stranger's fifo")
    os.close(reader)
    os.unlink(name)

    secret = case.file("secret")
    with open(secret, "w") as file:
        file.write("precious")
    for policy in ("--atomic", "--backup", "--clobber"):
        os.symlink(secret, name)
        os.lchown(name, ALICE, ALICE)
        done = case.commands.run("cr_checkpoint", policy, "-d", folder, target.pid, expect=None)
        check(read(secret) == "precious", f"{policy}: written through a link")
        for each in os.listdir(folder):
            os.unlink(os.path.join(folder, each))

    os.mkdir(f"{folder}/.context.{target.pid}.tmp")
    case.commands.run("cr_checkpoint", "-d", folder, target.pid)
    check(os.stat(name).st_uid == 0, "no image")
    os.rmdir(f"{folder}/.context.{target.pid}.tmp")

    os.unlink(name)
    os.link(secret, name)
    case.commands.run("cr_checkpoint", "--clobber", "-d", folder, target.pid)
    check(read(secret) == "precious", "written through a second name")
    check(re.fullmatch(rf"context\.{target.pid}", " ".join(os.listdir(folder))), os.listdir(folder))


def set_user_id_command(case):
    """cr_restart with set-id bits lends nobody its owner's rights."""
    job = Job(case)
    command = case.file("cr_restart")
    with open(case.commands.path("cr_restart"), "rb") as source, open(command, "wb") as copy:
        copy.write(source.read())
    os.chmod(command, 0o4755)
    done = subprocess.run([*as_user(ALICE), command, job.image], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL)
    if "error while loading" in done.stderr:
        raise Skipped("a set-id program does not find its libraries here")
    check(done.returncode == 1 and "set-id bit" in done.stderr, f"{done.returncode} {done.stderr}")


CASES = [users_own, forged_ids, no_ids_for_nobody, strangers_image, out_of_a_pipe,
         deleted_set_id_file, link_in_place_of_file, forged_paths, missing_fifo,
         made_in_roots_folder, signals_to_others, privileges, other_users_image,
         planted_destinations, set_user_id_command,
         *attack_servers.CASES, *attack_images.CASES, *attack_owners.CASES]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--work", help="folder for the cases' folders")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    cases = [(body.__name__, body) for body in CASES
             if not options.patterns
             or any(fnmatch.fnmatch(body.__name__, pattern) for pattern in options.patterns)]

    def again(case):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, case])
    report = Report(Commands(options.build), again, options.work)
    os.chmod(report.work, 0o755)  # the users' homes are in there
    return report.run(cases)


if __name__ == "__main__":
    sys.exit(main())
