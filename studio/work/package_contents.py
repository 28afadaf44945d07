"""What goes into a candidate's package: engines, facts, texts."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines import drivers
from engines.backends.serves import baseline
from engines.backends.tensor_rt_names import OWN_CARD
from engines.devices import processor_name
from engines.errors import PackageError
from engines.models.licence import licence_file
from engines.package.components import OPENS
from engines.package.evidence import (
    Evidence,
    Golden,
    Interval,
    Latency,
    Parity,
    Quality,
    Sample,
    Target,
    Tolerance,
)
from engines.package.likeness import Pixels, dhash, sheet
from engines.package.manifest import (
    Calibration,
    Engine,
    Facts,
    File,
    Format,
    Output,
    SourceModel,
    Technique,
    Tensor,
    Tool,
)
from engines.package.runtimes import ON_TORCH
from engines.package.wheels import needed
from engines.package.write import GOLDEN, PYTHON, Contents, EngineFiles
from studio import __version__
from studio.errors import ExportError
from studio.record import data
from studio.record.state import CandidateState, RunState
from studio.work import torch_parts
from studio.work.public_source import added, added_licences, public

if TYPE_CHECKING:
    from engines.backends.base import Artifact
    from engines.models.model import Model
    from engines.plan import Plan

TOLERANCE: Final[dict[str, tuple[int, float]]] = {
    "fp32": (6, 35.0),
    "fp16": (10, 28.0),
    "bf16": (12, 22.0),
    "int8": (14, 20.0),
    "fp8": (16, 18.0),
    "w8": (12, 22.0),
    "w6": (14, 20.0),
    "w4": (16, 18.0),
}
"""Bits of the difference hash, and dB, that the golden picture may be off on another machine.  Other
instruction sets round otherwise; what that moves grows as precision falls."""
_MODEL_FILES: Final = (".xml", ".onnx", ".mlmodel", "program.json", ".engine")
_NATIVE: Final = (
    "Its fastest variant is machine code for one kind of processor. It is loaded only if you give its",
    "maker's `--key` or `--certificate`, or `--allow-native`; else torch compiles the same program here",
    "(which needs a C++ compiler, and time before the first picture) or runs it as it is.",
    "",
)
_INSTRUCTIONS: Final = ("avx", "amx", "fma", "f16c", "asimd", "bf16", "i8mm", "sve")


def package_name(state: RunState, candidate: CandidateState) -> str:
    """For example `tiny-scenes-c012`."""
    name = state.model.name if state.model is not None else "model"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "model"
    return f"{slug}-{candidate.id}"


_SYSTEMS: Final = {"directml": ("Windows", ""), "mlx": ("Darwin", "arm64"), "coreml": ("Darwin", "arm64")}
"""System and machine of the devices that are found on one kind only."""
_DRIVERS: Final = {("onnxruntime", "cuda"): "580"}
"""The oldest driver of the CUDA 13 libraries that the wheels of such variants bring (NVIDIA, CUDA Toolkit
Release Notes, "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility")."""


def _absent(device: str, engine: str, version: str) -> Target:
    """What is known of a device that something was built for and that is not here."""
    system, machine = _SYSTEMS.get(device, ("", ""))
    return Target(
        device=device,
        engine=engine,
        engine_version=version,
        system=system,
        machine=machine,
        driver=_DRIVERS.get((engine, device), ""),
    )


def target_of(engine: str, version: str, device: str = "cpu") -> Target:
    """This machine, its NVIDIA card included where an engine computes on that."""
    card = next(iter(drivers.nvidia_cards()), None) if device == "cuda" else None
    return Target(
        device=device,
        gpu=card.name if card is not None else "",
        compute_capability=".".join(map(str, card.capability)) if card is not None else "",
        driver=_DRIVERS.get((engine, device), ""),
        engine=engine,
        engine_version=version,
        system=platform.system(),
        machine=platform.machine(),
        processor=processor_name(),
        instruction_sets=_instruction_sets(),
    )


def _instruction_sets() -> tuple[str, ...]:
    """Those of the processor that change what engines compute; empty where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ()
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "").split()
    return tuple(sorted(name for name in flags if name.startswith(_INSTRUCTIONS)))


