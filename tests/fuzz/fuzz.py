#!/usr/bin/env python3
"""Runs one fuzz target for a time, from seeds that are made on the spot (seeds.py, and seeds.cc for images).

  fuzz.py [--seconds N] [--keep] PROGRAM

What it finds is kept beside PROGRAM in findings/, and how to repeat it is printed. With --keep the inputs
that reach something new are kept in inputs/ and used by the next run. Exits 1 if anything was found."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

import seeds

HERE = os.path.dirname(os.path.abspath(__file__))
# Of an input. Reading costs at most some MiB beyond what is in it (docs/format.md), so that a request for
# more at once is a finding, as is a process that grows to the second limit in all.
LARGEST = {"image": 131072, "manifest": 65536, "proc": 16384, "options": 512, "relocation": 512}
LARGEST_REQUEST_MB = 64
MOST_MEMORY_MB = 1024
LONGEST_S = 60  # of one input


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("program")
    return parser.parse_args()


def environment():
    return os.environ | {
        "ASAN_OPTIONS": "quarantine_size_mb=32:detect_stack_use_after_return=0:allocator_may_return_null=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "MALLOC_ARENA_MAX": "1"}


def command(options, name, folders, findings):
    return [options.program,
            f"-max_total_time={options.seconds}",
            f"-max_len={LARGEST[name]}",
            f"-malloc_limit_mb={LARGEST_REQUEST_MB}",
            f"-rss_limit_mb={MOST_MEMORY_MB}",
            f"-timeout={LONGEST_S}",
            f"-artifact_prefix={findings}/{name}-",
            "-print_final_stats=1", *folders]


def summary(output):
    """What matters of libFuzzer's output in one line."""
    last = (re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", output) or [("?", "?", "?")])[-1]
    runs = (re.findall(r"number_of_executed_units:\s*(\d+)", output) or ["?"])[-1]
    return f"{runs} executions, {last[0]} edges, {last[1]} features, {last[2]} inputs"


def main():
    options = arguments()
    beside = os.path.dirname(os.path.abspath(options.program))
    name = os.path.basename(options.program).removeprefix("fuzz-")
    findings = os.path.join(beside, "findings")
    os.makedirs(findings, exist_ok=True)
    work = tempfile.mkdtemp(prefix="stasis-fuzz.")
    try:
        begin = seeds.make(name, work, os.path.join(beside, "fuzz-seeds"))
        kept = os.path.join(beside, "inputs", name) if options.keep else os.path.join(work, "inputs")
        os.makedirs(kept, exist_ok=True)
        corpus = os.path.join(HERE, "corpus", name)
        done = subprocess.run(command(options, name, [kept, begin, corpus], findings), env=environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace")
    finally:
        shutil.rmtree(work)
    print(f"{name}: {summary(done.stdout)}")
    if done.returncode == 0:
        return 0
    print(done.stdout[-6000:])
    print(f"repeat it with: {options.program} {findings}/{name}-...")
    print(f"when it is mended: a unit test, and the input into tests/fuzz/corpus/{name}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
