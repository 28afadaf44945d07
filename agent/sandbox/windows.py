"""A Job Object: one half of the wall around candidates under Windows.  Not verified on device.

A job limits memory and processes and ends with its last handle, so the whole
tree dies with the judge.  The other half is a restricted token at low integrity
(`agent.sandbox.windows_token`): a candidate writes to its own folder only.
Reading and the network stay open, so this counts as `limited`.
Source: Microsoft Learn, Job Objects; Mandatory Integrity Control.
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
_INTEGRITY_LEVEL: Final = 25
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


class SidAndAttributes(ctypes.Structure):
    """SID_AND_ATTRIBUTES"""

    _fields_ = (("sid", ctypes.c_void_p), ("attributes", ctypes.c_uint32))


class Job:
    """A job for one candidate; closing it ends all its processes.

    Raises:
        OSError: the system refuses.
    """

    def __init__(self, pid: int, limits: Limits) -> None:
        self._kernel = library("kernel32")
        self._kernel.CreateJobObjectW.restype = ctypes.c_void_p
        self._kernel.OpenProcess.restype = ctypes.c_void_p
        self._handle: int | None = self._kernel.CreateJobObjectW(None, None)
        if not self._handle:
            raise failed("CreateJobObject")
        wanted = _Extended()
        wanted.basic.flags = _ACTIVE_PROCESSES | _JOB_MEMORY | _DIE_ON_EXCEPTION | _KILL_ON_CLOSE
        wanted.basic.processes = limits.processes
        wanted.job_memory = limits.memory * 2**20
        self._set(_EXTENDED_LIMITS, wanted)
        self._set(_UI_RESTRICTIONS, ctypes.c_uint32(_ALL_UI))
        process = self._kernel.OpenProcess(_SET_QUOTA | _TERMINATE, False, pid)
        if not process:
            raise failed("OpenProcess")
        try:
            if not self._kernel.AssignProcessToJobObject(
                ctypes.c_void_p(self._handle), ctypes.c_void_p(process)
            ):
                raise failed("AssignProcessToJobObject")
        finally:
            self._kernel.CloseHandle(ctypes.c_void_p(process))

    def _set(self, kind: int, value: Any) -> None:
        if not self._kernel.SetInformationJobObject(
            ctypes.c_void_p(self._handle), kind, ctypes.byref(value), ctypes.sizeof(value)
        ):
            raise failed("SetInformationJobObject")

    def close(self) -> None:
        """End every process of the job."""
        if self._handle:
            self._kernel.TerminateJobObject(ctypes.c_void_p(self._handle), 1)
            self._kernel.CloseHandle(ctypes.c_void_p(self._handle))
            self._handle = None


def prepare(folder: Path, writers: str) -> None:
    """Let processes of low integrity write to a candidate's folder, and the SID `writers`; before one starts.

    Raises:
        OSError: the folder's label or rights cannot be set.
    """
    for change in (["/setintegritylevel", "(OI)(CI)L"], ["/grant", f"*{writers}:(OI)(CI)F"]):
        done = subprocess.run(["icacls", str(folder), *change], capture_output=True, check=False)
        if done.returncode:
            raise OSError(done.returncode, f"icacls cannot change the rights of {folder}")


def lower(security: Any, token: ctypes.c_void_p) -> None:
    """Bring a token down to low integrity.

    Raises:
        OSError: the system refuses.
    """
    label = SidAndAttributes(sid(_LOW), _SE_GROUP_INTEGRITY)
    security.GetLengthSid.restype = ctypes.c_uint32
    size = ctypes.sizeof(label) + security.GetLengthSid(ctypes.c_void_p(label.sid))
    if not security.SetTokenInformation(token, _INTEGRITY_LEVEL, ctypes.byref(label), size):
        raise failed("SetTokenInformation")


def sid(text: str) -> ctypes.c_void_p:
    """A security identifier of its text, `S-1-16-4096`.

    Raises:
        OSError: it is none.
    """
    found = ctypes.c_void_p()
    if not library("advapi32").ConvertStringSidToSidW(ctypes.c_wchar_p(text), ctypes.byref(found)):
        raise failed("ConvertStringSidToSid")
    return found


def library(name: str) -> Any:
    """A library of the system; raises `OSError` on any other."""
    if sys.platform != "win32":
        raise OSError(f"{name} exists under Windows only")
    return ctypes.WinDLL(name, use_last_error=True)  # pragma: no cover - Windows


def failed(what: str) -> OSError:
    """The system's last error."""
    last = getattr(ctypes, "get_last_error", lambda: 0)()
    return OSError(last, f"{what} was refused")
