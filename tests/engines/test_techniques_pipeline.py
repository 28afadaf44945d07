"""Every technique on the bundled model, end to end: it runs, and it changes what it says and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.backends.torch_ways import has_bf16
from engines.errors import TechniqueError
from engines.hostloop import Result, latent_noise
from engines.paths import bundled_model
from engines.pipeline import Pipeline, build, plan
from engines.scenes.grammar import captions
from engines.techniques import (
    AdaptiveGuidance,
    AttentionBackend,
    AttentionGate,
    BFloat16,
    ChannelsLast,
    ComputeUnits,
    CudaGraphs,
    DBCache,
    Engine,
    FeatureCache,
    FeatureForecast,
    FewerSteps,
    Float8,
    Float32,
    FusedNorm,
    FusedQKV,
    GuidanceCutoff,
    GuidanceInterval,
    Int8,
    LayerwiseCasting,
    MagCache,
    Offloading,
    ProgressiveResolution,
    PromptCache,
    Pruning,
    SageAttention,
    Scheduler,
    SequentialGuidance,
    SkipSoftmax,
    Sparse24,
    Student,
    SVDQuant,
    TeaCache,
    Technique,
    TensorFloat32,
    ThresholdCache,
    TinyDecoder,
    TokenMerging,
    VaeSlicing,
    VaeTiling,
    WeightBits,
    all_techniques,
)
from engines.workload import Workload

torch = pytest.importorskip("torch")

STEPS = 8
WORKLOAD = Workload(steps=STEPS)
PROMPTS = captions(2, seed=77)
SEEDS = [11, 12]
SAME, CLOSE, ALIKE = 45.0, 25.0, 8.0
"""Least PSNR in dB: rounding only; hardly visible; still a picture."""


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of its own, and one thread: the network is tiny."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(before)


def pipeline(*techniques: Technique, workload: Workload = WORKLOAD) -> Pipeline:
    made = build(plan("tiny-scenes", "cpu", workload, techniques))
    assert made.fallbacks == ()
    return made


@pytest.fixture(scope="module")
def baseline(own_cache: None) -> Result:
    return pipeline().generate(PROMPTS, SEEDS)


def psnr(found: Any, reference: Any) -> float:
    error = np.mean((found.astype(np.float64) - reference) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


@dataclass(frozen=True)
class Expected:
    """What one technique does to the work of two pictures in eight guided steps."""

    recipe: tuple[Technique, ...]
    calls: dict[str, int]
    rows: dict[str, int]
    least: float
    most: float
    """PSNR in dB against the baseline: at least, and below."""


ENCODE, DECODE = {"text_encoder": 1}, {"decoder": 1}
ENCODE_ROWS, DECODE_ROWS = {"text_encoder": 3}, {"decoder": 2}
USUAL = ENCODE | DECODE | {"denoiser": STEPS}
USUAL_ROWS = ENCODE_ROWS | DECODE_ROWS | {"denoiser": 4 * STEPS}

EXPECTED = (
    Expected((FewerSteps(4),), USUAL | {"denoiser": 4}, USUAL_ROWS | {"denoiser": 16}, ALIKE, 60),
    Expected((Scheduler("dpm++2m"),), USUAL, USUAL_ROWS, ALIKE, 60),
    Expected((Scheduler("unipc"),), USUAL, USUAL_ROWS, ALIKE, 60),
    Expected((Scheduler("euler"),), USUAL, USUAL_ROWS, ALIKE, 60),
    Expected((Student(2),), USUAL | {"denoiser": 2}, {"text_encoder": 2, "denoiser": 4, "decoder": 2}, 5, 60),
    Expected((GuidanceCutoff(0.5),), USUAL, USUAL_ROWS | {"denoiser": 4 * 4 + 4 * 2}, ALIKE, 70),
    Expected((GuidanceInterval(0.25, 0.75),), USUAL, USUAL_ROWS | {"denoiser": 4 * 2 + 4 * 4}, 5, 70),
    Expected(
        (FeatureCache(2),),
        ENCODE | DECODE | {"denoiser_full": 4, "denoiser_shallow": 4},
        ENCODE_ROWS | DECODE_ROWS | {"denoiser_full": 16, "denoiser_shallow": 16},
        ALIKE,
        70,
    ),
    Expected(
        (FeatureForecast(2),),
        ENCODE | DECODE | {"denoiser_first": 8, "denoiser_rest": 4, "denoiser_last": 8},
        ENCODE_ROWS | DECODE_ROWS | {"denoiser_first": 32, "denoiser_rest": 16, "denoiser_last": 32},
        ALIKE,
        70,
    ),
    Expected(
        (AttentionGate(0.5),),
        ENCODE | DECODE | {"denoiser_full": 4, "denoiser_shallow": 4},
        ENCODE_ROWS | DECODE_ROWS | {"denoiser_full": 16, "denoiser_shallow": 8},
        ALIKE,
        70,
    ),
    Expected(
        (AttentionGate(0.5), FeatureCache(3)),
        ENCODE
        | DECODE
        | {"denoiser_full": 2, "denoiser_shallow": 2, "denoiser_gated": 2, "denoiser_gated_shallow": 2},
        ENCODE_ROWS
        | DECODE_ROWS
        | {"denoiser_full": 8, "denoiser_shallow": 8, "denoiser_gated": 4, "denoiser_gated_shallow": 4},
        ALIKE,
        70,
    ),
    Expected(
        (ProgressiveResolution(0.25),),
        USUAL | {"denoiser": 6, "denoiser_small": 2},
        USUAL_ROWS | {"denoiser": 24, "denoiser_small": 8},
        5,
        60,
    ),
    Expected((Pruning(0.0625),), USUAL, USUAL_ROWS, ALIKE, 70),
    Expected((TokenMerging(0.5),), USUAL, USUAL_ROWS, ALIKE, 70),
    Expected((BFloat16(),), USUAL, USUAL_ROWS, CLOSE, 70),
    Expected((PromptCache(),), USUAL, USUAL_ROWS, 90, 100),
    Expected((TinyDecoder(),), USUAL, USUAL_ROWS, 5, 60),
    Expected((VaeTiling(2),), USUAL | {"decoder": 4}, USUAL_ROWS | {"decoder": 8}, ALIKE, 70),
    Expected((VaeSlicing(),), USUAL | {"decoder": 2}, USUAL_ROWS, SAME, 100),
    Expected((FusedQKV(),), USUAL, USUAL_ROWS, SAME, 100),
    Expected((ChannelsLast(),), USUAL, USUAL_ROWS, SAME, 100),
    Expected((AttentionBackend("math"),), USUAL, USUAL_ROWS, SAME, 100),
    Expected((AttentionBackend("flash"),), USUAL, USUAL_ROWS, SAME, 100),
    Expected((LayerwiseCasting(),), USUAL, USUAL_ROWS, ALIKE, 60),
    Expected((SequentialGuidance(),), USUAL | {"denoiser": 2 * STEPS}, USUAL_ROWS, SAME, 100),
    Expected((Engine("torch"),), USUAL, USUAL_ROWS, 90, 100),
    Expected(
        (
            FewerSteps(6),
            Scheduler("dpm++2m"),
            GuidanceCutoff(0.5),
            FeatureCache(3),
            TokenMerging(0.35),
            FusedQKV(),
        ),
        ENCODE | DECODE | {"denoiser_full": 2, "denoiser_shallow": 4},
        ENCODE_ROWS | DECODE_ROWS | {"denoiser_full": 4 + 2, "denoiser_shallow": 2 * 4 + 2 * 2},
        5,
        60,
    ),
)


def names(expected: Expected) -> str:
    return "+".join(one.label() for one in expected.recipe)


@pytest.mark.parametrize("expected", EXPECTED, ids=names)
def test_a_technique_does_the_work_it_says_and_changes_the_picture_as_expected(
    expected: Expected, baseline: Result
) -> None:
    if any(isinstance(one, BFloat16) for one in expected.recipe) and not has_bf16():
        pytest.skip("torch has no bf16 for this processor, and says so")
    result = pipeline(*expected.recipe).generate(PROMPTS, SEEDS)
    assert result.calls == expected.calls
    assert result.rows == expected.rows
    assert result.broken == ()
    assert result.images.shape == baseline.images.shape
    assert expected.least <= psnr(result.images, baseline.images) < expected.most


def test_every_technique_is_tried() -> None:
    tried = {type(one) for expected in EXPECTED for one in expected.recipe}
    transformers = {TeaCache, MagCache, DBCache}  # families/test_families_reuse.py
    cards = {SageAttention, SkipSoftmax, TensorFloat32, Offloading}  # test_torch_ways.py
    assert tried | {AdaptiveGuidance, ThresholdCache} == set(all_techniques()) - transformers - cards - {
        Int8, ComputeUnits, CudaGraphs, Float32, Float8, WeightBits, SVDQuant, Sparse24,
        FusedNorm,
    }  # fmt: skip


def test_the_first_block_cache_lets_each_picture_decide_for_itself(baseline: Result) -> None:
    made = pipeline(ThresholdCache(0.3))
    both = made.generate(PROMPTS, SEEDS)
    assert both.calls["denoiser_first"] == both.calls["denoiser_last"] == STEPS
    assert both.rows["denoiser_first"] == 4 * STEPS
    assert 0 < both.rows["denoiser_rest"] < 4 * STEPS
    assert ALIKE <= psnr(both.images, baseline.images) < 70
    alone = [made.generate(PROMPTS[at : at + 1], SEEDS[at : at + 1]) for at in range(2)]
    assert sum(one.rows["denoiser_rest"] for one in alone) == both.rows["denoiser_rest"]
    assert psnr(np.concatenate([one.images for one in alone]), both.images) > SAME


@pytest.mark.parametrize("extra", [(), (FeatureCache(2),)], ids=["alone", "with a feature cache"])
def test_adaptive_guidance_ends_for_each_picture_by_itself(
    baseline: Result, extra: tuple[Technique, ...]
) -> None:
    made = pipeline(AdaptiveGuidance(0.93), *extra)
    both = made.generate(PROMPTS, SEEDS)
    computed = [one.rows for one in (both, *(made.generate([PROMPTS[at]], [SEEDS[at]]) for at in range(2)))]
    denoised = [sum(one[name] for name in one if name.startswith("denoiser")) for one in computed]
    assert denoised[0] == denoised[1] + denoised[2]
    assert 2 * (STEPS + 2) <= denoised[0] < 4 * STEPS
    assert 20 <= psnr(both.images, baseline.images) < 70


def test_a_first_block_cache_that_trusts_nothing_draws_the_baseline(baseline: Result) -> None:
    wanted = plan("tiny-scenes", "cpu", WORKLOAD, [ThresholdCache(0.02)])
    found = build(replace(wanted, loop=replace(wanted.loop, cache_threshold=1e-9))).generate(PROMPTS, SEEDS)
    assert found.rows["denoiser_rest"] == 4 * STEPS
    assert psnr(found.images, baseline.images) > SAME


def test_the_prompt_cache_saves_what_comes_again() -> None:
    made = pipeline(PromptCache())
    first = made.generate(PROMPTS, SEEDS)
    again = made.generate(PROMPTS[:1], SEEDS[:1])
    other = made.generate(captions(1, seed=5), [3])
    assert first.rows["text_encoder"] == 3
    assert "text_encoder" not in again.calls
    assert other.rows["text_encoder"] == 1
    np.testing.assert_allclose(again.images[0].astype(int), first.images[0].astype(int), atol=1)


def test_the_host_loop_draws_what_diffusers_draws(baseline: Result) -> None:
    from diffusers import StableDiffusionPipeline

    theirs = StableDiffusionPipeline.from_pretrained(bundled_model())  # as a stranger opens it
    theirs.set_progress_bar_config(disable=True)
    latents = torch.from_numpy(np.stack([latent_noise(seed, (8, 8, 8)) for seed in SEEDS]))
    found = theirs(PROMPTS, latents=latents, num_inference_steps=STEPS, guidance_scale=4.0, output_type="np")
    assert psnr(baseline.images, (found.images * 255).round()) > 60


@pytest.mark.parametrize("batch", [1, 3])
def test_a_picture_does_not_depend_on_its_batch(batch: int, baseline: Result) -> None:
    wanted = plan("tiny-scenes", "cpu", WORKLOAD)
    made = build(replace(wanted, loop=replace(wanted.loop, batch=batch)))
    images = made.generate([*PROMPTS, *PROMPTS], [*SEEDS, *SEEDS]).images
    assert psnr(images[:2], baseline.images) > SAME
    assert psnr(images[2:], baseline.images) > SAME


@pytest.mark.parametrize(
    ("workload", "technique", "words"),
    [
        (Workload(steps=8), FewerSteps(15), "not fewer than the model's own 8"),
        (Workload(guidance=1.0), GuidanceCutoff(), "without guidance"),
        (Workload(), Int8(), "ONNX Runtime and OpenVINO"),
        (Workload(steps=3), FeatureCache(2), "this recipe takes 3"),
    ],
    ids=["steps", "guidance", "engine", "cache"],
)
def test_a_recipe_is_held_against_the_workload(workload: Workload, technique: Technique, words: str) -> None:
    with pytest.raises(TechniqueError, match=words):
        plan("tiny-scenes", "cpu", workload, [technique])


def test_the_table_has_a_row_for_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    from engines.techniques.table import main

    assert main(["--steps", "2", "--seconds", "0.1", "--only", "fused-qkv"]) == 0
    heading, _, last = capsys.readouterr().out.strip().rpartition("\n")
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    engine, label, speedup, _, least, psnr, loss, error, note = cells
    assert (engine, label, note) == ("torch", "fused QKV", "")
    value, low, high = (
        float(text.strip("()")) for text in speedup.replace("(", " ").replace("-", " ").split()
    )
    assert 0 < low <= value <= high
    assert float(psnr.split()[0]) > SAME
    assert loss == "0.0 (0.0 to 0.0)"
    assert error == "0.0%"
    assert 0 < float(least.strip("%")) < 100
    assert "Speed-up over eager torch" in heading


def test_the_table_takes_whole_recipes_as_words(capsys: pytest.CaptureFixture[str]) -> None:
    from engines.techniques.table import main

    given = ["--steps", "6", "--seconds", "0.1", "--pictures", "2", "--recipes"]
    assert main([*given, "fewer-steps=4 + fused-qkv; fused-qkv"]) == 0
    first, second = capsys.readouterr().out.strip().splitlines()[-2:]
    assert first.startswith("| torch | 4 steps + fused QKV |")
    assert second.startswith("| torch | fused QKV |")
    assert main([*given, "fewer-steps=many"]) == 1
    assert "'many' is no number" in capsys.readouterr().err
    assert main([*given, "bf16 + int8"]) == 1
    assert "one precision" in capsys.readouterr().err


def test_the_table_goes_on_with_what_it_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from engines.techniques.table import main

    file = tmp_path / "rows.jsonl"
    given = ["--steps", "2", "--seconds", "0.1", "--pictures", "2", "--keep", str(file), "--only"]
    assert main([*given, "fused-qkv"]) == 0
    first = capsys.readouterr().out.strip().splitlines()[-1]
    with file.open("a", encoding="utf-8") as rows:
        rows.write('{"engine": "torch", "tech')  # stopped while it wrote
    assert main([*given, "fused-qkv"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == first
    other = file.read_text(encoding="utf-8").replace('"machine": "', '"machine": "another ')
    file.write_text(other, encoding="utf-8")
    assert main([*given, "fused-qkv"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] != first  # another machine's row is not ours


def test_the_published_table_has_every_technique_that_a_processor_takes() -> None:
    from engines.models.card import describe
    from engines.models.load import open_model
    from engines.techniques.table import alone, kept

    rows = kept(Path(__file__).parents[2] / "docs" / "benchmarks" / "technique-rows.jsonl")
    measured = {(row.engine, row.technique) for row in rows.values()}
    card = describe(open_model("tiny-scenes"))
    for backend, recipe in alone(card, ["torch", "onnxruntime", "openvino"], "cpu"):
        others = [one.name for one in recipe if one.name != "engine"]
        assert (backend, *(others or ["engine"])) in measured
    assert ("compile", "engine") in measured  # a minute of building for each row: not every technique


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "least"),
    [
        ((Engine("openvino"),), SAME),
        ((Engine("onnxruntime"),), SAME),
        ((Engine("compile"),), SAME),
        ((Engine("compile"), ChannelsLast()), SAME),
        ((Engine("openvino"), Int8()), ALIKE),
        ((Engine("onnxruntime"), Int8()), ALIKE),
        ((Engine("openvino"), Int8(), FusedQKV(), FeatureCache(2)), 8.0),
        ((Engine("openvino"), Student(4), TinyDecoder(), PromptCache()), 5.0),
        ((Engine("onnxruntime"), TokenMerging(0.35), FusedQKV()), ALIKE),
    ],
    ids=lambda value: "+".join(one.label() for one in value) if isinstance(value, tuple) else "",
)
def test_an_engine_draws_nearly_the_same(
    recipe: tuple[Technique, ...], least: float, baseline: Result
) -> None:
    found = pipeline(*recipe).generate(PROMPTS, SEEDS).images
    assert psnr(found, baseline.images) >= least
