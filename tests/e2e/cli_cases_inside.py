"""Cases of cli_test.py: the commands inside of what is saved, and several processes."""

import os
import signal
import subprocess

from cli_targets import check, idle, looks_alive, nameless_files, saved_pids, wait_state
from harness import LIMIT, children, descendants, inside, read, status_field, until

SHELLS = [shell for shell in ("/bin/dash", "/bin/bash") if os.path.exists(shell)]


def checkpoint_line(case, *options):
    return " ".join([case.commands.path("cr_checkpoint"), *options])


def ends_with(process, code, what):
    try:
        status = process.wait(2 * LIMIT)
    except subprocess.TimeoutExpired:
        check(False, f"{what} does not end")
    check(status == code, f"{what} ends with {status}, not {code}: {read(getattr(process, 'log', ''))}")


def runs(case, text, shell="/bin/bash", log="script.log", **options):
    """A shell script in a group and session of its own; what it prints goes to a file."""
    return case.start([shell, "-c", text + "\n:"], log=log, start_new_session=True, **options)


def script_that_saves_itself(case):
    """cr_checkpoint $$ in a script: its status passes on; the restarted script goes on with 0."""
    for shell in SHELLS:
        image, log = case.new_image(), os.path.basename(shell)
        script = runs(case, f"echo before; {checkpoint_line(case, '-f', image)} $$; "
                      "echo after $?; exit 7", shell, log)
        ends_with(script, 7, f"the {shell} script")
        check(read(case.file(log)) == "before\nafter 0\n", read(case.file(log)))
        for _ in range(2):
            with open(case.file(log), "w") as file:
                file.write("before\nand more")
            ends_with(case.restart(image), 7, f"the restarted {shell} script")
            check(read(case.file(log)) == "before\nafter 0\n", read(case.file(log)))


def script_that_saves_and_ends_itself(case):
    """cr_checkpoint --term $$: the script ends by the signal and goes on when it is restarted."""
    for option, number in (("--term", signal.SIGTERM), ("--kill", signal.SIGKILL)):
        image, log = case.new_image(), f"script{option}.log"
        script = runs(case, f"{checkpoint_line(case, option, '-f', image)} $$; echo after $?; exit 7",
                      log=log)
        ends_with(script, -number, f"the script with {option}")
        check(read(case.file(log)) == "", read(case.file(log)))
        ends_with(case.restart(image), 7, "the restarted script")
        check(read(case.file(log)) == "after 0\n", read(case.file(log)))


def program_that_saves_itself_by_system(case):
    """system("cr_checkpoint OWNPID") gives 0, in the process that goes on and in the restarted."""
    image = case.new_image()
    code = ("import os, sys\n"
            f"status = os.system('{checkpoint_line(case, '-f', image)} %d' % os.getpid())\n"
            "open(sys.argv[1], 'a').write('%d\\n' % status)\n"
            "os._exit(5)\n")
    program = case.start(["/usr/bin/python3", "-c", code, case.file("said")])
    ends_with(program, 5, "the program")
    ends_with(case.restart(image), 5, "the restarted program")
    check(read(case.file("said")) == "0\n0\n", read(case.file("said")))


def failure_inside(case):
    """A checkpoint that fails is told to the script that asked for it, and harms it not."""
    script = runs(case, f"{checkpoint_line(case, '-q', '-f', case.file('no/x'))} $$; exit $?")
    ends_with(script, 2, "the script")


def killed_requester(case):
    """cr_checkpoint killed by SIGKILL: its child gives up and leaves no file."""
    target = idle(case, megabytes=16)
    os.mkdir(case.file("out"))
    process = case.start([case.commands.path("cr_checkpoint"), "--level", "19", "-f",
                          case.file("out/x"), str(target.pid)])
    until(lambda: any(nameless_files(process.pid, case.file("out"))), "writing begins")
    worker = children(process.pid)
    check(len(worker) == 1, f"its children are {worker}")
    process.kill()
    until(lambda: not os.path.exists(f"/proc/{worker[0]}"), "its child ends")
    check(os.listdir(case.file("out")) == [], f"left behind: {os.listdir(case.file('out'))}")
    looks_alive(target.pid)


