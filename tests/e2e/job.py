"""A program under test that runs, is checkpointed, killed and restarted."""

import signal
import subprocess

from harness import LIMIT, Failed, children, read, said, status_field, until, walking


class Job:
    """One process started by a case; after restart() it is the child of a cr_restart."""

    def __init__(self, case, line, log="out.log", **options):
        self.case = case
        self.process = case.start(line, log=log, **options)
        self.pid = self.process.pid
        self.restarted = False
        self.ways = []  # what cr_restart -v said

    def state(self):
        return f"state {status_field(self.pid, 'State')}; {said(self.process)}"

    def ended(self):
        return self.process.poll() is not None

    def came_to_its_end(self):
        return self.ended() and self.process.returncode == 0

    def until(self, condition, what):
        """Waits for the condition while the program runs."""
        def met():
            if condition():
                return True
            if self.came_to_its_end() and self.restarted:
                return True
            if self.ended():
                raise Failed(f"ended with {self.process.returncode} before {what}; "
                             f"{said(self.process)} {read(self.case.file('out.log'))[-500:]}")
            return False
        until(met, f"{what} ({self.state()})")

    def checkpoint_kill(self):
        """Saves it and kills it; returns the image when nothing is left of it."""
        self.comm = read(f"/proc/{self.pid}/comm")
        self.saved_pid = self.pid
        if not self.restarted:  # once, early: meanwhile a short job comes to its end
            self.case.check_first(self.pid)
        image = self.case.checkpoint(self.pid, "--kill")
        try:
            status = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise Failed(f"still runs after --kill: {self.state()}") from None
        if status != -signal.SIGKILL:
            raise Failed(f"its parent got status {status} after --kill, not -9; "
                         f"{said(self.process)}")
        return image

    def checkpoint(self):
        """Saves it; it runs on, with nothing of ours in it."""
        return self.case.checkpoint(self.pid)

    def restart(self, image, *options):
        with walking:
            self.restart_alone(image, *options)

    def restart_alone(self, image, *options):
        self.process = self.case.restart(image, *options)
        self.restarted = True

        def found():
            for pid in children(self.process.pid):
                if (read(f"/proc/{pid}/comm") == self.comm
                        and status_field(pid, "TracerPid") == "0"):
                    return pid
            if self.ended():
                # It may have come to its end already.
                return -1 if self.process.returncode == 0 else 0
            return 0

        def or_failed():
            pid = found()
            if not pid and self.ended():
                raise self.case.failed_restart(self.process)
            return pid
        self.pid = until(or_failed, f"the restarted process; cr_restart said: {said(self.process)}")

    def wait(self):
        try:
            return self.process.wait(6 * LIMIT)
        except subprocess.TimeoutExpired:
            raise Failed(f"does not end: {self.state()}") from None


