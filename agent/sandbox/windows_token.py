"""A process under a restricted token (Windows).  Not verified on device.

The token is a copy of the caller's own, which needs no right to hand it on:
administrators' groups count for denials only, all privileges but the one to
pass through folders are gone, and writing is checked a second time against three
restricting SIDs (those that write-restricted services have), so that
only what names one of them can be written: the candidate's folder does.  Then it
is lowered to low integrity.  Reading is left as it is, because the
interpreter and the models may lie in the user's own folders.

The process is made suspended and let go once it is in its job.  Source: Microsoft
Learn, Restricted Tokens; CreateRestrictedToken; CreateProcessAsUserW; Service SID Types.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from agent.sandbox import windows
from agent.sandbox.limits import Limits
from agent.sandbox.windows import SidAndAttributes, failed, library

DISABLE_MAX_PRIVILEGE, WRITE_RESTRICTED = 0x1, 0x8
WRITERS: Final = "S-1-5-33"
"""What a write-restricted token may write names it."""
_EVERYBODY: Final = "S-1-1-0"
_DENIED: Final = ("S-1-5-32-544", "S-1-5-32-547")
"""Administrators and power users."""
_TOKEN_DUPLICATE, _TOKEN_QUERY, _TOKEN_ASSIGN, _TOKEN_ADJUST_DEFAULT = 0x2, 0x8, 0x1, 0x80
_GROUPS, _HAS_RESTRICTIONS = 2, 21
_LOGON: Final = 0xC0000000
"""SE_GROUP_LOGON_ID."""
_SUSPENDED, _UNICODE_ENVIRONMENT, _NO_WINDOW = 0x4, 0x400, 0x08000000
_USE_HANDLES: Final = 0x100
_STILL_ACTIVE: Final = 259
_TIMED_OUT: Final = 0x102


class StartupInfo(ctypes.Structure):
    """STARTUPINFOW"""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("reserved", ctypes.c_void_p),
        ("desktop", ctypes.c_void_p),
        ("title", ctypes.c_void_p),
        ("place", ctypes.c_uint32 * 7),
        ("flags", ctypes.c_uint32),
        ("show", ctypes.c_uint16),
        ("reserved_size", ctypes.c_uint16),
        ("reserved_bytes", ctypes.c_void_p),
        ("stdin", ctypes.c_void_p),
        ("stdout", ctypes.c_void_p),
        ("stderr", ctypes.c_void_p),
    )


class ProcessInformation(ctypes.Structure):
    """PROCESS_INFORMATION"""

    _fields_ = (
        ("process", ctypes.c_void_p),
        ("thread", ctypes.c_void_p),
        ("pid", ctypes.c_uint32),
        ("thread_id", ctypes.c_uint32),
    )


def environment_block(environment: Mapping[str, str]) -> str:
    """`A=1`, NUL, `B=2`, NUL, NUL: sorted as Windows wants it, whatever the letters' case.

    Raises:
        ValueError: a name or a value that would end the block early or begin another variable.
    """
    for name, value in environment.items():
        if not name or "\0" in name + value or "=" in name[1:]:
            raise ValueError(f"The variable {name!r} cannot be handed to a process.")
    ordered = sorted(environment.items(), key=lambda item: item[0].upper())
    return "".join(f"{name}={value}\0" for name, value in ordered) + "\0"


class Restricted:
    """A running process under a restricted token, in a job of its own; used as a `subprocess.Popen`.

    Raises:
        OSError: the system refuses.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, limits: Limits
    ) -> None:
        self._kernel = library("kernel32")
        pipes = [os.pipe(), os.pipe(), os.pipe()]
        theirs = (pipes[0][0], pipes[1][1], pipes[2][1])
        ours = (pipes[0][1], pipes[1][0], pipes[2][0])
        try:
            token = _token()
            try:
                made = self._create(token, command, environment, folder, theirs)
            finally:
                self._kernel.CloseHandle(token)
            self._process, self.pid = ctypes.c_void_p(made.process), int(made.pid)
            thread = ctypes.c_void_p(made.thread)
            try:
                self.job = windows.Job(self.pid, limits)
                self._kernel.ResumeThread(thread)
            except OSError:
                self._kernel.TerminateProcess(self._process, 1)
                raise
            finally:
                self._kernel.CloseHandle(thread)
        except OSError:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.stdin: IO[bytes] = os.fdopen(ours[0], "wb")
        self.stdout: IO[bytes] = os.fdopen(ours[1], "rb")
        self.stderr: IO[bytes] = os.fdopen(ours[2], "rb")

    def _create(
        self,
        token: ctypes.c_void_p,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        streams: tuple[int, int, int],
    ) -> ProcessInformation:
        start, made = StartupInfo(), ProcessInformation()
        start.size, start.flags = ctypes.sizeof(start), _USE_HANDLES
        # All other handles of this process are not inherited: Python opens none that way.
        start.stdin, start.stdout, start.stderr = (_inheritable(descriptor) for descriptor in streams)
        line = ctypes.create_unicode_buffer(subprocess.list2cmdline(command))
        block = ctypes.create_unicode_buffer(environment_block(environment))
        if not library("advapi32").CreateProcessAsUserW(
            token,
            None,
            line,
            None,
            None,
            True,
            _SUSPENDED | _UNICODE_ENVIRONMENT | _NO_WINDOW,
            block,
            ctypes.c_wchar_p(str(folder)),
            ctypes.byref(start),
            ctypes.byref(made),
        ):
            raise failed("CreateProcessAsUser")
        return made

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        code = ctypes.c_uint32()
        self._kernel.GetExitCodeProcess(self._process, ctypes.byref(code))
        return None if code.value == _STILL_ACTIVE else int(code.value)

    def kill(self) -> None:
        """End it and all that it started."""
        self.job.close()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it is still there.
        """
        milliseconds = 0xFFFFFFFF if timeout is None else int(timeout * 1000)
        if self._kernel.WaitForSingleObject(self._process, milliseconds) == _TIMED_OUT:
            raise subprocess.TimeoutExpired("candidate", timeout or 0.0)
        return self.poll() or 0

    def close(self) -> None:
        """End it and let go of it."""
        self.kill()
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
        self._kernel.CloseHandle(self._process)


def restricted() -> bool:
    """Whether this process runs under a token that was restricted."""
    security, kernel = library("advapi32"), library("kernel32")
    token, found, size = _own_token(_TOKEN_QUERY), ctypes.c_uint32(), ctypes.c_uint32()
    try:
        told = security.GetTokenInformation(
            token, _HAS_RESTRICTIONS, ctypes.byref(found), ctypes.sizeof(found), ctypes.byref(size)
        )
        return bool(told and found.value)
    finally:
        kernel.CloseHandle(token)


def _token() -> ctypes.c_void_p:
    """A restricted copy of this process's token, at low integrity."""
    security, kernel = library("advapi32"), library("kernel32")
    own = _own_token(_TOKEN_DUPLICATE | _TOKEN_QUERY | _TOKEN_ASSIGN | _TOKEN_ADJUST_DEFAULT)
    try:
        denied = _sids([windows.sid(text) for text in _DENIED])
        groups = _groups(security, own)
        logon = [one.sid for one in groups if one.attributes & _LOGON == _LOGON]
        writers = _sids([windows.sid(WRITERS), windows.sid(_EVERYBODY), *map(ctypes.c_void_p, logon)])
        made = ctypes.c_void_p()
        if not security.CreateRestrictedToken(
            own,
            DISABLE_MAX_PRIVILEGE | WRITE_RESTRICTED,
            len(denied),
            denied,
            0,
            None,
            len(writers),
            writers,
            ctypes.byref(made),
        ):
            raise failed("CreateRestrictedToken")
    finally:
        kernel.CloseHandle(own)
    windows.lower(security, made)
    return made


