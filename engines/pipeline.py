"""From a model and a recipe to something that draws.

plan(model, device, workload, techniques) -> Plan      what will run, as values
engines(plan)                            -> requests   which engines that needs
prepare(plan, on_progress)                             build and keep them, without running
build(plan) -> Pipeline;  Pipeline.generate(prompts, seeds) -> Result
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import students
from engines.backends import backend
from engines.backends.base import Artifact, Loaded, Options
from engines.backends.calibration import calibration_for
from engines.backends.guard import Component
from engines.backends.serves import SERVES, plain_engine, plain_precision
from engines.capture.capture import Capture
from engines.capture.structure import ComponentName, Structure
from engines.counted import counting
from engines.errors import ModelError, TechniqueError, WorkloadError
from engines.hostloop.conditions import conditions_of, encoders_of
from engines.hostloop.loop import needed
from engines.hostloop.passes import SMALL, SPLIT
from engines.hostloop.settings import DiffusionDecoder, LoopSettings, Picture
from engines.hostloop.tiles import tile_shape
from engines.models.load import open_model
from engines.models.model import Model
from engines.plan import USUAL, Plan, Precision, TorchWays, Units
from engines.plan import Backend as BackendName
from engines.reuse import measured
from engines.workload import Workload

if TYPE_CHECKING:
    from engines.hostloop.loop import Loop, Result
    from engines.techniques.base import Technique

DEVICES = tuple(SERVES)
"""Devices that plans are made for; which of them this machine runs, `engines.devices` says."""


@lru_cache(maxsize=4)
def _opened(source: str) -> Model:
    return open_model(source)


def plan(
    model: str | Path | Model, device: str, workload: Workload, techniques: Iterable[Technique] = ()
) -> Plan:
    """The model as its authors ship it, on the user's workload, changed by `techniques` in their order.

    Raises:
        ModelError: the model cannot be opened.
        WorkloadError: a size that the model cannot draw, or a device that no engine serves.
        TechniqueError: the recipe does not fit the model, the device or itself; all reasons in one text.
    """
    opened = model if isinstance(model, Model) else _opened(str(model))
    if device not in DEVICES:
        raise WorkloadError(f"This version serves {', '.join(DEVICES)}, not {device}; choose another device.")
    start = Plan(
        model=opened.source,
        device=device,
        loop=loop_settings(opened, workload),
        student=students.OWN if opened.student is None else opened.student.kind,
        backend=plain_engine(device),
        precision=plain_precision(device),
    )
    chosen = sorted(techniques, key=lambda technique: technique.order)
    if not chosen:
        return start
    reasons = _reasons(chosen, opened, start)
    if reasons:
        raise TechniqueError(" ".join(reasons))
    for technique in chosen:
        start = technique.apply(start)
    return start


def _reasons(techniques: Sequence[Technique], model: Model, start: Plan) -> list[str]:
    from engines.models.card import describe
    from engines.techniques.compatibility import canonical, check_plan

    # The workload's steps and guidance are what a recipe starts from, not the model's own.
    card = replace(describe(model), steps=start.loop.steps, guidance=start.loop.guidance)
    try:
        values = canonical(tuple(techniques))
    except TechniqueError as error:
        return [str(error)]
    return check_plan(values, start, card, start.device)


def loop_settings(model: Model, workload: Workload) -> LoopSettings:
    """The host loop of the baseline: the model's scheduler and the workload's wishes.

    Raises:
        WorkloadError: the size is no multiple of what the model can draw.
    """
    size = workload.size or model.size
    step = model.scale * model.alignment
    if size % step:
        raise WorkloadError(
            f"The model {model.name} draws multiples of {step} pixels, not {size};"
            f" its native size is {model.size}."
        )
    if workload.frames is not None and not model.frames:
        raise WorkloadError(f"The model {model.name} draws pictures, not {workload.frames} frames.")
    try:
        latent = model.latent(size, workload.frames or 0)
    except ModelError as error:
        raise WorkloadError(str(error)) from None
    bos, eos, pad = model.special_tokens
    common: dict[str, Any] = {
        "steps": workload.steps or model.steps,
        "guidance": model.guidance if workload.guidance is None else workload.guidance,
        "latent_shape": latent,
        "token_length": model.token_length,
        "bos_id": bos,
        "eos_id": eos,
        "pad_id": pad,
        "negative_prompt": workload.negative_prompt,
        "batch": max(workload.batch, 1 if model.frames else 4),
    }
    if model.enlarges:
        common |= {"steps": 0, "guidance": 1.0, "picture": Picture((latent[1], latent[2]))}
        return LoopSettings(scheduler="ddim", scheduler_config={}, **common)
    return _denoising(model, latent, common)


def _denoising(model: Model, latent: tuple[int, ...], common: dict[str, Any]) -> LoopSettings:
    from engines.hostloop.schedulers import DIFFUSERS_NAMES

    kind = model.denoiser_kind
    config = _bounded({**model.scheduler_config, **kind.scheduler(model, latent)})
    name = str(config.get("_class_name"))
    flow = name.startswith("FlowMatch")
    if flow:
        config.setdefault("prediction_type", "flow_prediction")
    found = LoopSettings(
        scheduler=DIFFUSERS_NAMES.get(name, "flow-euler" if flow else "ddim"),
        scheduler_config=config,
        decode_frames=len(latent) == 4 and not model.decoder_kind.video,
        diffusion_decoder=_diffusion_decoder(model, latent, common["steps"]),
        **common,
        **kind.settings(model, latent),
    )
    conditions = tuple(replace(one, shape=()) for one in kind.conditions(model, latent))
    if found.picture is None and (conditions, model.encoders) == (conditions_of(found), encoders_of(found)):
        return found  # one CLIP encoder and its embeddings: what settings without lists mean
    return replace(found, encoders=model.encoders, conditions=kind.conditions(model, latent))


def _bounded(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without bounds at infinity, as diffusers saves `lambda_min_clipped`: they are none, and no JSON's."""
    return {
        name: value for name, value in config.items() if not (isinstance(value, float) and math.isinf(value))
    }


