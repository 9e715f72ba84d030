#!/usr/bin/python3
"""Real jobs of several processes: a parallel make, a shell pipeline, a pool of workers. Each is saved
with --kill at random moments and restarted, and its results compared with an undisturbed run.

  trees.py --build BUILD [--moments N] [--seed S] [--list] [PATTERN]...
"""

import argparse
import contextlib
import fnmatch
import os
import random
import shlex
import signal
import sys
import time

from harness import (LIMIT, Commands, Failed, Report, adopt_orphans, init_adopts, inside, read, read_bytes,
                     said, status_field, until)
from job import Job
from real_programs import need, program

FILES = 14


class Tree:
    """A command line, what it needs in its folder, and the files that tell whether it was right."""

    def __init__(self, *line, needs=(), setup=None, results=(), unordered=()):
        self.line = line
        self.needs = needs
        self.setup = setup or (lambda folder: None)
        self.results = results
        self.unordered = unordered  # files whose lines may come in any order

    def start(self, case, folder):
        os.mkdir(folder)
        self.setup(folder)
        return Job(case, self.line, log=os.path.join(folder, "out.log"), cwd=folder)

    def result(self, folder):
        names = [name for name in os.listdir(folder)
                 if any(fnmatch.fnmatch(name, pattern) for pattern in self.results)]
        found = {name: read_bytes(os.path.join(folder, name)) for name in names}
        for name in self.unordered:
            found[name] = sorted(read_bytes(os.path.join(folder, name)).splitlines())
        return found


def c_sources(folder):
    """C files that take a compiler a moment each, and their Makefile."""
    generator = random.Random(3)
    for number in range(FILES):
        with open(os.path.join(folder, f"part{number}.c"), "w") as file:
            for function in range(130):
                terms = " + ".join(f"(x {generator.choice('^*+-')} {generator.randrange(1, 999)}) * "
                                   f"table[{generator.randrange(64)}]" for _ in range(9))
                file.write(f"static unsigned table_{function}[64];\n"
                           f"unsigned part{number}_{function}(unsigned x, unsigned* table) {{\n"
                           f"  for (int i = 0; i < 64; ++i) {{ table[i] ^= x * i; x += {terms}; }}\n"
                           f"  return x + table_{function}[x & 63];\n}}\n")
    objects = " ".join(f"part{number}.o" for number in range(FILES))
    with open(os.path.join(folder, "Makefile"), "w") as file:
        file.write(f"all: libparts.a\nlibparts.a: {objects}\n\trm -f $@ && ar rcsD $@ $^\n"
                   "%.o: %.c\n\tgcc -O2 -pipe -c $< -o $@\n")


PROJECT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))


def own_sources(folder):
    """The Makefile of a part of this very project: libcr, and two rooms of the engine."""
    sources = [os.path.join(PROJECT, room, name)
               for room in ("src/libcr", "src/engine/base", "src/engine/proc")
               for name in sorted(os.listdir(os.path.join(PROJECT, room)))
               if name.endswith((".c", ".cc"))]
    if len(sources) < 30:
        raise Failed(f"there are only {len(sources)} sources below {PROJECT}/src")
    include = (f"-I{PROJECT}/include -I{PROJECT}/src/engine -D_GNU_SOURCE "
               "-DSTASIS_HELPER_PATH=\\\"/none\\\"")
    with open(os.path.join(folder, "Makefile"), "w") as file:
        rules, objects = [], []
        for source in sources:
            name = os.path.basename(os.path.dirname(source)) + "." + os.path.basename(source) + ".o"
            compiler = "gcc" if source.endswith(".c") else "g++ -std=c++20"
            objects.append(name)
            rules.append(f"{name}:\n\t{compiler} -O1 {include} -c {source} -o $@\n")
        file.write(f"all: libpart.a\nlibpart.a: {' '.join(objects)}\n\trm -f $@ && ar rcsD $@ $^\n"
                   + "".join(rules))


PIPELINE = ("seq 1 900000 | grep -v 77 | sort -n -r -S 8M -T . | "
            "awk '{ sum += $1 % 1009; print $1, sum }' | gzip -n > sums.gz; echo done $?")

ALL = {
    "make": Tree("make", "-j4", needs=["make", "gcc", "ar"], setup=c_sources,
                 results=["*.o", "*.a"], unordered=["out.log"]),
    "make_stasis": Tree("make", "-j4", needs=["make", "gcc", "g++", "ar"], setup=own_sources,
                        results=["*.o", "*.a"], unordered=["out.log"]),
    "pipeline": Tree("bash", "-c", PIPELINE, needs=["bash", "sort", "awk", "gzip"],
                     results=["sums.gz", "out.log"]),
    "pool": Tree("/usr/bin/python3", program("pool.py"), results=["result"], unordered=["done"]),
}


