"""Seeds of the fuzz targets: golden files, random images, what this machine's /proc shows, the rows of the
tables of options. Small, so that a fuzzer gets through many; made anew, so that none is kept here."""

import glob
import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
CLI = os.path.join(HERE, "..", "..", "src", "cli")
LARGEST = 12288
PROCESSES = 6

# What not every machine has, as proc(5) shows it.
EXAMPLES = {
    "timers": ["ID: 1\nsignal: 34/00007ffc0000004d\nnotify: signal/tid.4711\nClockID: 0\n"
               "ID: 0\nsignal: 10/0000000000000000\nnotify: none/pid.4711\nClockID: -6\n"],
    "time_offsets": ["monotonic     172800         0\nboottime      604800 500000000\n", "monotonic -5 999999999\n"],
    "syscall": ["running\n", "-1 0x7ffd0c9bd8b8 0x7f4e8f2c3a47\n",
                "0 0x0 0x5602ea2f6f40 0x1000 0x0 0x22 0x7f4e8f3b8ac0 0x7ffd0c9bd8b8 0x7f4e8f2c3a47\n"],
    "maps": ["7f0000000000-7f0000001000 rw-s 00000000 00:01 2048   /a\\012b (deleted)\n"],
    "fdinfo": ["pos:\t0\nflags:\t02\nmnt_id:\t9\nino:\t63107\ntfd:        5 events:       1d data: ffffffffffffffff "
               " pos:0 ino:61af sdev:7\n",
               "pos:\t0\nflags:\t02000000\nmnt_id:\t9\ninotify wd:2 ino:7ef82a sdev:800001 mask:800afff "
               "ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:2af87e00220ffd73\n",
               "pos:\t0\nflags:\t02004002\nclockid: 0\nticks: 0\nsettime flags: 03\nit_value: (0, 49406829)\n"
               "it_interval: (1, 0)\n",
               "pos:\t0\nflags:\t02\neventfd-count:               5a\neventfd-id: 1\neventfd-semaphore: 1\n",
               "pos:\t0\nflags:\t02\nsigmask:\t0000000000000200\n", "flags:\t02\nPid:\t4711\nNSpid:\t4711\n",
               "pos:\t0\nflags:\t0100002\nlock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF\n"
               "lock:\t2: OFDLCK ADVISORY  READ -1 00:13:11691 5 9\n"],
    "status": ["Name:\ta\\nb\nUmask:\t0022\nState:\tt (tracing stop)\nPid:\t7\nGroups:\t4 24 \n"
               "NSpid:\t7\t1\nNSpgid:\t7\t1\nNSsid:\t7\t0\nx86_Thread_features:\tshstk wrss \n"],
    "stat": ["7 (a) R 1 (b) T 1 7 7 34816 7 4194304 1 0 0 0 0 0 0 0 20 -5 1 0 99 8 9 18446744073709551615 "
             "94 95 140 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 96 97 98 141 142 142 143 256\n"]}
# Which file of a process each parser reads.
FILES = {"exit": "stat", "fdinfo": "fdinfo/*", "inner_ids": "status", "limits": "limits", "maps": "maps",
         "smaps": "smaps", "stat": "stat", "status": "status", "syscall": "task/*/syscall",
         "time_offsets": "timens_offsets", "timers": "timers"}
OTHERS = {"exit": "stat", "inner_ids": "status", "smaps": "maps"}  # take the same examples

RELOCATIONS = ["/old=/new\n/old/file", "/=/new\n/file", "/a\\=b=/c\\\\d\n/a=b/x", "/a/=/b//\n/b=/c\n/a/b", "/a=/a\n/a",
               "/old=/\n/old", "nothing\n=\n/=\n"]


def write(folder, number, content):
    with open(os.path.join(folder, f"{number:04}"), "wb") as file:
        file.write(content)


def proc_texts():
    pids = sorted(filter(str.isdigit, os.listdir("/proc")), key=int)
    for parser, pattern in FILES.items():
        yield from ((parser, text.encode()) for text in EXAMPLES.get(OTHERS.get(parser, parser), []))
        for pid in ["self"] + pids[:PROCESSES]:
            for path in sorted(glob.glob(f"/proc/{pid}/{pattern}"))[:4]:
                try:
                    with open(path, "rb") as file:
                        yield parser, file.read(LARGEST)
                except OSError:
                    continue  # it has ended, or is not ours to look at


def option_lines():
    values = {"N": "10", "SEC": "1.5", "FD": "4", "HOW": "none", "OLD=NEW": "/a=/b"}
    for command in ("checkpoint", "restart", "run", "info"):
        with open(os.path.join(CLI, f"{command}_options.cc"), encoding="utf-8") as file:
            rows = re.findall(r'\{\s*"([^"]*)",\s*"([^"]*)",\s*"([^"]*)"', file.read())
        for shorts, longs, argument in rows:
            value = values.get(argument, "x")
            for long in filter(None, longs.split("|")):
                words = [f"--{long}={value}" if argument else f"--{long}", "4711"]
                yield [f"cr_{command}", *words]
            for short in shorts:
                yield [f"cr_{command}", f"-{short}", *([value] if argument else []), "4711"]
    yield ["preload", "/lib/libcr_run.so.0:x.so", "libcr_omit.so.0 y.so"]


def images(name, folder, program):
    for kind in ("image", "manifest"):
        os.makedirs(os.path.join(folder, kind), exist_ok=True)
    subprocess.run([program, folder], check=True)
    if name == "image":
        for path in glob.glob(os.path.join(HERE, "golden", "*[!n]")):
            shutil.copy(path, os.path.join(folder, "image"))


def make(name, folder, program):
    """The folder of seeds below `folder` for the target `name`. `program`: fuzz-seeds."""
    begin = os.path.join(folder, name)
    os.makedirs(begin, exist_ok=True)
    if name in ("image", "manifest"):
        images(name, folder, program)
    elif name == "proc":
        for number, (parser, text) in enumerate(proc_texts()):
            write(begin, number, parser.encode() + b"\n" + text)
    elif name == "options":
        for number, words in enumerate(option_lines()):
            write(begin, number, "\0".join(words).encode())
    elif name == "relocation":
        for number, text in enumerate(RELOCATIONS):
            write(begin, number, text.encode())
    else:
        raise SystemExit(f"no seeds for {name}: add them to seeds.py")
    return begin
