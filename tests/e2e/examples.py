#!/usr/bin/python3
"""The programs and scripts of examples/, each run as its README says: saved, killed, restarted, and
its result held against what it must be.

  examples.py --build BUILD [--list] [PATTERN]...
"""

import argparse
import contextlib
import fnmatch
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading

from harness import (LIMIT, Commands, Failed, Report, Skipped, children, descendants, read, said,
                     status_field, until, walking)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def example(case, name):
    path = os.path.join(case.commands.build, "examples", name)
    if not os.path.exists(path):
        raise Skipped(f"{path} is not built")
    return path


def ends(process, status=0):
    try:
        got = process.wait(6 * LIMIT)
    except subprocess.TimeoutExpired:
        raise Failed(f"process {process.pid} does not end") from None
    if got != status:
        raise Failed(f"ends with {got}, not {status}: {said(process)}")


def lines_of(path):
    """Complete lines."""
    return read(path).split("\n")[:-1]


def kill_all(root):
    for pid in [root, *descendants(root)]:
        with contextlib.suppress(ProcessLookupError):  # ended with the others
            os.kill(pid, signal.SIGKILL)


class Server:
    """Answers a number with "got NUMBER", or with "bye" once it is told to. Each client once."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.clients = 0
        self.asked = []
        self.bye = False
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listening.accept()
            self.clients += 1
            with client, client.makefile("rw") as stream:
                try:
                    for line in stream:
                        self.asked.append(int(line))
                        stream.write("bye\n" if self.bye else f"got {line.strip()}\n")
                        stream.flush()
                except OSError:
                    pass


def reconnect(case):
    """After a checkpoint, and after each of two restarts, it connects again. In its log every number
    is answered once; what it asked between a checkpoint and its kill, it asks again."""
    server = Server()
    log = case.file("out.log")
    with open(case.file("err.log"), "w") as errors, open(log, "w") as out:
        process = case.start([example(case, "reconnect"), "127.0.0.1", str(server.port)],
                             stdout=out, stderr=errors)
    pid = process.pid

    def comes_further():
        before = len(server.asked)
        until(lambda: len(server.asked) > before + 5 or process.poll() is not None,
              f"more questions; {read(case.file('err.log'))} {said(process)}")
        if process.poll() is not None:
            raise Failed(f"ended: {process.returncode} {read(case.file('err.log'))} {said(process)}")

    comes_further()
    case.checkpoint(pid)
    until(lambda: server.clients == 2, "the second connection")
    comes_further()
    for _ in range(2):
        image = case.checkpoint_kill(process, pid)
        clients = server.clients
        with walking:
            process = case.restart(image)
            pid = case.restarted_pid(process, "reconnect")
        until(lambda: server.clients > clients or process.poll() is not None,
              f"another connection; {said(process)}")
        comes_further()
    server.bye = True
    ends(process)
    callback = lines_of(case.file("err.log"))
    if callback != ["saved, connected again", *["restarted, connected again"] * 2]:
        raise Failed(f"the callback said {callback}")
    answers = lines_of(log)
    expected = [f"{n}: got {n}" for n in range(1, len(answers))] + [f"{len(answers)}: bye"]
    if answers != expected:
        raise Failed(f"answers are missing or double: {answers}")
    again = server.asked[1:]
    if any(n > last + 1 for last, n in zip(server.asked, again)) or len(answers) != again[-1]:
        raise Failed(f"numbers were left out: {server.asked}")


def self_checkpoint(case):
    """Killed when it has saved itself a few times, restarted from its own file, twice; in the end
    its log is that of an undisturbed run."""
    program, file, steps = example(case, "self_checkpoint"), case.file("self.ctx"), 60
    undisturbed, log = case.file("undisturbed.log"), case.file("out.log")

    def line(every):
        return [program, str(steps), str(every), file]

    with open(undisturbed, "w") as out:
        ends(case.start(line(steps + 1), stdout=out, stderr=subprocess.DEVNULL))
    expected = read(undisturbed)
    errors = open(case.file("err.log"), "w")
    with errors, open(log, "w") as out:
        process = case.start(line(7), stdout=out, stderr=errors)
    until(lambda: os.path.exists(file) or process.poll() is not None, "its own context file")
    process.kill()
    process.wait(LIMIT)
    if not os.path.exists(file):
        raise Failed(f"it saved nothing: {read(case.file('err.log'))}")
    for _ in range(2):  # the same file may be restarted again, if it did not save itself anew
        with walking:
            process = case.restart(file)
            ends(process)
        if read(log) != expected:
            raise Failed(f"its log differs from that of an undisturbed run: {log}, {undisturbed}")
    if "restarted" not in read(case.file("err.log")) or "not saved" in read(case.file("err.log")):
        raise Failed(f"it said {read(case.file('err.log'))}")


def ring(case):
    """All are saved at SIGUSR1, killed, restarted; each round is there once with its sum."""
    file, log, errors = case.file("ring.ctx"), case.file("out.log"), case.file("err.log")
    with open(log, "w") as out, open(errors, "w") as err:
        process = case.start([example(case, "ring"), "4", "100000000", file], stdout=out, stderr=err)
    launcher = process.pid

    def comes_further():
        before = len(lines_of(log))
        until(lambda: len(lines_of(log)) > before + 10 or process.poll() is not None,
              f"more rounds; {read(errors)} {said(process)}")
        if process.poll() is not None:
            raise Failed(f"ended: {process.returncode} {read(errors)} {said(process)}")

    for _ in range(2):
        comes_further()
        before = len(lines_of(errors))
        os.kill(launcher, signal.SIGUSR1)
        until(lambda: len(lines_of(errors)) > before or process.poll() is not None,
              f"the ring to be saved; {said(process)}")
        if lines_of(errors)[before:] != ["saved"]:
            raise Failed(f"ring said {read(errors)}")
        kill_all(launcher)
        process.wait(LIMIT)
        with walking:
            process = case.restart(file)
            launcher = case.restarted_pid(process, "ring")
            launcher = children(process.pid)[0]
        until(lambda: read(errors).endswith("restarted\n"), f"word of the launcher; {read(errors)}")
        comes_further()
        if len(children(launcher)) != 4:
            raise Failed(f"the launcher has {len(children(launcher))} children, not 4")
    kill_all(launcher)
    rounds = lines_of(log)
    if rounds != [f"round {n}: {n * 6}" for n in range(1, len(rounds) + 1)]:
        raise Failed(f"rounds are missing, double or wrong: {log}")


class Slurm:
    """What a job script finds on a node: a number, the commands, and a scontrol that takes notes."""

    def __init__(self, case, program):
        self.case = case
        self.line = [os.path.join(ROOT, "examples", "slurm-job.sh"), *program]
        if not os.path.exists(self.line[0]):
            raise Skipped(f"{self.line[0]} is not there")
        tools = case.file("tools")
        os.mkdir(tools)
        for name in ("cr_run", "cr_checkpoint", "cr_restart"):
            os.symlink(case.commands.path(name), os.path.join(tools, name))
        with open(os.path.join(tools, "scontrol"), "w") as script:
            script.write(f'#!/bin/sh\necho "$@" >>{shlex.quote(case.file("scontrol.log"))}\n')
        os.chmod(os.path.join(tools, "scontrol"), 0o755)
        self.environment = {**os.environ, "SLURM_JOB_ID": "42",
                            "PATH": f"{tools}:{os.environ['PATH']}"}

    def run(self):
        process = self.case.start(self.line, log="slurm-42.out", cwd=self.case.folder,
                                  env=self.environment)
        process.log = self.case.file("slurm-42.out")
        until(lambda: int(status_field(process.pid, "SigCgt") or "0", 16) >> (signal.SIGUSR1 - 1) & 1
              or process.poll() is not None, "the job script to wait for its signal")
        return process


PIPELINE = "/usr/bin/python3 -u producer.py | while read -r line; do echo \"$line\"; done"
PRODUCER = """import hashlib, os, time
digest = b""
for step in range(60):
    while not os.path.exists(f"part.{step // 20}"):
        time.sleep(0.005)
    digest = hashlib.sha256(digest).digest()
    print("step", step, digest.hex())
