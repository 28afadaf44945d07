"""The contract of every engine, and the part of it that is the same for all.

    probe()                    can it run here, and if not, why and what to install
    build(capture, options)    -> Artifact: built, compared with eager and kept by content; where that
                               fails, the next lower demand is built instead and the reason kept
    load(artifact)             -> Loaded(component, fallbacks): a function from arrays to arrays

Precision is always explicit.  Building the same thing twice costs a look into
the cache; two processes never build the same thing at once.
"""

from __future__ import annotations

import os
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engines.backends import parity
from engines.backends.calibration import Calibration
from engines.capture.capture import Capture
from engines.errors import BuildError, CaptureError, ModelError
from engines.paths import cache_folder, digest, locked, new_folder, read_json, write_json
from engines.plan import Backend as BackendName
from engines.plan import Precision

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]
State = Literal["ready", "build_only", "missing"]

FORMAT: Final = 1
METADATA: Final = "artifact.json"
LOWER: Final[Mapping[Precision, tuple[Precision, ...]]] = {
    "int8": ("bf16", "fp32"),
    "bf16": ("fp32",),
    "fp32": (),
}
"""What is tried instead, in this order."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an engine runs on this machine; `install` is a command line that would help."""

    state: State
    reason: str
    install: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """How to build; all of it is part of the artifact's key."""

    precision: Precision
    channels_last: bool = False
    calibration: Calibration | None = None
    """Wanted for int8."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A built engine of one component, in a folder of the cache named by its content."""

    capture: Capture
    backend: BackendName
    """The engine it really is, after fallbacks; `precision` likewise."""
    precision: Precision
    channels_last: bool
    key: str
    folder: Path
    metadata: Mapping[str, Any]
    """`engine`, `version`, `precision`, `component`, `files`, `parity` (max_abs, psnr), `calibration`,
    `options` (runtime properties), `seconds`, `machine`."""
    fallbacks: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """What an engine needs to run it elsewhere; empty where there is nothing to ship."""
        return tuple(self.folder / name for name in self.metadata["files"])


@dataclass(frozen=True, slots=True)
class Loaded:
    """A component that runs, and everything that was lowered on the way, as sentences."""

    component: Component
    fallbacks: tuple[str, ...] = ()
    backend: BackendName = "torch"
    precision: Precision = "fp32"