def _diffusion_decoder(model: Model, latent: tuple[int, ...], steps: int) -> DiffusionDecoder | None:
    from engines.hostloop.schedulers import DIFFUSERS_NAMES

    kind = model.diffusion_decoder_kind
    if kind is None:
        return None
    config = _bounded(model.part_config("scheduler"))
    return DiffusionDecoder(
        scheduler=DIFFUSERS_NAMES.get(str(config.get("_class_name")), "ddim"),
        scheduler_config=config,
        steps=kind.steps(steps),
        latent_shape=kind.latent(model, latent),
        conditions=kind.conditions(model, latent),
    )


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One engine that a plan needs; equal requests are one engine."""

    source: str
    structure: Structure
    backend: BackendName
    precision: Precision
    channels_last: bool = False
    device: str = "cpu"
    units: Units = "all"
    graphs: bool = False
    ways: TorchWays = USUAL

    @property
    def title(self) -> str:
        """For progress, for example `denoiser, openvino int8`."""
        return f"{self.structure.component.replace('_', ' ')}, {self.backend} {self.precision}"


def engines(wanted: Plan) -> tuple[EngineRequest, ...]:
    """The engines that a plan needs.  Plans that share one share its request."""
    names = needed(wanted.loop)
    if wanted.denoiser.cached and "denoiser" in names:
        at = names.index("denoiser")
        names[at : at + 1] = SPLIT
    return tuple(_request(wanted, name) for name in names)


def _request(wanted: Plan, name: ComponentName) -> EngineRequest:
    latent = wanted.loop.latent_shape
    if name.endswith("encoder") or name.startswith("text_encoder"):
        return _on_device(wanted, Structure(name, latent), _encoders_precision(wanted))
    if name == "diffusion_decoder":
        structure = Structure(name, latent)
    elif name == "decoder":
        if wanted.loop.decode_frames:
            latent = (latent[0], *latent[2:])
        elif wanted.loop.diffusion_decoder is not None:
            latent = wanted.loop.diffusion_decoder.latent_shape
        if wanted.loop.decode_tiles > 1:
            latent = tile_shape(latent, wanted.loop.decode_tiles)
        structure = Structure(name, latent, decoder=wanted.decoder)
    else:
        if name == SMALL:
            latent = (*latent[:-2], latent[-2] // 2, latent[-1] // 2)
        structure = Structure(name, latent, denoiser=wanted.denoiser)
    return _on_device(wanted, structure, wanted.precision, channels_last=wanted.channels_last)


def _on_device(
    wanted: Plan, structure: Structure, precision: Precision, *, channels_last: bool = False
) -> EngineRequest:
    units = wanted.units if wanted.backend == "coreml" else "all"
    graphs = wanted.graphs and wanted.backend == "torch"
    ways = wanted.ways if wanted.backend == "torch" else USUAL
    if not structure.component.startswith("denoiser"):
        ways = replace(ways, attention="auto", cast=False)
    return EngineRequest(
        wanted.model, structure, wanted.backend, precision, channels_last, wanted.device, units, graphs, ways
    )


def _encoders_precision(wanted: Plan) -> Precision:
    """fp32: encoding is little of the work; the device's own where it has no fp32."""
    without = backend(wanted.backend).objection("fp32", wanted.device)
    return plain_precision(wanted.device) if without else "fp32"


