#!/usr/bin/python3
"""Who may checkpoint whom under Yama, the kernel's limit on tracing: every way in that docs/man and the
refusals promise, and each refusal with the text that tells those ways.

  yama_cases.py --build BUILD [--images FOLDER] [--list] [PATTERN]...

Runs what fits kernel.yama.ptrace_scope of this kernel and who calls it; needs a kernel with Yama
(scripts/test-kernels boots such). With --images, images that cases at scope 1 leave in FOLDER are restarted by
cases at the higher scopes, where nobody could make them. A line a case, as tests/e2e/run.py has it."""

import argparse
import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, "e2e"))

from harness import (LIMIT, Case, Commands, Failed, Report, Skipped, adopt_orphans, descendants,  # noqa: E402
                     differences, look, read, said, status_field, until)
from run import Fixture  # noqa: E402

SCOPE_FILE = "/proc/sys/kernel/yama/ptrace_scope"
EPERM = 1
WAYS_OUT = {
    1: ["kernel.yama.ptrace_scope = 1", "cr_run PROGRAM", "link them with libcr", "exec cr_checkpoint PID",
        "in the shell that started it", "sudo sysctl kernel.yama.ptrace_scope=0"],
    2: ["kernel.yama.ptrace_scope = 2", "cr_run --userns", "as root"],
    3: ["kernel.yama.ptrace_scope = 3", "until the next boot"],
}


def plain(case, name):
    """A fixture as it was built: scripts/test-kernels may have put one that cr_run starts in its place."""
    for folder in ("tests/plain", "tests/fixtures", "tests/kernels"):
        path = os.path.join(case.commands.build, folder, name)
        if os.path.exists(path):
            return path
    raise Skipped(f"{name} is not built")


def started_by(case, name, *prefix):
    """The path of a program that is the fixture, started by `prefix`."""
    path = case.file(f"start.{name}")
    with open(path, "w") as script:
        script.write(f"#!/bin/sh\nexec {shlex.join([*prefix, plain(case, name)])} \"$@\"\n")
    os.chmod(path, 0o755)
    return path


def fixture(case, name, *prefix):
    return Fixture(case, started_by(case, name, *prefix))


def cr_run(case, *options):
    return [case.commands.path("cr_run"), *options]


def saved_processes(case, image):
    return len(json.loads(case.commands.run("cr_info", "--json", image).stdout)["processes"])


def saved_and_restored(case, name, *prefix):
    """Checkpointed and unharmed; then killed by a checkpoint and restarted; what was restored is saved once
    more, killed, and restarted: with every process that it has forked."""
    subject = fixture(case, name, *prefix)
    before, family = look(subject.pid), descendants(subject.pid)
    image = subject.checkpoint()
    changed = differences(before, look(subject.pid))
    if changed:
        raise Failed("changed by the checkpoint: " + "; ".join(changed))
    saved = saved_processes(case, image)
    if saved != 1 + len(family):
        raise Failed(f"{saved} processes are saved, not {1 + len(family)}")
    for _ in range(2):
        image = subject.checkpoint_kill()
        subject.restart(image)
    subject.go()


def refused(case, name, *prefix, scope):
    """Refused by name, before anything was touched, with the ways out; it runs on."""
    subject = fixture(case, name, *prefix)
    before, image = look(subject.pid), case.new_image()
    done = case.commands.run("cr_checkpoint", "-f", image, subject.pid, expect=None)
    said_now = " ".join(done.stderr.split())
    if done.returncode != EPERM:
        raise Failed(f"cr_checkpoint exits {done.returncode}, not {EPERM}: {said_now}")
    words = [f"cannot attach to process {subject.pid}", *WAYS_OUT[scope]]
    missing = [word for word in words if word.replace("PID", str(subject.pid)) not in said_now]
    if missing:
        raise Failed(f"refused without the words {missing}: {said_now}")
    changed = differences(before, look(subject.pid))
    if changed or os.path.exists(image):
        raise Failed(f"the refusal left an image or changed something: {changed}")
    subject.go()


