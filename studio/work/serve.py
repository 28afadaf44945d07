"""Serve a package: verify it, then let its own program answer."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import IO

from engines.errors import PackageError
from engines.package.signature import Trust
from engines.package.verify import verify


def serve(
    package: Path, arguments: list[str], streams: tuple[IO[str], IO[str]], trust: Trust | None = None
) -> int:
    """Block until the server ends; its exit status.  It speaks on `streams`, stdout and stderr.

    The package's `run.py` does the serving, in a process of its own, so that
    what is tried here is what is deployed.

    Args:
        trust: who must have signed the package, before any program of it is started.

    Raises:
        PackageError: no package, or one that must not be used.
    """
    if package.is_file():
        raise PackageError(f"{package} is a file; unpack it and give the folder.")
    verify(package, trust)
    out, error = streams
    command = [sys.executable, str(package / "run.py"), "--serve", *arguments]
    process = subprocess.Popen(command, stdout=out, stderr=error)

    def forward(number: int, _frame: FrameType | None) -> None:
        if process.poll() is None:
            process.send_signal(number)

    # Ctrl-C reaches the server by itself: it is in the same group of the terminal.
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
    }
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
