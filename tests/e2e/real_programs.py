#!/usr/bin/python3
"""Real programs, unprepared: each is checkpointed at several random moments of one run, killed and
restarted each time, and its result compared with an undisturbed run.

  real_programs.py --build BUILD [--moments N] [--seed S] [--list] [PATTERN]...
"""

import argparse
import fnmatch
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys

from harness import LIMIT, Commands, Failed, Report, Skipped, read, read_bytes
from job import Job

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = os.path.join(HERE, "programs")
BIG_FILE = 16 << 20


def program(name):
    return os.path.join(PROGRAMS, name)


def need(*commands):
    for command in commands:
        if not shutil.which(command):
            raise Skipped(f"{command} is not installed (scripts/install-deps)")


def compile_with(folder, *line, **variables):
    """Compiles once a case, in its folder."""
    done = subprocess.run(line, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, env={**os.environ, **variables}, timeout=10 * LIMIT)
    if done.returncode:
        raise Failed(f"{' '.join(line)}: {done.stderr}")


class Stepping:
    """A program that prints 60 lines "step N ..."; the moment is a number of lines."""

    def __init__(self, *line, setup=None, outputs=()):
        self.line = line
        self.setup = setup  # what to do first in the folder
        self.outputs = outputs

    def prepare(self, case):
        need(self.line[0]) if not self.line[0].startswith("./") else None
        if self.setup:
            self.setup(case.folder)

    def start(self, case, folder):
        for name in os.listdir(case.folder):  # what setup made
            if os.path.isfile(case.file(name)) and os.access(case.file(name), os.X_OK):
                os.link(case.file(name), os.path.join(folder, name))
        return Job(case, self.line, log=os.path.join(folder, "out.log"), cwd=folder)

    def progress(self, folder):
        return read_bytes(os.path.join(folder, "out.log")).count(b"\nstep ") / 60

    def feed(self, job, folder, part):
        """Gives the program what it needs to come to `part` of its work."""

    def result(self, folder):
        return {name: read_bytes(os.path.join(folder, name)) for name in ("out.log", *self.outputs)}


class Reading(Stepping):
    """A program that waits in read for lines from a fifo; the moment is a number of lines sent."""

    lines: list

    def __init__(self, *line, lines, answered):
        super().__init__(*line)
        self.lines = lines
        self.answered = answered  # folder -> number of lines that were answered

    def start(self, case, folder):
        fifo = os.path.join(folder, "input")
        os.mkfifo(fifo)
        stdin = os.open(fifo, os.O_RDWR)  # a program that reads a fifo of its own, both ends
        try:
            job = Job(case, self.line, log=os.path.join(folder, "out.log"), cwd=folder, stdin=stdin)
        finally:
            os.close(stdin)
        job.sent = 0
        return job

    def progress(self, folder):
        return 0

    def feed(self, job, folder, part):
        until_line = int(part * len(self.lines))
        while job.sent < until_line:
            fifo = os.open(os.path.join(folder, "input"), os.O_WRONLY)
            os.write(fifo, (self.lines[job.sent] + "\n").encode())
            os.close(fifo)
            job.sent += 1
        job.until(lambda: self.answered(folder) >= until_line or until_line == len(self.lines),
                  f"answers to {until_line} lines")


class Compressing(Stepping):
    """A compressor of a large file; the moment is a part of what it has written."""

    def prepare(self, case):
        super().prepare(case)
        generator = random.Random(1)
        words = [generator.randbytes(generator.randrange(2, 12)).hex() for _ in range(3000)]
        with open(case.file("large"), "w") as file:
            while file.tell() < BIG_FILE:
                file.write(" ".join(generator.choices(words, k=2000)) + "\n")

    def start(self, case, folder):
        os.link(case.file("large"), os.path.join(folder, "large"))
        return Job(case, self.line, log=os.path.join(folder, "out.log"), cwd=folder)

    def progress(self, folder):
        try:
            size = os.path.getsize(os.path.join(folder, self.outputs[0]))
        except OSError:
            return 0
        return size / self.whole

    def result(self, folder):
        result = super().result(folder)
        self.whole = max(1, len(result[self.outputs[0]]))
        return result


