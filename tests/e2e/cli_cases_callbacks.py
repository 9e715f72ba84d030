"""Cases of cli_test.py: what the commands say and exit with when callbacks have their say."""

import os
import re
import signal

from cli_targets import check, looks_alive, wait_state
from harness import Skipped, read, status_field, until

# A program with one callback in libcr's own thread, written in `callback`, and in `after` what it
# does with the value of cr_checkpoint(). argv: libcr.so, a file to make when ready.
PROGRAM = """
import ctypes, os, sys, time
cr = ctypes.CDLL(sys.argv[1])
def body(_):
{callback}
    return 0
function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(body)
assert cr.cr_init() >= 0
assert cr.cr_register_callback(function, None, 0x4000000) >= 0
open(sys.argv[2], "w").close()
kept = "with callbacks"
while True: time.sleep(1000)
"""
TEMPORARY, PERMANENT, OMIT = 1, 2, 4


def with_callback(case, *lines):
    libcr = os.path.join(case.commands.build, "src/libcr/libcr.so.0")
    if not os.path.exists(libcr):
        raise Skipped("libcr is not built")
    text = PROGRAM.format(callback="\n".join("    " + line for line in lines))
    ready = case.file(f"ready.{len(case.started)}")
    process = case.start(["/usr/bin/python3", "-c", text, libcr, ready])
    until(lambda: os.path.exists(ready) or process.poll() is not None, "the target is ready")
    check(process.poll() is None, f"the target ended: {read(case.file('out.log'))}")
    wait_state(process.pid, "S")
    os.unlink(ready)
    return process


def refused_by_callback(case, process, code, verdict):
    done = case.commands.run("cr_checkpoint", "-f", case.file("x"), process.pid, expect=code)
    check(done.stderr.endswith(verdict + "\n") and done.stdout == "", f"{done}")
    check(all(line.startswith("- ") for line in done.stderr.splitlines()[:-1]), done.stderr)
    check(not os.path.exists(case.file("x")), "a file remains")
    return done


def callbacks_temporary_failure(case):
    """50 and "try again later", or the callback's own code; the program goes on."""
    process = with_callback(case, f"cr.cr_checkpoint({TEMPORARY})")
    refused_by_callback(case, process, 50, "Checkpoint cancelled by application: try again later")
    check(status_field(process.pid, "State")[0] == "S", "it does not go on")
    process = with_callback(case, f"cr.cr_checkpoint({TEMPORARY} | 11 << 16)")
    refused_by_callback(case, process, 11, "Checkpoint failed: Resource temporarily unavailable")
    check(process.poll() is None, "it has ended")


def callbacks_permanent_failure(case):
    """51 and "unable to checkpoint"; the program is killed."""
    process = with_callback(case, f"cr.cr_checkpoint({PERMANENT})")
    refused_by_callback(case, process, 51,
                        "Checkpoint cancelled by application: unable to checkpoint")
    check(process.wait(60) == -signal.SIGKILL, f"status {process.returncode}")


def callbacks_omission(case):
    """All processes left themselves out: 3; no signal is sent."""
    process = with_callback(case, f"cr.cr_checkpoint({OMIT})")
    done = case.commands.run("cr_checkpoint", "--term", "-f", case.file("x"), process.pid, expect=3)
    check(done.stderr.endswith("Checkpoint failed: no processes checkpointed\n"), done.stderr)
    check(process.poll() is None, "it has ended")


def callbacks_late(case):
    """--time: 110; the thread that did not come is named, with its stack; later it goes on."""
    process = with_callback(case, "while not os.path.exists(sys.argv[2] + '.go'): time.sleep(0.01)",
                            "cr.cr_checkpoint(0)")
    done = refused_late(case, process)
    check(re.search(r"- .*thread \d+", done.stderr), f"names no thread: {done.stderr}")
    check(re.search(r"- +#\d+ .*nanosleep", done.stderr), f"no stack: {done.stderr}")
    # It is not forgotten: while it is late another request is told so, then all is well again.
    busy = case.commands.run("cr_checkpoint", "-f", case.file("x"), process.pid, expect=None)
    check(busy.returncode in (16, 110), f"{busy}")
    with open(case.file(f"ready.{len(case.started) - 1}.go"), "w"):
        pass
    until(lambda: case.commands.run("cr_checkpoint", "-f", case.file("x"), process.pid,
                                    expect=None).returncode == 0, "a checkpoint is made")
    looks_alive(process.pid)


def refused_late(case, process):
    done = case.commands.run("cr_checkpoint", "--time", "1", "-f", case.file("x"), process.pid,
                             expect=110)
    check(done.stderr.endswith("Checkpoint failed: time limit exceeded\n"), done.stderr)
    return done


def callbacks_end_a_restart(case):
    """A callback that fails after a restart: 58, nothing runs; its class is --run-on-fail-perm."""
    process = with_callback(case, "return 3 if cr.cr_checkpoint(0) > 0 else 0")
    image = case.checkpoint_kill(process, process.pid)
    done = case.commands.run("cr_restart", image, expect=58)
    check(done.stderr.endswith("Restart failed: Restart aborted: restart cancelled and job killed\n"),
          done.stderr)
    check(not os.path.exists(f"/proc/{process.pid}"), "something of it runs")
    case.commands.run("cr_restart", "--run-on-fail-perm", "exit 74", image, expect=74)


def callbacks_in_info(case):
    """cr_info tells which processes have libcr."""
    process = with_callback(case, "cr.cr_checkpoint(0)")
    image = case.checkpoint(process.pid)
    text = case.commands.run("cr_info", image).stdout
    check(re.search(r"^  libcr +libcr, 1 callback or hook$", text, re.M), text[:800])


CALLBACK_CASES = [callbacks_temporary_failure, callbacks_permanent_failure, callbacks_omission,
                  callbacks_late, callbacks_end_a_restart, callbacks_in_info]
