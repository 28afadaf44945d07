"""sandbox-exec: the wall around candidates under macOS.  Not verified on device.

The profile denies everything, then allows what Python, torch and Core ML need:
reading the system, the installation and the model; writing the candidate's own
folder; the GPU.  No network, no other processes, no Mach service that starts
programs.  Deprecated since 10.13 and still what Apple's own daemons and
browsers are confined with.
Source: sandbox-exec(1), /usr/share/sandbox/*.sb.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PROGRAM: Final = "/usr/bin/sandbox-exec"
_SYSTEM: Final = (
    "/usr/lib", "/usr/share", "/usr/bin", "/bin", "/System", "/Library/Frameworks", "/Library/Apple",
    "/private/var/db/dyld", "/private/var/db/timezone", "/private/etc/localtime", "/private/etc/ssl",
    "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/dtracehelper",
)  # fmt: skip
_HEAD: Final = """(version 1)
(deny default)
(allow process-fork)
(allow process-exec)
(allow signal (target self))
(allow process-info* (target self))
(allow sysctl-read)
(allow file-read-metadata)
(allow file-ioctl (literal "/dev/dtracehelper"))
(allow mach-lookup
  (global-name "com.apple.system.logger")
  (global-name "com.apple.system.opendirectoryd.libinfo")
  (global-name "com.apple.MTLCompilerService")
  (global-name "com.apple.appleneuralengine"))
(allow iokit-open
  (iokit-user-client-class "AGXDeviceUserClient")
  (iokit-user-client-class "AGXSharedUserClient")
  (iokit-user-client-class "IOSurfaceRootUserClient")
  (iokit-user-client-class "H11ANEInDirectPathClient"))
(allow ipc-posix-shm-read*)
(deny network*)
"""


def profile(readable: Iterable[str | Path], writable: Iterable[str | Path]) -> str:
    """The profile's text; paths are resolved, because /tmp and /var are links under macOS."""

    def rules(paths: Iterable[str | Path]) -> str:
        real = sorted({str(Path(path).resolve()) for path in paths})
        # a JSON string is a string of the profile's Scheme, escapes included
        return "".join(f"\n  (subpath {json.dumps(path, ensure_ascii=False)})" for path in real)

    reads = rules([*_SYSTEM, *readable])
    writes = rules(writable)
    text = f"{_HEAD}(allow file-read*{reads}{writes})\n"
    text += '(allow file-write-data (literal "/dev/null") (literal "/dev/zero"))\n'
    return text + (f"(allow file-write*{writes})\n" if writes else "")


def wrapped(command: list[str], readable: Iterable[str | Path], writable: Iterable[str | Path]) -> list[str]:
    """A command behind the wall.

    Raises:
        OSError: this system has no sandbox-exec.
    """
    if not os.access(PROGRAM, os.X_OK):
        raise FileNotFoundError(f"{PROGRAM} is not there")
    return [PROGRAM, "-p", profile(readable, writable), *command]


def walled() -> bool:
    """Whether this process is behind a profile, as the kernel says (sandbox_check in libSystem)."""
    if sys.platform != "darwin":
        return False
    try:
        check = ctypes.CDLL("/usr/lib/libSystem.dylib").sandbox_check
    except (OSError, AttributeError):
        return False
    return bool(check(os.getpid(), None, 0) == 1)
