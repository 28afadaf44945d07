"""Plans become pipelines that draw; engines are listed, shared and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.errors import WorkloadError
from engines.pipeline import build, engines, plan, prepare
from engines.plan import DenoiserStructure, Plan
from engines.workload import Workload
from tests.engines.small_model import write_small_model

PROMPTS, SEEDS = ["a red house", "two blue balls"], [3, 4]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("pipeline") / "model")


@pytest.fixture
def start(folder: Path) -> Plan:
    return plan(folder, "cpu", Workload())


def test_the_first_plan_is_the_model_as_it_ships(start: Plan) -> None:
    assert (start.backend, start.precision, start.denoiser) == ("torch", "fp32", DenoiserStructure())
    assert (start.loop.scheduler, start.loop.steps, start.loop.guidance) == ("ddim", 4, 3.0)
    assert start.loop.latent_shape == (4, 8, 8)
    assert (start.loop.token_length, start.loop.bos_id, start.loop.eos_id) == (16, 0, 1)


def test_the_workload_decides_size_steps_and_guidance(folder: Path) -> None:
    found = plan(folder, "cpu", Workload(size=32, steps=7, guidance=1.5, negative_prompt="rain")).loop
    assert (found.latent_shape, found.steps, found.guidance) == ((4, 16, 16), 7, 1.5)
    assert found.negative_prompt == "rain"


def test_a_size_that_the_model_cannot_draw_is_refused(folder: Path) -> None:
    with pytest.raises(WorkloadError, match="multiples of 4 pixels"):
        plan(folder, "cpu", Workload(size=18))


def test_a_device_without_an_engine_is_refused(folder: Path) -> None:
    with pytest.raises(WorkloadError, match="not tpu"):
        plan(folder, "tpu", Workload())


def test_the_same_seed_draws_the_same_picture_in_any_batch(start: Plan) -> None:
    pipeline = build(start)
    both = pipeline.generate(PROMPTS, SEEDS)
    alone = pipeline.generate(PROMPTS[1:], SEEDS[1:])
    assert both.images.shape == (2, 16, 16, 3)
    assert both.images.dtype == np.uint8
    assert np.abs(both.images[1].astype(int) - alone.images[0].astype(int)).max() <= 1
    assert pipeline.fallbacks == ()


def test_openvino_draws_what_eager_draws(start: Plan) -> None:
    expected = build(start).generate(PROMPTS, SEEDS).images.astype(int)
    fast = replace(start, backend="openvino")
    doing: list[tuple[int, int, str]] = []
    made = prepare(fast, lambda done, total, what: doing.append((done, total, what)))
    assert [one.backend for one in made] == ["openvino"] * 3
    assert doing[0][:2] == (0, 3)
    assert doing[-1][:2] == (3, 3)
    pipeline = build(fast)
    assert pipeline.artifacts["denoiser"].folder == made[1].folder
    drawn = pipeline.generate(PROMPTS, SEEDS).images.astype(int)
    assert np.abs(drawn - expected).max() <= 2


def test_a_feature_cache_runs_the_shallow_half_in_between(start: Plan) -> None:
    cached = replace(
        start, denoiser=DenoiserStructure(cached=True), loop=replace(start.loop, cache_interval=2)
    )
    calls = build(cached).generate(PROMPTS[:1], SEEDS[:1]).calls
    assert (calls["denoiser_full"], calls["denoiser_shallow"]) == (2, 2)


def test_plans_that_differ_in_the_loop_only_need_the_same_engines(start: Plan) -> None:
    other = replace(start, loop=replace(start.loop, steps=2, scheduler="dpm++2m"))
    assert engines(start) == engines(other)
    assert set(engines(start)) != set(engines(replace(start, precision="bf16")))


def test_a_fallback_is_told_by_the_pipeline(start: Plan) -> None:
    pipeline = build(replace(start, backend="onnxruntime", precision="bf16", decoder="tiny"))
    assert any("bf16 was not used" in reason for reason in pipeline.fallbacks)
    assert pipeline.loaded["denoiser"].precision == "fp32"
    assert pipeline.loaded["denoiser"].backend == "onnxruntime"
