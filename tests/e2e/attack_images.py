"""Whose image it is, though root owns its file: another process may write it still, or its file
system says whatever somebody wants."""

import os
import shlex
import subprocess

from attack_jobs import Job
from cli_targets import check

ADVICE = "install -o root -m 400"


def image_open_for_writing(case):
    """root owns the image now, but its user has it open: he could write another one into it."""
    job = Job(case)
    job.refused(job.forged("uids=0", "gids=0"), ADVICE)
    image = job.forged("uids=0", "gids=0")
    kept = os.open(image, os.O_RDWR)
    os.chown(image, 0, 0)
    job.refused(image, "open for writing", ADVICE)
    os.link(image, job.path("second"))
    job.refused(job.path("second"), "open for writing")
    os.close(kept)
    copy = case.file("copy")
    subprocess.run(["install", "-o", "root", "-m", "400", job.image, copy], check=True, timeout=60)
    os.link(copy, case.file("second"))  # does not matter
    job.restarted(copy)


def image_on_nosuid(case):
    """What root owns on a file system mounted nosuid (a stick, FUSE) need not be root's word."""
    job = Job(case)
    stick = case.file("stick")
    os.mkdir(stick)
    for name, changes in (("root", ["uids=0", "gids=0", "capabilities=0x2"]),
                          ("able", ["capabilities=0x2"])):
        os.rename(job.forged(*changes, owner=0), f"{stick}/{name}")
        script = (f"mount --bind {shlex.quote(stick)} {shlex.quote(stick)} && "
                  f"mount -o remount,bind,nosuid {shlex.quote(stick)} && "
                  f"exec {shlex.quote(case.commands.path('cr_restart'))} {shlex.quote(stick)}/{name}")
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True,
                              timeout=60, stdin=subprocess.DEVNULL, cwd="/")
        words = ["nosuid", ADVICE] if name == "root" else ["capabilities"]
        check(done.returncode == 1, f"{name}: cr_restart exits {done.returncode}: {done.stderr}")
        check(all(each in done.stderr for each in words), done.stderr)


CASES = [image_open_for_writing, image_on_nosuid]