def case_scope1_linked_with_libcr(case):
    saved_and_restored(case, "tree_child_linked")


def case_scope1_linked_statically(case):
    saved_and_restored(case, "tree_child_static")


def case_scope1_started_by_cr_run(case):
    saved_and_restored(case, "tree_child", *cr_run(case))


def case_scope1_what_it_forks_execs(case):
    saved_and_restored(case, "tree_exec", *cr_run(case))


def case_scope1_what_it_forks_has_threads(case):
    saved_and_restored(case, "tree_threads", *cr_run(case))


SPAWNER = """
import os, subprocess, sys, time
one = subprocess.Popen(["/bin/sleep", "1000"])  # by vfork
two = subprocess.Popen("sleep 1000 | cat; exit 3", shell=True)
if os.fork() == 0:
    time.sleep(1000)
while len(os.listdir("/proc/self/task")) and not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


def case_scope1_what_it_starts_by_vfork_and_shells(case):
    end = case.file("end")
    process = case.start([*cr_run(case), "/usr/bin/python3", "-c", SPAWNER, end])
    names = ["cat", "python3", "sh", "sleep", "sleep"]

    def family():
        return sorted(read(f"/proc/{pid}/comm").strip() for pid in descendants(process.pid))
    until(lambda: family() == names, f"its children {names}")
    image = case.checkpoint(process.pid)
    if saved_processes(case, image) != 6:
        raise Failed(f"{saved_processes(case, image)} processes are saved, not 6")
    if family() != names:
        raise Failed(f"afterwards it has the children {family()}")


STATIC_BY_VFORK = """
import subprocess
subprocess.Popen(["/bin/busybox", "sleep", "1000"]).wait()
"""


def static_child(case, *options):
    """What cr_checkpoint --check says of a program that has started a static one by vfork."""
    process = case.start([*cr_run(case, *options), "/usr/bin/python3", "-c", STATIC_BY_VFORK])
    until(lambda: any(read(f"/proc/{pid}/comm") == "busybox\n" for pid in descendants(process.pid)),
          "its static child")
    return case.commands.run("cr_checkpoint", "--check", process.pid, expect=None)


def case_scope1_static_program_started_by_vfork_is_refused(case):
    """Nothing of ours ever runs in it: docs/limits.md."""
    done = static_child(case)
    if done.returncode != EPERM or WAYS_OUT[1][0] not in done.stdout + done.stderr:
        raise Failed(f"cr_checkpoint --check exits {done.returncode}: {done.stdout}{done.stderr}")


def case_scope1_static_program_in_userns(case):
    done = static_child(case, "--userns")
    if done.returncode != 0:
        raise Failed(f"cr_checkpoint --check exits {done.returncode}: {done.stdout}{done.stderr}")


def case_scope1_arbitrary_program_is_refused(case):
    refused(case, "tree_child", scope=1)


def case_scope1_arbitrary_program_out_of_its_shell(case):
    """What the refusal advises: `exec cr_checkpoint PID` in the shell that started it."""
    folder, image = case.file("at"), case.new_image()
    os.mkdir(folder)
    os.mkfifo(os.path.join(folder, "gate"))
    script = ('"$0" "$1" & pid=$!; until grep -q ready "$1/status" 2>/dev/null; do sleep 0.1; done; '
              'exec "$2" --kill -f "$3" $pid')
    shell = case.start(["/bin/sh", "-c", script, plain(case, "tree_child"), folder,
                        case.commands.path("cr_checkpoint"), image], log="shell.log")
    if shell.wait(2 * LIMIT) != 0 or not os.path.exists(image):
        raise Failed(f"cr_checkpoint in place of the shell exits {shell.returncode}: "
                     f"{read(case.file('shell.log'))}")


def case_scope2_started_by_cr_run_userns(case):
    saved_and_restored(case, "tree_child", *cr_run(case, "--userns"))


def case_scope1_started_by_cr_run_userns(case):
    saved_and_restored(case, "tree_child", *cr_run(case, "--userns"))


def case_scope2_started_by_cr_run_is_refused(case):
    refused(case, "tree_child", *cr_run(case), scope=2)


def case_scope2_linked_with_libcr_is_refused(case):
    refused(case, "tree_child_linked", scope=2)


def case_scope2_arbitrary_program_is_refused(case):
    refused(case, "thread_many", scope=2)


def case_scope3_arbitrary_program_is_refused(case):
    refused(case, "thread_many", scope=3)


def case_scope3_linked_with_libcr_is_refused(case):
    refused(case, "tree_child_linked", scope=3)


def case_scope3_started_by_cr_run_userns_is_refused(case):
    refused(case, "tree_child", *cr_run(case, "--userns"), scope=3)


def case_scope1_leaves_an_image(case):
    process = case.start([*cr_run(case), "/bin/sh", "-c", "sleep 100000 & wait"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: any(read(f"/proc/{pid}/comm") == "sleep\n" for pid in descendants(process.pid)),
          "a shell's child")
    image = case.checkpoint_kill(process, process.pid)
    if case.kept:
        shutil.copy(image, os.path.join(case.kept, "shell"))


def old_image(case):
    """The image of a shell and its child, made at scope 1."""
    image = os.path.join(case.kept or "/nowhere", "shell")
    if not os.path.exists(image):
        raise Skipped("no image of scope 1 is there (--images)")
    return image


def case_scope2_restart_takes_namespaces(case):
    process = case.restart(old_image(case))

    def restored():
        if process.poll() is not None:
            raise Failed(f"cr_restart exits {process.returncode}: {said(process)}")
        # Ahead of the shell is the first process of the namespaces.
        shell = [pid for pid in descendants(process.pid) if status_field(pid, "Name") == "sh"]
        family = shell + descendants(shell[0]) if len(shell) == 1 else []
        named = [status_field(pid, "Name") for pid in family] == ["sh", "sleep"]
        return named and all(status_field(pid, "TracerPid") == "0" for pid in family) and shell
    (top,) = until(restored, f"the restored shell and its child; cr_restart said: {said(process)}")
    again = case.checkpoint(top)
    if saved_processes(case, again) != 2:
        raise Failed("what was restored is not saved with its child")


def case_scope2_restart_without_namespaces_is_refused(case):
    refused_restart(case, 2, "--no-restore-pid")


def case_scope3_restart_is_refused(case):
    refused_restart(case, 3, "--no-restore-pid")


def refused_restart(case, scope, *options):
    process = case.restart(old_image(case), *options)
    try:
        status = process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        raise Failed(f"cr_restart does not end: {said(process)}") from None
    if status != EPERM or f"kernel.yama.ptrace_scope = {scope}" not in said(process):
        raise Failed(f"cr_restart exits {status}: {said(process)}")
    if descendants(process.pid):
        raise Failed("something of the refused restart is left")


def cases_of(scope, root):
    """Root is stopped by scope 3 alone; the cases of lower scopes are about an ordinary user."""
    for name, function in list(globals().items()):
        if name.startswith(f"case_scope{scope}_") and (not root or scope == 3):
            yield "yama" + (" root " if root else " ") + name[5:], function


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--images", metavar="FOLDER")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    scope = int(read(SCOPE_FILE, "0"))
    adopt_orphans()
    if options.images:
        os.makedirs(options.images, exist_ok=True)

    def bound(function):
        def body(case: Case):
            case.kept = options.images
            function(case)
        return body
    cases = [(name, bound(function)) for name, function in cases_of(scope, os.geteuid() == 0)
             if not options.patterns or any(fnmatch.fnmatch(name, p) for p in options.patterns)]
    if options.list:
        print("\n".join(name for name, _ in cases))
        return 0
    if not cases:
        print(f"SKIP yama: nothing to be shown at scope {scope}\n0 passed, 0 failed, 1 skipped")
        return 0

    def again(case):
        return shlex.join([os.path.abspath(__file__), "--build", options.build, case])
    # One at a time: two who walk the pid counter take each other's ids.
    return Report(Commands(os.path.abspath(options.build)), again, jobs=1).run(cases)


if __name__ == "__main__":
    sys.exit(main())
