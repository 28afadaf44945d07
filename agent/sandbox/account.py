"""An unprivileged user of its own for every candidate, where the program was started as root (Linux).

Permissions, limits on processes and the rule about signals mean nothing to
root.  Each candidate becomes a user that nothing else runs as and no file
belongs to: it cannot signal or read anybody else, its processes are counted
alone, and one signal ends all of them at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

FIRST: Final = 2_000_000_000
"""Numbers from here on are given to no user by any distribution (systemd: UIDS-GIDS.md)."""
_SPAN: Final = 100_000_000
_KEEP_CAPABILITIES: Final = 8
_SET_DUMPABLE: Final = 4
_AMBIENT: Final = 47
_AMBIENT_RAISE: Final = 2
_CAPABILITY_VERSION: Final = 0x20080522
_DAC_READ_SEARCH: Final = 2
_READ_EVERYWHERE: Final = 1 << _DAC_READ_SEARCH
"""CAP_DAC_READ_SEARCH: read and search what belongs to others."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def number(pid: int) -> int:
    """The user of the candidate whose process is `pid`."""
    return FIRST + pid % _SPAN


def leave_root(folder: str | Path, *, read_everywhere: bool) -> int:
    """Become an unprivileged user who owns `folder`; returns its number.

    `read_everywhere` keeps the one right to read files of others: the
    installation and the models may lie in root's home.  Give it only where
    Landlock says what may be read, and seccomp forbids opening files by handle.

    Raises:
        OSError: the system refuses, for example in a container without that many users.
    """
    user = number(os.getpid())
    groups = _device_groups()
    os.chown(folder, user, user)
    library = ctypes.CDLL(None, use_errno=True)
    if read_everywhere and library.prctl(_KEEP_CAPABILITIES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    os.setgroups(groups)
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kept = _READ_EVERYWHERE if read_everywhere else 0
    header = _Header(_CAPABILITY_VERSION, 0)
    sets = (_Sets * 2)(_Sets(kept, kept, kept), _Sets(0, 0, 0))
    if library.capset(ctypes.byref(header), ctypes.byref(sets)):
        raise OSError(ctypes.get_errno(), "capset")
    if read_everywhere:
        # For a compiler that it starts, which reads Python's headers behind the same walls; a kernel
        # that refuses leaves such a compiler without them.
        library.prctl(_AMBIENT, _AMBIENT_RAISE, _DAC_READ_SEARCH, 0, 0)
    # Changing users hides a process's folder in /proc even from its owner.
    library.prctl(_SET_DUMPABLE, 1, 0, 0, 0)
    return user


def _device_groups() -> list[int]:
    """Groups that graphics devices belong to: without them a candidate finds no GPU."""
    found = set()
    for pattern in ("dri/*", "kfd", "accel/*", "nvidia*"):
        for path in Path("/dev").glob(pattern):
            with suppress(OSError):
                found.add(path.stat().st_gid)
    return sorted(found - {0})


def processes(user: int) -> list[int]:
    """Every process of a candidate's user, whoever its parent is by now."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                if entry.stat().st_uid == user:
                    found.append(int(entry.name))
    return found


def end_all(user: int) -> None:
    """Kill every process of a candidate's user, at once: no fork is quicker than that.  Only root can."""
    if os.geteuid() != 0 or not FIRST <= user < FIRST + _SPAN:
        return
    pid = os.fork()
    if not pid:
        with suppress(BaseException):
            os.setresuid(user, user, user)
            if os.getuid() == user and os.geteuid() == user:
                os.kill(-1, signal.SIGKILL)
        os._exit(0)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