"""


def slurm_job(case):
    """A pipeline as a job. Two runs end at the signal before the limit, each saved and queued again;
    the third finishes. The output is that of an undisturbed run."""
    def allow(part):
        open(case.file(f"part.{part}"), "w").close()

    with open(case.file("producer.py"), "w") as file:
        file.write(PRODUCER)
    for part in range(3):
        allow(part)
    ends(case.start(["/bin/bash", "-c", PIPELINE], log="undisturbed", cwd=case.folder))
    for part in range(3):
        os.unlink(case.file(f"part.{part}"))
    output, context = case.file("job-42.out"), case.file("job-42.ctx")
    slurm = Slurm(case, ["/bin/bash", "-c", PIPELINE])
    for run in range(2):
        allow(run)
        with walking:
            job = slurm.run()
            until(lambda: len(lines_of(output)) >= 20 * (run + 1) or job.poll() is not None,
                  f"20 steps of the job; {said(job)}")
        os.kill(job.pid, signal.SIGUSR1)
        ends(job)
        queued = lines_of(case.file("scontrol.log"))
        if queued != ["requeue 42"] * (run + 1) or not os.path.exists(context):
            raise Failed(f"run {run + 1}: asked scontrol for {queued}; {said(job)}")
    allow(2)
    with walking:
        ends(slurm.run())
    if os.path.exists(context):
        raise Failed("the context file is still there after the end of the job")
    if read(output) != read(case.file("undisturbed")):
        raise Failed(f"{output} differs from the undisturbed run")


CASES = {"reconnect": reconnect, "self_checkpoint": self_checkpoint, "ring": ring,
         "slurm_job": slurm_job}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    cases = [(f"example {name}", body) for name, body in CASES.items() if not options.patterns
             or any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)]
    if options.list:
        print("\n".join(name for name, _ in cases))
        return 0

    def again(case):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, case.split()[1]])
    return Report(Commands(options.build), again, options.work, options.jobs).run(cases)


if __name__ == "__main__":
    sys.exit(main())
