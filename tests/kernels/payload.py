"""What a guest gets of a build: the commands, the libraries, the unit tests, the fixtures, the
compatibility programs and their runners, laid out as in the build folder, without debug information."""

import glob
import os
import shutil
import subprocess

GUEST_BUILD = "/extra/build"
# Only rooms that ask the kernel something; the others read files of the source tree.
UNIT_ROOMS = ("base", "proc", "trace", "resource", "capture", "restart", "notify")
# Folders of the build: their programs lie where they do in the build.
FOLDERS = ("src/cli", "src/libcr", "tests/fixtures", "tests/e2e", "tests/compat",
           "tests/kernels")
RUNNERS = ("tests/e2e", "tests/compat", "tests/kernels")


def programs(folder, prefix=""):
    """Programs and shared libraries, by their real names."""
    if not os.path.isdir(folder):
        return []
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))
             if name.startswith(prefix)]
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)
            and os.access(path, os.X_OK)]


class Payload:
    """Collected once, added to the archive of every boot."""

    def __init__(self, build, source, scratch):
        self.source = source
        self.scratch = scratch
        self.files = {}  # folder in the guest's build: copies of the programs there
        for folder in FOLDERS:
            self.files[folder] = self._stripped(programs(os.path.join(build, folder)), folder)
        self.units = []
        for room in UNIT_ROOMS:
            folder = os.path.join("tests/unit", room)
            self.units += self._stripped(programs(os.path.join(build, folder), "unit-"), folder)
        self.links = [(path[len(build):].lstrip("/"), os.readlink(path))
                      for path in sorted(glob.glob(os.path.join(build, "src/libcr/*.so*")))
                      if os.path.islink(path)]

    def _stripped(self, paths, folder):
        result = []
        os.makedirs(os.path.join(self.scratch, folder), exist_ok=True)
        for path in paths:
            copy = os.path.join(self.scratch, folder, os.path.basename(path))
            if subprocess.run(["strip", "-o", copy, path], capture_output=True).returncode != 0:
                shutil.copy(path, copy)
            result.append(copy)
        return result

    def fill(self, archive, start_by_cr_run):
        """`start_by_cr_run`: every fixture starts through cr_run, as Yama's scope 1 demands."""
        for folder, paths in self.files.items():
            for path in paths:
                name = os.path.basename(path)
                if start_by_cr_run and folder == "tests/fixtures":
                    plain = f"{GUEST_BUILD}/tests/plain/{name}"
                    archive.program(path, plain)
                    archive.text(f"{GUEST_BUILD}/{folder}/{name}",
                                 f'#!/bin/sh\nexec {GUEST_BUILD}/src/cli/cr_run {plain} "$@"\n', 0o755)
                else:
                    archive.program(path, f"{GUEST_BUILD}/{folder}/{name}")
        for path in self.units:
            archive.program(path, f"{GUEST_BUILD}/tests/unit/{os.path.basename(path)}")
        for name, target in self.links:
            archive.link(f"{GUEST_BUILD}/{name}", target)
        for folder in RUNNERS:
            for path in sorted(glob.glob(os.path.join(self.source, folder, "*.py"))):
                archive.copy(path, f"/extra/{folder}/{os.path.basename(path)}")


def runner(path, *words):
    quoted = " ".join(f"'{word}'" for word in words)
    return f"/usr/bin/python3 /extra/tests/{path} --build {GUEST_BUILD} {quoted} || status=$?"


UNIT_TESTS = f"""for test in {GUEST_BUILD}/tests/unit/unit-*; do
  said=$("$test" 2>&1); status=$?
  case $status in
    0) echo "PASS ${{test##*/}}" ;;
    77) echo "SKIP ${{test##*/}}: $said" ;;
    *) echo "FAIL ${{test##*/}}: status $status"; echo "$said" | tail -n 40 ;;
  esac
done"""


def script(lines):
    """The shell script that a guest runs: a line PASS, FAIL or SKIP a test. `lines`: UNIT_TESTS and
    runner() each."""
    # Everything takes several times longer than outside, and a case that hangs must not cost the boot.
    head = ["export STASIS_TEST_SLOW=4", "export PYTHONDONTWRITEBYTECODE=1"]
    first = [line for line in lines if line == UNIT_TESTS]
    rest = [line for line in lines if line != UNIT_TESTS]
    return "\n".join([*head, *first, "status=0", *rest, "exit $status"]) + "\n"
