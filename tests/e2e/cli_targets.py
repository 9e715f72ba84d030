"""What the tests of the commands save: small programs, and how they are looked at."""

import json
import os
import subprocess

from harness import Failed, descendants, read, status_field, until

# Sleeps. argv: a file to make when ready, megabytes of random memory to hold, and perhaps a file to
# keep open; with that one it ends with 5 at SIGUSR1.
IDLE = """
import os, signal, sys, time
kept = os.urandom(int(sys.argv[2]) << 20)
if len(sys.argv) > 3:
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(5))
    kept_file = open(sys.argv[3], "a+")
    kept_file.write("line\\n")
    kept_file.flush()
open(sys.argv[1], "w").close()
while True:
    time.sleep(1000)
"""


def check(condition, why):
    if not condition:
        raise Failed(why)


def said_by(case, log):
    return read(case.file(log)).strip()


def large_file(path):
    """Too large to be carried without being asked for, as small files below /tmp are."""
    with open(path, "wb") as file:
        file.truncate(5 << 20)


def idle(case, megabytes=0, data=None, **how):
    """A program that sits in a sleep; with `data`, a file, it keeps it open and exits 5 at SIGUSR1."""
    ready = case.file(f"ready.{len(case.started)}")
    line = ["/usr/bin/python3", "-c", IDLE, ready, str(megabytes)] + ([data] if data else [])
    process = case.start(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
    until(lambda: os.path.exists(ready), "the target is ready")
    wait_state(process.pid, "S")
    os.unlink(ready)
    return process


def nameless_files(pid, folder):
    """Sizes of the files of a folder that have no name (yet), as the process or one below it has them."""
    sizes = []
    for each in [pid, *descendants(pid)]:
        try:
            for number in os.listdir(f"/proc/{each}/fd"):
                link = os.readlink(f"/proc/{each}/fd/{number}")
                if link.startswith(f"{folder}/") and link.endswith(" (deleted)"):
                    sizes.append(os.stat(f"/proc/{each}/fd/{number}").st_size)
        except OSError:
            continue
    return sizes


def wait_state(pid, letter):
    until(lambda: status_field(pid, "State").startswith(letter), f"process {pid} is in state {letter}")


def looks_alive(pid):
    """It exists, is not stopped, and nobody has left anything in it."""
    wait_state(pid, "S")
    left = [line for line in read(f"/proc/{pid}/maps").splitlines()
            if "stasis" in line and "/libcr" not in line  # libcr may lie in a folder called so,
            and "/stasis-e2e-" not in line]  # and the case's own files do
    check(not left, f"something of ours is in process {pid}: {left}")


def free_pid():
    """A pid that nobody has: of a process that has just ended."""
    done = subprocess.Popen(["/bin/true"])
    done.wait()
    return done.pid


def saved_pids(case, *options):
    """The pids that cr_checkpoint saves with these options, the first one first."""
    image = case.new_image()
    case.commands.run("cr_checkpoint", "-f", image, *options)
    model = json.loads(case.commands.run("cr_info", "--json", image).stdout)
    return [process["pid"] for process in model["processes"]]