def make_contents(
    state: RunState,
    candidate: CandidateState,
    plan: Plan,
    artifacts: tuple[Artifact, ...],
    prompt: str,
    seed: int,
    picture: Pixels,
) -> Contents:
    """Everything that the package of a candidate holds.

    Raises:
        ExportError: an engine has no files to ship.
        PackageError: a wheel that it needs is not installed here.
    """
    started = state.started
    assert started is not None
    model = artifacts[0].capture.model
    engines = tuple(part for artifact in artifacts for part in packed(artifact))
    own = engines[0].engine.engine
    wheels = needed(own, plan.device)
    words = tokenizers(model)

    def facts(tokenizer: str) -> Facts:
        found = candidate_facts(
            state, candidate, plan, model, artifacts, golden_of(plan, prompt, seed, picture)
        )
        built_for = found.built_for.model_copy(update={"engine": own})
        return found.model_copy(
            update={"tokenizer": tokenizer or None, "wheels": wheels, "built_for": built_for}
        )

    return Contents(
        name=package_name(state, candidate),
        description=f"{started.model.name}: {candidate.proposal.title}",
        engines=engines,
        tokenizer=words.pop("tokenizer", None),
        tokenizers=words,
        facts=facts,
        golden=picture,
        readme=_readme(state, candidate, prompt, seed, own),
        licence=licence_text(model),
    )


def golden_of(plan: Plan, prompt: str, seed: int, picture: Pixels) -> Golden:
    """The golden picture with the tolerance of the plan's precision."""
    bits, least = TOLERANCE[plan.precision]
    return Golden(
        prompt=prompt,
        seed=seed,
        image=GOLDEN,
        dhash=dhash(sheet(picture)),
        dhash_tolerance=bits,
        minimum_psnr=least,
        by_precision={
            name: Tolerance(dhash_tolerance=most, minimum_psnr=decibels)
            for name, (most, decibels) in TOLERANCE.items()
        },
    )


def candidate_facts(
    state: RunState,
    candidate: CandidateState,
    plan: Plan,
    model: Model,
    artifacts: tuple[Artifact, ...],
    golden: Golden,
) -> Facts:
    """What is known of a candidate on a plan's engine, without a package's tokenizer and wheels."""
    from engines.backends import backend

    started = state.started
    assert started is not None
    version = str(artifacts[0].metadata["version"]) if artifacts else backend(plan.backend).version()
    built_for = target_of(plan.backend, version, plan.device)
    return Facts(
        created=datetime.now(UTC).replace(microsecond=0),
        tool=Tool(name="Pareto Studio", version=__version__),
        source_model=SourceModel(
            name=started.model.name,
            source=public(started.model.source),
            added=added(started.model.source),
            added_licences=added_licences(started.model.source),
            hash=started.model.hash,
            licence=started.model.licence,
            family=started.model.family,
            revision=model.revision,
            files=tuple(
                File(path=name, sha256=content, bytes=size) for name, (size, content) in model.files.items()
            ),
        ),
        task=model.task,  # type: ignore[arg-type]
        output=output(model, plan),
        host_loop=_json(plan.loop.to_json()),
        techniques=tuple(
            Technique(technique=step.technique, parameters=step.parameters)
            for step in candidate.proposal.recipe
        ),
        title=candidate.proposal.title,
        seed=started.seed,
        calibration=_calibration(artifacts),
        built_for=built_for,
        evidence=_evidence(state, candidate),
        golden=golden,
        wheels=(),
        python=PYTHON,
    )


def output(model: Model, plan: Plan) -> Output:
    """What the package gives: pictures, or videos of so many frames."""
    second = plan.loop.diffusion_decoder
    latent = plan.loop.latent_shape if second is None else second.latent_shape
    frames = None
    if len(latent) == 4:
        frames = model.decoder_kind.frames(model.layout.parts["vae"].config, latent[1])
    return Output(
        height=latent[-2] * model.scale,
        width=latent[-1] * model.scale,
        max_batch=plan.loop.batch,
        latent_shape=latent,
        prompt_tokens=plan.loop.token_length,
        frames=frames,
        pixels_per_latent=model.scale,
        latent_scale=_latent_value(model, "scaling_factor"),
        latent_shift=_latent_value(model, "shift_factor"),
    )


def _latent_value(model: Model, name: str) -> float | None:
    """By which the decoder divides, or what it adds, where its settings say so."""
    part = model.layout.parts.get("vae")
    value = part.config.get(name) if part is not None else None
    return None if value is None else float(value)


def _json(value: Any) -> Any:
    """Numbers of numpy and tuples as JSON has them."""
    import json

    return json.loads(json.dumps(value, default=lambda one: one.item()))


