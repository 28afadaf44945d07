"""A command as the user `nobody`: tests that root runs show here what holds for everybody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534
ROOT = Path(__file__).parents[2]
_SHOW = """
hold=$1 closed=$2 place=$3
shift 3
mount --bind "$place" "$hold"
mount -t tmpfs -o mode=755 tmpfs "$closed"
mkdir -p "$place"
mount --bind "$hold" "$place"
exec "$@"
"""
"""In a mount namespace of its own: of a closed folder, such as root's home, one place is there for all."""


def closed(place: Path) -> Path | None:
    """The outermost folder above a place that others may not pass through."""
    for folder in reversed(place.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="nobody-", dir="/tmp"))
    os.chown(made, NOBODY, NOBODY)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def run(arguments: Sequence[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run this Python with `arguments`; it has the `folder` for all that it writes.

    Skips the test where `nobody` cannot come to Python and nothing can be done about it.
    """
    command = [
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all",
        sys.executable, *arguments,
    ]  # fmt: skip
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv here (util-linux)")
    for number, place in enumerate(dict.fromkeys(map(Path, (sys.base_prefix, sys.prefix, str(ROOT))))):
        if barred := closed(place.resolve()):
            if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
                pytest.skip(f"nobody may not pass {barred}, and nothing can be mounted here")
            (hold := folder / f"place-{number}").mkdir()
            show = ["sh", "-ec", _SHOW, "sh", str(hold), str(barred), str(place.resolve())]
            command = ["unshare", "--mount", "--propagation", "private", *show, *command]
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PARETO_STUDIO_CACHE": str(folder / "cache"), "QT_QPA_PLATFORM": "offscreen",
    }  # fmt: skip
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )
