"""Cases of cli_test.py: cr_run and cr_info."""

import json
import os
import re

from cli_targets import check, idle
from harness import read, until


def run_becomes_the_program(case):
    done = case.commands.run("cr_run", "--", "/bin/sh", "-c", "echo $0 $1; exit 3", "-a", "--help",
                             expect=3)
    check(done.stdout == "-a --help\n" and done.stderr == "", f"{done.stdout!r} {done.stderr!r}")
    done = case.commands.run("cr_run", case.file("none"), expect=127)
    check(done.stderr == f"cr_run: cannot run {case.file('none')}: No such file or directory\n",
          done.stderr)
    case.commands.run("cr_run", case.folder, expect=126)


def run_preloads(case):
    """Earlier entries of our libraries go, others stay."""
    environment = dict(os.environ, LD_PRELOAD="/none/libcr_omit.so.0 libcr_run.so.0")
    done = case.commands.run("cr_run", "/bin/sh", "-c", "echo [$LD_PRELOAD]", env=environment)
    check(done.stdout in ("[]\n", "[libcr_run.so.0]\n"), done.stdout)


def run_can_be_saved(case):
    process = case.start([case.commands.path("cr_run"), "/bin/sleep", "1000"])
    until(lambda: read(f"/proc/{process.pid}/comm") == "sleep\n", "cr_run has become sleep")
    case.checkpoint(process.pid)


def info_views(case):
    target = idle(case)
    image = case.checkpoint(target.pid)
    text = case.commands.run("cr_info", image).stdout
    check(str(target.pid) in text and "python3" in text, f"--text: {text[:300]}")
    model = json.loads(case.commands.run("cr_info", "--json", "--verify", image).stdout)
    check(model["processes"][0]["pid"] == target.pid, "--json: another pid")
    stacks = case.commands.run("cr_info", "--backtrace", image)
    check(re.search(r"#0 .*(nanosleep|select)", stacks.stdout), f"--backtrace: {stacks.stdout}")
    check(re.search(r"#\d+ .*_start\+", stacks.stdout), f"not to its outermost: {stacks.stdout}")
    checked = case.commands.run("cr_info", "--verify", image)
    check("every checksum is right" in checked.stdout, checked.stdout)


def info_bad_files(case):
    target = idle(case, megabytes=1)
    image = case.checkpoint(target.pid)
    whole = open(image, "rb").read()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x10
    for name, content, code in (("damaged", damaged, 5), ("cut", whole[:-9], 5), ("empty", b"", 5),
                                ("foreign", b"hello" * 1000, 22)):
        path = case.file(name)
        with open(path, "wb") as file:
            file.write(content)
        done = case.commands.run("cr_info", "--verify", path, expect=code)
        check(done.stdout == "" and done.stderr.startswith(f"cr_info: {path}: "),
              f"{name}: {done.stdout!r} {done.stderr!r}")
    case.commands.run("cr_info", case.file("none"), expect=2)
    case.commands.run("cr_info", case.folder, expect=21)


RUN_CASES = [run_becomes_the_program, run_preloads, run_can_be_saved]
INFO_CASES = [info_views, info_bad_files]
