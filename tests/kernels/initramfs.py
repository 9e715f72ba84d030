"""Builds initial ramdisks for test guests: cpio archives ("newc") written here, so that no tool, no
root and no unpacked tree is needed. The kernel unpacks several archives one after the other."""

import os
import re
import stat
import subprocess


class Archive:
    """A cpio archive. Files belong to root; directories are made as they are needed."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.names = set()
        self.inode = 0

    def close(self):
        self._entry("TRAILER!!!", 0, b"")
        self.file.write(b"\0" * (-self.file.tell() % 512))
        self.file.close()

    def _entry(self, name, mode, data, rdev=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(encoded), 0]
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        head = header + encoded
        self.file.write(head + b"\0" * (-len(head) % 4))
        self.file.write(data + b"\0" * (-len(data) % 4))

    def directory(self, name, mode=0o755):
        name = name.strip("/")
        if not name or name in self.names:
            return
        self.directory(os.path.dirname(name))
        self.names.add(name)
        self._entry(name, stat.S_IFDIR | mode, b"")

    def _new(self, name):
        name = name.strip("/")
        if name in self.names:
            return None
        self.directory(os.path.dirname(name))
        self.names.add(name)
        return name

    def text(self, name, content, mode=0o644):
        if name := self._new(name):
            self._entry(name, stat.S_IFREG | mode, content.encode())

    def link(self, name, target):
        if name := self._new(name):
            self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, major, minor):
        if name := self._new(name):
            self._entry(name, stat.S_IFCHR | 0o600, b"", (major, minor))

    def copy(self, source, name=None):
        """A file with the symlinks that lead to it; `name` other than the source's path: its content."""
        name = name or source
        real = os.path.realpath(source)
        if name == source and os.path.islink(source):
            self.link(merged(name), os.readlink(source))
            self.copy(os.path.join(os.path.dirname(source), os.readlink(source)))
            return
        if name := self._new(merged(name)):
            with open(real, "rb") as file:
                mode = stat.S_IFREG | (0o755 if os.access(real, os.X_OK) else 0o644)
                self._entry(name, mode, file.read())

    def tree(self, source, skip=lambda path: False):
        for folder, folders, files in os.walk(source):
            folders[:] = [each for each in folders if not skip(os.path.join(folder, each))]
            for each in files:
                path = os.path.join(folder, each)
                if not skip(path):
                    self.copy(path)

    def program(self, path, name=None):
        """A program with the shared libraries that it names."""
        self.copy(path, name)
        for library in libraries(path):
            self.copy(library)


def merged(name):
    """/bin/x -> /usr/bin/x: the guest has the merged layout whatever the path said."""
    return re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", os.path.normpath(name))


def libraries(path):
    """What the dynamic loader would load, as ldd tells; none for static programs and scripts."""
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    return re.findall(r"(/\S+) \(0x", done.stdout) if done.returncode == 0 else []


PROGRAMS = """bash sh cat cp cut date dd dirname echo env false grep head id kill ln ls mkdir mkfifo
mktemp mv nproc printf ps pwd readlink rm sed seq setpriv setsid sleep sort stat stty tail tee test
timeout touch tr true uname unshare wc gawk mawk awk perl sqlite3 xz zstd strace python3""".split()


def base_root(path, user_id):
    """The root of every guest: a shell, common programs, python3 and perl with what they load."""
    archive = Archive(path)
    for name in ("bin", "sbin", "lib", "lib64"):
        archive.directory("usr/" + name)
        archive.link(name, "usr/" + name)
    for name in ("proc", "sys", "dev", "tmp", "run", "root", "etc", "extra"):
        archive.directory(name)
    archive.device("dev/console", 5, 1)
    archive.program("/bin/busybox")
    missing = []
    for name in PROGRAMS:
        found = next((p for p in (f"/usr/bin/{name}", f"/bin/{name}", f"/usr/sbin/{name}")
                      if os.path.exists(p)), None)
        if found is None:
            missing.append(name)
        elif not os.path.realpath(found).startswith("/etc/"):
            archive.program(found)
    python_library(archive)
    archive.text("etc/passwd", "root:x:0:0::/root:/bin/sh\n"
                               f"tester:x:{user_id}:{user_id}::/tmp:/bin/sh\n")
    archive.text("etc/group", f"root:x:0:\nadm:x:4:tester\ntester:x:{user_id}:\n")
    archive.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    archive.close()
    return missing


def python_library(archive):
    """The standard library of the system's python3, without what tests and editors need."""
    root = os.path.realpath(subprocess.run(
        ["/usr/bin/python3", "-c", "import os; print(os.path.dirname(os.__file__))"],
        capture_output=True, text=True, check=True).stdout.strip())
    unwanted = {"test", "tests", "idlelib", "lib2to3", "ensurepip", "pydoc_data", "tkinter",
                "turtledemo", "distutils", "__pycache__", "dist-packages"}

    def skip(path):
        name = os.path.basename(path)
        return name in unwanted or name.startswith("config-")

    archive.tree(root, skip)
    modules = os.path.join(root, "lib-dynload")
    for name in os.listdir(modules):
        for library in libraries(os.path.join(modules, name)):
            archive.copy(library)
