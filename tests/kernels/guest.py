"""One boot of a stock kernel under qemu (emulated: no KVM is needed), running one command."""

import os
import shutil
import subprocess
import tempfile
import time

from initramfs import Archive

HERE = os.path.dirname(os.path.abspath(__file__))


class Guest:
    """What a boot is made of: a kernel, the base root, and files of the test at hand."""

    def __init__(self, vmlinuz, base, fill, command, *, user=1001, sysctls=None, limit=300,
                 memory_mb=1024, cpu="max"):
        self.vmlinuz = vmlinuz
        self.base = base
        self.fill = fill  # called with the Archive: adds the test's files
        self.command = command
        self.user = user
        self.sysctls = sysctls or {}
        self.limit = limit
        self.memory_mb = memory_mb
        self.cpu = cpu

    def run(self):
        """Boots. Returns (exit status or None if the guest died, output, end of the kernel's log).
        A kernel that dies before /init could run (emulated timers on a busy host) is tried again."""
        result = self._run_once()
        if result[0] is None and not result[1] and "Kernel panic" in result[2]:
            result = self._run_once()
        return result

    def _run_once(self):
        with tempfile.TemporaryDirectory(prefix="stasis-guest-") as folder:
            ramdisk = os.path.join(folder, "ramdisk")
            extra = os.path.join(folder, "extra")
            self._pack(extra)
            with open(ramdisk, "wb") as whole:
                for part in (self.base, extra):
                    with open(part, "rb") as file:
                        shutil.copyfileobj(file, whole, 1 << 20)
            os.unlink(extra)
            ports = [os.path.join(folder, f"port{n}") for n in range(3)]
            self._boot(ramdisk, ports)
            log, output, status = (_text(port) for port in ports)
        code = None
        if status.startswith("@@EXIT "):
            code = int(status.split()[1])
        return code, output, log[-3000:]

    def _pack(self, path):
        archive = Archive(path)
        archive.copy(os.path.join(HERE, "init"), "init")
        archive.text("extra/command", self.command)
        if self.fill:
            self.fill(archive)
        archive.close()

    def _boot(self, ramdisk, ports):
        words = ["console=ttyS0", "panic=-1", "loglevel=4", "no_timer_check", f"st.user={self.user}",
                 f"st.limit={self.limit}"]
        words += [f"sysctl.{name}={value}" for name, value in self.sysctls.items()]
        line = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", self.cpu, "-smp", "2",
                "-m", str(self.memory_mb), "-nodefaults", "-no-user-config", "-display", "none",
                "-no-reboot", "-kernel", self.vmlinuz, "-initrd", ramdisk,
                "-append", " ".join(words)]
        for port in ports:
            line += ["-serial", "file:" + port]
        with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as qemu:
            try:
                qemu.communicate(timeout=self.limit + 120)
            except subprocess.TimeoutExpired:
                qemu.kill()
                qemu.communicate()


def _text(path):
    if not os.path.exists(path):
        return ""
    with open(path, errors="replace") as file:
        return file.read()


def timed(guest):
    start = time.monotonic()
    return (*guest.run(), time.monotonic() - start)
