"""Cases about the library files: names, what they need, what they export. Reads ELF files with the
standard library only; runs nothing."""

import json
import os
import shutil
import struct
import subprocess

from harness import Failed, Skipped, read_bytes

FUNCTIONS = """cr_init cr_register_callback cr_replace_callback cr_replace_self cr_register_hook cr_checkpoint
cr_status cr_enter_cs cr_tryenter_cs cr_leave_cs cr_hold_ctrl cr_inc_persist cr_dec_persist
cr_get_checkpoint_info cr_get_restart_info cr_request_checkpoint cr_forward_checkpoint cr_wait_checkpoint
cr_log_checkpoint cr_reap_checkpoint cr_poll_checkpoint cr_poll_checkpoint_msg cr_request_restart
cr_wait_restart cr_log_restart cr_reap_restart cr_poll_restart cr_poll_restart_msg cr_spinlock_init
cr_spinlock_lock cr_spinlock_unlock cr_spinlock_trylock cr_strerror cr_request cr_request_file cr_request_fd
cri_init_checkpoint_args_t cri_init_restart_args_t""".split()

EXPORTS = {"cr": {*FUNCTIONS, "cr_link_me"}, "cr_run": {"cr_run_link_me"}, "cr_omit": {"cr_omit_link_me"}}


class Elf:
    """Dynamic section and exported symbols of a 64-bit little-endian shared library."""

    def __init__(self, path):
        self.data = read_bytes(path)
        if self.data[:6] != b"\x7fELF\x02\x01":
            raise Failed(f"{path} is not a 64-bit ELF file")
        (offset,) = struct.unpack_from("<Q", self.data, 40)
        size, count = struct.unpack_from("<HH", self.data, 58)
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, offset + i * size) for i in range(count)]

    def string(self, table, offset):
        start = self.sections[table][4] + offset
        return self.data[start:self.data.index(b"\0", start)].decode()

    def dynamic(self, tag):
        found = []
        for section in self.sections:
            if section[1] != 6:  # SHT_DYNAMIC
                continue
            for at in range(section[4], section[4] + section[5], 16):
                kind, value = struct.unpack_from("<QQ", self.data, at)
                if kind == tag:
                    found.append(self.string(section[6], value))
        return found

    def exports(self):
        found = set()
        for section in self.sections:
            if section[1] != 11:  # SHT_DYNSYM
                continue
            for at in range(section[4], section[4] + section[5], 24):
                name, info, other, index = struct.unpack_from("<IBBH", self.data, at)
                # Global or weak, defined, default visibility.
                if info >> 4 in (1, 2) and index and other & 3 == 0 and index != 0xFFF1:
                    found.add(self.string(section[6], name))
        return found


def library(case, name):
    path = os.path.join(case.commands.build, "src/libcr", f"lib{name}.so.0")
    if not os.path.exists(path):
        raise Failed(f"{path} is not there")
    return path


def case_sonames(case, run):
    """libcr.so.0, libcr_run.so.0, libcr_omit.so.0; the plain names and 0.5.5 exist beside them."""
    for name in EXPORTS:
        path = library(case, name)
        found = Elf(path).dynamic(14)  # DT_SONAME
        if found != [f"lib{name}.so.0"]:
            raise Failed(f"{path} calls itself {found}")
        for other in (f"lib{name}.so", f"lib{name}.so.0.5.5"):
            if not os.path.exists(os.path.join(os.path.dirname(path), other)):
                raise Failed(f"{other} is not there")


def case_needs_only_libc(case, run):
    for name in EXPORTS:
        needed = Elf(library(case, name)).dynamic(1)  # DT_NEEDED
        others = [other for other in needed if not other.startswith(("libc.so", "ld-linux"))]
        if others:
            raise Failed(f"lib{name} needs {others}")


def case_exports(case, run):
    """All public names of each library, and nothing else."""
    for name, expected in EXPORTS.items():
        found = Elf(library(case, name)).exports()
        if found != expected:
            raise Failed(f"lib{name}: missing {sorted(expected - found)}, too many {sorted(found - expected)}")


