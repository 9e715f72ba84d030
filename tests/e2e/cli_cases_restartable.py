"""Cases of cli_test.py: what is saved can be restarted, and what cannot be is refused at once."""

import os
import signal
import subprocess

from cli_targets import check, said_by
from harness import status_field, until

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


RESTARTABLE_CASES = [thread_after_restart, pipeline_member]