def cancelled_requester(case):
    """SIGTERM to cr_checkpoint alone: the child cleans up first, then it dies of the signal."""
    target = idle(case, megabytes=16)
    os.mkdir(case.file("out"))
    process = case.start([case.commands.path("cr_checkpoint"), "--level", "19", "-f",
                          case.file("out/x"), str(target.pid)])
    until(lambda: any(nameless_files(process.pid, case.file("out"))), "writing begins")
    process.terminate()
    ends_with(process, -signal.SIGTERM, "cr_checkpoint")
    check(os.listdir(case.file("out")) == [], f"left behind: {os.listdir(case.file('out'))}")
    looks_alive(target.pid)


def family(case, **options):
    """A shell with two sleeping children, one of them in a session of its own: (process, pids)."""
    line = "sleep 1001 & setsid sleep 1002 & wait"
    shell = case.start(["/bin/bash", "-c", line], start_new_session=True, **options)

    def both():
        found = [pid for pid in children(shell.pid)
                 if read(f"/proc/{pid}/cmdline").startswith("sleep\0")]
        return found if len(found) == 2 else None
    pids = sorted(until(both, "the shell's children"),
                  key=lambda pid: read(f"/proc/{pid}/cmdline"))
    for pid in pids:
        wait_state(pid, "S")
    wait_state(shell.pid, "S")
    return shell, pids


def ids(pid):
    """(group, session) of a process."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[2]), int(fields[3])


def end(process):
    """Ends it and its descendants; their pids are free then."""
    family = [*descendants(process.pid), process.pid]
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    process.wait(LIMIT)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family), "all are gone")


def scopes(case):
    """--pid, --tree (default), --pgid, --sid."""
    shell, (sleeper, other) = family(case)
    check(saved_pids(case, "--pid", shell.pid) == [shell.pid], "--pid")
    for option in ([], ["--tree"], ["-T"]):
        saved = saved_pids(case, *option, shell.pid)
        check(saved[0] == shell.pid and sorted(saved) == sorted([shell.pid, sleeper, other]),
              f"{option}: {saved}")
    for option in ("--pgid", "--group", "-g", "--sid", "--session", "-s"):
        saved = saved_pids(case, option, shell.pid)
        check(sorted(saved) == sorted([shell.pid, sleeper]), f"{option}: {saved}")
    end(shell)


def restarted_ids(case):
    """Groups and sessions: those of cr_restart, or, if asked for, the saved ones."""
    shell, pids = family(case)
    saved = {pid: ids(pid) for pid in [shell.pid, *pids]}
    image = case.checkpoint_kill(shell, shell.pid)
    for options in ([], ["--restore-pgid"], ["--restore-pgid", "--restore-sid"]):
        process = case.restart(image, "-v", *options, start_new_session=True)


        def restarted():
            """Saved pid: pid here; init of private namespaces is none of them."""
            found = {inside(pid): pid for pid in descendants(process.pid)
                     if status_field(pid, "TracerPid") == "0"}
            return {pid: found[pid] for pid in saved} if set(saved) <= set(found) else None
        now = until(restarted, f"all are there; {descendants(process.pid)} {saved} {read(process.log)}")
        for each in saved:
            group, session = ids(now[each])
            if options:
                group = inside(now[each], "NSpgid")
                check(group == saved[each][0], f"{options}: group {group}, was {saved[each][0]}")
            else:
                check(group == process.pid, f"group {group}, not cr_restart's {process.pid}")
            wanted = process.pid
            if "--restore-sid" in options:
                session, wanted = inside(now[each], "NSsid"), saved[each][1]
            check(session == wanted, f"{options}: session {session}, not {wanted}")
        end(process)


def waits_for_the_eldest_only(case):
    """cr_restart ends with the first process; the others run on."""
    go = case.file("go")
    os.mkfifo(go)
    shell = case.start(["/bin/bash", "-c", f"sleep 1003 & read line <{go}; exit 6"])
    until(lambda: any("1003" in read(f"/proc/{pid}/cmdline") for pid in children(shell.pid)),
          "its child")
    wait_state(shell.pid, "S")
    image = case.checkpoint_kill(shell, shell.pid)
    process = case.restart(image, "--no-restore-pid")
    shell_pid = case.restarted_pid(process, "sleep 1003 &")
    sleeper = until(lambda: [pid for pid in children(shell_pid)
                             if status_field(pid, "TracerPid") == "0"], "its child")[0]
    with open(go, "w") as fifo:
        fifo.write("on\n")
    ends_with(process, 6, "cr_restart")
    wait_state(sleeper, "S")
    os.kill(sleeper, signal.SIGKILL)


def daemon(case):
    """A daemon, whose parent is init: (its pid, its image); it is killed."""
    case.start(["/bin/bash", "-c", f"setsid bash -c 'echo $$ >{case.file('pid')}; exec sleep 1004' &"]
               ).wait(LIMIT)
    pid = int(until(lambda: read(case.file("pid")).strip(), "the daemon runs"))
    until(lambda: status_field(pid, "PPid") == "1", "it is adopted by init")
    until(lambda: "1004" in read(f"/proc/{pid}/cmdline"), "it sleeps")
    wait_state(pid, "S")
    image = case.checkpoint(pid, "--kill")
    until(lambda: not os.path.exists(f"/proc/{pid}"), "it is gone")
    return pid, image


def daemon_now(pid):
    """The restarted daemon's pid here, which in private namespaces is not its own."""
    return until(lambda: next((int(each) for each in filter(str.isdigit, os.listdir("/proc"))
                               if "1004" in read(f"/proc/{each}/cmdline") and inside(each) == pid
                               and status_field(each, "TracerPid") == "0"), 0), "the daemon runs again")


