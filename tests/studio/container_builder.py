"""Images for tests: built by buildah and runc on a base by debootstrap, all in a folder of the test's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TOOLS: Final = ("buildah", "runc", "debootstrap", "tar")
SUITES: Final = {(3, 11): "bookworm", (3, 13): "trixie"}
"""Debian's releases by their Python."""
ISOLATED: Final = ("--network", "none", "--isolation", "oci", "--runtime", "runc")
"""How a container runs: a real one, whose only network is its own loopback."""


def missing() -> str:
    """Why no image can be built here, as a sentence; empty where one can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} missing; on Debian: apt install buildah runc debootstrap."
    if os.geteuid() != 0:
        return "debootstrap and runc are run as root here, and this is another user."
    if sys.version_info[:2] not in SUITES:
        return "No release of Debian has this Python, so the wheels would not fit the base."
    return ""


@dataclass(frozen=True, slots=True)
class Builder:
    """A store of images in a folder."""

    folder: Path

    def run(self, *arguments: str, room: Path | None = None) -> subprocess.CompletedProcess[str]:
        """One buildah command."""
        place = ["--root", str(self.folder / "store"), "--runroot", str(self.folder / "state")]
        return subprocess.run(
            ["buildah", *place, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=room,
            timeout=400,
        )

    def base(self, name: str) -> str:
        """Make an image `name` of a fresh Debian with its Python; why not, else empty."""
        root, archive = self.folder / "root", self.folder / "base.tar"
        wanted = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv"]
        made = subprocess.run(
            [*wanted, SUITES[sys.version_info[:2]], str(root)], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            return f"debootstrap: {(made.stdout.splitlines() or [made.stderr])[-1]}"
        kept = ["--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./var/cache/apt/*"]
        subprocess.run(["tar", "-C", str(root), *kept, "-cf", str(archive), "."], check=True)
        shutil.rmtree(root)
        container = self.said("from", "scratch")
        self.said("add", container, str(archive), "/")
        self.said("commit", "--rm", container, name)
        archive.unlink()
        return ""

    def build(self, context: Path, name: str) -> subprocess.CompletedProcess[str]:
        """Build a context as its README says, without a network and without a registry."""
        return self.run("build", "--pull-never", "--layers", *ISOLATED, "-t", name, ".", room=context)

    def start(self, image: str) -> str:
        """A container of an image; its name."""
        return self.said("from", "--pull-never", image)

    def inside(
        self, container: str, command: Sequence[str], *options: str
    ) -> subprocess.CompletedProcess[str]:
        """A command in a container, without a network."""
        return self.run("run", *ISOLATED, *options, container, "--", *command)

    def said(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def clear(self) -> None:
        """Remove every container and image; a store may hold mounts."""
        self.run("rm", "--all")
        self.run("rmi", "--all", "--force")