@dataclass(frozen=True, slots=True)
class Built:
    """What a backend's own build returns: file names inside the folder, and facts for the metadata."""

    files: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Backend(ABC):
    """One engine.  A subclass says its name, packages and precisions, and how to build and open a folder."""

    name: ClassVar[BackendName]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """Distributions it needs; the first one's version is the engine's version."""
    precisions: ClassVar[Mapping[Precision, str]]
    """Precision to reason why not; an empty reason means that it can."""

    # -- the contract

    def probe(self) -> Availability:
        """Look for the packages without importing them."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            return Availability(
                "missing", f"{missing[0]} is not installed", f"pip install {' '.join(missing)}"
            )
        return Availability("ready", f"{self.title} {self.version()}")

    def build(self, capture: Capture, options: Options) -> Artifact:
        """The artifact, from the cache or built now; never one that has not been compared with eager.

        Raises:
            BuildError: not even eager fp32 can be built.
            CaptureError: the model lacks what the structure asks for.
        """
        reasons: list[str] = []
        for backend, attempt in self._ladder(options):
            why = backend.precisions.get(attempt.precision, "unknown precision")
            if not why:
                try:
                    found = backend.kept(capture, attempt)
                except BuildError as error:
                    why = str(error)
                else:
                    return _with(found, reasons)
            reasons.append(f"{capture.component}: {backend.title} {attempt.precision} was not used: {why}.")
        raise BuildError(" ".join(reasons))

    def load(self, artifact: Artifact) -> Loaded:
        """Open an artifact; where that fails, eager fp32 takes its place, with the reason."""
        from engines.backends import backend

        owner = backend(artifact.backend)
        try:
            component = owner.component_of(artifact)
        except Exception as error:
            if artifact.backend == "torch" and artifact.precision == "fp32":
                raise
            what = f"{artifact.capture.component}: {owner.title} {artifact.precision}"
            reason = f"{what} could not be opened: {first_line(error)}."
            eager = backend("torch")
            spare = eager.build(artifact.capture, Options("fp32"))
            return Loaded(
                eager.component_of(spare), (*artifact.fallbacks, reason, *spare.fallbacks), "torch", "fp32"
            )
        return Loaded(component, artifact.fallbacks, artifact.backend, artifact.precision)

    def key(self, capture: Capture, options: Options) -> str:
        """The artifact's name: everything that decides its content."""
        calibration = options.calibration.key if options.calibration and options.precision == "int8" else None
        facts = (
            options.precision,
            options.channels_last and self.uses_channels_last(),
            calibration,
            *self.machine(),
        )
        return digest(FORMAT, capture.key, self.name, self.version(), facts)

    # -- for subclasses

    def version(self) -> str:
        """The engine's version."""
        return metadata.version(self.packages[0])

    def uses_channels_last(self) -> bool:
        return False

    def machine(self) -> tuple[str, ...]:
        """What ties an artifact to this machine; nothing for portable formats."""
        return ()

    @abstractmethod
    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        """Write the engine's files into `folder`; raise anything on failure."""

    @abstractmethod
    def component_of(self, artifact: Artifact) -> Component:
        """A component from the files; raise anything on failure."""

    # -- the same for all

    def _ladder(self, options: Options) -> list[tuple[Backend, Options]]:
        """This engine at the wanted and lower precisions, then eager fp32."""
        from engines.backends import backend

        steps: list[tuple[Backend, Options]] = [(self, options)]
        steps += [
            (self, Options(precision, options.channels_last))
            for precision in LOWER[options.precision]
            if not self.precisions.get(precision, "unknown")
        ]
        if self.name != "torch":
            steps.append((backend("torch"), Options("fp32")))
        return steps

    def kept(self, capture: Capture, options: Options) -> Artifact:
        """One rung of the ladder: from the cache, or built, compared and kept; a failure is kept too."""
        key = self.key(capture, options)
        folder = cache_folder("engines") / key
        facts = read_json(folder / METADATA)
        if facts is None:
            with locked(folder):
                facts = read_json(folder / METADATA)
                if facts is None:
                    facts = self._make(capture, options, key, folder)
        if facts.get("failed"):
            raise BuildError(facts["failed"])
        return Artifact(capture, self.name, options.precision, options.channels_last, key, folder, facts)

    def _make(self, capture: Capture, options: Options, key: str, folder: Path) -> dict[str, Any]:
        availability = self.probe()
        if availability.state != "ready":
            raise BuildError(availability.reason)
        start = time.monotonic()
        facts: dict[str, Any] = {
            "format": FORMAT,
            "engine": self.name,
            "version": self.version(),
            "precision": options.precision,
            "channels_last": options.channels_last and self.uses_channels_last(),
            "component": capture.component,
            "structure": capture.structure.facts(),
            "capture": capture.key,
            "model": capture.model.hash,
            "inputs": [[spec.name, spec.dtype, list(spec.shape)] for spec in capture.inputs],
            "outputs": [[spec.name, spec.dtype, list(spec.shape)] for spec in capture.outputs],
            "machine": {"system": platform.system(), "machine": platform.machine()},
        }
        with new_folder(folder) as fresh:
            try:
                built = self._build(capture, options, fresh)
                facts |= {"files": list(built.files), **built.facts}
                artifact = Artifact(
                    capture, self.name, options.precision, options.channels_last, key, fresh, facts
                )
                facts["parity"] = self._parity(artifact, options)
                facts["bytes"] = sum((fresh / name).stat().st_size for name in built.files)
            except (CaptureError, ModelError, MemoryError, OSError):
                # The model's own limits, a full disk and the like say nothing of this engine: not kept.
                raise
            except Exception as error:  # noqa: BLE001 - engines raise what they like; the reason is kept
                for path in fresh.iterdir():
                    path.unlink()
                facts = {"failed": first_line(error), "engine": self.name, "files": []}
            facts["seconds"] = round(time.monotonic() - start, 2)
            write_json(fresh / METADATA, facts)
        return facts

    def _parity(self, artifact: Artifact, options: Options) -> dict[str, Any]:
        """Compare on two batches of other sizes; int8 on inputs like those it was calibrated on."""
        capture = artifact.capture
        if self.name == "torch" and artifact.precision == "fp32" and not artifact.channels_last:
            return {"max_abs": 0.0, "psnr": 200.0, "least_psnr": 0.0, "cases": 0}  # the reference itself
        component = self.component_of(artifact)
        cases = [capture.example(batch=2, seed=1), capture.example(batch=1, seed=2)]
        if options.precision == "int8" and options.calibration is not None:
            samples = options.calibration.samples(capture.component)
            cases = samples[:: max(1, len(samples) // 4)][:4]
        found: list[dict[str, float]] = []
        for inputs in cases:
            evidence = parity.compare(component(inputs), capture.reference(inputs))
            parity.check(evidence, options.precision)
            found.append(evidence)
        return {
            "max_abs": max(one["max_abs"] for one in found),
            "psnr": round(min(one["psnr"] for one in found), 2),
            "least_psnr": parity.LEAST_PSNR[options.precision],
            "cases": len(found),
        }


def _with(artifact: Artifact, reasons: Sequence[str]) -> Artifact:
    from dataclasses import replace

    return replace(artifact, fallbacks=tuple(reasons)) if reasons else artifact


def first_line(error: BaseException) -> str:
    """An error's first line, without the full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered(inputs: Arrays, names: Sequence[str]) -> list[NDArray[Any]]:
    """The arrays in the order of `names`, contiguous."""
    return [np.ascontiguousarray(inputs[name]) for name in names]