def bash_lines():
    return [f"line {i} of the input " + "x" * (i * 13 % 50) for i in range(59)] + ["end"]


def sqlite_lines():
    lines = ["pragma journal_mode = wal;", "create table item (a, b);", "begin immediate;"]
    for i in range(40):
        lines.append(f"insert into item select {i}, hex(zeroblob({i * 100})); select count(*) from item;")
    lines += ["commit;", "select sum(length(b)), count(*) from item;"]
    return [f"{line} select writefile('answered', '{i + 1}');" for i, line in enumerate(lines)
            ] + [".quit"]


def go_build(folder):
    need("go")
    compile_with(folder, "go", "build", "-o", "program", program("goroutines.go"), CGO_ENABLED="0",
                 GO111MODULE="off", GOCACHE=os.path.join(folder, "cache"), GOFLAGS="")


def c_build(*line):
    def build(folder):
        need(line[0])
        compile_with(folder, *line)
    return build


SOURCE = program("threads.c")
ALL = {
    "python3": Stepping("/usr/bin/python3", program("threads_and_database.py")),
    "perl": Stepping("perl", program("table.pl")),
    "bash": Reading("bash", program("reader.sh"), lines=bash_lines(),
                    answered=lambda folder: read(folder + "/out.log").count("step ")),
    "mawk": Stepping("mawk", "-f", program("table.awk")),
    "gawk": Stepping("gawk", "-f", program("table.awk")),
    "node": Stepping("node", program("events.js")),
    "sqlite3": Reading("sqlite3", "-batch", "data.sqlite", lines=sqlite_lines(),
                       answered=lambda folder: int(read(folder + "/answered") or 0)),
    "go": Stepping("./program", setup=go_build),
    "musl": Stepping("./program", setup=c_build("musl-gcc", "-O2", "-static", "-pthread", "-o",
                                                "program", SOURCE)),
    "glibc_static": Stepping("./program", setup=c_build("gcc", "-O2", "-static", "-pthread", "-o",
                                                        "program", SOURCE)),
    "glibc_dynamic": Stepping("./program", setup=c_build("gcc", "-O2", "-pthread", "-o", "program",
                                                         SOURCE)),
    "openmp": Stepping("./program", setup=c_build("gcc", "-O2", "-fopenmp", "-o", "program",
                                                  program("stencil.c"))),
    "xz": Compressing("xz", "-k", "-1", "-T2", "--block-size=2MiB", "large", outputs=["large.xz"]),
    "zstd": Compressing("zstd", "-q", "-9", "-T2", "large", outputs=["large.zst"]),
}


def run_program(which, moments, seed):
    def body(case):
        which.prepare(case)
        generator = random.Random(f"{seed} {case.name}")
        undisturbed, disturbed = case.file("undisturbed"), case.file("disturbed")
        os.mkdir(undisturbed)
        os.mkdir(disturbed)
        job = which.start(case, undisturbed)
        which.feed(job, undisturbed, 1)
        status = job.wait()
        expected = which.result(undisturbed)
        if status:
            raise Failed(f"the undisturbed run exits {status}: {read(undisturbed + '/out.log')}")

        job = which.start(case, disturbed)
        points = sorted(generator.uniform(0.02, 0.4) for _ in range(moments))
        for i, point in enumerate(points):
            which.feed(job, disturbed, point)
            if not isinstance(which, Reading):
                job.until(lambda: which.progress(disturbed) >= point, f"{point:.0%} of its work")
            try:
                image = job.checkpoint_kill()
            except Failed:
                if i and job.came_to_its_end():
                    break  # before it was saved once more
                raise
            job.restart(image)
            if i:
                os.unlink(previous)
            previous = image
            if job.came_to_its_end():
                break
        which.feed(job, disturbed, 1)
        status = job.wait()
        if status:
            raise Failed(f"exits {status} after {moments} restarts: "
                         f"{read(disturbed + '/out.log')[-1000:]} {read(job.process.log)}")
        got = which.result(disturbed)
        for name, content in expected.items():
            if got[name] != content:
                raise Failed(f"{name} differs from the undisturbed run (kept: {undisturbed}/{name} "
                             f"and {disturbed}/{name})")
    return body


