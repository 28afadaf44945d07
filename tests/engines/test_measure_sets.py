"""Set metrics on Gaussians whose distance is known; video and enlargement on clips made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.errors import WorkloadError
from engines.measure import enlargement, images, sets, video

TRIALS = 20


def normal(rng: np.random.Generator, count: int, shift: float = 0.0) -> NDArray[np.float64]:
    return rng.normal(shift, 1, (count, 256))


def unit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))


@pytest.mark.parametrize("pairs", [True, False])
def test_two_sets_of_one_distribution_score_nothing_and_a_shift_of_a_tenth_is_told_apart(pairs: bool) -> None:
    rng = np.random.default_rng(0)
    values, covered, told = [], 0, 0
    for _ in range(TRIALS):
        one, other = normal(rng, 100), normal(rng, 100)
        found = sets.discrepancy(sets.cubic, one, other, pairs=pairs)
        values.append(found.value)
        covered += found.low <= 0 <= found.high
        told += sets.discrepancy(sets.cubic, one, normal(rng, 100, 0.1), pairs=pairs).low > 0
    error = np.std(values) / np.sqrt(TRIALS)
    assert abs(np.mean(values)) < 3 * error
    assert covered >= 0.9 * TRIALS
    assert told >= 0.85 * TRIALS


@pytest.mark.parametrize("pairs", [True, False])
def test_cmmd_of_one_distribution_is_nothing_on_average(pairs: bool) -> None:
    rng = np.random.default_rng(1)
    found = [
        sets.discrepancy(sets.gaussian, unit(normal(rng, 60)), unit(normal(rng, 60)), pairs=pairs).value
        for _ in range(TRIALS)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(TRIALS)
    moved = sets.discrepancy(sets.gaussian, unit(normal(rng, 200)), unit(normal(rng, 200, 0.1)), pairs=pairs)
    assert moved.low > 0


def test_the_same_pictures_in_pairs_score_exactly_nothing_whoever_of_a_pair_depends_on_the_other() -> None:
    rng = np.random.default_rng(2)
    one = normal(rng, 50)
    assert np.abs(sets.paired(sets.cubic, one, one)).max() < 1e-9
    nearly = [sets.paired(sets.cubic, x, x + rng.normal(0, 1e-3, x.shape)).mean() for x in [one] * 5]
    assert np.abs(nearly).max() < 1e-3
    assert np.isnan(sets.paired(sets.cubic, one[:1], one[:1])).all()


def test_a_frechet_distance_is_refused_for_few_pictures_and_right_for_many() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(WorkloadError, match=r"2,048 pictures: below 2,049"):
        sets.frechet(np.zeros((4000, 4)), np.zeros((2048, 4)))
    one, other = rng.normal(0, 1, (6000, 4)), rng.normal([1, 0, 0, 0], [1, 2, 1, 1], (6000, 4))
    assert sets.frechet(one, other) == pytest.approx(1 + (2 - 1) ** 2, rel=0.05)


# -- clips ---------------------------------------------------------------------------------------


def clip(frames: int = 8, step: int = 2) -> NDArray[np.uint8]:
    """A bright square that moves over a ramp, (F, 32, 32, 3)."""
    found = np.repeat(np.linspace(0, 120, 32)[None, :, None, None], 32, axis=2).repeat(3, axis=3)
    found = found.repeat(frames, axis=0)
    for number in range(frames):
        found[number, 8:16, step * number : step * number + 8] = 230
    return found.astype(np.uint8)


def test_of_the_same_clip_every_frame_and_every_change_is_the_same() -> None:
    one = clip()[None]
    curves = video.per_frame(one, one)
    assert set(curves) >= {"psnr", "ssim", "haarpsi"}
    assert all(values.shape == (1, 8) for values in curves.values())
    assert (curves["psnr"] == images.PSNR_CAP).all()
    assert {name: float(value[0]) for name, value in video.temporal(one, one).items()} == {
        "change": 0.0,
        "flicker": 0.0,
    }


def test_one_spoilt_frame_is_found_by_its_number_and_hardly_moves_the_mean() -> None:
    one, spoilt = clip()[None], clip()[None]
    spoilt[0, 5] = 255 - spoilt[0, 5]
    curves = video.per_frame(spoilt, one)
    assert int(curves["psnr"][0].argmin()) == 5
    found = video.summary(curves)
    assert found["psnr_worst"][0] == pytest.approx(images.psnr(spoilt[:, 5], one[:, 5])[0])
    assert found["psnr"][0] > found["psnr_worst"][0] + 20


def test_flicker_and_stillness_are_told_apart_though_frames_are_as_near() -> None:
    still = np.repeat(clip()[None, :1], 8, axis=1)
    flickering, constant = still.copy(), still.copy()
    flickering[:, ::2] += 6
    constant += 6
    assert images.psnr(flickering, still) > images.psnr(constant, still)
    assert video.temporal(flickering, still)["flicker"][0] == pytest.approx(6)
    assert video.temporal(constant, still)["change"][0] == 0
    moving = clip()[None]
    assert video.temporal(still, moving)["flicker"][0] < 0
    assert video.temporal(moving[:, :1], moving[:, :1]) == {}


def test_a_black_frame_makes_a_clip_blank_and_says_which() -> None:
    one = clip()
    assert images.blank(one) is None
    one[3] = 0
    assert images.blank(one) == "black in frame 4 of 8"


def test_a_large_picture_is_consistent_with_the_small_one_it_was_made_from() -> None:
    rng = np.random.default_rng(4)
    small = rng.integers(20, 230, (2, 8, 8, 3), dtype=np.uint8)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    assert (enlargement.consistency(large, small) == images.PSNR_CAP).all()
    detailed = np.clip(large + np.tile([[4, -4], [-4, 4]], (16, 16))[None, :, :, None], 0, 255).astype(
        np.uint8
    )
    assert (enlargement.consistency(detailed, small) > 55).all()
    assert (enlargement.consistency(np.roll(large, 4, axis=1), small) < 25).all()
