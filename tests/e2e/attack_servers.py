"""Attacks on and by trees of several users, which only root's image can have."""

import os
import tempfile

from attack_jobs import ALICE, has_rights_of, log_of
from cli_targets import check
from harness import Skipped, read, said, status_field, until

SERVER = """
import os, sys, time
log = open(sys.argv[2], "a+")
log.write("x\\n")
log.flush()
if sys.argv[3] == "given":
    os.chown(sys.argv[2], 1001, 1001)
if os.fork() == 0:
    os.setgroups([])
    os.setresgid(1001, 1001, 1001)
    os.setresuid(1001, 1001, 1001)
    print("ready", flush=True)
time.sleep(1000)
"""


def saved_server(case, log, given):
    """The image, of root's, of a server whose worker is ALICE's and holds its log."""
    if os.geteuid() != 0:
        raise Skipped("only root can play several users")
    os.chmod(case.folder, 0o755)
    program = case.start(["/usr/bin/python3", "-c", SERVER, case.name, log, given],
                         log=log_of(case, ALICE), cwd="/")
    until(lambda: read(case.file("program.log")), "the program is ready")
    image = case.file("image")
    case.commands.run("cr_checkpoint", "--kill", "-f", image, program.pid)
    program.wait(30)
    return image


def server_is_back(case, image):
    restart = case.restart(image)
    pid = case.restarted_pid(restart, case.name)
    children = until(lambda: read(f"/proc/{pid}/task/{pid}/children").split(), "the worker is there")
    has_rights_of(int(children[0]), ALICE)
    check(status_field(pid, "Uid").split() == ["0"] * 4, said(restart))


def several_users(case):
    """A tree of several users: only out of an image of root's, files with the rights of the least."""
    home = case.file("home")
    os.mkdir(home)
    os.chown(home, ALICE, ALICE)
    image = saved_server(case, f"{home}/log", "given")
    secret = case.file("secret")
    with open(secret, "w") as file:
        file.write("precious" * 10)
    os.chmod(secret, 0o600)

    os.rename(f"{home}/log", f"{home}/kept")
    os.symlink(secret, f"{home}/log")
    done = case.commands.run("cr_restart", image, expect=None)
    check(done.returncode > 0 and "Permission denied" in done.stderr, done.stderr)
    check(read(secret) == "precious" * 10, "root's file was changed")
    os.rename(f"{home}/kept", f"{home}/log")

    os.chown(image, ALICE, ALICE)
    done = case.commands.run("cr_restart", image, expect=1)
    check("user ids" in done.stderr, done.stderr)
    os.chown(image, 0, 0)
    server_is_back(case, image)


def roots_log(case):
    """A worker's log that only root may open comes back from a folder that is root's alone, and from
    no other: there somebody could have put another file in its place."""
    if os.geteuid() != 0:
        raise Skipped("only root can play several users")
    with tempfile.TemporaryDirectory(dir="/run") as alone:
        os.chmod(alone, 0o755)
        image = saved_server(case, f"{alone}/log", "kept")
        os.chmod(f"{alone}/log", 0o600)
        os.chmod(alone, 0o777)
        done = case.commands.run("cr_restart", image, expect=13)
        check("Permission denied" in done.stderr, done.stderr)
        os.chmod(alone, 0o755)
        server_is_back(case, image)


CASES = [several_users, roots_log]
