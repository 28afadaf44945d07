"""A Job Object and a lowered token: the wall around candidates under Windows.  Not verified on device.

From outside a job limits memory and processes and ends with its last handle,
so the whole tree dies with the judge.  Inside, the process gives up every
privilege and lowers its token to low integrity: it can write to its own
folder only.  Reading and the network stay open, so this counts as `limited`.
Source: Microsoft Learn, Job Objects; Mandatory Integrity Control; AdjustTokenPrivileges.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from agent.sandbox.limits import Limits

_EXTENDED_LIMITS: Final = 9
_UI_RESTRICTIONS: Final = 4
_ACTIVE_PROCESSES: Final = 0x8
_JOB_MEMORY: Final = 0x200
_DIE_ON_EXCEPTION: Final = 0x400
_KILL_ON_CLOSE: Final = 0x2000
_ALL_UI: Final = 0xFF
"""Desktop, clipboard, handles, system parameters, display settings, global atoms, exit Windows."""
_SET_QUOTA, _TERMINATE = 0x100, 0x1
_TOKEN_ADJUST_PRIVILEGES, _TOKEN_ADJUST_DEFAULT, _TOKEN_QUERY = 0x20, 0x80, 0x8
_PRIVILEGES, _INTEGRITY_LEVEL = 3, 25
_REMOVED: Final = 0x4
_SE_GROUP_INTEGRITY: Final = 0x20
_LOW: Final = "S-1-16-4096"


class _Basic(ctypes.Structure):
    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("least_working_set", ctypes.c_size_t),
        ("most_working_set", ctypes.c_size_t),
        ("processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32),
        ("scheduling", ctypes.c_uint32),
    )


class _Extended(ctypes.Structure):
    _fields_ = (
        ("basic", _Basic),
        ("io", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class _SidAndAttributes(ctypes.Structure):
    _fields_ = (("sid", ctypes.c_void_p), ("attributes", ctypes.c_uint32))


class Job:
    """A job for one candidate; closing it ends all its processes.

    Raises:
        OSError: the system refuses.
    """

    def __init__(self, pid: int, limits: Limits) -> None:
        self._kernel = _library("kernel32")
        self._kernel.CreateJobObjectW.restype = ctypes.c_void_p
        self._kernel.OpenProcess.restype = ctypes.c_void_p
        self._handle: int | None = self._kernel.CreateJobObjectW(None, None)
        if not self._handle:
            raise _error("CreateJobObject")
        wanted = _Extended()
        wanted.basic.flags = _ACTIVE_PROCESSES | _JOB_MEMORY | _DIE_ON_EXCEPTION | _KILL_ON_CLOSE
        wanted.basic.processes = limits.processes
        wanted.job_memory = limits.memory * 2**20
        self._set(_EXTENDED_LIMITS, wanted)
        self._set(_UI_RESTRICTIONS, ctypes.c_uint32(_ALL_UI))
        process = self._kernel.OpenProcess(_SET_QUOTA | _TERMINATE, False, pid)
        if not process:
            raise _error("OpenProcess")
        try:
            if not self._kernel.AssignProcessToJobObject(
                ctypes.c_void_p(self._handle), ctypes.c_void_p(process)
            ):
                raise _error("AssignProcessToJobObject")
        finally:
            self._kernel.CloseHandle(ctypes.c_void_p(process))

    def _set(self, kind: int, value: Any) -> None:
        if not self._kernel.SetInformationJobObject(
            ctypes.c_void_p(self._handle), kind, ctypes.byref(value), ctypes.sizeof(value)
        ):
            raise _error("SetInformationJobObject")

    def close(self) -> None:
        """End every process of the job."""
        if self._handle:
            self._kernel.TerminateJobObject(ctypes.c_void_p(self._handle), 1)
            self._kernel.CloseHandle(ctypes.c_void_p(self._handle))
            self._handle = None


def prepare(folder: Path) -> None:
    """Let processes of low integrity write to a candidate's folder; called before one starts.

    Raises:
        OSError: the folder's label cannot be set.
    """
    done = subprocess.run(
        ["icacls", str(folder), "/setintegritylevel", "(OI)(CI)L"], capture_output=True, check=False
    )
    if done.returncode:
        raise OSError(done.returncode, f"icacls cannot label {folder}")


def lower_token() -> None:
    """Give up every privilege and go down to low integrity, for good.

    Raises:
        OSError: the system refuses.
    """
    security, kernel = _library("advapi32"), _library("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    token = ctypes.c_void_p()
    rights = _TOKEN_ADJUST_PRIVILEGES | _TOKEN_ADJUST_DEFAULT | _TOKEN_QUERY
    if not security.OpenProcessToken(
        ctypes.c_void_p(kernel.GetCurrentProcess()), rights, ctypes.byref(token)
    ):
        raise _error("OpenProcessToken")
    try:
        _remove_privileges(security, token)
        sid = ctypes.c_void_p()
        if not security.ConvertStringSidToSidW(ctypes.c_wchar_p(_LOW), ctypes.byref(sid)):
            raise _error("ConvertStringSidToSid")
        label = _SidAndAttributes(sid, _SE_GROUP_INTEGRITY)
        security.GetLengthSid.restype = ctypes.c_uint32
        size = ctypes.sizeof(label) + security.GetLengthSid(sid)
        if not security.SetTokenInformation(token, _INTEGRITY_LEVEL, ctypes.byref(label), size):
            raise _error("SetTokenInformation")
    finally:
        kernel.CloseHandle(token)


def _remove_privileges(security: Any, token: ctypes.c_void_p) -> None:
    needed = ctypes.c_uint32()
    security.GetTokenInformation(token, _PRIVILEGES, None, 0, ctypes.byref(needed))
    found = ctypes.create_string_buffer(needed.value)
    if not security.GetTokenInformation(token, _PRIVILEGES, found, needed, ctypes.byref(needed)):
        raise _error("GetTokenInformation")
    # TOKEN_PRIVILEGES: a count, then (LUID, attributes) of 12 bytes each
    count = ctypes.c_uint32.from_buffer(found).value
    for index in range(count):
        ctypes.c_uint32.from_buffer(found, 4 + 12 * index + 8).value = _REMOVED
    if not security.AdjustTokenPrivileges(token, False, found, 0, None, None):
        raise _error("AdjustTokenPrivileges")


def _library(name: str) -> Any:
    if sys.platform != "win32":
        raise OSError(f"{name} exists under Windows only")
    return ctypes.WinDLL(name, use_last_error=True)  # pragma: no cover - Windows


def _error(what: str) -> OSError:
    last = getattr(ctypes, "get_last_error", lambda: 0)()
    return OSError(last, f"{what} was refused")
