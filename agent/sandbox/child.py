"""Inside a candidate's process: give up what it does not need, then serve its script.

    python -m agent.sandbox.child       a process of its own, spawned ahead
    enter(order) in a forked child      see `forkserver`

An *order* says which folder is the candidate's own, its limits, and which
paths it may read or write beside it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from agent.sandbox import landlock
from agent.sandbox.limits import Isolation

PRELOADED: Final = (
    "numpy",
    "PIL.Image",
    "torch",
    "safetensors.torch",
    "tokenizers",
    "openvino",
    "onnxruntime",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
    "diffusers",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.autoencoders.autoencoder_tiny",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "diffusers.schedulers.scheduling_ddim",
    "engines.harness",
    "engines.pipeline",
    "engines.techniques",
)
"""What nearly every script imports: seconds that no candidate has to pay."""

_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys",
                  "/nix", "/dev/urandom", "/dev/random", "/run/opengl-driver")  # fmt: skip
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/shm", "/dev/dri", "/dev/kfd", "/dev/accel")  # noqa: S108


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is told before it does anything; see `Limits` for the units."""

    folder: str
    limits: dict[str, Any]
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    trusted: bool = False
    """The program's own code: no walls."""
    preloaded: tuple[str, ...] = PRELOADED

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preload(names: Sequence[str] = PRELOADED) -> list[str]:
    """Import what scripts need; returns what is not there.  Runs no torch operation."""
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a broken optional engine costs only itself
            missing.append(name)
    return missing


def enter(order: Order) -> Isolation:
    """Limit this process for good; says how far that went."""
    os.chdir(order.folder)
    for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"):
        os.environ[name] = order.folder
    tempfile.tempdir = None
    if os.name != "posix":
        return "limited"
    _limit_resources(order.limits)
    if order.trusted or not landlock.version():
        return "limited"
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, *(entry for entry in sys.path if entry)}
    places |= {os.environ[name] for name in ("PARETO_STUDIO_CACHE", "HF_HOME") if name in os.environ}
    nvidia = [str(path) for path in Path("/dev").glob("nvidia*")]
    try:
        whole = landlock.restrict(
            [*_SYSTEM, *places, *order.readable],
            [*_DEVICES, *nvidia, order.folder, *order.writable],
        )
    except OSError:
        return "limited"
    return "isolated" if whole else "limited"


def _limit_resources(limits: dict[str, Any]) -> None:
    """Limits on files, core dumps and processes; memory is watched from outside.

    Address space stays free, because CUDA and engines reserve far more than they use.
    """
    import resource

    def lower(kind: int, value: int) -> None:
        with suppress(ValueError, OSError):
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_FSIZE, limits["file"] * 2**20)
    if os.getuid() != 0:
        lower(resource.RLIMIT_NPROC, _threads_of_user() + limits["processes"])


def _threads_of_user() -> int:
    """RLIMIT_NPROC counts every thread of the user, not only this process's."""
    import psutil

    mine = os.getuid()
    total = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == mine:
            total += process.info["num_threads"] or 1
    return total


def hello(answers: BinaryIO, isolation: Isolation, missing: Sequence[str] = ()) -> None:
    """The first line of the answers: ready, and behind which walls."""
    line = {"ready": True, "isolation": isolation, "missing": list(missing)}
    answers.write(json.dumps(line).encode() + b"\n")
    answers.flush()


def main() -> None:
    """A process spawned ahead: the order is the first line on stdin."""
    from engines.harness import private_streams, serve

    requests, answers = private_streams()
    order = Order(**json.loads(requests.readline()))
    isolation = enter(order)
    hello(answers, isolation, preload(order.preloaded))
    serve(requests, answers)


if __name__ == "__main__":
    main()
