"""Cases about programs that are not linked with libcr in the usual way: preloaded by cr_run, linked with
a stub, static, loading the library by dlopen(). The subjects are echo.c and loads.c."""

import os
import signal

from harness import LIMIT, Failed, Skipped, descendants, read, said, status_field, until, walking

ENOSUPPORT, ESRCH = 52, 3


class Subject:
    """An echo program with its two fifos."""

    def __init__(self, case, line):
        self.case = case
        self.folder = case.file("at")
        os.mkdir(self.folder)
        for name in ("down", "up"):
            os.mkfifo(os.path.join(self.folder, name))
        self.down, self.up = (os.open(os.path.join(self.folder, name), os.O_RDWR | os.O_NONBLOCK)
                              for name in ("down", "up"))
        case.descriptors += [self.down, self.up]
        self.process = case.start(line, cwd=self.folder)
        self.process.log = case.file("out.log")
        self.pid = self.process.pid
        self.expect("r")

    def expect(self, word):
        def heard():
            try:
                return os.read(self.up, 1)
            except BlockingIOError:
                if self.process.poll() is not None:
                    raise Failed(f"ended with {self.process.returncode}: {said(self.process)}") from None
                return b""
        got = until(heard, f"the letter {word} ({said(self.process)})").decode()
        if got != word:
            raise Failed(f"it says {got}, not {word}")

    def say(self, word, answer=None):
        os.write(self.down, word.encode())
        if word != "q":
            self.expect(answer or word)

    def checkpoint(self, *options, expect=0):
        image = self.case.new_image()
        done = self.case.commands.run("cr_checkpoint", "-p", "-f", image, *options, self.pid, expect=None)
        if done.returncode != expect:
            raise Failed(f"cr_checkpoint {' '.join(options)} exits {done.returncode}, not {expect}: "
                         f"{done.stderr.strip()}")
        if os.path.exists(image) != (expect == 0):
            raise Failed(f"exit {expect}, and the image is {'there' if os.path.exists(image) else 'missing'}")
        return done.stderr if expect else image

    def kill_and_restart(self):
        name = read(f"/proc/{self.pid}/comm")
        image = self.checkpoint("--kill")
        if self.process.wait(LIMIT) != -signal.SIGKILL:
            raise Failed(f"ended with {self.process.returncode}, not by --kill")
        with walking:
            self.process = self.case.restart(image, cwd=self.folder)

            def settled():
                return [pid for pid in descendants(self.process.pid) if status_field(pid, "TracerPid") == "0"
                        and read(f"/proc/{pid}/comm") == name] or self.process.poll() is not None
            found = until(settled, "a restarted process")
            # In namespaces of its own it has another pid for us.
            self.pid = found[0] if isinstance(found, list) else self.pid

    def end(self):
        self.say("q")
        if self.process.wait(LIMIT) != 0:
            raise Failed(f"ended with {self.process.returncode}: {said(self.process)}")


def program(case, name):
    path = os.path.join(case.commands.build, "tests/compat", name)
    if not os.path.exists(path):
        raise Skipped(f"{name} is not built")
    return path


def cr_run(case, *options):
    return [case.commands.path("cr_run"), *options]


def saved_and_restarted(subject):
    subject.checkpoint("--require-libcr")
    subject.say("a")
    subject.kill_and_restart()
    subject.say("b")
    subject.checkpoint("--require-libcr")
    subject.say("c")
    subject.end()


def left_out(subject):
    text = subject.checkpoint("--kill", expect=ESRCH)
    if "no processes checkpointed" not in text:
        raise Failed(f"the message is: {text}")
    subject.say("a")
    subject.end()


def case_plain_program_is_saved(case, run):
    subject = Subject(case, [program(case, "echo")])
    subject.checkpoint()
    subject.say("a")
    subject.kill_and_restart()
    subject.say("b")
    subject.end()


def case_plain_program_lacks_support_on_demand(case, run):
    subject = Subject(case, [program(case, "echo")])
    text = subject.checkpoint("--require-libcr", expect=ENOSUPPORT)
    if "support missing from application" not in text:
        raise Failed(f"the message is: {text}")
    subject.say("a")
    subject.end()


def case_cr_run_gives_support(case, run):
    saved_and_restarted(Subject(case, cr_run(case) + [program(case, "echo")]))


def case_cr_run_gives_support_to_descendants(case, run):
    line = ["/bin/sh", "-c", '"$0" & wait', program(case, "echo")]
    subject = Subject(case, cr_run(case) + line)
    (subject.pid,) = descendants(subject.process.pid)
    subject.checkpoint("--require-libcr")
    subject.say("a")
    subject.end()


def case_cr_run_omit_leaves_out(case, run):
    left_out(Subject(case, cr_run(case, "--omit") + [program(case, "echo")]))


def case_cr_run_last_option_wins(case, run):
    left_out(Subject(case, cr_run(case, "--run", "--omit", "--") + [program(case, "echo")]))


def case_cr_run_in_cr_run_omit(case, run):
    """The inner one replaces the outer one's library."""
    saved_and_restarted(Subject(case, cr_run(case, "--omit") + cr_run(case) + [program(case, "echo")]))


def case_linked_with_cr_run(case, run):
    saved_and_restarted(Subject(case, [program(case, "echo_run")]))


def case_linked_with_cr_omit(case, run):
    left_out(Subject(case, [program(case, "echo_omit")]))


def case_linked_with_cr(case, run):
    saved_and_restarted(Subject(case, [program(case, "echo_full")]))


def case_static_with_cr_run(case, run):
    saved_and_restarted(Subject(case, [program(case, "echo_static_run")]))


def case_static_with_cr_omit(case, run):
    left_out(Subject(case, [program(case, "echo_static_omit")]))


def case_static_with_cr(case, run):
    saved_and_restarted(Subject(case, [program(case, "echo_static_full")]))


def case_full_library_goes_before_preloaded_run(case, run):
    run(case, "callbacks", "thread_context_before_signal_context", cr_run(case))


def case_full_library_goes_before_preloaded_omit(case, run):
    run(case, "callbacks", "thread_context_before_signal_context", cr_run(case, "--omit"))


def case_loaded_by_dlopen(case, run):
    library = os.path.join(case.commands.build, "src/libcr/libcr.so.0")
    subject = Subject(case, [program(case, "loads"), library])
    subject.checkpoint("--require-libcr")
    subject.say("n", "C")
    subject.kill_and_restart()
    subject.say("n", "E")
    subject.end()


def case_loaded_by_dlopen_under_cr_run(case, run):
    library = os.path.join(case.commands.build, "src/libcr/libcr.so.0")
    subject = Subject(case, cr_run(case) + [program(case, "loads"), library])
    subject.checkpoint("--require-libcr")
    subject.say("n", "C")
    subject.end()


def case_dlclose_does_no_harm(case, run):
    library = os.path.join(case.commands.build, "src/libcr/libcr.so.0")
    subject = Subject(case, [program(case, "loads"), library])
    subject.say("x")
    subject.checkpoint()
    subject.kill_and_restart()
    subject.say("a")
    subject.end()


def case_environment_disables_nscd_as_before(case, run):
    """LIBCR_DISABLE_NSCD is accepted; there is nothing that it would have to do here."""
    line = cr_run(case) + [program(case, "echo")]
    subject = Subject(case, ["/usr/bin/env", "LIBCR_DISABLE_NSCD=1", *line])
    subject.checkpoint("--require-libcr")
    subject.say("a")
    subject.end()
