"""Stock kernels from Debian's archive: found by apt, downloaded once, only their vmlinuz is used."""

import glob
import os
import re
import subprocess


def _version_key(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def newest_package(series):
    """The newest cloud kernel of a series ("6.1") that apt knows of, or None."""
    pattern = rf"^linux-image-{re.escape(series)}\.[0-9].*-cloud-amd64$"
    found = subprocess.run(["apt-cache", "search", "--names-only", pattern], capture_output=True,
                           text=True).stdout.split("\n")
    names = sorted((line.split()[0] for line in found if line.strip()), key=_version_key)
    return names[-1] if names else None


def vmlinuz(series, cache):
    """(path, None) of a kernel of the series, or (None, why there is none)."""
    folder = os.path.join(cache, "kernel-" + series)
    present = sorted(glob.glob(os.path.join(folder, "boot/vmlinuz-*")), key=_version_key)
    if present:
        return present[-1], None
    package = newest_package(series)
    if package is None:
        return None, f"apt knows no Debian cloud kernel {series} (apt-get update?)"
    os.makedirs(folder, exist_ok=True)
    got = subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package],
                         cwd=folder, capture_output=True, text=True)
    archives = glob.glob(os.path.join(folder, "*.deb"))
    if got.returncode != 0 or not archives:
        return None, f"apt-get cannot download {package}: {got.stderr.strip()[-300:]}"
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archives[0]],
                          stdout=subprocess.PIPE) as unpack:
        subprocess.run(["tar", "-x", "-C", folder, "--wildcards", "./boot/vmlinuz-*"],
                       stdin=unpack.stdout, check=True)
    os.unlink(archives[0])
    return vmlinuz(series, cache)
