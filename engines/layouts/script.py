"""Running a folder's own `generate.py` in another process, as its receiver would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from engines.errors import PackageError
from engines.layouts.base import Pixels
from engines.package.runner import read_picture

SECONDS: Final = 900
NOISE: Final = "philox"
"""The folder beside `generate.py` that holds the host loop's own noise."""
_TRAVEL: Final = Path(__file__).resolve().parent / "travel"
_HOST_LOOP: Final = Path(__file__).resolve().parents[1] / "hostloop"


def write_noise(folder: Path) -> None:
    """The host loop's noise as a package of its own, so that a seed stands for the same picture here."""
    (folder / NOISE).mkdir()
    (folder / NOISE / "__init__.py").write_text('"""Noise by seed, as Pareto Studio draws it."""\n')
    for name in ("noise.py", "errors.py"):
        shutil.copyfile(_HOST_LOOP / name, folder / NOISE / name)


def write_program(name: str, path: Path) -> None:
    """A program of `engines.layouts.travel`, as it is."""
    shutil.copyfile(_TRAVEL / f"{name}.py", path)


def draw_by_script(folder: Path, prompt: str, seed: int) -> Pixels:
    """The picture that `generate.py` writes.

    Raises:
        PackageError: it does not, with its own words.
    """
    with tempfile.TemporaryDirectory(prefix="pareto-layout-") as name:
        out = Path(name) / "picture.png"
        program = folder.absolute() / "generate.py"  # it runs elsewhere
        command = [sys.executable, "-P", "-B", str(program), "--prompt", prompt]
        run_quietly([*command, "--seed", str(seed), "--out", str(out)], Path(name))
        if not out.is_file():
            raise PackageError(f"{folder.name} wrote no picture; report this.")
        return read_picture(out)


def run_quietly(command: list[str], room: Path, failed: str = "The folder cannot draw by itself") -> str:
    """What a command printed; asking no hub, and without what this process imports from.

    Raises:
        PackageError: it failed, with its last words.
    """
    left = ("PYTHON", "HF_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left)}
    kept |= {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            cwd=room,
            env=kept,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PackageError(f"{failed} (it did not end within {SECONDS} s).") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        words = (lines[-1] if lines else f"exit status {done.returncode}")[:300].rstrip(".")
        raise PackageError(f"{failed} ({words}).")
    return done.stdout