def orphan(case):
    """--detach: cr_restart ends with 0 as soon as the daemon runs, and it is a child of init again."""
    pid, image = daemon(case)
    ends_with(case.restart(image, "--detach"), 0, "cr_restart")
    pid = daemon_now(pid)
    until(lambda: status_field(pid, "PPid") == "1", "it is init's again")
    wait_state(pid, "S")
    os.kill(pid, signal.SIGKILL)


def job_of_a_container(case):
    """A job whose parent was pid 1, as in a container: cr_restart waits, or the container would end with
    it, and ends as the job ends."""
    pid, image = daemon(case)
    restart = case.restart(image)
    pid = daemon_now(pid)
    until(lambda: status_field(pid, "PPid") == str(restart.pid), "it is cr_restart's child")
    wait_state(pid, "S")
    check(restart.poll() is None, f"cr_restart ended with {restart.returncode}")
    os.kill(pid, signal.SIGTERM)
    ends_with(restart, -signal.SIGTERM, "cr_restart")


def job_under_a_script(case, *options):
    """A shell that waits for cr_restart, which waits for an idle job: (shell, cr_restart's pid, the
    job's pid)."""
    target = idle(case, data=case.file("data"))
    image = case.checkpoint_kill(target, target.pid)
    line = " ".join([case.commands.path("cr_restart"), *options, image])
    script = runs(case, f"{line}; echo ended with $?; exit 4")

    def job():
        found = [pid for pid in descendants(script.pid)
                 if "kept = os.urandom" in read(f"/proc/{pid}/cmdline")
                 and status_field(pid, "TracerPid") == "0"]
        return found[0] if found else 0
    pid = until(job, "the job runs")
    wait_state(pid, "S")
    return script, int(status_field(pid, "PPid")), pid


