"""A script in a process of its own: for what Triton reads when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_script(script: str, folder: Path, **environment: str) -> None:
    """Run Python code from the project's root; it fails with what it said."""
    place = folder / "script.py"
    place.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(place)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
