#!/usr/bin/env python3
"""docs/attributes.md against the kernel: every PR_GET_*, ARCH_GET_*, get system call and writable file
of /proc/self has a row that says what a restart does with it."""

import os
import re
import sys

WAYS = {"restored", "refused", "told", "nothing"}
HEADERS = ["/usr/include/linux/prctl.h", "/usr/include/x86_64-linux-gnu/asm/prctl.h", "/usr/include/asm/prctl.h",
           "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"]
QUERIES = re.compile(r"^#\s*define\s+(PR_GET_\w+|PR_\w+_GET\w*|ARCH_GET_\w+|__NR_\w*get\w*)\s", re.MULTILINE)


def rows(text):
    """name -> way, and complaints."""
    known, wrong = {}, []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 3 or cells[0] in ("interface", "---"):
            continue
        if cells[1] not in WAYS:
            wrong.append(f"{cells[0]}: '{cells[1]}' is none of {', '.join(sorted(WAYS))}")
        for name in re.findall(r"`([^`]+)`", cells[0]):
            if name in known:
                wrong.append(f"{name} stands there twice")
            known[name] = cells[1]
    return known, wrong


def of_headers():
    for path in HEADERS:
        if os.path.exists(path):
            with open(path) as header:
                for name in QUERIES.findall(header.read()):
                    yield name.removeprefix("__NR_"), path


def of_proc(folder="/proc/self"):
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if path == folder and name == "attr"]
        for name in files:
            file = os.path.join(path, name)
            if os.path.islink(file) or not os.stat(file).st_mode & 0o222:
                continue
            yield os.path.relpath(file, folder), file


def missing(known):
    found = {}
    for name, where in [*of_headers(), *of_proc()]:
        if name not in known:
            found[name] = where
    return [f"{name} ({where}) has no row" for name, where in sorted(found.items())]


def main():
    page = os.path.join(sys.argv[1] if len(sys.argv) > 1 else ".", "docs", "attributes.md")
    with open(page) as text:
        known, wrong = rows(text.read())
    # It must be able to fail.
    for name in ("PR_GET_MDWE", "sched_getaffinity", "coredump_filter"):
        less = {key: way for key, way in known.items() if key != name}
        here = name in dict([*of_headers(), *of_proc()])
        if here and not any(line.startswith(name) for line in missing(less)):
            wrong.append(f"the row of {name} would not be missed")
    wrong += missing(known)
    for line in wrong:
        print(f"docs/attributes.md: {line}")
    if not list(of_headers()):
        print("no headers of the kernel are installed")
        return 77
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