def disturb(which, case, folder, moments, generator, duration):
    """Runs it with checkpoints, kills and restarts; its exit status and how often it was saved."""
    job = which.start(case, folder)
    saved = 0
    for _ in range(moments):
        time.sleep(generator.uniform(0, duration / moments))  # any moment will do
        if job.ended():
            break
        try:
            image = job.checkpoint_kill()
        except Failed:
            if job.came_to_its_end():
                break  # it came to its end first
            raise
        job.restart(image)
        os.unlink(image)
        saved += 1
    return job, saved


def run_tree(which, moments, seed):
    def body(case):
        need(*which.needs)
        generator = random.Random(f"{seed} {case.name}")
        start = time.monotonic()
        job = which.start(case, case.file("undisturbed"))
        if job.wait():
            raise Failed(f"the undisturbed run fails: {read(case.file('undisturbed/out.log'))}")
        duration = time.monotonic() - start
        expected = which.result(case.file("undisturbed"))

        # On a machine that was busy before it may end sooner this time.
        for attempt in range(4):
            folder = case.file(f"disturbed{attempt}")
            job, saved = disturb(which, case, folder, moments, generator, duration / 3**attempt)
            status = job.wait()
            if saved or status:
                break
        if status:
            raise Failed(f"exits {status} after {saved} restarts: "
                         f"{read(folder + '/out.log')[-1000:]} "
                         f"{read(getattr(job.process, 'log', ''))}")
        if not saved:
            raise Failed("it ended before it was saved once")
        got = which.result(folder)
        if sorted(got) != sorted(expected):
            raise Failed(f"made {sorted(got)}, not {sorted(expected)}")
        for name, content in expected.items():
            if got[name] != content:
                raise Failed(f"{name} differs from the undisturbed run after {saved} restarts (kept: "
                             f"{case.file('undisturbed')} and {folder})")
    return body


def orphans(case):
    """A session one of whose processes is init's: saved as a session, it is init's child again."""
    with init_adopts():
        leader = case.start(["bash", "-c", "(sleep 1111 & ); sleep 2222 & exec sleep 3333"],
                            start_new_session=True)
        pids = until(lambda: session_of(leader.pid, 3), "three processes called sleep")
        image = case.new_image()
        case.commands.run("cr_checkpoint", "--kill", "--sid", "-f", image, leader.pid)
        leader.wait(LIMIT)
        if left := session_of(leader.pid, 1):
            raise Failed(f"--kill: {left} are still there")
        restart = case.restart(image, "--restore-sid", "--restore-pgid")
        try:
            # While they are being made there are more, and other parents.
            until(lambda: session_of(leader.pid, 3) == pids or restart.poll() is not None,
                  f"{pids} (and their parents) again; {said(restart)}")
        finally:
            for pid in sleeps_of(leader.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        if (status := restart.wait(LIMIT)) != -signal.SIGTERM:
            raise Failed(f"cr_restart ends with {status}, not as its eldest; {said(restart)}")


def sleeps_of(session):
    """The sleeps of a session that the session itself calls so."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if read(f"/proc/{pid}/comm") == "sleep\n" and status_field(pid, "State")[:1] not in "ZX" \
                and inside(pid, "NSsid") == session:
            found.append(pid)
    return found


def session_of(session, count):
    """pid: parent (0 for one of ours) of the sleeps of a session, as they see them; {} unless there are
    so many."""
    found = {}
    for pid in sleeps_of(session):
        parent = status_field(pid, "PPid")
        found[inside(pid)] = inside(parent) if parent != "0" else 0
    for pid, parent in found.items():
        if parent != 1 and parent not in found:
            found[pid] = 0
    return dict(sorted(found.items())) if len(found) >= count else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--moments", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--work")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    cases = [(f"tree {name}", run_tree(which, options.moments, options.seed))
             for name, which in ALL.items()] + [("tree orphans", orphans)]
    cases = [(name, body) for name, body in cases if not options.patterns
             or any(fnmatch.fnmatch(name.split()[1], pattern) for pattern in options.patterns)]
    if options.list:
        print("\n".join(name for name, _ in cases))
        return 0
    adopt_orphans()

    def again(case):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, "--moments",
                           str(options.moments), "--seed", str(options.seed), case.split()[1]])
    return Report(Commands(options.build), again, options.work, options.jobs).run(cases)


if __name__ == "__main__":
    sys.exit(main())
