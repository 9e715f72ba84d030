#!/usr/bin/env python3
# docs/blcr-compat.md says which test shows what. Every test named there exists, every case of
# tests/compat is named there, and so is every function, error code and constant of the headers.
#
# usage: compat_table.py SOURCE_ROOT

import glob
import os
import re
import sys

ROOT = sys.argv[1]
TABLE = "docs/blcr-compat.md"
# Programs that compile the cases of another one's source.
SAME_CASES = {"abi_cxx": "abi", "callbacks_static": "callbacks"}
problems = []


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def paths(pattern):
    return sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, pattern)))


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def compat_cases():
    cases = set()
    for path in paths("tests/compat/*.c") + paths("tests/compat/*.cc"):
        cases |= {f"{stem(path)}.{name}" for name in re.findall(r"^CP_CASE\((\w+)\)", read(path), re.M)}
    for path in paths("tests/compat/compat_*.py"):
        room = stem(path).removeprefix("compat_")
        cases |= {f"{room}.{name}" for name in re.findall(r"^def case_(\w+)\(", read(path), re.M)}
    return cases


def other_cases():
    cases = {"stress"}
    for path in paths("tests/e2e/cli_*.py"):
        cases |= {f"cli.{name}" for name in re.findall(r"^def (\w+)\(case\):", read(path), re.M)}
    if os.path.exists(os.path.join(ROOT, "tests/e2e/examples.py")):
        cases |= {f"examples.{name}" for name in re.findall(r"^def (\w+)\(case\):", read("tests/e2e/examples.py"), re.M)}
    cases |= {f"fixture.{stem(path)}" for path in paths("tests/fixtures/*.c")}
    return cases


def names_of_headers():
    names = set()
    for path in paths("include/*.h"):
        text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", read(path), flags=re.S)
        names |= set(re.findall(r"\b(cr_\w+)\s*\(", text)) - {"cr_callback_t", "cr_hook_fn_t"}
        names |= set(re.findall(r"\b(?:LIB)?CR_[A-Z]\w*\b", text))
    return {name for name in names if not name.endswith("_")}


def main():
    text = read(TABLE)
    compat, other = compat_cases(), other_cases()
    named = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|") or set(line) <= set("|- "):
            continue
        cells = line.strip().strip("|").split("|")
        tests = re.findall(r"`([\w.]+)`", cells[-1])
        if cells[-1].strip() in ("test", "why") or cells[-1].strip().startswith("not "):
            continue
        if cells[-1].strip() == "?":
            problems.append(f"{TABLE}:{number}: not shown: {cells[0].strip()}")
        elif not tests:
            problems.append(f"{TABLE}:{number}: no test: {cells[0].strip()}")
        for test in tests:
            room, _, name = test.partition(".")
            if f"{SAME_CASES.get(room, room)}.{name}" not in compat and test not in other:
                problems.append(f"{TABLE}:{number}: there is no test {test}")
            named.add(test)
    problems.extend(f"{TABLE}: {case} is not named" for case in sorted(compat - named))
    problems.extend(f"{TABLE}: {name} of the headers is not named" for name in sorted(names_of_headers())
                    if not re.search(rf"\b{name}\b", text))
    print("\n".join(problems) or f"{len(named)} tests are named, and all exist")
    return 1 if problems else 0


sys.exit(main())