def _own_token(rights: int) -> ctypes.c_void_p:
    kernel = library("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    token = ctypes.c_void_p()
    if not library("advapi32").OpenProcessToken(
        ctypes.c_void_p(kernel.GetCurrentProcess()), rights, ctypes.byref(token)
    ):
        raise failed("OpenProcessToken")
    return token


def _groups(security: Any, token: ctypes.c_void_p) -> list[SidAndAttributes]:
    """TOKEN_GROUPS: a count, then that many; they point into the buffer that they keep."""
    needed = ctypes.c_uint32()
    security.GetTokenInformation(token, _GROUPS, None, 0, ctypes.byref(needed))
    found = ctypes.create_string_buffer(needed.value)
    if not security.GetTokenInformation(token, _GROUPS, found, needed, ctypes.byref(needed)):
        raise failed("GetTokenInformation")
    return groups_of(found)


def groups_of(found: ctypes.Array[ctypes.c_char]) -> list[SidAndAttributes]:
    """The groups in a buffer that holds TOKEN_GROUPS."""
    count = ctypes.c_uint32.from_buffer(found).value
    at = ctypes.alignment(SidAndAttributes)  # the count is padded to where a pointer may stand
    return list((SidAndAttributes * count).from_buffer(found, at))


def _sids(found: Sequence[ctypes.c_void_p]) -> ctypes.Array[SidAndAttributes]:
    return (SidAndAttributes * len(found))(*(SidAndAttributes(one, 0) for one in found))


def _inheritable(descriptor: int) -> int:
    if sys.platform != "win32":
        raise OSError("handles exist under Windows only")
    import msvcrt  # pragma: no cover - Windows

    handle = msvcrt.get_osfhandle(descriptor)  # pragma: no cover - Windows
    os.set_handle_inheritable(handle, True)  # pragma: no cover - Windows
    return handle  # pragma: no cover - Windows
