#!/usr/bin/env python3
# Whatever reads the kernel's texts is fuzzed: every parse_NAME() that a header of src/engine/proc declares is
# a row "NAME" of tests/fuzz/proc_fuzz.cc, and every parse_NAME() of a command's options is called by
# tests/fuzz/options_fuzz.cc.
#
# usage: fuzz_table.py SOURCE_ROOT

import glob
import os
import re
import sys

ROOT = sys.argv[1]
PROC, OPTIONS = "tests/fuzz/proc_fuzz.cc", "tests/fuzz/options_fuzz.cc"
problems = []


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def declared(pattern):
    names = set()
    for path in glob.glob(os.path.join(ROOT, pattern)):
        with open(path, encoding="utf-8") as file:
            names |= set(re.findall(r"\bparse_(\w+)\(", file.read()))
    return names


rows = dict(re.findall(r'\{"(\w+)",\s*\[\]\(std::string_view text\) \{[^}]*?proc::parse_(\w+)\(text\)', read(PROC)))
parsers = declared("src/engine/proc/*.h")
problems += [f"{PROC}: no row for parse_{name}()" for name in sorted(parsers - set(rows.values()))]
problems += [f"{PROC}: the row of parse_{parser}() is called {name}" for name, parser in rows.items() if name != parser]
called = set(re.findall(r"cli::parse_(\w+)\(", read(OPTIONS)))
commands = declared("src/cli/*_options.h")
problems += [f"{OPTIONS}: parse_{name}() is not called" for name in sorted(commands - called)]
print("\n".join(problems) or f"{len(parsers)} parsers and {len(commands)} commands are fuzzed")
sys.exit(1 if problems or not parsers or not commands else 0)