def cr_restart_inside_a_saved_tree(case):
    """--omit-maybe: a script that waits for cr_restart is saved with it; restarted, cr_restart passes
    signals on and ends as its job ends."""
    for options in ([], ["--no-restore-pid"]):
        script, restart, job = job_under_a_script(case)
        check(saved_pids(case, script.pid) == [script.pid, restart, inside(job)], "not all of them")
        image = case.checkpoint_kill(script, script.pid)
        until(lambda: not os.path.exists(f"/proc/{job}"), "the job is gone")
        again = case.restart(image, *options)

        def job_again():
            found = [pid for pid in descendants(again.pid)
                     if "kept = os.urandom" in read(f"/proc/{pid}/cmdline")]
            alone = all(status_field(pid, "TracerPid") == "0" for pid in descendants(again.pid))
            return found[0] if found and alone else 0
        job = until(job_again, "the job runs again")
        wait_state(job, "S")
        os.kill(int(status_field(job, "PPid")), signal.SIGUSR1)
        ends_with(again, 4, "the script")
        # bash does not recognise a child with a new id.
        wanted = "ended with " if options else "ended with 5\n"
        check(read(case.file("script.log")).startswith(wanted), read(case.file("script.log")))
        os.unlink(case.file("script.log"))


def omit_rules(case):
    """--omit-maybe leaves cr_restart out if it is the target, --omit-always in any case, --omit-never
    in none; its job is saved in each."""
    for option, of_script, of_itself in (("--omit-maybe", True, False),
                                         ("--omit-always", False, False),
                                         ("--omit-never", True, True)):
        script, restart, job = job_under_a_script(case, option)
        for target, first, kept in ((script.pid, [script.pid], of_script), (restart, [], of_itself)):
            wanted = first + ([restart] if kept else []) + [inside(job)]
            saved = saved_pids(case, target)
            check(saved == wanted, f"{option}: of {target} saved are {saved}, not {wanted}")
        wait_state(job, "S")
        os.kill(job, signal.SIGUSR1)
        ends_with(script, 4, "the script")


def job_that_cr_restart_is_left_out_of(case):
    """Saved without its cr_restart, a job becomes the child of the next one."""
    script, restart, job = job_under_a_script(case)
    image = case.checkpoint(restart, "--kill")
    ends_with(script, 4, "the script")
    check(read(case.file("script.log")).endswith("ended with 137\n"), read(case.file("script.log")))
    again = case.restart(image, "--no-restore-pid")
    pid = case.restarted_pid(again, "kept = os.urandom")
    check(status_field(pid, "PPid") == str(again.pid), "it is somebody else's child")
    wait_state(pid, "S")
    again.send_signal(signal.SIGUSR1)
    ends_with(again, 5, "cr_restart")


def group_and_session_from_inside(case):
    """A script saves its own process group, its own session."""
    for option in ("--pgid", "--sid"):
        image, log = case.new_image(), f"script{option}.log"
        script = runs(case, f"sleep 1051 & {checkpoint_line(case, option, '-f', image)} $$; "
                      "echo after $?; kill $!; wait $!; exit 7", log=log)
        ends_with(script, 7, "the script")
        check(read(case.file(log)) == "after 0\n", read(case.file(log)))
        ends_with(case.restart(image), 7, "the restarted script")
        check(read(case.file(log)) == "after 0\n", read(case.file(log)))


INSIDE_CASES = [script_that_saves_itself, script_that_saves_and_ends_itself,
                program_that_saves_itself_by_system, failure_inside, killed_requester,
                cancelled_requester, scopes, group_and_session_from_inside, restarted_ids,
                waits_for_the_eldest_only, orphan, job_of_a_container]
RESTART_INSIDE_CASES = [cr_restart_inside_a_saved_tree, omit_rules,
                        job_that_cr_restart_is_left_out_of]
