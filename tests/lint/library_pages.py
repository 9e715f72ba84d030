#!/usr/bin/env python3
# The man pages of the library say what libcr.h says: every public function is named and declared by
# one page, with the same arguments; docs/meson.build installs that page under its name; every CR_E*
# code is explained somewhere; pages refer to pages that exist; mandoc, where it is installed, finds
# nothing wrong. What the sentences say it cannot know.
#
# usage: library_pages.py SOURCE_ROOT

import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = sys.argv[1]
MAN = os.path.join(ROOT, "docs/man")
ALSO_NAMED = {"libcr", "cr_spinlock"}  # pages that are named for no function
problems = []


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.S)


def argument_types(arguments):
    """["cr_callback_t", "void*", "int"] from the text between the parentheses, without names."""
    types = []
    for argument in arguments.split(","):
        words = re.findall(r"\w+|\*", argument)
        if len(words) > 1 and words[-1] != "*":
            words.pop()
        types.append(" ".join(words))
    return types


def declared():
    """name -> types of the arguments, of all public functions of libcr.h."""
    text = without_comments(read("include/libcr.h"))
    found = {name: argument_types(arguments) for name, arguments in
             re.findall(r"\b(cr_\w+)\s*\(([^()]*)\)\s*(?:_CR_DEPRECATED\s*)?;", text)}
    for name, kind in re.findall(r"#define (cr_initialize_(\w+?)_args_t)\(", text):
        found[name] = [f"cr_{kind}_args_t *"]
    return found


def synopsis(page):
    """name -> types of the arguments, as the page declares them."""
    part = re.search(r"^\.Sh SYNOPSIS\n(.*?)^\.Sh", page, re.S | re.M).group(1)
    found = {}
    for name, arguments in re.findall(r"^\.Fo (\w+)\n(.*?)^\.Fc", part, re.S | re.M):
        found[name] = argument_types(", ".join(re.findall(r'^\.Fa "(.*)"', arguments, re.M)))
    for name, arguments in re.findall(r"^\.Fn (\w+) (.*)$", part, re.M):
        found[name] = argument_types(", ".join(re.findall(r'"([^"]*)"', arguments)) or "void")
    return found


def installed():
    """page -> names that it is installed under, from docs/meson.build."""
    table = re.search(r"library_pages = \{(.*?)^\}", read("docs/meson.build"), re.S | re.M).group(1)
    return {page: {page, *re.findall(r"'(\w+)'", names)}
            for page, names in re.findall(r"'(\w+)': \[(.*?)\]", table, re.S)}


def check_names(pages, functions):
    places = installed()
    seen = set()
    for name, page in pages.items():
        part = re.search(r"^\.Sh NAME\n(.*?)^\.Nd", page, re.S | re.M).group(1)
        named = set(re.findall(r"^\.Nm (\w+)", part, re.M))
        if named != places.get(name, set()):
            problems.append(f"{name}.3 is of {sorted(named)}, but docs/meson.build installs it as "
                            f"{sorted(places.get(name, set()))}")
        for function in named - functions.keys() - ALSO_NAMED:
            problems.append(f"{name}.3 is of {function}, which libcr.h does not declare")
        types = synopsis(page)
        for function in named & functions.keys():
            if types.get(function) != functions[function]:
                problems.append(f"{name}.3 declares {function} with {types.get(function)}, libcr.h "
                                f"with {functions[function]}")
        seen |= named
    for function in functions.keys() - seen:
        problems.append(f"libcr.h declares {function}, which no page describes")
    for page in places.keys() - pages.keys():
        problems.append(f"docs/meson.build installs {page}.3, which does not exist")
    for function in functions.keys() - set(re.findall(r"(cr_\w+) 3", pages["libcr"])) - {
            f"cr_spinlock_{what}" for what in ("init", "lock", "trylock", "unlock")}:
        problems.append(f"libcr.3 does not mention {function}")
    return seen


def check_codes(pages):
    """Every code is an item of libcr(3) and of cr_strerror(3); nobody names one that there is not."""
    codes = set(re.findall(r"#define (CR_E\w+)", read("include/blcr_errcodes.h")))
    for name in ("libcr", "cr_strerror"):
        for code in codes - set(re.findall(r"^\.It Bq Er (\w+)", pages[name], re.M)):
            problems.append(f"{name}.3 does not explain {code}")
    known = without_comments(read("include/libcr.h") + read("include/blcr_common.h")
                             + read("include/blcr_errcodes.h"))
    for name, page in pages.items():
        for word in set(re.findall(r"\bCR_[A-Z_]+\b", re.sub(r"^\.Dt.*", "", page, flags=re.M))):
            if not re.search(rf"\b{word}\b", known):
                problems.append(f"{name}.3 names {word}, which no header defines")


def check_references(pages, names):
    commands = {os.path.basename(path)[:-2] for path in glob.glob(MAN + "/*.1")}
    for name, page in pages.items():
        for other, section in re.findall(r"\b((?:lib)?cr_?\w*) ([13])\b", page):
            if other not in (commands if section == "1" else names):
                problems.append(f"{name}.3 refers to {other}({section}), which does not exist")


def check_form(pages):
    if not shutil.which("mandoc"):
        print("mandoc is not installed: the form of the pages was not checked")
        return
    for name in pages:
        done = subprocess.run(["mandoc", "-Tlint", "-W", "warning", f"{MAN}/{name}.3"],
                              capture_output=True, text=True)
        if done.returncode:
            problems.append(done.stdout + done.stderr)


def main():
    pages = {os.path.basename(path)[:-2]: read(path) for path in sorted(glob.glob(MAN + "/*.3"))}
    functions = declared()
    names = check_names(pages, functions)
    check_codes(pages)
    check_references(pages, names)
    check_form(pages)
    print("\n".join(problems + [f"library pages: {len(functions)} functions on {len(pages)} pages, "
                                f"{len(problems)} problems"]))
    return 1 if problems or len(functions) < 38 else 0


sys.exit(main())
