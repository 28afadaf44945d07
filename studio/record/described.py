"""What a run is about: the model, the device with its engines, the metric of loss."""

from __future__ import annotations

from typing import Literal

from studio.record.data import Data


class Component(Data):
    """One part of a model: text encoder, denoiser, decoder, scheduler."""

    name: str
    kind: str
    """Class name, for example `UNet2DConditionModel`."""
    parameters: int
    dtype: str
    bytes: int
    share: float | None = None
    """Share of the baseline's time, once profiled."""
    groups: int = 0
    """Of a denoiser: norm groups inside its residual blocks."""
    inner: int = 0
    """Of a denoiser: channels inside its widest feed-forward."""
    fusible: bool = True
    """Of a denoiser: its attention can be fused."""


class ModelCard(Data):
    name: str
    source: str
    """Folder, file or hub id it was loaded from."""
    family: str
    task: str
    size: int
    """Native height and width in pixels."""
    steps: int
    guidance: float
    licence: str
    components: tuple[Component, ...]
    hash: str
    """Digest of all weights and settings."""
    memory: int
    """Bytes that the weights take when loaded in fp32."""
    notes: tuple[str, ...] = ()
    frames: int = 0
    """Native frames of a video; 0 for pictures."""


class EngineState(Data):
    """One of the engines that serve a target."""

    title: str
    state: Literal["ready", "build_only", "missing"]
    reason: str
    install: str = ""
    """What would add it here, or what a ready one does without."""

    @property
    def words(self) -> str:
        """Its title and the reason, said once where the reason begins with it."""
        return self.reason if self.reason.startswith(self.title) else f"{self.title}: {self.reason}"


class TargetState(Data):
    """One row of the Device step."""

    id: str
    """For example `cpu`, `cuda`, `directml`, `mlx`, `coreml`."""
    name: str
    engine: str
    state: Literal["ready", "build_only", "missing"]
    reason: str
    install: str = ""
    gflops: float | None = None
    gbytes: float | None = None
    packable: bool = True
    """Whether a package can hold engines for it that its runner opens."""
    engines: tuple[EngineState, ...] = ()
    """Every engine that serves it; empty in what earlier versions kept."""

    def lacking(self) -> tuple[EngineState, ...]:
        """Engines that are not ready or do less than they could, but for what the row says of one itself.

        Those for which the same is so stand together, their titles joined.
        """
        found: dict[tuple[str, str, str], list[str]] = {}
        for one in self.engines:
            if one.state == "ready" and not one.install:
                continue
            if one.state == self.state and one.reason in self.reason and one.install in ("", self.install):
                continue
            found.setdefault((one.state, one.reason, one.install), []).append(one.title)
        return tuple(
            EngineState.model_validate(
                {"title": ", ".join(titles), "state": state, "reason": reason, "install": install}
            )
            for (state, reason, install), titles in found.items()
        )


class Metric(Data):
    """What the y axis shows."""

    name: str
    title: str
    unit: str
    note: str = ""
