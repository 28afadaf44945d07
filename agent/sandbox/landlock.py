"""Landlock: a process walls itself off from files and the network (Linux 5.13 and later).

Bare system calls by ctypes, because no wheel is needed for four of them.
Source: kernel.org, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVILEGES: Final = 38

_EXECUTE, _WRITE, _READ, _READ_FOLDER = 1, 2, 4, 8
_CHANGE_BITS: Final = sum(1 << bit for bit in range(4, 13))
"""Remove and make files, folders, links, sockets, pipes, devices."""
_REFER, _TRUNCATE, _DEVICE_CONTROL = 1 << 13, 1 << 14, 1 << 15
_BIND, _CONNECT = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _call(*arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    return int(library.syscall(*arguments))


def version() -> int:
    """The kernel's Landlock version; 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def _handled(level: int) -> int:
    rights = _EXECUTE | _WRITE | _READ | _READ_FOLDER | _CHANGE_BITS
    if level >= 2:
        rights |= _REFER
    if level >= 3:
        rights |= _TRUNCATE
    if level >= 5:
        rights |= _DEVICE_CONTROL
    return rights


def restrict(readable: Iterable[str | Path], writable: Iterable[str | Path]) -> bool:
    """From now on this thread and its children see only these paths, and no TCP.

    What a path leads to at this moment is what counts: `/proc/self` is this
    process's own folder, also for the children.

    Returns whether files and TCP are both walled off (version 4, Linux 6.7);
    an older kernel walls off files only.

    Raises:
        OSError: the kernel refuses.
    """
    level = version()
    if not level:
        return False
    handled = _handled(level)
    ruleset = _Ruleset(
        files=handled,
        network=_BIND | _CONNECT if level >= 4 else 0,
        scoped=_ABSTRACT_SOCKETS | _SIGNALS if level >= 6 else 0,
    )
    size = 24 if level >= 6 else 16 if level >= 4 else 8
    handle = _call(_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if handle < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        for path in readable:
            _allow(handle, path, (_EXECUTE | _READ | _READ_FOLDER) & handled)
        for path in writable:
            _allow(handle, path, handled)
        library = ctypes.CDLL(None, use_errno=True)
        if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        if _call(_RESTRICT, ctypes.c_int(handle), ctypes.c_uint32(0)):
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(handle)
    return level >= 4


def _allow(ruleset: int, path: str | Path, rights: int) -> None:
    with suppress(FileNotFoundError, PermissionError, NotADirectoryError):
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(parent).st_mode):
                rights &= _EXECUTE | _WRITE | _READ | _TRUNCATE | _DEVICE_CONTROL
            rule = _PathRule(allowed=rights, parent=parent)
            if _call(
                _ADD,
                ctypes.c_int(ruleset),
                ctypes.c_int(_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint32(0),
            ):
                raise OSError(ctypes.get_errno(), f"landlock_add_rule for {path}")
        finally:
            os.close(parent)
