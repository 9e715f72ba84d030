#!/usr/bin/python3
"""Measures and prints JSON: the pause that a program sees, the whole checkpoint, the restart to its
first instruction, and the size of the image, for a small counter and for 1 GiB of text, random bytes
and zeros, each next to limits measured in the same run: a copy of the memory, `zstd -1 -T0` of the same
bytes, and a write of them to the same disk. It judges nothing.

  bench.py --build BUILD [--mebibytes 1024] [--repeat 3] [--folder DIR]"""

import argparse
import json
import mmap
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

PAGE = struct.Struct("=4q")  # count, longest_ns, resumed_ns, ready


def milliseconds(seconds):
    return round(seconds * 1000, 2)


class Subject:
    """The program of subject.c, running or restarted."""

    def __init__(self, bench, kind, mebibytes):
        self.bench = bench
        self.path = os.path.join(bench.folder, "page")
        with open(self.path, "wb") as file:
            file.write(bytes(4096))
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 4096)
        self.process = subprocess.Popen([bench.subject, self.path, kind, str(mebibytes)],
                                        stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        self.until(lambda: self.look()[3] and self.look()[0] > 20)

    def look(self):
        return PAGE.unpack_from(self.page)

    def until(self, condition):
        limit = time.monotonic() + 120
        while not condition():
            if self.process.poll() is not None:
                sys.exit(f"the subject or cr_restart ended with {self.process.returncode}")
            if time.monotonic() > limit:
                sys.exit("waited in vain for the subject")
            time.sleep(0.0005)

    def forget(self):
        """Starts measuring hold-ups anew."""
        struct.pack_into("=2q", self.page, 8, 0, 0)

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()


class Bench:
    def __init__(self, options):
        self.build = os.path.abspath(options.build)
        self.folder = tempfile.mkdtemp(prefix="stasis-bench-", dir=options.folder)
        self.subject = os.path.join(self.build, "tests/bench/bench-subject")
        self.repeat = options.repeat

    def command(self, name):
        return os.path.join(self.build, "src/cli", name)

    def once(self, kind, mebibytes, options):
        subject = Subject(self, kind, mebibytes)
        image = os.path.join(self.folder, "image")
        subject.forget()
        start = time.monotonic()
        subprocess.run([self.command("cr_checkpoint"), *options, "-f", image, str(subject.pid)],
                       stdin=subprocess.DEVNULL, check=True)
        whole = time.monotonic() - start
        count = subject.look()[0]
        subject.until(lambda: subject.look()[0] > count + 5)
        pause = subject.look()[1] / 1e9
        subject.end()
        subject.forget()
        begin = time.monotonic()
        subject.process = subprocess.Popen([self.command("cr_restart"), image],
                                           stdin=subprocess.DEVNULL)
        subject.until(lambda: subject.look()[2] > begin * 1e9)
        restart = subject.look()[2] / 1e9 - begin
        subject.end()
        size = os.path.getsize(image)
        os.unlink(image)
        return {"pause_ms": pause, "checkpoint_ms": whole, "restart_ms": restart, "bytes": size}

    def measure(self, kind, mebibytes, options, repeat):
        runs = [self.once(kind, mebibytes, options) for _ in range(repeat)]
        result = {}
        for key in ("pause_ms", "checkpoint_ms", "restart_ms"):
            values = [run[key] for run in runs]
            result[key] = {"median": milliseconds(statistics.median(values)),
                           "best": milliseconds(min(values)), "worst": milliseconds(max(values))}
        result["image_bytes"] = runs[-1]["bytes"]
        return result

    def limits(self, kind, mebibytes):
        """What the machine itself takes for the same bytes, now."""
        copy = subprocess.run([self.subject, "--copy", kind, str(mebibytes)], check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        plain = os.path.join(self.folder, "plain")
        with open(plain, "wb") as file:
            subprocess.run([self.subject, "--dump", kind, str(mebibytes)], check=True,
                           stdin=subprocess.DEVNULL, stdout=file)
        packed = os.path.join(self.folder, "packed")
        start = time.monotonic()
        subprocess.run(["zstd", "-q", "-1", "-T0", "-f", plain, "-o", packed], check=True,
                       stdin=subprocess.DEVNULL)
        zstd = time.monotonic() - start
        written = os.path.join(self.folder, "written")
        with open(plain, "rb") as source, open(written, "wb", buffering=0) as file:
            content = mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ)
            start = time.monotonic()
            for offset in range(0, len(content), 1 << 20):
                file.write(content[offset:offset + (1 << 20)])
            os.fsync(file.fileno())
            write = time.monotonic() - start
        result = {"memory_copy_ms": milliseconds(float(copy.stdout)),
                  "zstd_1_T0_ms": milliseconds(zstd), "zstd_1_T0_bytes": os.path.getsize(packed),
                  "write_and_sync_ms": milliseconds(write)}
        for path in (plain, packed, written):
            os.unlink(path)
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", help="on the disk to be measured; default: the temporary one")
    options = parser.parse_args()
    bench = Bench(options)
    result = {"machine": {"kernel": os.uname().release, "processors": os.cpu_count(),
                          "load_before": os.getloadavg()[0], "user_id": os.geteuid()}}
    result["counter"] = {name: bench.measure("zeros", 0, how, 10 * options.repeat)
                         for name, how in (("synced", []), ("not_synced", ["--nosync"]))}
    for kind in ("text", "random", "zeros"):
        result[f"{options.mebibytes}_MiB_{kind}"] = {
            "zstd": bench.measure(kind, options.mebibytes, ["--nosync"], options.repeat),
            "raw": bench.measure(kind, options.mebibytes, ["--nosync", "--compress=none"],
                                 options.repeat),
            "limits": bench.limits(kind, options.mebibytes)}
    os.unlink(os.path.join(bench.folder, "page"))
    os.rmdir(bench.folder)
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
