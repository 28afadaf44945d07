"""The contract of every engine, and the part of it that is the same for all.

    probe(device)              does it run there, can it only build for it, or is something missing, and what
    build(capture, options)    -> Artifact: built, compared with eager and kept by content; where that
                               fails, the next lower demand is built instead and the reason kept
    load(artifact)             -> Loaded(component, fallbacks): a function from arrays to arrays

What was built for a device and what was verified on it are two facts: an artifact
made where its device is absent says so, and is loaded only where another runtime
can stand in for the device, which is then named among the fallbacks.

Precision is always explicit.  Building the same thing twice costs a look into
the cache; two processes never build the same thing at once.
"""

from __future__ import annotations

import errno
import platform
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np

from engines import installing
from engines.backends import lowered, parity
from engines.backends.calibration import Calibration
from engines.backends.guard import Component, first_line, fitting
from engines.backends.serves import TITLES, devices_of
from engines.capture.capture import Capture
from engines.capture.pictured import pictured
from engines.errors import BuildError, CaptureError, ModelError, WorkloadError
from engines.full_memory import explained, is_full, ran_out
from engines.paths import cache_folder, digest, locked, new_folder, read_json, write_json
from engines.plan import NARROW, USUAL, Precision, TorchWays, Units
from engines.plan import Backend as BackendName

State = Literal["ready", "build_only", "missing"]

