"""Cases of cli_test.py: too little memory, and files that are not what they are called.

With any limit on memory a command either does what it is for or says in words that there was not
enough: no signal, no abort, no file left behind, and the program runs on."""

import os
import subprocess

from cli_targets import check, idle, looks_alive

NOT_STARTED = 127  # the dynamic linker's: there was no room for the libraries
LIMITS_KIB = [9000, 10000, 10500, 11000, 11300, 11600, 12000, 12500, 13000, 14000, 16000, 20000, 27000, 36000,
              45000, 60000, 100000]


def with_limit(case, kib, *line):
    """The command under a soft limit, which the program to be restarted does not get to see."""
    limited = ["/bin/sh", "-c", f'ulimit -S -v {kib}; exec "$@"', "sh", case.commands.path(line[0])]
    done = subprocess.run([*limited, *map(str, line[1:])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    check(done.returncode >= 0 and done.returncode < 128, f"{line} with {kib} KiB: {done.returncode}: {done.stdout}")
    check("terminate called" not in done.stdout, done.stdout)
    if done.returncode == 12:
        words = ("out of memory", "Cannot allocate memory")
        check(any(text in done.stdout for text in words), f"{line} with {kib} KiB: {done.stdout!r}")
    return done.returncode


def little_memory_to_save(case):
    target = idle(case, megabytes=12)
    folder = case.file("images")
    os.mkdir(folder)
    codes = set()
    for kib in LIMITS_KIB:
        code = with_limit(case, kib, "cr_checkpoint", "-f", f"{folder}/image", target.pid)
        left = os.listdir(folder)
        check(left == (["image"] if code == 0 else []), f"{kib} KiB: exit {code}, left: {left}")
        if code == 0:
            os.unlink(f"{folder}/image")
        looks_alive(target.pid)
        codes.add(code)
    check(codes >= {0, 12}, f"the limits are not where it is interesting: {codes}")


def little_memory_to_look(case):
    target = idle(case, megabytes=12)
    image = case.file("image")
    case.commands.run("cr_checkpoint", "-f", image, target.pid)
    for options in ([], ["--json"], ["--backtrace"], ["--verify"]):
        codes = {with_limit(case, kib, "cr_info", *options, image) for kib in LIMITS_KIB}
        check(codes >= {0, 12} and codes <= {0, 12, NOT_STARTED}, f"{options}: {codes}")
    codes = {with_limit(case, kib, "cr_run", "true") for kib in LIMITS_KIB}
    check(codes <= {0, 1, NOT_STARTED}, f"cr_run: {codes}")


def fifo_as_context_file(case):
    """A fifo is a source for both, and waits for its writer; a terminal is none."""
    target = idle(case)
    image, fifo = case.file("image"), case.file("fifo")
    case.commands.run("cr_checkpoint", "-f", image, target.pid)
    os.mkfifo(fifo)
    case.start(["/bin/sh", "-c", f"exec cat {image} > {fifo}"])
    done = case.commands.run("cr_info", fifo)
    check(str(target.pid) in done.stdout, done.stdout)
    for command in ("cr_info", "cr_restart"):
        done = case.commands.run(command, "/dev/zero", expect=22 if command == "cr_info" else 255)
        check(done.stdout == "" and done.stderr != "", f"{command}: {done.stdout!r} {done.stderr!r}")


MEMORY_CASES = [little_memory_to_save, little_memory_to_look, fifo_as_context_file]
