"""Cases of cli_test.py: cr_run and cr_info."""

import json
import os
import re
import signal

from cli_targets import check, idle, saved_pids, wait_state
from harness import Skipped, children, inside, read, status_field, until


def run_becomes_the_program(case):
    done = case.commands.run("cr_run", "--", "/bin/sh", "-c", "echo $0 $1; exit 3", "-a", "--help",
                             expect=3)
    check(done.stdout == "-a --help\n" and done.stderr == "", f"{done.stdout!r} {done.stderr!r}")
    done = case.commands.run("cr_run", case.file("none"), expect=127)
    check(done.stderr == f"cr_run: cannot run {case.file('none')}: No such file or directory\n",
          done.stderr)
    case.commands.run("cr_run", case.folder, expect=126)


def run_preloads(case):
    """The library comes first; earlier entries of both libraries go, others stay. The last of --run
    and --omit counts."""
    before = "/none/libcr_omit.so.0 libm.so.6:libcr_run.so.0"
    for options, name in (([], "run"), (["--run"], "run"), (["--omit"], "omit"),
                          (["--omit", "--run"], "run"), (["--run", "--omit"], "omit")):
        done = case.commands.run("cr_run", *options, "/bin/sh", "-c", "echo $LD_PRELOAD",
                                 env=dict(os.environ, LD_PRELOAD=before))
        check(re.fullmatch(rf"(/\S+/)?libcr_{name}\.so\.0:libm\.so\.6\n", done.stdout),
              f"{options}: {done.stdout}")


def run_tree(case, *options):
    """A shell started by cr_run, with a child: (process, child's pid)."""
    process = case.start([case.commands.path("cr_run"), *options, "/bin/bash", "-c",
                          "sleep 1041 & wait"])
    child = until(lambda: [pid for pid in children(process.pid)
                           if read(f"/proc/{pid}/comm") == "sleep\n"], "its child")[0]
    wait_state(child, "S")
    wait_state(process.pid, "S")
    return process, child


def run_gives_support_to_all_it_starts(case):
    """--require-libcr: programs under cr_run and what they start have support, others get 52."""
    process, child = run_tree(case)
    check(saved_pids(case, "--require-libcr", process.pid) == [process.pid, child], "not both")
    image = case.checkpoint_kill(process, process.pid)
    again = case.restart(image, "--no-restore-pid")
    pid = case.restarted_pid(again, "sleep 1041 &")
    check(len(saved_pids(case, "--require-libcr", pid)) == 2, "no support after the restart")
    for plain in (idle(case).pid, case.start(["/bin/sh", "-c", case.commands.path("cr_run") +
                                              " sleep 1042 & wait"]).pid):
        until(lambda pid=plain: status_field(pid, "State").startswith("S"), "it waits")
        done = case.commands.run("cr_checkpoint", "--require-libcr", "-f", case.file("x"), plain,
                                 expect=52)
        check(str(plain) in done.stderr, f"does not name the process: {done.stderr}")
        check(done.stderr.endswith("Checkpoint failed: support missing from application\n"),
              done.stderr)
        case.commands.run("cr_checkpoint", "-f", case.file("x"), plain)


def run_script_that_saves_itself(case):
    """The commands inside of what cr_run started: cr_checkpoint has support itself, and cr_restart
    keeps its omit rule."""
    image, job = case.new_image(), case.new_image()
    target = idle(case, data=case.file("data"))
    case.commands.run("cr_checkpoint", "--kill", "-f", job, target.pid)
    target.wait()
    line = (f"{case.commands.path('cr_checkpoint')} --require-libcr -f {image} $$ || exit; "
            f"{case.commands.path('cr_restart')} {job}; exit 4")
    script = case.start([case.commands.path("cr_run"), "/bin/bash", "-c", line])
    for process in (script, None):
        process = process or case.restart(image)
        pid = case.restarted_pid(process, "kept = os.urandom")
        restart = int(status_field(pid, "PPid"))
        check(saved_pids(case, restart) == [inside(pid)], "cr_restart is not left out")
        wait_state(pid, "S")
        os.kill(pid, signal.SIGUSR1)
        check(process.wait(60) == 4, f"ended with {process.returncode}: {read(case.file('out.log'))}")


def run_omit_is_left_out(case):
    """--omit: left out when those around it are saved, with what it starts; alone it is 3."""
    line = f"{case.commands.path('cr_run')} --omit sleep 1043 & sleep 1044"
    shell = case.start(["/bin/bash", "-c", line])
    until(lambda: len(children(shell.pid)) == 2 and all(
        read(f"/proc/{pid}/comm") == "sleep\n" for pid in children(shell.pid)), "both sleep")
    both = {read(f"/proc/{pid}/cmdline")[6:10]: pid for pid in children(shell.pid)}
    wait_state(both["1043"], "S")
    check(saved_pids(case, shell.pid) == [shell.pid, both["1044"]], "others than these two")
    done = case.commands.run("cr_checkpoint", "-f", case.file("x"), both["1043"], expect=3)
    check(done.stderr.endswith("no processes checkpointed\n"), done.stderr)


