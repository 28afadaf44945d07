"""Engines of a candidate for devices that are not here: built, put into its package, and called no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engines.backends.serves import SERVES, plain_precision
from engines.package.components import OPENS
from engines.package.runtimes import ON_TORCH
from engines.package.write import EngineFiles
from studio.errors import ExportError
from studio.work.package_contents import engine_files, packed
from studio.work.torch_parts import BACKEND

if TYPE_CHECKING:
    from engines.plan import Backend, Plan


def openers(device: str) -> list[Backend]:
    """The engines that are built here for a device that is not, whose files a package's runner opens."""
    return [name for name in SERVES[device] if name not in ON_TORCH and device in OPENS.get(name, ())]


def variants(plan: Plan, devices: Sequence[str]) -> tuple[EngineFiles, ...]:
    """The engine files of a plan for each device, by the device's own engine and precision.

    `eager`, `compile` and `aoti` stand for torch on the plan's own device.

    What the recipe changes in weights, graph and host loop stays; engine and
    precision are the device's, for the recipe's were chosen for another one.

    Raises:
        ExportError: what is unknown or the plan's own device, or part of the model cannot be built for it.
    """
    found: list[EngineFiles] = []
    for device in dict.fromkeys(devices):
        if device in ON_TORCH:
            found += _on_torch(plan, device)
            continue
        if device not in SERVES:
            raise ExportError(f"There is no device {device}; there are: {', '.join((*SERVES, *ON_TORCH))}.")
        if device == plan.device:
            raise ExportError(f"The package is for {device} already; leave --also {device} out.")
        found += _variant(plan, device)
    return tuple(found)


def _on_torch(plan: Plan, engine: str) -> list[EngineFiles]:
    """For the plan's own device, by torch; where torch cannot compute its precision, in the device's own."""
    from engines.backends import backend
    from engines.pipeline import prepare

    name = BACKEND[engine]
    if plan.device not in OPENS[engine]:
        raise ExportError(f"A package cannot open {engine} on {plan.device}; leave --also {engine} out.")
    refused = plan.precision == "int8" or backend(name).objection(plan.precision, plan.device)
    precision = plain_precision(plan.device) if refused else plan.precision
    artifacts = prepare(replace(plan, backend=name, precision=precision))
    for artifact in artifacts:
        if artifact.backend != name:
            raise ExportError(f"The package cannot hold {engine}: {' '.join(artifact.fallbacks)}")
    return [part for artifact in artifacts for part in packed(artifact, [engine])]


def _variant(plan: Plan, device: str) -> list[EngineFiles]:
    from engines.pipeline import prepare

    able = openers(device)
    if not able:
        raise ExportError(
            f"No engine of {device} has files that a package can open; leave --also {device} out."
        )
    wanted = replace(
        plan,
        device=device,
        backend=able[0],
        precision=plain_precision(device),
        channels_last=False,
    )
    artifacts = prepare(wanted)
    for artifact in artifacts:
        if artifact.backend != wanted.backend:
            reason = " ".join(artifact.fallbacks)
            raise ExportError(f"The package cannot hold engines for {device}: {reason}")
    return [engine_files(artifact) for artifact in artifacts]