def packed(artifact: Artifact, engines: Sequence[str] = ()) -> tuple[EngineFiles, ...]:
    """All variants of a component that come of one artifact, the preferred first.

    Args:
        engines: of a component that torch runs: only these.

    Raises:
        ExportError: a package cannot hold it.
    """
    if artifact.backend not in ("torch", "compile"):
        return (engine_files(artifact),)
    return torch_parts.parts(
        artifact,
        engines or torch_parts.kinds(artifact.backend, artifact.device),
        target_of(artifact.backend, str(artifact.metadata["version"])),
        _tensors(artifact.capture.inputs),
        _tensors(artifact.capture.outputs),
    )


def engine_files(artifact: Artifact) -> EngineFiles:
    facts = artifact.metadata
    files = {path.relative_to(artifact.folder).as_posix(): path for path in artifact.files}
    models = [name for name in files if name.endswith(_MODEL_FILES)]
    if len(models) != 1 or artifact.device not in OPENS.get(artifact.backend, ()):
        raise ExportError(
            f"The {artifact.capture.component} in {artifact.backend} for {artifact.device} has no files to "
            "ship; choose a candidate on openvino or onnxruntime."
        )
    if facts.get("targets") == [OWN_CARD]:
        raise ExportError(
            f"The {artifact.capture.component} in TensorRT opens on this very card only; choose a candidate "
            "on onnxruntime, or build it with TensorRT-RTX for desktop cards."
        )
    engine = {
        "engine": artifact.backend,
        "model_file": models[0],
        "precision": artifact.precision,
        "options": {str(key): str(value) for key, value in facts.get("options", {}).items()},
        "device": artifact.device,
    }
    measured = facts["parity"]
    described = (artifact.backend, str(facts["version"]))
    here = target_of(*described, artifact.device)
    target = here if facts["verified_on"] else _absent(artifact.device, *described)
    return EngineFiles(
        component=artifact.capture.component,
        engine=Engine.model_validate(engine),
        files=files,
        inputs=_tensors(artifact.capture.inputs),
        outputs=_tensors(artifact.capture.outputs),
        built_for=target,
        parity=measured
        and Parity(
            max_abs=float(measured["max_abs"]),
            psnr=float(measured["psnr"]),
            least_psnr=measured.get("least_psnr"),
            cases=measured.get("cases"),
            passed=True,
            stand_in=str(facts["stand_in"]),
        ),
        fallbacks=artifact.fallbacks,
        format=_format(artifact.backend, artifact.folder / models[0]),
        build_options=_build_options(artifact),
        excluded_layers=tuple(str(name) for name in facts.get("excluded", ())),
    )


_TOLD: Final = ("attention", "batches", "left_to_cpu", "profile", "quantised", "targets")
"""Of an artifact's facts, what its builder was told or decided beside precision and device."""


