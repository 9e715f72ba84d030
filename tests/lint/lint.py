#!/usr/bin/env python3
# The rules of the house that a compiler does not check. Prints one line for each breach
# ("file:line: what; what to do") and fails if there is any. Long functions are only reported.
#
# usage: lint.py SOURCE_ROOT

import os
import re
import subprocess
import sys

from cpp_text import functions, without_comments
from paths_table import check_paths

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40
CODE = (".c", ".cc", ".h", ".S")
ARCHITECTURES = r"__(x86_64|amd64|i386|aarch64|arm|riscv|powerpc64|powerpc|s390x|ppc64le|mips|loongarch64)(__)?\b"

breaches = []
notes = []


def breach(path, line, text):
    breaches.append(f"{path}:{line}: {text}")


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def source_files(root):
    """Every file that git knows or would add; without git (a tarball), every file."""
    listing = subprocess.run(
        ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True)
    if listing.returncode == 0 and listing.stdout:
        paths = listing.stdout.splitlines()
    else:
        paths = [os.path.relpath(os.path.join(folder, name), root)
                 for folder, _, names in os.walk(root) for name in names]
    return sorted(p for p in set(paths) if os.path.isfile(os.path.join(root, p)))


def line_of(text, position):
    return text.count("\n", 0, position) + 1


# ---------------------------------------------------------------- rooms


def room_table(root):
    """room -> rooms it may include, from the table of docs/architecture.md."""
    path = "docs/architecture.md"
    table, inside = {}, False
    for line in read(root, path).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "room" and len(cells) == 4 and cells[2] == "may include":
            inside = True
        elif inside and not line.startswith("|"):
            break
        elif inside and not set(cells[0]) <= set("-: "):
            table[cells[0]] = set() if cells[2] == "-" else set(cells[2].split())
    if not table:
        breach(path, 1, "the table of rooms (| room | runs in | may include | holds |) is missing")
    return table


def room_of(path):
    parts = path.split("/")
    if parts[:2] == ["src", "engine"] and len(parts) > 3:
        return parts[2]
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    return None


def check_rooms(root, table, path, text):
    room = room_of(path)
    if room is None or (room not in table and room != "libcr"):
        if path.endswith(CODE):
            breach(path, 1, f"room '{room}' is not in the table of docs/architecture.md")
        return
    allowed = table.get(room, set()) | {room}
    for match in re.finditer(r'^[ \t]*#\s*include\s+"([^"]+)"', text, re.M):
        target = match.group(1)
        first = target.split("/")[0]
        line = line_of(text, match.start())
        if ".." in target.split("/"):
            breach(path, line, f'"{target}": name the room instead of going up by ".."')
        elif "/" in target and first in table and first not in allowed:
            breach(path, line, f"room {room} may not include room {first} (\"{target}\"); "
                               "the table in docs/architecture.md says who may")


# ---------------------------------------------------------------- single files


def check_head(path, text):
    lines = text.split("\n")
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    first = next((line.strip() for line in lines if line.strip()), "")
    marks = ("//", "/*") if path.endswith(CODE + (".ld",)) else ("#", '"""', "//", "/*")
    if not first.startswith(marks):
        breach(path, 1, "begin with a comment: what this is, why here, what it will not do")


def check_architecture(path, code):
    if path.startswith(("src/engine/arch/", "src/engine/stub/")):
        return
    for match in re.finditer(r"^[ \t]*#\s*(?:if|ifdef|ifndef|elif)\b.*$", code, re.M):
        if re.search(ARCHITECTURES, match.group(0)):
            breach(path, line_of(code, match.start()),
                   "a condition on the architecture outside of arch/ and stub/; "
                   "put the difference behind a function of arch/")


def check_errno(path, code):
    if not path.startswith(("src/engine/", "src/cli/")):
        return
    if path.startswith(("src/engine/base/", "src/engine/stub/")):
        return
    for match in re.finditer(r"\berrno\b", code):
        breach(path, line_of(code, match.start()),
               "errno outside of base/; use sys::check(), sys::raw() or a wrapper of base/sys.h")


def check_length(path, text):
    lines = text.count("\n")
    if lines >= MAX_FILE_LINES:
        breach(path, lines, f"{lines} lines; a file does one thing in less than {MAX_FILE_LINES}")
    for name, first, length in functions(text):
        if length > MAX_FUNCTION_LINES:
            notes.append(f"{path}:{first}: note: {name} has {length} lines "
                         f"(above {MAX_FUNCTION_LINES}: only as a list of named passes)")


def check_todo(path, text):
    for match in re.finditer(r"\b(TODO|FIXME|XXX)\b(.*)", text):
        if len(re.findall(r"\w+", match.group(2))) < 3:
            breach(path, line_of(text, match.start()),
                   f"{match.group(1)} must say what breaks until then, or be a line in docs/limits.md")


def check_places(path, text):
    """Paths of somebody's machine do not belong into a repository."""
    for match in re.finditer(r"/(?:work|home)/[a-z][\w.-]*/", text):
        breach(path, line_of(text, match.start()), f"'{match.group(0)}' is a place on one machine")


def check_limits(root):
    path = "docs/limits.md"
    if not os.path.isfile(os.path.join(root, path)):
        breach(path, 1, "is missing: the table of what is restored or refused, and by which test")
        return
    rows = [line for line in read(root, path).splitlines() if line.startswith("|")]
    if len(rows) < 3:
        breach(path, 1, "has no table (| what | restored or refused | test |)")


def check_file(root, table, path):
    text = read(root, path)
    script = path.startswith("scripts/") or path.endswith((".py", ".sh"))
    if path.endswith(CODE + (".ld",)) or script:
        check_head(path, text)
        check_places(path, text)
    if path.startswith("src/") and path.endswith(CODE):
        code = without_comments(text)
        check_rooms(root, table, path, text)
        check_architecture(path, code)
        check_errno(path, code)
        check_length(path, text)
        check_todo(path, text)
    if path.startswith("include/") and path.endswith(CODE):
        check_architecture(path, without_comments(text))


def main():
    root = sys.argv[1]
    table = room_table(root)
    count = 0
    for path in source_files(root):
        if path.startswith(("src/", "include/", "tests/", "scripts/", "examples/")) and not path.startswith("tests/lint/"):
            try:
                check_file(root, table, path)
                count += 1
            except UnicodeDecodeError:
                continue  # a binary sample
    check_limits(root)
    check_paths(root, source_files(root), breach)
    for line in notes + breaches:
        print(line)
    print(f"lint: {count} files, {len(breaches)} breaches, {len(notes)} notes")
    return 1 if breaches else 0


sys.exit(main())