def case_static_library_exports(case, run):
    """The archive defines the public names, and otherwise only names that nobody else would choose."""
    archive = os.path.join(case.commands.build, "src/libcr/libcr.a")
    if not os.path.exists(archive):
        raise Skipped("the archive is not part of this copy of the build")
    try:
        listed = subprocess.run(["nm", "-g", "--defined-only", archive], capture_output=True, text=True,
                                check=True).stdout
    except FileNotFoundError:
        raise Skipped("no nm here") from None
    found = {line.split()[2] for line in listed.splitlines() if len(line.split()) == 3}
    strange = [name for name in found if not name.startswith(("cr_", "cri_", "__cri_"))]
    missing = set(EXPORTS["cr"]) - found
    if strange or missing:
        raise Failed(f"missing {sorted(missing)}, strange {sorted(strange)}")


# It asks for its own checkpoint, for which libcr has to find cr_helper.
PROGRAM = r"""
#include <libcr.h>
#include <fcntl.h>
#include <stdio.h>
int main(void) {
  cr_checkpoint_args_t args;
  cr_checkpoint_handle_t handle;
  if (cr_init() < 0 || cr_initialize_checkpoint_args_t(&args)) return 1;
  args.cr_scope = CR_SCOPE_PROC;
  args.cr_fd = open("context", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (cr_request_checkpoint(&args, &handle) < 0) return 2;
  return cr_poll_checkpoint(&handle, NULL) > 0 ? 0 : 3;
}
"""


def call(case, line, **variables):
    """In an environment that has nothing of the build."""
    env = {"PATH": "/usr/bin:/bin", "HOME": case.folder, **variables}
    done = subprocess.run(line, cwd=case.folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(f"{' '.join(line)} exits {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def moved_prefix(case):
    """A prefix with all that is installed, at another place than it was built for."""
    build, moved = case.commands.build, case.file("moved")
    made = os.path.join(build, "installed")  # a copy of the build, without meson's files (scripts/test)
    if os.path.isdir(made):
        shutil.copytree(made, moved, symlinks=True)
        return moved
    if not os.access(os.path.join(build, "meson-logs"), os.W_OK) or not shutil.which("meson"):
        raise Skipped("no meson here, or the build is somebody else's")
    options = json.loads(call(case, ["meson", "introspect", "--buildoptions", build]))
    value = {option["name"]: option["value"] for option in options}
    if value["libdir"] != "lib":
        raise Skipped(f"this build was told to use {value['libdir']}")
    call(case, ["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", case.file("dest")])
    os.rename(case.file("dest") + value["prefix"], moved)
    return moved


def case_installed_in_a_moved_prefix(case, run):
    """configure's --with-blcr=PREFIX: -IPREFIX/include -LPREFIX/lib -lcr, and nothing else."""
    moved = moved_prefix(case)
    with open(case.file("program.c"), "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    lib, cc = f"{moved}/lib", ["cc", f"-I{moved}/include", "program.c", f"-L{moved}/lib"]
    call(case, cc + ["-lcr", "-o", "shared"])
    call(case, ["./shared"], LD_LIBRARY_PATH=lib)
    call(case, cc + ["-static", "-lcr", "-o", "static"])
    call(case, ["./static"], PATH=f"{moved}/bin:/usr/bin:/bin")
    flags = call(case, ["pkg-config", "--cflags", "--libs", "libcr"], PKG_CONFIG_PATH=f"{lib}/pkgconfig").split()
    call(case, ["cc", "program.c", "-o", "by-pkg-config", *flags])
    call(case, ["./by-pkg-config"], LD_LIBRARY_PATH=lib)
    listed = call(case, [f"{moved}/bin/cr_run", "sh", "-c", "cat /proc/self/maps"])
    if "libcr_run.so" not in listed:
        raise Failed("cr_run does not find its library")