def _build_options(artifact: Artifact) -> dict[str, str]:
    """As texts, lists with commas; what is not said was left at the builder's default."""
    facts = artifact.metadata
    found = dict(facts.get("build", {})) | {name: facts[name] for name in _TOLD if facts.get(name)}
    if artifact.channels_last:
        found["layout"] = "channels last"
    return {name: _said(value) for name, value in found.items()}


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _format(backend: str, path: Path) -> Format | None:
    """What an engine's file is written in, as it says itself."""
    match backend:
        case "onnxruntime":
            import onnx

            model = onnx.load(str(path), load_external_data=False)
            opset = max(
                (one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0
            )
            return Format(name="ONNX", version=f"IR {model.ir_version}", opset=opset)
        case "openvino":
            with path.open(encoding="utf-8") as file:
                found = re.search(r'<net[^>]* version="(\d+)"', file.read(4096))
            return Format(name="OpenVINO IR", version=found[1] if found else "")
        case "coreml":
            return Format(name="Core ML")
        case "mlx":
            return Format(name="MLX graph")
        case "tensorrt":
            return Format(name="TensorRT-RTX plan")
    return None


def _tensors(specs: Any) -> tuple[Tensor, ...]:
    return tuple(Tensor(name=spec.name, dtype=spec.dtype, shape=("batch", *spec.shape)) for spec in specs)


def _calibration(artifacts: tuple[Artifact, ...]) -> Calibration | None:
    for artifact in artifacts:
        if found := artifact.metadata.get("calibration"):
            return Calibration(
                id=str(found["id"]),
                source=str(found["source"]),
                prompts=int(found["prompts"]),
                batches=int(found["batches"]),
                texts=tuple(found["texts"]),
                seeds=tuple(found["seeds"]),
                sampler=str(found["scheduler"]),
                steps=int(found["steps"]),
                guidance=float(found["guidance"]),
                timesteps=tuple(found["timesteps"]),
            )
    return None


def _interval(found: data.Interval | None) -> Interval | None:
    return None if found is None else Interval(value=found.value, low=found.low, high=found.high)


def _evidence(state: RunState, candidate: CandidateState) -> Evidence:
    verdict, started = candidate.verdict, state.started
    assert started is not None
    latency = quality = None
    if verdict is not None and verdict.latency is not None:
        latency = Latency(
            seconds=Interval(**verdict.latency.model_dump()),
            p90=verdict.latency_p90,
            speedup=_interval(verdict.speedup),
            memory=verdict.memory,
            card_memory=verdict.card_memory,
            measured_on=str(started.machine.get("processor") or processor_name()),
            baseline=f"the model as its authors ship it, {baseline(started.target)}",
            alternating=True,
            warm_up=verdict.warm_up or None,
            pairs=verdict.pairs or None,
        )
    if verdict is not None:
        quality = Quality(
            metrics={name: Interval(**found.model_dump()) for name, found in verdict.metrics.items()},
            loss=_interval(verdict.loss),
            prompts=len(verdict.samples),
            pictures=tuple(Sample(prompt=one.prompt, seed=one.seed) for one in verdict.samples),
            passed=verdict.state == "passed",
            claims=tuple(
                f"{one.claim} ({one.prompts} fresh prompts"
                + (f"; its script ran {one.walls})" if one.isolation else ")")
                for one in state.certified
                if one.id == candidate.id and one.held
            ),
        )
    return Evidence(run=state.run, candidate=candidate.id, latency=latency, quality=quality)


def tokenizers(model: Model) -> dict[str, Path]:
    """By folder, each text encoder's `tokenizer.json`; where there is none it is made from older files."""
    return {name: _tokenizer(model, name) for name in model.layout.tokenizers}


def _tokenizer(model: Model, name: str) -> Path:
    path = model.path / name / "tokenizer.json"
    if path.is_file():
        return path
    from engines.paths import cache_folder

    suffix = "" if name == "tokenizer" else f"-{name}"
    made = cache_folder("tokenizers") / f"{model.hash}{suffix}.json"
    if not made.is_file():
        partial = made.with_suffix(".partial")
        model.tokenizers[name].save(str(partial))
        partial.replace(made)
    return made


def licence_text(model: Model) -> str:
    """The model's own licence file, else a sentence."""
    path = licence_file(model.path)
    if path is not None:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PackageError(f"The licence {path} cannot be read ({error}).") from error
    return (
        f"The weights in shared_assets come from the model {model.name}, licence: {model.licence}.\n"
        "run.py and the folder engines come from Pareto Studio: Apache-2.0.\n"
    )


def _readme(state: RunState, candidate: CandidateState, prompt: str, seed: int, engine: str) -> str:
    verdict, started = candidate.verdict, state.started
    assert started is not None
    lines = [f"# {started.model.name}, {candidate.proposal.title}", ""]
    if verdict is not None and verdict.speedup is not None and verdict.latency is not None:
        on = started.machine.get("processor") or processor_name()
        ratio = verdict.speedup
        lines += [
            f"{ratio.value:.1f} times as fast ({ratio.low:.1f} to {ratio.high:.1f}) as the model as its",
            f"authors ship it, {verdict.latency.value:.3f} s a picture, measured on {on}.",
            "",
        ]
    lines += [
        "Needs Python 3.11, 3.12 or 3.13 and the wheels in `requirements.txt`; "
        + ("no diffusers." if engine in ON_TORCH else "no torch, no diffusers."),
        "",
        "    python -m venv env && env/bin/python -m pip install -r requirements.txt",
        f'    env/bin/python run.py --prompt "{prompt}" --seed {seed} --out picture.png',
        "    env/bin/python run.py --self-test     # the golden picture, made here and compared",
        "    env/bin/python run.py --info",
        "    env/bin/python run.py --serve         # over HTTP, as OpenAI's image generation",
        "    env/bin/python run.py --lines         # JSON lines in, JSON lines and raw pictures out",
        "",
        "Where there are variants for other devices too, `run.py --info` names the file of wheels of each;",
        "a variant's wheels belong into an environment of their own.",
        "",
        *(_NATIVE if engine == "aoti" else ()),
        "Every byte is checked against `SHA256SUMS` before anything is loaded. `manifest.json` says where",
        "the model comes from, what was done to it, what was measured, and where it was verified.",
        f"The weights keep the licence of {started.model.name}: {started.model.licence}.",
        "",
    ]
    return "\n".join(lines)
