"""A command as the user `nobody`: tests that root runs show here what holds for everybody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import pytest

NOBODY = 65534
ROOT = Path(__file__).parents[2]


def closed(place: Path) -> Path | None:
    """The outermost folder above a place that others may not pass through."""
    for folder in reversed(place.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def _shown(barred: Mapping[Path, Path], room: Path) -> str:
    """A shell's lines, for a mount namespace of its own: of closed folders, such as root's home, these places
    are there for all, and then its arguments are run.  `barred`: each place and the closed folder above it.
    """
    holds = {place: room / f"place-{number}" for number, place in enumerate(barred)}
    for hold in holds.values():
        hold.mkdir()
    lines = [f"mount --bind {quote(str(place))} {quote(str(hold))}" for place, hold in holds.items()]
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {quote(str(one))}" for one in dict.fromkeys(barred.values())]
    for place, hold in holds.items():
        lines += [f"mkdir -p {quote(str(place))}", f"mount --bind {quote(str(hold))} {quote(str(place))}"]
    return "\n".join([*lines, 'exec "$@"'])


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
    places = dict.fromkeys(Path(one).resolve() for one in (sys.base_prefix, sys.prefix, ROOT))
    barred = {place: above for place in places if (above := closed(place))}
    if barred:
        if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
            pytest.skip(f"nobody may not pass {next(iter(barred.values()))}, and nothing can be mounted here")
        show = ["sh", "-ec", _shown(barred, folder), "sh"]
        command = ["unshare", "--mount", "--propagation", "private", *show, *command]
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PARETO_STUDIO_CACHE": str(folder / "cache"), "QT_QPA_PLATFORM": "offscreen",
    }  # fmt: skip
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )
