"""Every family walks the whole path: card, capture, engines, techniques, package, verified, run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.backends import parity
from engines.backends.base import Artifact
from engines.backends.open_vino import has_bf16
from engines.capture.capture import Capture
from engines.errors import TechniqueError
from engines.measure import floor, images
from engines.models.card import describe
from engines.models.model import Model
from engines.models.small.families import MAKERS, NETWORKS
from engines.models.small.workloads import workload_of
from engines.package.evidence import Evidence, Golden
from engines.package.likeness import dhash, sheet
from engines.package.manifest import (
    Facts,
    SourceModel,
    Technique,
    Tool,
)
from engines.package.runner import Package
from engines.package.verify import verify
from engines.package.wheels import needed
from engines.package.write import GOLDEN, Contents, write
from engines.pipeline import Pipeline, build, engines, plan, prepare, settled
from engines.plan import Backend, Plan
from engines.techniques import (
    AttentionGate,
    BFloat16,
    Engine,
    FeatureCache,
    FeatureForecast,
    FewerSteps,
    FusedQKV,
    Int8,
    ProgressiveResolution,
    PromptCache,
    Pruning,
    SequentialGuidance,
    ThresholdCache,
    technique,
    to_step,
)
from engines.techniques import Technique as Change
from engines.techniques.base import Parameter, Value
from engines.techniques.compatibility import check, search_space
from studio.work.package_contents import engine_files, output, target_of, tokenizers

PROMPT, SEED = "the small red house", 11
QUICK = ("sdxl",)
"""Walked in every run of the tests; the others are marked slow."""
PRECISIONS = (BFloat16, Int8)
CHANGES: tuple[Change, ...] = (FewerSteps(4), PromptCache(), SequentialGuidance())

CACHED_U_NETS = ("modelscope", "animatediff", "stable-video-diffusion", "stable-cascade")


def every(names: tuple[str, ...]) -> list[Any]:
    """Every family; those that are not named are marked slow."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in MAKERS]


def most(parameter: Parameter) -> Value:
    """As much as can be asked for: a small share of a tiny network is nothing."""
    if parameter.kind == "float" and parameter.high is not None:
        return parameter.high
    numbers = [one for one in parameter.choices if isinstance(one, float)]
    return max(numbers, default=parameter.default)


def graph_change(model: Model) -> tuple[Change, ...]:
    """One technique that changes the denoiser's graph or weights, where the family has one."""
    card = replace(describe(model), steps=6)
    return next(((one,) for one in (FusedQKV(), Pruning(0.25)) if not check([one], card)), ())


def recipe_for(model: Model, name: str, backend: Backend) -> tuple[Change, ...]:
    """The techniques that apply to a family, on an engine."""
    card = describe(model)
    card = replace(card, steps=6, guidance=workload_of(name).guidance or card.guidance)
    return (*(one for one in CHANGES if not check([one], card)), Engine(backend))


def near(found: Any, wanted: Any) -> float:
    """The share of channel values that are off by at most three of 255."""
    return float((np.abs(found.astype(int) - wanted.astype(int)) <= 3).mean())


def packed(recipe: tuple[Change, ...], made: Plan, artifacts: tuple[Artifact, ...], picture: Any) -> Contents:
    """What a package of these engines holds, as the Studio's export puts it together."""
    model = artifacts[0].capture.model
    words = tokenizers(model)
    built_for = target_of(made.backend, str(artifacts[0].metadata["version"]))
    golden = Golden(
        prompt=PROMPT,
        seed=SEED,
        image=GOLDEN,
        dhash=dhash(sheet(picture)),
        dhash_tolerance=8,
        minimum_psnr=35.0,
    )

    def facts(tokenizer: str) -> Facts:
        return Facts(
            created=datetime(2026, 1, 2, tzinfo=UTC), tool=Tool(name="Pareto Studio", version="0.1.0"),
            source_model=SourceModel(
                name=model.name, source="tests", hash=model.hash, licence="CC0-1.0", family=model.family
            ),
            task=model.task, output=output(model, made), host_loop=made.loop.to_json(),  # type: ignore[arg-type]
            tokenizer=tokenizer or None,
            techniques=tuple(
                Technique(technique=step.technique, parameters=dict(step.parameters))
                for step in map(to_step, recipe)
            ),
            built_for=built_for, evidence=Evidence(run="r", candidate="c001"), golden=golden,
            wheels=needed(made.backend), python=">=3.11",
        )  # fmt: skip

    return Contents(
        name="tiny", description="", engines=tuple(map(engine_files, artifacts)),
        tokenizer=words.pop("tokenizer", None), tokenizers=words, facts=facts, golden=picture,
        readme="# tiny\n", licence="CC0-1.0\n",
    )  # fmt: skip


