"""Memory on NVIDIA devices by process, as the driver counts it (NVML by ctypes).  Not verified on device.

Source: NVML API reference, nvmlDeviceGetComputeRunningProcesses_v3 and nvmlProcessInfo_t.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

_LIBRARY: Final = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
_MOST: Final = 512
_UNKNOWN: Final = 2**64 - 1
MIB: Final = 2**20


class _ProcessInfo(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@lru_cache(maxsize=1)
def _library() -> tuple[Any, tuple[ctypes.c_void_p, ...]] | None:
    """The driver's library and its devices; `None` without either."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    count = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return None
    devices = []
    for index in range(count.value):
        device = ctypes.c_void_p()
        if not library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
            devices.append(device)
    return (library, tuple(devices)) if devices else None


def limit() -> int:
    """MiB of device memory that a candidate may take: nine tenths of the smallest; 0 where there is none."""
    found = _library()
    if found is None:
        return 0
    totals = [memory.total for memory in _memories(*found)]
    return int(0.9 * min(totals) / MIB) if totals else 0


def in_use() -> float:
    """MiB of device memory that is taken by whomever, all devices together."""
    found = _library()
    return 0.0 if found is None else sum(memory.used for memory in _memories(*found)) / MIB


def _memories(library: Any, devices: Iterable[ctypes.c_void_p]) -> list[_Memory]:
    found = []
    for device in devices:
        memory = _Memory()
        if not library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
            found.append(memory)
    return found


def used(pids: Iterable[int]) -> float:
    """MiB of device memory that these processes hold, all devices together; 0 where the driver does not count
    by process: in most containers, and for Windows' own display driver.
    """
    found, wanted = _library(), set(pids)
    if found is None:
        return 0.0
    library, devices = found
    total = 0.0
    for device in devices:
        count = ctypes.c_uint(_MOST)
        infos = (_ProcessInfo * _MOST)()
        if library.nvmlDeviceGetComputeRunningProcesses_v3(device, ctypes.byref(count), infos):
            continue
        held = [one.used for one in infos[: count.value] if one.pid in wanted and one.used != _UNKNOWN]
        total += sum(held) / MIB
    return total