def run_userns(case):
    """--userns: the same user and group in a namespace of its own; can be saved and restarted."""
    line = ["--userns", "/usr/bin/id", "-u"]
    done = case.commands.run("cr_run", *line, expect=None)
    if done.returncode == 1 and "user namespace" in done.stderr:
        raise Skipped(done.stderr.strip())
    check(done.stdout == f"{os.geteuid()}\n", f"{done}")
    process, child = run_tree(case, "--userns")
    check(os.readlink(f"/proc/{child}/ns/user") != os.readlink("/proc/self/ns/user"), "no namespace")
    if os.geteuid() == 0:  # root is powerful in its namespace: restarted without, it would not be
        case.commands.run("cr_checkpoint", "-f", case.file("x"), process.pid, expect=95)
        return
    check(saved_pids(case, process.pid) == [process.pid, child], "not both")
    image = case.checkpoint_kill(process, process.pid)
    again = case.restart(image, "--no-restore-pid")
    pid = case.restarted_pid(again, "sleep 1041 &")
    check(len(saved_pids(case, pid)) == 2, "cannot be saved again")


def info_views(case):
    target = idle(case)
    image = case.checkpoint(target.pid)
    text = case.commands.run("cr_info", image).stdout
    check(str(target.pid) in text and "python3" in text, f"--text: {text[:300]}")
    model = json.loads(case.commands.run("cr_info", "--json", "--verify", image).stdout)
    check(model["processes"][0]["pid"] == target.pid, "--json: another pid")
    stacks = case.commands.run("cr_info", "--backtrace", image)
    check(re.search(r"#0 .*(nanosleep|select)", stacks.stdout), f"--backtrace: {stacks.stdout}")
    check(re.search(r"#\d+ .*_start\+", stacks.stdout), f"not to its outermost: {stacks.stdout}")
    checked = case.commands.run("cr_info", "--verify", image)
    check("every checksum is right" in checked.stdout, checked.stdout)


def info_several_processes(case):
    """Every process, zombies, and what each has of libcr."""
    code = ("import os, sys, time\n"
            "if os.fork() == 0: os._exit(3)\n"
            "os.spawnl(os.P_NOWAIT, sys.argv[1], 'cr_run', 'sleep', '1061')\n"
            "while True: time.sleep(1000)\n")
    parent = case.start(["/usr/bin/python3", "-c", code, case.commands.path("cr_run")])

    def both():
        states = {status_field(pid, "State")[:1]: read(f"/proc/{pid}/comm")
                  for pid in children(parent.pid)}
        return states.keys() == {"S", "Z"} and states["S"] == "sleep\n"
    until(both, "a child and a zombie")
    wait_state(parent.pid, "S")
    image = case.checkpoint(parent.pid)
    text = case.commands.run("cr_info", image).stdout
    check(re.search(rf"process {parent.pid}: 2 processes, 2 threads", text), text[:400])
    check(len(re.findall(r"^Process \d+ (python3|sleep)$", text, re.M)) == 2, text)
    check(re.search(rf"^Zombie \d+ python3: exited with 3; process {parent.pid} has not waited for it$",
                    text, re.M), text)
    check(len(re.findall(r"^  libcr +libcr_run$", text, re.M)) == 1, text)
    model = json.loads(case.commands.run("cr_info", "--json", image).stdout)
    check(len(model["processes"]) == 2 and len(model["zombies"]) == 1, "--json")
    stacks = case.commands.run("cr_info", "--backtrace", image).stdout
    check(len(re.findall(r"^process \d+ \((python3|sleep)\)$", stacks, re.M)) == 2, stacks)


def info_bad_files(case):
    target = idle(case, megabytes=1)
    image = case.checkpoint(target.pid)
    whole = open(image, "rb").read()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x10
    for name, content, code in (("damaged", damaged, 5), ("cut", whole[:-9], 5), ("empty", b"", 5),
                                ("foreign", b"hello" * 1000, 22)):
        path = case.file(name)
        with open(path, "wb") as file:
            file.write(content)
        done = case.commands.run("cr_info", "--verify", path, expect=code)
        check(done.stdout == "" and done.stderr.startswith(f"cr_info: {path}: "),
              f"{name}: {done.stdout!r} {done.stderr!r}")
    case.commands.run("cr_info", case.file("none"), expect=2)
    case.commands.run("cr_info", case.folder, expect=21)


RUN_CASES = [run_becomes_the_program, run_preloads, run_gives_support_to_all_it_starts,
             run_script_that_saves_itself, run_omit_is_left_out, run_userns]
INFO_CASES = [info_views, info_several_processes, info_bad_files]