COMPUTED_IN_FP16: Final[tuple[Precision, ...]] = ("fp16", *NARROW)
FORMAT: Final = 1
METADATA: Final = "artifact.json"
READ_ONLY: Final = "it is not built yet, and this process may not write the cache"
"""Why a candidate's process gets another engine than it asked for."""
LOWER: Final[Mapping[Precision, tuple[Precision, ...]]] = {
    "w4": ("w6", "w8", "fp16", "fp32"),
    "w6": ("w8", "fp16", "fp32"),
    "w8": ("fp16", "fp32"),
    "fp8": ("bf16", "fp16", "fp32"),
    "int8": ("bf16", "fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
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
    """Of a ready engine: what `without` is about."""
    without: str = ""
    """What a ready engine does not do for want of a package, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Supplement:
    """A module that an engine does more with."""

    module: str
    gives: str
    """What it does with it, for example `int8`."""
    extra: str = ""
    """The extra of pareto-studio that installs it."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to build; all of it is part of the artifact's key."""

    precision: Precision
    channels_last: bool = False
    calibration: Calibration | None = None
    """Wanted for int8."""
    device: str = "cpu"
    units: Units = "all"
    """Of Core ML."""
    graphs: bool = False
    """Of eager torch on a card: whether launches are recorded and replayed."""
    ways: TorchWays = USUAL
    """Of eager torch."""


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
    """`engine`, `version`, `precision`, `component`, `files`, `parity` (max_abs, psnr; `None` where nothing
    here can compute it), `calibration`, `options` (runtime properties), `seconds`, `machine`, `built_for`
    (device), `verified_on` (what it was compared on; empty: nowhere yet), `stand_in` (what took the device's
    place in the comparison)."""
    fallbacks: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def verified_on(self) -> str:
        """The device that it was compared with eager on; empty where it was only built for one."""
        return str(self.metadata.get("verified_on", ""))

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
    """Modules it needs; the version of the first one's distribution is the engine's."""
    extra: ClassVar[str] = ""
    """The extra of pareto-studio that installs them."""
    precisions: ClassVar[Mapping[Precision, str]]
    """Precision to reason why not; an empty reason means that it can."""
    builds_anywhere: ClassVar[bool] = False
    """Whether artifacts for a device can be made where it is absent."""
    version_bound: ClassVar[bool] = False
    """Whether its files open in the very version only that made them."""

    # -- the contract

    @property
    def devices(self) -> tuple[str, ...]:
        return devices_of(self.name)

    def probe(self, device: str = "") -> Availability:
        """Look for the packages and the device without importing the runtime."""
        wanted = device or self.devices[0]
        if wanted not in self.devices:
            return Availability("missing", f"{self.title} does not serve {TITLES.get(wanted, wanted)}")
        if missing := self.missing():
            install = installing.lacking(*missing, extra=self.extra)
            return Availability("missing", f"{missing[0]} is not installed", install)
        if (unfit := self.unfit()) is not None:
            return unfit
        version = f"{self.title} {self.version()}"
        if absent := self.absent(wanted):
            if not self.builds_anywhere:
                return Availability("missing", absent, self.remedy(wanted))
            reason = f"{version} can build for it, not run on it: {absent}"
            return Availability("build_only", reason, self.remedy(wanted))
        for one in self.supplements(wanted):
            if find_spec(one.module) is None:
                install = installing.lacking(one.module, extra=one.extra)
                return Availability("ready", version, install, f"{one.gives}: {one.module} is not installed")
        return Availability("ready", version)

    def build(self, capture: Capture, options: Options) -> Artifact:
        """The artifact, from the cache or built now; never one that has not been compared with eager.

        Raises:
            BuildError: not even eager fp32 can be built.
            CaptureError: the model lacks what the structure asks for.
        """
        reasons: list[str] = []
        for backend, attempt in self._ladder(options):
            why = backend.objection(attempt.precision, attempt.device)
            if not why:
                try:
                    found = backend.kept(capture, attempt)
                except BuildError as error:
                    why = str(error)
                else:
                    return _with(found, [*reasons, *backend.remarks(found)])
            reasons.append(f"{capture.component}: {backend.title} {attempt.precision} was not used: {why}.")
        raise BuildError(" ".join(reasons))

    def load(self, artifact: Artifact) -> Loaded:
        """Open an artifact; where that fails, eager fp32 takes its place, with the reason."""
        from engines.backends import backend

        owner = backend(artifact.backend)
        what = f"{artifact.capture.component}: {owner.title} {artifact.precision}"
        place = TITLES.get(artifact.device, artifact.device)
        fallbacks = artifact.fallbacks
        if reason := owner.absent(artifact.device):
            stand_in = owner.stand_in(artifact.device)
            if not stand_in:
                raise BuildError(f"{what} is built, not verified on device: {reason}.")
            fallbacks = (*fallbacks, f"{what} runs by {stand_in} here, in place of {place}: {reason}.")
        try:
            owner.check_version(artifact)
            component = owner.component_of(artifact)
        except Exception as error:
            if is_full(error):  # eager in fp32 would need more
                raise WorkloadError(explained(error, f" on opening {what}")) from error
            if artifact.backend == "torch" and artifact.precision == "fp32":
                raise
            reason = f"{what} could not be opened: {first_line(error)}."
            eager = backend("torch")
            spare = eager.build(artifact.capture, Options("fp32", device=_spare_device(artifact.device)))
            component = eager.component_of(spare)
            fallbacks = (*artifact.fallbacks, reason, *spare.fallbacks)
            return Loaded(fitting(component, artifact.capture), fallbacks, "torch", "fp32")
        return Loaded(fitting(component, artifact.capture), fallbacks, artifact.backend, artifact.precision)

    def key(self, capture: Capture, options: Options) -> str:
        """The artifact's name: everything that decides its content."""
        calibration = options.calibration.key if options.calibration and options.precision == "int8" else None
        facts: tuple[object, ...] = (
            options.precision,
            options.channels_last and self.uses_channels_last(),
            calibration,
            *self.machine(),
        )
        settings = self.settings(options)
        if options.device != "cpu" or settings:
            facts = (*facts, options.device, *settings)
        return digest(FORMAT, capture.key, self.name, self.version(), facts)

    # -- for subclasses

    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]

    def absent(self, device: str) -> str:  # noqa: ARG002 - by device where an engine serves several
        """Why the device cannot be used from here, for example a missing driver; empty where it can."""
        return ""

    def remedy(self, device: str) -> str:  # noqa: ARG002
        """What installs that for whose want a device is `absent`; empty where no command does."""
        return ""

    def supplements(self, device: str) -> Sequence[Supplement]:  # noqa: ARG002
        """Modules that the engine does more with on a device, and does without."""
        return ()

    def stand_in(self, device: str) -> str:  # noqa: ARG002
        """What here computes the same files in an absent device's place; empty where nothing does."""
        return ""

    def unfit(self) -> Availability | None:
        """Another reason why the engine cannot be used; `None` where there is none."""
        return None

    def objection(self, precision: Precision, device: str) -> str:  # noqa: ARG002
        """Why a precision is not to be had on a device, as the end of a sentence; empty where it is."""
        return self.precisions.get(precision, f"{self.title} has no {precision}")

    def settings(self, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """What else in the options decides an artifact's content."""
        return ()

    def check_version(self, artifact: Artifact) -> None:
        """Raises `BuildError` for files that only another version of the engine opens."""
        made = artifact.metadata.get("version")
        if self.version_bound and made != self.version():
            raise BuildError(
                f"it was built by version {made} and {self.version()} is installed; build it again"
            )

    def examine(self, artifact: Artifact) -> Mapping[str, Any]:  # noqa: ARG002
        """Facts read off the files where nothing here can run them; raise anything where they are wrong."""
        return {}

    def remarks(self, artifact: Artifact) -> Sequence[str]:  # noqa: ARG002
        """What a good artifact does otherwise than was asked, read off its facts, as sentences."""
        return ()

    def version(self) -> str:
        """The engine's version."""
        return metadata.version(self.packages[0])

    def uses_channels_last(self) -> bool:
        return False

    def calibrates(self, device: str) -> bool:  # noqa: ARG002
        """Whether int8 needs samples; not where ranges are found anew at every call."""
        return True

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
            (self, replace(options, precision=precision, calibration=None))
            for precision in LOWER[options.precision]
            if not self.objection(precision, options.device)
        ]
        if self.name != "torch":
            steps.append((backend("torch"), Options("fp32", device=_spare_device(options.device))))
        return steps

    def kept(self, capture: Capture, options: Options) -> Artifact:
        """One rung of the ladder: from the cache, or built, compared and kept; a failure is kept too."""
        key = self.key(capture, options)
        folder = cache_folder("engines") / key
        facts = read_json(folder / METADATA)
        if facts is None:
            try:
                with locked(folder):
                    facts = read_json(folder / METADATA)
                    if facts is None:
                        facts = self._make(capture, options, key, folder)
            except PermissionError as error:
                # A candidate's process may only read the cache.
                raise BuildError(READ_ONLY) from error
        if facts.get("failed"):
            raise BuildError(facts["failed"])
        return Artifact(
            capture, self.name, options.precision, options.channels_last, key, folder, facts,
            device=options.device,
        )  # fmt: skip

    def _make(self, capture: Capture, options: Options, key: str, folder: Path) -> dict[str, Any]:
        availability = self.probe(options.device)
        if availability.state == "missing":
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
            "built_for": options.device,
            "verified_on": "",
            "stand_in": "",
        }
        with new_folder(folder, replace=True) as fresh:
            try:
                built = self._build(capture, options, fresh)
                facts |= {"files": list(built.files), **built.facts}
                artifact = Artifact(
                    capture, self.name, options.precision, options.channels_last, key, fresh, facts,
                    device=options.device,
                )  # fmt: skip
                facts |= self._evidence(artifact, options)
                facts["bytes"] = sum((fresh / name).stat().st_size for name in built.files)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise BuildError(
                        f"the disk of the cache {folder.parent} is full; empty the cache or set"
                        " PARETO_STUDIO_CACHE to a folder on another disk"
                    ) from error
                raise
            except (CaptureError, ModelError, MemoryError):
                # The model's own limits say nothing of this engine: not kept.
                raise
            except Exception as error:
                if is_full(error):
                    place = TITLES.get(options.device, options.device)
                    raise BuildError(ran_out(error, place)) from error
                for path in fresh.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                facts = {"failed": first_line(error), "engine": self.name, "files": []}
            facts["seconds"] = round(time.monotonic() - start, 2)
            write_json(fresh / METADATA, facts)
        return facts

    def _evidence(self, artifact: Artifact, options: Options) -> dict[str, Any]:
        """What is known of an artifact's correctness, and where it was found out."""
        if not self.absent(options.device):
            parity_here = self._parity(artifact, options)
            return {"parity": parity_here, "verified_on": TITLES.get(options.device, options.device)}
        stand_in = self.stand_in(options.device)
        facts = dict(self.examine(artifact))
        if options.precision in COMPUTED_IN_FP16:
            lowered.check_range(artifact.capture)
        measured = self._parity(artifact, options) if stand_in else None
        return facts | {"parity": measured, "stand_in": stand_in}

    def _parity(self, artifact: Artifact, options: Options) -> dict[str, Any]:
        """Compare on two batches of other sizes; int8 on inputs like those it was calibrated on."""
        capture = artifact.capture
        plain = self.name == "torch" and artifact.precision == "fp32" and not artifact.channels_last
        if plain and artifact.device == "cpu" and not artifact.metadata.get("options"):
            return {"max_abs": 0.0, "psnr": 200.0, "least_psnr": 0.0, "cases": 0}  # the reference itself
        cases = [capture.example(batch=2, seed=1), capture.example(batch=1, seed=2)]
        if options.precision == "int8" and options.calibration is not None:
            samples = options.calibration.samples(capture.component)
            cases = samples[:: max(1, len(samples) // 4)][:4]
        # One after the other: of a large component the program, eager and the engine do not fit into memory
        # together (SDXL's denoiser has 10 GiB of weights in fp32).
        capture.release()
        wanted = [capture.reference(inputs) for inputs in cases]
        drawn = pictured(capture) if options.precision in COMPUTED_IN_FP16 else None
        capture.release()
        component = self.component_of(artifact)
        if drawn is not None and not all(np.isfinite(value).all() for value in component(drawn).values()):
            raise BuildError(
                f"of a picture's latent it makes values that are not finite in {options.precision}"
            )
        bar = _bar(options)
        found: list[dict[str, float]] = []
        for inputs, reference in zip(cases, wanted, strict=True):
            evidence = parity.compare(component(inputs), reference)
            parity.check(evidence, bar)
            found.append(evidence)
        return {
            "max_abs": max(one["max_abs"] for one in found),
            "psnr": round(min(one["psnr"] for one in found), 2),
            "least_psnr": parity.LEAST_PSNR[bar],
            "cases": len(found),
        }


def _bar(options: Options) -> Precision:
    """The precision whose rounding an engine may show, after what is done beside its own."""
    if options.ways.cast:
        return "fp8"
    if options.ways.attention in {"sage", "skip"}:
        return "int8"
    return "fp16" if options.ways.tf32 else options.precision


def _spare_device(device: str) -> str:
    """Where eager takes over: on the same device where torch runs there."""
    from engines.backends import backend

    eager = backend("torch")
    return device if device in eager.devices and eager.probe(device).state == "ready" else "cpu"


def _with(artifact: Artifact, reasons: Sequence[str]) -> Artifact:
    return replace(artifact, fallbacks=tuple(reasons)) if reasons else artifact
