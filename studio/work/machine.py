"""What is known without running anything: this machine, a model's card, the list of runs."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from dataclasses import asdict, is_dataclass
from typing import Any

from studio.record import library
from studio.record.described import ModelCard, TargetState
from studio.record.verdict import BUSY
from studio.work.job import Job

VERSIONS = ("torch", "diffusers", "transformers", "openvino", "onnxruntime", "nncf", "numpy")


def describe_machine() -> dict[str, Any]:
    """Processor, cores that may be used, memory in bytes, system, versions."""
    import psutil

    from engines.devices import processor_name
    from engines.package.processors import cores

    versions = {}
    for name in VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor_name(),
        "cores": cores(),
        "memory": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def others(seconds: float = 0.3) -> float:
    """Share of this machine's processors that other programs use, 0 to 1, measured for so long."""
    from engines.measure.neighbours import Neighbours

    watched = Neighbours()
    time.sleep(seconds)
    return watched.share()


def busy_sentence() -> str:
    """A warning where other programs would be measured as well; empty on a quiet machine."""
    share = others()
    if share < BUSY:
        return ""
    return (
        f"Other programs use {share:.0%} of this machine's processors. Threads that wait for each other make "
        "models many times slower then, and unevenly so: close what you can, or expect wide intervals."
    )


def target_states() -> list[TargetState]:
    """Every device that the program knows, ready or not, and why."""
    from engines.devices import targets
    from studio.work.more_devices import openers

    return [
        TargetState.model_validate({**fields_of(target), "packable": bool(openers(target.id))})
        for target in targets()
    ]


def model_card(source: str) -> ModelCard:
    """Open a model far enough to describe it.

    Raises:
        EngineError: the model cannot be used; the text says why and what to do.
    """
    from engines.models.card import describe
    from engines.models.load import open_model

    return ModelCard.model_validate(fields_of(describe(open_model(source))))


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass or a pydantic model, all the way down."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    found: dict[str, Any] = value.model_dump()
    return found


def devices(_job: Job) -> dict[str, Any]:
    """Command `devices`."""
    return {
        "targets": [target.model_dump(mode="json") for target in target_states()],
        "machine": describe_machine(),
    }


def inspect(_job: Job, model: str) -> dict[str, Any]:
    """Command `inspect`."""
    return {"card": model_card(model).model_dump(mode="json")}


def runs(job: Job) -> dict[str, Any]:
    """Command `runs`."""
    return {"runs": [run.json() for run in library.runs(job.home)]}
