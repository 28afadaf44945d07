"""Clean Debians in a folder: machines on which a program is installed, opened, used and removed by users.

Nothing is mounted outside a command: each has a mount, process and network namespace of its own, and leaves
nothing running.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.packaging.tiny_bundle import ROOT

TOOLS: Final = ("debootstrap", "unshare", "chroot", "ip")
SUITES: Final = {"cp311": "bookworm", "cp313": "trixie"}
"""Debian's releases by the tag of their Python's wheels."""
DESKTOP: Final = (
    "python3", "ca-certificates", "procps", "fonts-dejavu-core", "desktop-file-utils",
    "xvfb", "xauth", "dbus", "at-spi2-core", "python3-gi", "gir1.2-atspi-2.0", "libglib2.0-bin",
)  # fmt: skip
"""What a desktop has: Python, a screen, a session bus, and the service by which a screen reader reads it."""
STICK: Final = "/media/колёса на диске"
"""Where the wheelhouse lies on every machine, as a stick that was put in."""
HAND: Final = Path(__file__).with_name("at_the_window.py")
SCRIPT: Final = """
set -eu
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/changes,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mkdir -p "$2/root/$3"
mount --bind "$4" "$2/root/$3"
mount -o remount,bind,ro "$2/root/$3"
ip link set lo up 2>/dev/null || true
root=$2/root user=$5
shift 5
case $user in
root) exec chroot "$root" "$@" ;;
*) exec chroot "$root" runuser -u "$user" -- "$@" ;;
esac
"""


def missing() -> str:
    """Why there can be no clean machine here, as a sentence; empty where there can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} missing; on Debian: apt install debootstrap iproute2 util-linux."
    if os.geteuid() != 0:
        return "A clean root is made by root, and this is another user."
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], check=False, capture_output=True)
    return "This system lets nobody mount." if tried.returncode else ""


def make_base(folder: Path, suite: str) -> str:
    """Debootstrap a Debian and have its apt add a bare desktop; why not, else empty."""
    apt = ["apt-get", "install", "--yes", "--no-install-recommends", *DESKTOP]
    inside = 'mount -t proc proc "$1/proc"; chroot "$1" apt-get update; exec chroot "$@"'
    for command in (
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(folder)],
        ["unshare", "--mount", "sh", "-euc", inside, "sh", str(folder), *apt],
    ):
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            return f"{command[0]}: {(made.stdout.splitlines() or [made.stderr])[-1]}"
        shutil.copyfile("/etc/resolv.conf", folder / "etc" / "resolv.conf")
    return ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A base with what was changed on it."""

    base: Path
    folder: Path
    wheelhouse: Path

    def run(
        self, *command: str | Path, user: str = "root", network: bool = False, limit: float = 3600
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on it to its end."""
        for name in ("changes", "work", "root"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        apart = ["--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        places = [self.base, self.folder, STICK, self.wheelhouse, user]
        inside = ["env", "-i", *self.surroundings(user), *command]
        return subprocess.run(
            [str(part) for part in ("unshare", *apart, "sh", "-c", SCRIPT, "sh", *places, *inside)],
            capture_output=True, text=True, check=False, timeout=limit,
        )  # fmt: skip

    def said(self, *command: str | Path, user: str = "root", network: bool = False) -> str:
        """What a command printed; it must succeed."""
        done = self.run(*command, user=user, network=network)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def sit_down(self, user: str, *steps: Sequence[object]) -> str:
        """Sit before its screen as `user` and do these steps, as `at_the_window.py` knows them."""
        screen = ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 1600x1000x24 -fbdir /tmp"]
        hand = ["python3", "-c", HAND.read_text(encoding="utf-8"), json.dumps(steps)]
        return self.said("dbus-run-session", "--", *screen, *hand, user=user)

    def picture(self, place: str) -> NDArray[np.uint8]:
        """What its screen showed, from the file that `picture` made: (H, W, 3), cut to the window."""
        raw = self.path(place).read_bytes()
        # XWDFileHeader of X11/XWDFile.h: 25 numbers, the window's name, 12 bytes a colour, rows of BGR-.
        head = struct.unpack(">25I", raw[:100])
        width, height, line = head[4], head[5], head[12]
        rows = np.frombuffer(raw, np.uint8, height * line, head[0] + 12 * head[19]).reshape(height, line)
        pixels = rows[:, : 4 * width].reshape(height, width, 4)[:, :, 2::-1]
        down, right, _ = np.nonzero(pixels)
        return pixels[down.min() : down.max() + 1, right.min() : right.max() + 1]

    def home(self, user: str) -> str:
        """A user's home, with a space and letters of three scripts as people have them."""
        return "/root" if user == "root" else f"/home/{user} Ω 家"

    def surroundings(self, user: str) -> list[str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return [
            f"HOME={self.home(user)}", f"USER={user}", f"PATH={path}", "LANG=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive", "QT_LINUX_ACCESSIBILITY_ALWAYS_ON=1", *_of_the_network(),
        ]  # fmt: skip

    def add_user(self, name: str) -> None:
        self.said("useradd", "--create-home", "--home-dir", self.home(name), "--shell", "/bin/bash", name)

    def files(self, folder: str) -> set[str]:
        """Every file and link below a folder of it, by whole path."""
        found = self.said("find", folder, "-xdev", "-not", "-type", "d", "-print0")
        return set(found.split("\0")) - {""}

    def put(self, file: Path, place: str) -> str:
        """Copy a file of ours onto it."""
        target = self.folder / "changes" / place.lstrip("/") / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o755)
        return f"{place}/{file.name}"

    def path(self, place: str) -> Path:
        """Where a file that was made on it lies here."""
        return self.folder / "changes" / place.lstrip("/")


def _of_the_network() -> list[str]:
    """How this system reaches the network, for what is let onto it."""
    return [f"{name}={value}" for name, value in os.environ.items() if name.lower().endswith("_proxy")]


@contextmanager
def disk(folder: Path) -> Iterator[Callable[[int], None]]:
    """A disk of its own for a machine; the function leaves this many bytes of it free."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", folder], check=True)

    def leave(free: int) -> None:
        found = os.statvfs(folder)
        size = (found.f_blocks - found.f_bfree) * found.f_frsize + free
        subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)

    try:
        yield leave
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A disk of its own, as `disk`, with a file of the user's on it; skips where none may be mounted."""
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount")
    with disk(folder / "small disk") as leave:
        (folder / "small disk" / "mine").write_bytes(b"years")
        yield folder / "small disk", leave


def build(folder: Path, version: str) -> Path:
    """The Linux installers of the committed sources, as one of two versions."""
    if not list(folder.glob("linux/*.deb")):
        made = subprocess.run(
            [ROOT / "packaging" / "build", "linux", "--out", folder],
            env={**os.environ, "PARETO_STUDIO_VERSION": version},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
    return folder / "linux"
