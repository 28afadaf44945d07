"""What a candidate's process may use, and the surroundings it gets."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

Isolation = Literal["isolated", "limited", "none"]
"""`isolated`: files, network and other processes are walled off by the operating system, and the process
is no root; `limited`: an own process with limits and an empty environment; `none`: nothing that would
stop a script."""
RANK: Final[dict[Isolation, int]] = {"none": 0, "limited": 1, "isolated": 2}
CONSENT: Final = "PARETO_STUDIO_WITHOUT_WALLS"
"""Set to `yes` by a user who wants candidates run where nothing limits them, or without their walls."""

ISOLATION: Final[dict[Isolation, str]] = {
    "isolated": "Candidates run in processes of their own that reach neither your files nor the network.",
    "limited": "Candidates run in processes of their own with limits on time, memory and files, "
    "but this system does not wall off files and network.",
    "none": "Candidates run in processes of their own that this system does not limit; "
    "run only scripts that you have read.",
}

_KEPT: Final = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "WINDIR", "COMSPEC", "NUMBER_OF_PROCESSORS",
                "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
                "CUDA_PATH", "HF_HOME")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """Memory in MiB, seconds of wall time per request; defaults suit a model of some hundred MiB."""

    memory: int = 8192
    """Resident memory of the process and all its children."""
    load_seconds: float = 300.0
    generate_seconds: float = 120.0
    file: int = 1024
    """The largest file that may be written, in MiB."""
    processes: int = 256
    """Processes and threads; where the user is not the candidate's own, beyond those he already has."""
    output: int = 16
    """What may be printed, in MiB."""
    disk: int = 2048
    """What the candidate's own folder may hold in all, in MiB."""
    entries: int = 20_000
    """Files and folders in it."""
    gpu_memory: int = 0
    """On NVIDIA devices, in MiB; 0: not watched."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def agreed() -> bool:
    """Whether the user has said that a script may run without walls."""
    return os.environ.get(CONSENT) == "yes"


def environment(home: Path) -> dict[str, str]:
    """The environment of a sandboxed process: no keys, no hub.

    Threads wait as they do by default: putting them to sleep between two operators made
    small models take twice the time.

    `home` stands in for the home and the temporary folder.
    """
    from engines.paths import cache_folder

    kept = {name: value for name in _KEPT if (value := os.environ.get(name)) is not None}
    folder = str(home)
    return kept | {
        "HOME": folder,
        "USERPROFILE": folder,
        "TMPDIR": folder,
        "TEMP": folder,
        "TMP": folder,
        "USER": "candidate",  # its user is in no list, and torch's compiler asks for a name
        "PARETO_STUDIO_CACHE": str(cache_folder()),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_TELEMETRY": "1",
    }
