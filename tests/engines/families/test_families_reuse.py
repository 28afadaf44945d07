"""TeaCache, MagCache and DBCache on transformers: measured on the model, left out, and sent along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.hostloop import LoopSettings
from engines.measure import floor, images
from engines.models.model import Model
from engines.models.small.workloads import workload_of
from engines.paths import cache_folder
from engines.pipeline import Pipeline, build, plan, prepare, settled
from engines.techniques import (
    DBCache,
    Engine,
    FeatureCache,
    FeatureForecast,
    MagCache,
    TeaCache,
    Technique,
    ThresholdCache,
)
from engines.workload import Workload
from tests.engines.families.test_families_walk import walk

WORKLOAD = Workload(steps=10)
PROMPTS, SEEDS = ["a red bicycle", "a harbour at night"], [3, 4]
CACHES = (TeaCache(0.3), MagCache(0.3, longest=2), DBCache(0.3, front=0.2, back=0.2))

FAMILIES = {
    "pixart": "pixart-sigma", "sd3": "sd3", "flux": "flux-dev", "hunyuan": "hunyuan-dit", "sana": "sana",
    "ltx": "ltx", "wan": "wan",
}  # fmt: skip


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


def made(model: Model, *techniques: Technique) -> Pipeline:
    frames = model.decoder_kind.frames(model.layout.parts["vae"].config, 2) if model.frames else None
    workload = WORKLOAD.model_copy(update={"size": 8 * model.scale, "frames": frames})
    found = build(plan(model, "cpu", workload, techniques))
    assert found.fallbacks == ()
    return found


@pytest.mark.parametrize(
    ("name", "cache"),
    [
        *((name, cache) for name in ("pixart", "wan") for cache in CACHES),
        ("hunyuan", CACHES[-1]),
        *(slow("hunyuan", cache) for cache in CACHES[:-1]),
        *(slow(name, cache) for name in ("sd3", "flux", "sana", "ltx") for cache in CACHES),
    ],
    ids=lambda value: value if isinstance(value, str) else value.label(),
)
def test_a_cache_leaves_blocks_out_and_draws_nearly_the_same(
    name: str, cache: Technique, deep: Callable[[str], Model]
) -> None:
    model = deep(name)
    plain = made(model).generate(PROMPTS, SEEDS)
    pipeline = made(model, cache)
    found = pipeline.generate(PROMPTS, SEEDS)
    rows = found.rows["denoiser_rest"] / len(PROMPTS)
    least, most = (count(pipeline.plan.loop)["denoiser_rest"] for count in (floor.rows, floor.most))
    assert least <= rows < most
    assert found.rows["denoiser_first"] == found.rows["denoiser_last"] == most * len(PROMPTS)
    assert images.psnr(found.images, plain.images).min() > 20
    assert images.psnr(found.images, plain.images).max() < 80
    reuse = pipeline.plan.loop.reuse
    assert reuse is not None
    strict = replace(pipeline.plan, loop=replace(pipeline.plan.loop, reuse=replace(reuse, threshold=1e-12)))
    assert images.psnr(build(strict).generate(PROMPTS, SEEDS).images, plain.images).min() > 50


U_NET_CACHES = (FeatureCache(2), FeatureForecast(2), ThresholdCache(0.5))


@pytest.mark.parametrize(
    ("name", "cache"),
    [
        ("modelscope", U_NET_CACHES[0]),
        *(slow(name, one) for name in ("animatediff", "stable-video-diffusion") for one in U_NET_CACHES),
        *(slow("modelscope", one) for one in U_NET_CACHES[1:]),
        *(slow("stable-cascade", one) for one in U_NET_CACHES),
        *(slow(name, FeatureForecast(2)) for name in ("ltx", "wan", "sana", "hunyuan-dit")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.label(),
)
def test_a_cache_of_other_families_does_the_work_it_says(
    name: str, cache: Technique, family: Callable[[str], Model]
) -> None:
    """Of videos, or by a fixed schedule: DeepCache, TaylorSeer, and the first-block cache."""
    model = family(name)
    workload = workload_of(name).model_copy(update={"steps": 16})
    plain = build(plan(model, "cpu", workload)).generate(PROMPTS[:1], SEEDS[:1])
    pipeline = build(plan(model, "cpu", workload, [cache]))
    assert pipeline.fallbacks == ()
    found = pipeline.generate(PROMPTS[:1], SEEDS[:1])
    least, most = (count(pipeline.plan.loop) for count in (floor.rows, floor.most))
    assert found.rows.keys() == least.keys()
    assert all(least[one] <= rows <= most[one] for one, rows in found.rows.items())
    deep = "denoiser_full" if isinstance(cache, FeatureCache) else "denoiser_rest"
    assert found.rows[deep] < plain.rows["denoiser"]
    assert 15 < images.psnr(found.images, plain.images).min() < 90


def test_what_is_measured_is_kept_and_goes_into_the_settings(
    deep: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = plan(deep("pixart"), "cpu", WORKLOAD, [MagCache(0.2)])
    assert wanted.loop.reuse is not None
    assert wanted.loop.reuse.ratios == ()
    artifacts = prepare(wanted)
    before = set(cache_folder("calibration").iterdir())
    monkeypatch.setattr("engines.reuse._draw", None)  # nothing is drawn again
    found = settled(wanted, artifacts).loop
    assert found.reuse is not None
    assert len(found.reuse.ratios) == WORKLOAD.steps
    assert found.reuse.ratios[0] == 1.0
    assert np.isfinite(found.reuse.ratios).all()
    assert settled(plan(deep("pixart"), "cpu", WORKLOAD, [MagCache(0.4)]), artifacts).loop.reuse == replace(
        found.reuse, threshold=0.4
    )
    assert set(cache_folder("calibration").iterdir()) == before
    assert LoopSettings.from_json(found.to_json()) == found


def test_where_the_cache_cannot_be_written_it_is_measured_all_the_same(
    deep: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: object) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("engines.reuse.write_json", refuse)
    reuse = made(deep("pixart"), TeaCache(0.123)).plan.loop.reuse
    assert reuse is not None
    assert 2 <= len(reuse.curve) <= 5
    assert 0 < reuse.span[0] < reuse.span[1]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("cache", CACHES, ids=lambda one: one.label())
@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_cache_travels_in_a_package(
    name: str, cache: Technique, backend: str, deep: Callable[[str], Model], tmp_path: Path
) -> None:
    walk(deep(name), FAMILIES[name], backend, tmp_path / "package", (cache,))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("cache", CACHES, ids=lambda one: one.label())
def test_the_caches_compile(cache: Technique, deep: Callable[[str], Model]) -> None:
    model = deep("pixart")
    eager, compiled = (
        made(model, cache, *engine).generate(PROMPTS, SEEDS) for engine in ((), (Engine("compile"),))
    )
    assert images.psnr(eager.images, compiled.images).min() > 40