class Redis:
    """A redis-server, asked over the loopback interface with its own protocol."""

    def __init__(self, case, folder, log="out.log"):
        need("redis-server")
        self.log = os.path.join(folder, log)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.job = Job(case, ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
                              "--dir", folder, "--enable-debug-command", "local",
                              "--save", "3600 1"], log=self.log, cwd=folder)
        self.job.until(lambda: "Ready to accept" in read(self.log), "redis to be ready")
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.stream = self.socket.makefile("rb")

    def ask(self, *words):
        return self.ask_many([words])[0]

    def ask_many(self, commands):
        self.socket.sendall(b"".join(
            b"*%d\r\n" % len(words) + b"".join(
                b"$%d\r\n%s\r\n" % (len(str(word).encode()), str(word).encode()) for word in words)
            for words in commands))
        return [self.answer() for _ in commands]

    def answer(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Failed(f"redis says {rest.decode()}")
        if kind == b"$":
            return self.stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return rest

    def fill(self):
        for start in range(0, 20000, 1000):
            self.ask_many([("set", f"key:{i}", f"value {i} " * (i % 30)) for i in
                           range(start, start + 1000)])
        self.ask_many([("hset", f"hash:{i % 50}", f"field {i}", i) for i in range(5000)])
        self.ask_many([("zadd", "ranks", i * 7 % 1000, f"member {i}") for i in range(3000)])
        self.ask_many([("lpush", "list", i) for i in range(3000)])

    def hang_up(self):
        self.stream.close()
        self.socket.close()


def redis(case):
    """Data in memory only; then no socket (CONFIG SET port 0, the client gone), checkpoint, kill,
    restart three times; SIGTERM makes it save, and a second server must load the same."""
    first = Redis(case, case.folder)
    first.fill()
    digest = first.ask("debug", "digest")
    if digest == b"0" * 40:
        raise Failed("redis is empty before the test")
    if b"OK" not in first.ask("config", "set", "port", "0"):
        raise Failed("redis does not close its port")
    first.hang_up()
    job = first.job
    job.until(lambda: not sockets(job.pid), "redis to have no socket any more")
    for _ in range(3):
        image = job.checkpoint_kill()
        if os.path.exists(case.file("dump.rdb")):
            os.unlink(case.file("dump.rdb"))
        job.restart(image)
    os.kill(job.pid, signal.SIGTERM)
    status = job.wait()
    if status:
        raise Failed(f"redis exits {status} after SIGTERM: {read(first.log)[-1000:]}")
    if not os.path.exists(case.file("dump.rdb")):
        raise Failed(f"redis saved nothing at its end: {read(first.log)[-1000:]}")
    second = Redis(case, case.folder, "second.log")
    if second.ask("debug", "digest") != digest:
        raise Failed("the data differ after the restarts")
    second.hang_up()
    os.kill(second.job.pid, signal.SIGTERM)
    second.job.wait()


def redis_listening(case):
    """With a listening socket it is refused by name, and goes on answering."""
    server = Redis(case, case.folder)
    server.fill()
    done = case.commands.run("cr_checkpoint", "-f", case.new_image(), server.job.pid, expect=None)
    if done.returncode == 0:
        raise Failed("a listening socket was not refused")
    if "socket" not in done.stderr:
        raise Failed(f"refused without naming the socket: {done.stderr}")
    if server.ask("ping") != b"PONG":
        raise Failed("redis does not answer after the refusal")
    server.hang_up()
    os.kill(server.job.pid, signal.SIGTERM)
    server.job.wait()


def sockets(pid):
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                found.append(number)
        except OSError:
            pass
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--moments", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--work")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    cases = [(name, run_program(which, options.moments, options.seed))
             for name, which in ALL.items()] + [("redis", redis),
                                                ("redis_listening", redis_listening)]
    cases = [(f"real {name}", body) for name, body in cases if not options.patterns
             or any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)]
    if options.list:
        print("\n".join(name for name, _ in cases))
        return 0

    def again(case):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, "--moments",
                           str(options.moments), "--seed", str(options.seed), case.split()[1]])
    return Report(Commands(options.build), again, options.work, options.jobs).run(cases)


if __name__ == "__main__":
    sys.exit(main())