def artifact(wanted: Plan, request: EngineRequest, model: Model | None = None) -> Artifact:
    """The engine of a request, from the cache or built now, compared with eager.

    Raises:
        BuildError, CaptureError: nothing at all can be built for it.
    """
    opened = model or _opened(request.source)
    options = Options(
        request.precision,
        request.channels_last,
        device=request.device,
        units=request.units,
        graphs=request.graphs,
        ways=request.ways,
    )
    if request.precision == "int8" and backend(request.backend).calibrates(request.device):
        options = replace(options, calibration=calibration_for(opened, wanted.denoiser, wanted.loop))
    return backend(request.backend).build(Capture(opened, request.structure), options)


def prepare(wanted: Plan, on_progress: Callable[[int, int, str], None] | None = None) -> tuple[Artifact, ...]:
    """Build what a plan needs and keep it; `on_progress(done, total, doing)` before each and at the end."""
    requests = engines(wanted)
    found = []
    for done, request in enumerate(requests):
        if on_progress is not None:
            on_progress(done, len(requests), request.title)
        found.append(artifact(wanted, request))
    if on_progress is not None:
        on_progress(len(requests), len(requests), "ready")
    settled(wanted, found)
    return tuple(found)


def settled(wanted: Plan, artifacts: Sequence[Artifact]) -> Plan:
    """The plan with what its cache has to know of the model; measured with its engines if it is not kept."""
    return measured(wanted, _opened(wanted.model), lambda: _components(artifacts)[1])


def _components(artifacts: Sequence[Artifact]) -> tuple[dict[str, Loaded], dict[str, Component]]:
    loaded = {one.capture.component: backend(one.backend).load(one) for one in artifacts}
    return loaded, {name: one.component for name, one in loaded.items()}


class Pipeline:
    """A plan that runs.  `artifacts` by component; `fallbacks`: what was lowered, as sentences."""

    def __init__(
        self, made_from: Plan, artifacts: dict[str, Artifact], loaded: dict[str, Loaded], loop: Loop
    ) -> None:
        self.plan = made_from
        self.artifacts = artifacts
        self.loaded = loaded
        self.loop = loop
        self.last: Result | None = None
        """What the last `generate` returned: the harness reads times and calls off it."""

    @property
    def fallbacks(self) -> tuple[str, ...]:
        every = [reason for one in self.loaded.values() for reason in one.fallbacks]
        return tuple(dict.fromkeys(every))

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], **options: Any) -> Result:
        """Pictures, uint8 (N, H, W, 3), with seconds by stage and calls by component."""
        self.last = self.loop.generate(prompts, seeds, **options)
        return self.last


def build(wanted: Plan) -> Pipeline:
    """Open a plan's engines, building what is not in the cache.

    Raises:
        ModelError, BuildError, CaptureError: with what is wrong and what to do.
    """
    from engines.hostloop.loop import Loop

    model = _opened(wanted.model)
    artifacts: dict[str, Artifact] = {
        request.structure.component: artifact(wanted, request, model) for request in engines(wanted)
    }
    loaded, plain = _components(tuple(artifacts.values()))
    wanted = measured(wanted, model, lambda: plain)
    components = {
        name: counting(name, f"{artifacts[name].backend} {artifacts[name].precision}", one)
        for name, one in plain.items()
    }
    return Pipeline(wanted, artifacts, loaded, Loop(components, model.tokenizers, wanted.loop))


__all__ = [
    "EngineRequest", "Pipeline", "Plan", "artifact", "build", "engines", "loop_settings", "plan", "prepare",
    "settled",
]  # fmt: skip