def walk(model: Model, name: str, backend: Backend, place: Path, more: tuple[Change, ...] = ()) -> None:
    workload = workload_of(name).model_copy(update={"steps": None if model.enlarges else 6})
    card = describe(model)
    last = "upscaler" if model.enlarges else "decoder"
    assert card.component(last if model.enlarges else model.layout.denoiser) is not None
    assert card.memory == 4 * sum(part.parameters for part in card.components if part.name != "tiny_vae")
    forecast = any(isinstance(one, FeatureForecast) for one in more)  # which pays from more steps on
    rest = [one for one in recipe_for(model, name, backend) if not (forecast and isinstance(one, FewerSteps))]
    recipe = (*more, *rest)
    exact = not any(isinstance(one, PRECISIONS) for one in recipe)
    plain = build(plan(model, "cpu", workload, [one for one in recipe if one.order < Engine.order]))
    wanted = plain.generate([PROMPT], [SEED]).images
    made = plan(model, "cpu", workload, recipe)
    artifacts = prepare(made)
    assert [one.capture.component for one in artifacts][-1] == last
    assert {one.backend for one in artifacts} == {backend}, [one.fallbacks for one in artifacts]
    assert {one.fallbacks for one in artifacts} == {()}
    assert artifacts[-1].precision == made.precision
    least = parity.LEAST_PSNR
    assert all(one.metadata["parity"]["psnr"] > least[one.precision] for one in artifacts)
    assert all(floor.work(plan(model, "cpu", workload)).values())
    pipeline: Pipeline = build(made)
    picture = pipeline.generate([PROMPT], [SEED]).images[0]
    # sd15's random weights make much of a step's rounding: 18 dB of a denoiser 28 to 32 dB from eager
    likeness = 16 if name == "sd15" else 20
    assert near(picture, wanted[0]) > 0.98 if exact else images.psnr(picture[None], wanted)[0] > likeness
    verified = write(packed(recipe, settled(made, artifacts), artifacts, picture), place)
    assert verify(place).id == verified.id
    found = Package(place).self_test()
    assert found["passed"], found
    assert found["fallbacks"] == []


@pytest.mark.parametrize("name", every(QUICK))
def test_a_family_walks_the_whole_path_on_openvino(
    family: Callable[[str], Model], tmp_path: Path, name: str
) -> None:
    model = family(name)
    walk(model, name, "openvino", tmp_path / "package", graph_change(model))


@pytest.mark.parametrize("name", every(("stable-cascade", "sana")))
def test_what_a_family_is_offered_can_be_made_of_it(family: Callable[[str], Model], name: str) -> None:
    """A technique that finds nothing to change in a denoiser would cost a candidate each time it is tried."""
    model = family(name)
    workload = workload_of(name).model_copy(update={"steps": 8})
    card = replace(describe(model), steps=8, guidance=workload.guidance or describe(model).guidance)
    for axis in search_space(card):
        value = technique(axis.name)(**{one.name: most(one) for one in axis.parameters})
        if check([value], card):
            continue  # not by itself, or not at its default
        try:
            made = plan(model, "cpu", workload, [value])
        except TechniqueError:
            continue  # not at this size
        for request in engines(made):
            if request.structure.component.startswith("denoiser"):
                assert Capture(model, request.structure).module is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_family_walks_the_whole_path_on_onnx_runtime(
    family: Callable[[str], Model], tmp_path: Path, name: str
) -> None:
    model = family(name)
    walk(model, name, "onnxruntime", tmp_path / "package", graph_change(model))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("change", [None, BFloat16(), Int8()], ids=["fp32", "bf16", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_enlarges_walks_the_whole_path(
    family: Callable[[str], Model], tmp_path: Path, name: str, change: Change | None, backend: Backend
) -> None:
    if isinstance(change, BFloat16) and (backend == "onnxruntime" or not has_bf16()):
        pytest.skip("no bf16 here")
    walk(family(name), name, backend, tmp_path / "package", () if change is None else (change,))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sd15", ThresholdCache(0.5)),
        ("pixart-sigma", ThresholdCache(0.5)),
        ("flux-dev", ThresholdCache(0.5)),
        ("sdxl", AttentionGate(0.5)),
        ("pixart-sigma", AttentionGate(0.5)),
        ("sana", AttentionGate(0.5)),
        ("hunyuan-dit", AttentionGate(0.5)),
        *((name, ThresholdCache(0.5)) for name in ("hunyuan-dit", "sana", "ltx", "wan")),
        *((name, FeatureCache(2)) for name in CACHED_U_NETS),
        ("animatediff", FeatureForecast(2)),
        ("sd15", ProgressiveResolution(0.5)),
        ("sdxl", Pruning(0.25)),
        ("sd15", Int8()),
    ],
    ids=lambda value: value if isinstance(value, str) else value.label(),
)
def test_a_denoiser_in_parts_travels_in_a_package(
    family: Callable[[str], Model], tmp_path: Path, name: str, change: Change, backend: Backend
) -> None:
    walk(family(name), name, backend, tmp_path / "package", (change,))


@pytest.mark.slow
def test_a_transformer_in_int8_travels_on_openvino(family: Callable[[str], Model], tmp_path: Path) -> None:
    walk(family("pixart-sigma"), "pixart-sigma", "openvino", tmp_path / "package", (Int8(),))


@pytest.mark.slow
def test_a_transformer_in_int8_on_onnx_runtime_falls_back_and_says_so(
    family: Callable[[str], Model],
) -> None:
    """Untrained, its latents grow from 1 to 500; the widest range of all steps leaves the first ones little.

    NNCF takes the mean of the ranges, and has 25 dB.
    """
    workload = workload_of("pixart-sigma").model_copy(update={"steps": 6})
    artifacts = prepare(plan(family("pixart-sigma"), "cpu", workload, [Int8(), Engine("onnxruntime")]))
    (denoiser,) = (one for one in artifacts if one.capture.component == "denoiser")
    assert denoiser.precision == "fp32"
    assert "differs from eager by more than int8 explains" in denoiser.fallbacks[0]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_a_feature_cache_that_goes_on_behind_the_gate_travels_in_a_package(
    family: Callable[[str], Model], tmp_path: Path, name: str, backend: Backend
) -> None:
    walk(family(name), name, backend, tmp_path / "package", (FeatureCache(2), AttentionGate(0.5)))
