"""What a guest gets of a build: the commands, the unit tests, the fixtures and their runner, laid out
as in the build folder, without debug information."""

import os
import shutil
import subprocess

GUEST_BUILD = "/extra/build"


def programs(folder, prefix=""):
    if not os.path.isdir(folder):
        return []
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))
            if name.startswith(prefix) and os.path.isfile(os.path.join(folder, name))
            and os.access(os.path.join(folder, name), os.X_OK)]


class Payload:
    """Collected once, added to the archive of every boot."""

    def __init__(self, build, source, scratch):
        self.source = source
        self.scratch = scratch
        self.commands = self._stripped(programs(os.path.join(build, "src/cli"), "cr_"))
        self.fixtures = self._stripped(programs(os.path.join(build, "tests/fixtures")))
        self.tools = self._stripped(programs(os.path.join(build, "tests/e2e")))
        unit = os.path.join(build, "tests/unit")
        self.units = []
        # Only rooms that ask the kernel something; the others read files of the source tree.
        for room in ("base", "proc", "trace", "resource", "capture", "restart"):
            self.units += self._stripped(programs(os.path.join(unit, room), "unit-"))

    def _stripped(self, paths):
        result = []
        for path in paths:
            copy = os.path.join(self.scratch, os.path.basename(path))
            if subprocess.run(["strip", "-o", copy, path], capture_output=True).returncode != 0:
                shutil.copy(path, copy)
            result.append(copy)
        return result

    def fill(self, archive, start_by_cr_run):
        """`start_by_cr_run`: every fixture starts through cr_run, as Yama's scope 1 demands."""
        for path in self.commands:
            archive.program(path, f"{GUEST_BUILD}/src/cli/{os.path.basename(path)}")
        for path in self.units:
            archive.program(path, f"{GUEST_BUILD}/tests/unit/{os.path.basename(path)}")
        for path in self.tools:
            archive.program(path, f"{GUEST_BUILD}/tests/e2e/{os.path.basename(path)}")
        for path in self.fixtures:
            name = os.path.basename(path)
            if not start_by_cr_run:
                archive.program(path, f"{GUEST_BUILD}/tests/fixtures/{name}")
                continue
            archive.program(path, f"{GUEST_BUILD}/tests/plain/{name}")
            archive.text(f"{GUEST_BUILD}/tests/fixtures/{name}",
                         "#!/bin/sh\n"
                         f"exec {GUEST_BUILD}/src/cli/cr_run {GUEST_BUILD}/tests/plain/{name} \"$@\"\n",
                         0o755)
        e2e = os.path.join(self.source, "tests/e2e")
        for name in sorted(os.listdir(e2e)) if os.path.isdir(e2e) else []:
            if name.endswith(".py"):
                archive.copy(os.path.join(e2e, name), f"/extra/tests/e2e/{name}")


def script(runs, units, jobs):
    """The shell script that a guest runs: a line PASS, FAIL or SKIP a test.
    `runs`: (scenario, patterns) each."""
    # Everything takes several times longer than outside, and a case that hangs must not cost the boot.
    lines = ["export STASIS_TEST_SLOW=4", "export PYTHONDONTWRITEBYTECODE=1"]
    if units:
        lines.append(f"""for test in {GUEST_BUILD}/tests/unit/unit-*; do
  said=$("$test" 2>&1); status=$?
  case $status in
    0) echo "PASS ${{test##*/}}" ;;
    77) echo "SKIP ${{test##*/}}: $said" ;;
    *) echo "FAIL ${{test##*/}}: status $status"; echo "$said" | tail -n 40 ;;
  esac
done""")
    lines.append("status=0")
    for scenario, patterns in runs:
        words = " ".join(f"'{pattern}'" for pattern in patterns)
        lines.append(f"/usr/bin/python3 /extra/tests/e2e/run.py --build {GUEST_BUILD} --jobs {jobs} "
                     f"--scenario {scenario} {words} || status=$?")
    lines.append("exit $status")
    return "\n".join(lines) + "\n"
