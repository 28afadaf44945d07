"""Measuring, on numbers and pictures whose right answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.errors import WorkloadError
from engines.hostloop.settings import LoopSettings
from engines.measure import adherence, bootstrap, floor, images, memory, quality, robustness
from engines.measure.timing import Timed, Timing, alternate
from engines.scenes import grammar, render

Pixels = NDArray[np.uint8]


def scenes(count: int, seed: int = 0) -> tuple[Pixels, list[str]]:
    rng = np.random.default_rng(seed)
    drawn = [grammar.sample(rng) for _ in range(count)]
    return np.stack([render.draw(scene, rng) for scene in drawn]), [scene.caption for scene in drawn]


# -- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "least"), [(4, 0.93), (16, 0.93)])
def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_says(count: int, least: float) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        found = bootstrap.mean(rng.normal(3.0, 1.0, count), seed=trial)
        hits += found.low <= 3.0 <= found.high
    assert hits / 300 >= least


def test_a_one_sided_bound_is_closer_than_a_two_sided_one() -> None:
    values = np.random.default_rng(2).normal(0, 1, 200)
    assert bootstrap.mean(values, side="one").high < bootstrap.mean(values).high


def test_values_that_do_not_exist_are_left_out_of_an_interval() -> None:
    assert bootstrap.mean([1.0, np.nan, 1.0, 1.0]).value == 1.0


# -- timing --------------------------------------------------------------------------------------


def test_the_sides_take_turns_with_the_baseline_first_and_last() -> None:
    order: list[str] = []

    def side(name: str, seconds: float) -> Timed:
        def timed(turn: int, call: int) -> float:
            order.append(f"{name}{turn}.{call}")
            return seconds

        return timed

    alternate(side("a", 2.0), side("b", 0.2), least=2, most=2)
    assert order == ["a0.0", "b0.0", "b0.1", "b0.2", "a1.0", "b1.0", "b1.1", "b1.2", "a2.0"]


def test_a_quick_candidate_is_called_often_in_its_turn_and_a_slow_one_once() -> None:
    def calls(seconds: float) -> int:
        return len(alternate(lambda *_: 1.0, lambda *_: seconds, least=2, most=2).turns[0])

    assert [calls(seconds) for seconds in (0.001, 0.1, 0.5, 2.0)] == [9, 3, 1, 1]


def test_the_cold_first_call_of_a_turn_does_not_count_as_the_usual_one() -> None:
    found = alternate(lambda *_: 1.0, lambda _, call: 0.010 if call else 0.500, least=4, most=4)
    assert found.latency.value == pytest.approx(0.5)  # one such call is all there is time for

    found = alternate(lambda *_: 1.0, lambda _, call: 0.010 if call else 0.030, least=4, most=4)
    assert (found.latency.value, found.speedup.value) == pytest.approx((0.010, 100.0))


def test_drift_of_the_machine_does_not_bend_the_ratio() -> None:
    now = [1.0]

    def work(cost: float) -> Timed:
        def timed(*_: int) -> float:
            now[0] += 0.05
            return cost * now[0]

        return timed

    found = alternate(work(0.4), work(0.1), least=6, most=6)
    assert found.speedup.value == pytest.approx(4.0, rel=0.01)


def test_timing_stops_early_when_the_interval_is_narrow() -> None:
    found = alternate(lambda *_: 0.4, lambda *_: 0.1, least=3, most=50)
    assert len(found.turns) == 3
    assert (found.speedup.value, found.latency.value, found.p90) == pytest.approx((4.0, 0.1, 0.1))


def test_a_noisy_ratio_excludes_one_only_when_the_difference_is_real() -> None:
    rng = np.random.default_rng(3)

    def speedup(cost: float) -> bootstrap.Interval:
        turns = tuple((value,) for value in rng.lognormal(0, 0.3, 20))
        return Timing(tuple(cost * rng.lognormal(0, 0.3, 21)), turns).speedup

    same, faster = speedup(1.0), speedup(2.0)
    assert same.low < 1 < same.high
    assert faster.low > 1


@pytest.mark.parametrize("turns", [4, 8])
def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says(turns: int) -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(300):
        found = bootstrap.ratio(
            3 * rng.lognormal(0, 0.05, turns + 1), rng.lognormal(0, 0.15, turns), seed=trial
        )
        hits += found.low <= 3.0 <= found.high
    assert hits / 300 >= 0.93


# -- pictures ------------------------------------------------------------------------------------


def test_metrics_say_that_a_picture_is_itself_and_fall_with_noise() -> None:
    pictures, _ = scenes(4)
    rng = np.random.default_rng(0)
    rough = np.clip(pictures + rng.normal(0, 20, pictures.shape), 0, 255).astype(np.uint8)
    assert images.psnr(pictures, pictures).tolist() == [images.PSNR_CAP] * 4
    assert images.psnr(pictures, rough) == pytest.approx([22.3] * 4, abs=1.2)
    for metric in (images.ssim, images.haarpsi):
        assert metric(pictures, pictures) == pytest.approx([1.0] * 4, abs=1e-4)
        assert (metric(pictures, rough) < 0.95).all()


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (np.zeros((64, 64, 3), np.uint8), "black"),
        (np.full((64, 64, 3), (200, 10, 90), np.uint8), "one solid colour"),
        (np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "noise"),
    ],
)
def test_what_shows_nothing_is_called_by_its_name(picture: Pixels, said: str) -> None:
    assert images.blank(picture) == said


def test_no_render_of_a_scene_is_taken_for_blank() -> None:
    pictures, captions = scenes(200, seed=4)
    assert [text for text, one in zip(captions, pictures, strict=True) if images.blank(one)] == []


def test_lpips_names_the_file_it_needs_and_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    with pytest.raises(WorkloadError, match=r"alexnet-owt-7be5be79\.pth.*metrics get lpips"):
        quality.choose(tmp_path, ["a red ball"], "lpips")
    pictures, _ = scenes(2)
    assert np.isnan(images.lpips(pictures, pictures)).all()
    assert list(tmp_path.rglob("*.pth")) == []


# -- quality -------------------------------------------------------------------------------------


def test_without_a_reader_the_metric_is_haarpsi_with_its_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    chosen = quality.choose(tmp_path, ["a red ball on the left"])
    assert chosen.name == "haarpsi"
    assert "not worth" in chosen.note
    pictures, captions = scenes(4)
    values = chosen.values(pictures, pictures, captions)
    assert set(values) == {"psnr", "ssim", "haarpsi"}
    assert chosen.loss(chosen.losses(values, None)).value == pytest.approx(0.0, abs=1e-4)


def test_a_metric_that_cannot_be_computed_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    for name, said in (("adherence", "reader"), ("lpips", "alexnet"), ("beauty", "choose")):
        with pytest.raises(WorkloadError, match=said):
            quality.choose(tmp_path, ["a red ball"], name)


def test_a_paired_loss_is_narrower_than_the_difference_of_two_means() -> None:
    rng = np.random.default_rng(5)
    ours = rng.uniform(0.5, 1, 50)
    theirs = ours - rng.uniform(0, 0.02, 50)
    paired = adherence.paired_loss(ours, theirs)
    apart = bootstrap.mean(ours)
    assert paired.value == pytest.approx(0.01, abs=0.003)
    assert paired.high - paired.low < (apart.high - apart.low) / 5


# -- robustness and memory -----------------------------------------------------------------------


def test_each_lack_of_robustness_has_its_own_sentence() -> None:
    pictures, _ = scenes(3)
    a, b, c = pictures
    fine = robustness.check(robustness.Drawn(a, a, a, b, c))
    assert set(fine.values()) == {"ok"}
    bad = robustness.check(robustness.Drawn(a, b, b, a, a))
    assert all(sentence.endswith(".") for sentence in bad.values())
    assert set(bad) == {"seeds", "prompts", "repeat", "batch"}


def test_memory_of_this_process_is_seen() -> None:
    import psutil

    held = np.ones(4_000_000)
    here = memory.resident([psutil.Process()])
    assert here > held.nbytes / 2**20
    assert memory.high_water(psutil.Process().pid) in (0.0, pytest.approx(here, rel=0.9)) or here > 0


# -- floor ---------------------------------------------------------------------------------------


def loop(**changes: object) -> LoopSettings:
    values = {
        "scheduler": "ddim", "scheduler_config": {}, "steps": 10, "guidance": 4.0, "latent_shape": (8, 8, 8),
        "token_length": 32, "bos_id": 0, "eos_id": 1, "pad_id": 2, **changes,
    }  # fmt: skip
    return LoopSettings(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "denoiser"),
    [
        ({}, {"denoiser": 20}),
        ({"guidance": 1.0}, {"denoiser": 10}),
        ({"guidance_until": 0.4}, {"denoiser": 14}),
        ({"cache_interval": 5}, {"denoiser_full": 4, "denoiser_shallow": 16}),
    ],
)
def test_the_declared_rows_are_those_that_the_loop_computes(
    changes: dict[str, object], denoiser: dict[str, int]
) -> None:
    found = floor.rows(loop(**changes))
    assert {name: count for name, count in found.items() if name.startswith("denoiser")} == denoiser
    assert found["decoder"] == 1


def test_the_floor_falls_with_the_machine_s_rate_and_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.pipeline import plan
    from engines.workload import Workload

    wanted = plan("tiny-scenes", "cpu", Workload(steps=2))
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    done = floor.work(wanted)
    assert set(done) == {"text_encoder", "denoiser", "decoder"}
    assert done["denoiser"] > 1e8
    kept = sorted((tmp_path / "flops").glob("*.json"))
    assert len(kept) == 3
    kept[0].write_text(json.dumps(json.loads(kept[0].read_text()) | {"flops": 7.0}))
    assert 7.0 in {
        amount / count for amount, count in zip(floor.work(wanted).values(), (2, 4, 1), strict=True)
    }
    assert floor.seconds(wanted, lambda _: 1e9, done) == pytest.approx(sum(done.values()) / 1e9)


def test_the_interval_of_a_time_is_positive_however_rough_the_samples() -> None:
    found = bootstrap.median([0.011, 0.013, 0.2, 0.012])
    assert 0 < found.low <= found.value <= found.high
