#!/usr/bin/python3
"""Checkpoints a program again and again while its threads do all that libcr allows (stress.c): mostly it
goes on, now and then it is killed and restarted, or a callback refuses.

  stress.py --build BUILD [--seconds N] [--seed N]

Every checkpoint has a limit; after each, the counts of the callbacks must be those of the checkpoints, and
at the end no thread, descriptor or child may be left. One case: PASS or FAIL, and what has been done."""

import argparse
import os
import random
import shlex
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from harness import (LIMIT, Commands, Failed, Report, descendants, read, said, status_field, tids,  # noqa: E402
                     until, walking)


class Stress:
    def __init__(self, case, path, seed, scopes):
        self.case = case
        self.scopes = scopes
        self.random = random.Random(seed)
        self.folder = case.file("at")
        os.mkdir(self.folder)
        for name in ("down", "up"):
            os.mkfifo(os.path.join(self.folder, name))
        self.down, self.up = (os.open(os.path.join(self.folder, name), os.O_RDWR | os.O_NONBLOCK)
                              for name in ("down", "up"))
        case.descriptors += [self.down, self.up]
        self.text = b""
        self.process = case.start([path], cwd=self.folder)
        self.process.log = case.file("out.log")
        self.pid = self.process.pid
        self.counts = {"saved": 0, "refused": 0, "restarted": 0, "of it trees": 0}
        self.calls = 0  # of the permanent callbacks, by our own count
        self.refusals = 0
        self.answer()

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"ended with {self.process.returncode}: {said(self.process)}")

    def answer(self):
        def line():
            try:
                self.text += os.read(self.up, 65536)
            except BlockingIOError:
                self.alive()
            return b"\n" in self.text
        until(line, f"an answer of the program ({self.doing()})")
        first, _, self.text = self.text.partition(b"\n")
        verdict, _, numbers = first.decode().partition("; ")
        if verdict != "ok":
            raise Failed(f"the program says: {verdict}; {numbers}")
        words = numbers.split()
        return {"thread": (int(words[1]), int(words[2])), "signal": (int(words[4]), int(words[5])),
                "callbacks": (int(words[7]), int(words[8])), "text": numbers}

    def say(self, word):
        os.write(self.down, word.encode())
        return self.answer()

    def doing(self):
        threads = [f"{tid} {status_field(self.pid, 'State', tid)[:1]} "
                   f"{(read(f'/proc/{self.pid}/task/{tid}/syscall').split() or ['?'])[0]}"
                   for tid in tids(self.pid)] if hasattr(self, "pid") else []
        return "threads and their calls: " + ", ".join(threads)

    def checkpoint(self, *options, expect=0):
        image = self.case.file("image")
        if os.path.exists(image):
            os.unlink(image)
        try:
            done = self.case.commands.run("cr_checkpoint", *options, "-f", image, self.pid, expect=None)
        except Failed as late:
            raise Failed(f"{late}; {self.doing()}") from None
        if done.returncode != expect:
            raise Failed(f"cr_checkpoint {' '.join(options)} exits {done.returncode}, not {expect}: "
                         f"{done.stderr.strip()}; {self.doing()}")
        return image

    def check(self, calls=1, refused=0):
        self.calls += calls
        self.refusals += refused
        told = self.say("c")
        # A THREAD callback that refuses ends the checkpoint before any SIGNAL callback is called.
        if told["thread"] != (self.calls, self.calls) or told["signal"] != (self.calls - self.refusals,) * 2:
            raise Failed(f"{self.calls} checkpoints, {self.refusals} of them refused, but: {told['text']}")

    def restart(self, image):
        options = [] if os.geteuid() == 0 else ["--no-restore-pid"]
        with walking:
            self.process = self.case.restart(image, *options, cwd=self.folder)
            self.pid = self.case.restarted_pid(self.process, "stress")

    def step(self):
        scope = self.random.choice(self.scopes)
        choice = self.random.random()
        if choice < 0.1:
            self.say("t")
            self.checkpoint(scope, expect=50)
            self.check(refused=1)
            self.counts["refused"] += 1
        elif choice < 0.2:
            image = self.checkpoint(scope, "--kill")
            if self.process.wait(LIMIT) != -signal.SIGKILL:
                raise Failed(f"ended with {self.process.returncode}, not by --kill")
            self.restart(image)
            self.check()
            self.counts["restarted"] += 1
        else:
            self.checkpoint(scope)
            self.check()
            self.counts["saved"] += 1
        self.counts["of it trees"] += scope == "-T"

    def end(self):
        told = self.say("q")
        os.write(self.down, b"e")
        if self.process.wait(LIMIT) != 0:
            raise Failed(f"ended with {self.process.returncode}: {said(self.process)}")
        print(", ".join(f"{count} {what}" for what, count in self.counts.items()) + "; " + told["text"])


def body(path, seconds, seed, scopes):
    def run(case):
        stress = Stress(case, path, seed, scopes)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stress.step()
        stress.end()
        left = descendants(os.getpid())
        if left:
            raise Failed(f"left behind: {left}")
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(10000))
    parser.add_argument("--scope", choices=["p", "T"], help="only this one")
    parser.add_argument("--work", help="folder for the case's folder")
    options = parser.parse_args()
    path = os.path.join(os.path.abspath(options.build), "tests/stress/stress")
    if not os.path.exists(path):
        print(f"SKIP stress: {path} is not built\n0 passed, 0 failed, 1 skipped")
        return 77

    def again(name):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, "--seconds",
                           str(options.seconds), "--seed", str(options.seed)])
    scopes = ["-" + options.scope] if options.scope else ["-p", "-p", "-T"]
    cases = [(f"stress {options.seconds:g} seconds, seed {options.seed}",
              body(path, options.seconds, options.seed, scopes))]
    return Report(Commands(options.build), again, options.work, 1).run(cases)


if __name__ == "__main__":
    sys.exit(main())
