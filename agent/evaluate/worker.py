"""A judge on another machine or device: what runs inside a Ray actor there."""

from __future__ import annotations

import importlib
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Candidate, Verdict
from agent.errors import JudgeError

if TYPE_CHECKING:
    from agent.evaluate.judge import Judge

_VERSIONS: Final = (
    "pareto-studio", "torch", "diffusers", "transformers", "openvino", "onnxruntime", "tensorrt-rtx", "nncf",
)  # fmt: skip
COMPARED: Final = 4
"""Pictures of the baseline that are compared with the run's."""
THREADS: Final = "OMP_NUM_THREADS"
"""Ray sets it to the processors that an actor asked for; a candidate gets what the run's machine gives."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every worker judges: the run's arguments of `agent.evaluate.judge.Judge`."""

    model: str
    device: str
    workload: Mapping[str, Any]
    metric: str
    gate: int
    threads: str | None
    """The run's own `OMP_NUM_THREADS`."""
    judge: str = "agent.evaluate.worker:real_judge"
    """`module:function` that makes the judge from this and a folder."""


@dataclass(frozen=True, slots=True)
class About:
    """What a worker says of itself once its baseline runs."""

    host: str
    pid: int
    hash: str
    """Digest of its copy of the model."""
    kind: Mapping[str, str]
    """`kind_of_machine` there."""
    seconds: float
    """Of the unchanged model, per image."""
    pictures: NDArray[np.uint8]
    """(4, H, W, 3): its baseline's pictures of the first gate prompts."""
    walls: str
    """Behind which walls candidates run there, as a sentence."""


def kind_of_machine(device: str) -> dict[str, str]:
    """What the ratio of two times on a machine depends on."""
    from engines.devices import processor_name
    from engines.package.processors import cores

    found = {"processor": processor_name(), "cores": str(cores()), "system": platform.system()}
    if device == "cuda":
        import torch

        found["accelerator"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def real_judge(wanted: Wanted, folder: Path) -> Judge:
    """The evaluator on this machine.

    Raises:
        AgentError, EngineError: the model, the device or the sandbox cannot be used here.
    """
    from agent.evaluate.judge import Judge
    from engines.workload import Workload

    workload = Workload.model_validate(wanted.workload)
    return Judge(wanted.model, wanted.device, workload, folder, metric=wanted.metric, gate=wanted.gate)


class Worker:
    """Judges for a run elsewhere; the run's process holds the only handle to it."""

    def __init__(self, wanted: Wanted) -> None:
        """Opens the model and draws its baseline.

        Raises:
            AgentError, EngineError: the model, the device or the sandbox cannot be used here.
        """
        os.environ.pop(THREADS, None)
        if wanted.threads is not None:
            os.environ[THREADS] = wanted.threads
        self._wanted = wanted
        self._folder = tempfile.TemporaryDirectory(prefix="pareto-worker-")
        module, _, name = wanted.judge.partition(":")
        self._judge: Judge = getattr(importlib.import_module(module), name)(wanted, Path(self._folder.name))
        self._baseline = self._judge.baseline()
        if self._baseline.state != "passed":
            raise JudgeError(self._baseline.reason)

    def about(self) -> About:
        assert self._baseline.latency is not None
        reference = self._judge.reference
        assert reference is not None
        return About(
            platform.node(),
            os.getpid(),
            self._judge.card.hash,
            kind_of_machine(self._wanted.device),
            self._baseline.latency.value,
            reference.images[:COMPARED],
            self._judge.isolation,
        )

    def judge(self, candidate: Candidate) -> tuple[Verdict, dict[str, bytes]]:
        """The verdict, and its pictures by their names inside the run's folder."""
        verdict = self._judge.judge(candidate, lambda _stage, _message: None)
        folder = Path(self._folder.name)
        pictures = {sample.image: (folder / sample.image).read_bytes() for sample in verdict.samples}
        for name in pictures:
            (folder / name).unlink()
        return verdict, pictures

    def close(self) -> None:
        self._judge.close()
        self._folder.cleanup()
