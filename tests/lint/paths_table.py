"""Every file of capture/, resource/, restart/, format/ and cli/ that looks paths up is in the table
of docs/security.md, with the calls by which it does: whoever adds one says whose rights it uses."""

import os
import re

ROOMS = ("src/engine/capture/", "src/engine/resource/", "src/engine/restart/", "src/engine/format/",
         "src/cli/")
CALLS = re.compile(
    r"\bsys::(open|open_at|open_of_type|stat|lstat|read_link|read_file|read_bytes|write_file|list_directory)\("
    r"|(?<!\w)::(open|openat|openat2|fstatat|mkdir|mkdirat|mkfifo|mkfifoat|mknod|mknodat|link|linkat|unlink|"
    r"unlinkat|rename|renameat|renameat2|rmdir|chmod|fchmodat|chown|lchown|fchownat|symlink|symlinkat|"
    r"truncate|access|faccessat|statfs|inotify_add_watch|readlink|mkstemp|mkostemp|opendir|chdir|"
    r"chroot)\("
    r"|\bSYS_(open|openat|openat2|chdir|chroot|execveat|execve|pivot_root|mount)\b")


def calls_in(source):
    """The look-ups in a source; fixed paths of /proc, /dev and /sys are none."""
    found = set()
    text = re.sub(r"//.*", "", source)
    for call in CALLS.finditer(text):
        if not re.match(r'\s*(?:fmt::format\(\s*)?"/(?:proc|dev|sys)/', text[call.end():]):
            found.add(next(group for group in call.groups() if group))
    return found


def table(text):
    rows = {}
    for name, calls in re.findall(r"^\| `([a-z_/]+\.cc)` \| ([a-z0-9_, ]+) \|", text, re.M):
        rows[name] = set(calls.split(", "))
    return rows


def check_paths(root, paths, breach):
    document = "docs/security.md"
    if not os.path.exists(os.path.join(root, document)):
        return breach(document, 1, "is missing: the table of who looks paths up")
    with open(os.path.join(root, document), encoding="utf-8") as file:
        said = table(file.read())
    for path in paths:
        if not path.startswith(ROOMS) or not path.endswith(".cc"):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            calls = calls_in(file.read())
        name = path.removeprefix("src/engine/").removeprefix("src/")
        if calls != said.pop(name, set()):
            breach(path, 1, f"looks paths up by {', '.join(sorted(calls)) or 'nothing'}; the table of "
                            f"{document} says otherwise: say there whose rights each call uses")
    for name in said:
        breach(document, 1, f"the table has {name}, which does not exist")
