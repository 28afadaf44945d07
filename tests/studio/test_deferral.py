"""The cascade's arithmetic against values worked out by hand or published."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from studio.plan.deferral import (
    Pairs,
    curve,
    deferred_share,
    mistakes,
    nearest,
    operate,
    thresholds,
)
from studio.plan.discrimination import brier, reliability, roc_auc, roc_curve
from studio.plan.guarantee import failure_bound, guarantee


@pytest.fixture
def pairs() -> Pairs:
    return Pairs(
        scores=np.array([0.1, 0.2, 0.3, 0.4]),
        light_quality=np.array([0.2, 0.6, 0.9, 1.0]),
        heavy_quality=np.array([0.8, 0.9, 0.9, 0.9]),
        light_seconds=np.full(4, 0.1),
        heavy_seconds=np.full(4, 1.0),
        discriminator_seconds=0.01,
    )


def test_the_share_deferred_is_the_share_of_scores_strictly_below() -> None:
    assert deferred_share([0.1, 0.2, 0.2, 0.4], [0.0, 0.2, 0.3, 1.0]).tolist() == [0, 0.25, 0.75, 1]


def test_thresholds_run_from_nothing_to_everything_deferred() -> None:
    scores = np.random.default_rng(0).beta(2, 8, 500)
    shares = deferred_share(scores, thresholds(scores))
    assert shares[0] == 0
    assert shares[-1] == 1
    np.testing.assert_allclose(np.diff(shares), 0.01, atol=1e-9)


def test_equal_scores_leave_two_thresholds() -> None:
    assert len(thresholds(np.full(10, 0.5))) == 2


def test_an_operation_adds_heavy_time_only_where_deferred(pairs: Pairs) -> None:
    point = operate(pairs, 0.25)
    assert (point.light, point.heavy, point.share) == (2, 2, 0.5)
    assert point.seconds.value == pytest.approx(0.11 + 0.5)
    assert point.quality.value == pytest.approx((0.8 + 0.9 + 0.9 + 1.0) / 4)
    assert point.control == pytest.approx((2.7 / 4 + 3.5 / 4) / 2)
    assert point.seconds.low <= point.seconds.value <= point.seconds.high


def test_a_mix_can_be_better_than_all_heavy(pairs: Pairs) -> None:
    points = curve(pairs)
    assert max(point.quality.value for point in points) > points[-1].quality.value
    assert [point.heavy for point in points] == [0, 1, 2, 3, 4]


def test_bootstrap_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        quality = generator.normal(0.7, 0.2, 60)
        ones = np.ones(60)
        point = operate(Pairs(ones, quality, quality, ones, ones), 0.5, resamples=400, seed=seed)
        covered += point.quality.low <= 0.7 <= point.quality.high
    assert 0.88 <= covered / 200 <= 0.99


def test_intervals_repeat_for_the_same_seed(pairs: Pairs) -> None:
    assert operate(pairs, 0.25, seed=3) == operate(pairs, 0.25, seed=3)


def test_the_nearest_pictures_are_given_from_the_threshold_outwards() -> None:
    assert nearest([0.9, 0.1, 0.5, 0.4, 0.6], 0.5, count=2) == ((3, 1), (2, 4))
    assert nearest([0.9, 0.1], 0.0) == ((), (1, 0))


@pytest.mark.parametrize(
    ("rate", "trials", "allowed"),
    [(0.05, 59, 0), (0.05, 100, 1), (0.05, 200, 4), (0.1, 30, 0), (0.1, 500, 38)],
)
def test_the_failure_bound_allows_what_the_tables_allow(rate: float, trials: int, allowed: int) -> None:
    assert failure_bound(allowed, trials) <= rate < failure_bound(allowed + 1, trials)


def test_the_failure_bound_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="cannot be"):
        failure_bound(5, 4)
    assert failure_bound(0, 0) == 1.0


def test_a_guarded_threshold_keeps_bad_pictures_under_the_rate() -> None:
    generator = np.random.default_rng(5)
    scores = generator.random(2000)
    bad = generator.random(2000) > scores
    found = guarantee(scores, bad, rate=0.1)
    assert found.threshold is not None
    fresh = generator.random(20_000)
    wrong = generator.random(20_000) > fresh
    assert wrong[fresh >= found.threshold].mean() <= 0.1
    assert (found.kept, found.poor) == (
        (scores >= found.threshold).sum(),
        bad[scores >= found.threshold].sum(),
    )
    assert failure_bound(found.poor, found.kept) == found.bound <= 0.1
    assert f"{found.poor} of {found.kept} were (2000 pairs" in found.sentence()


def test_scanning_all_thresholds_breaks_the_promise_no_oftener_than_one_time_in_twenty() -> None:
    # Three in ten are poor whatever the score says, so a promise of less is a false one.
    broken = naive = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        scores, bad = generator.random(300), generator.random(300) < 0.3
        broken += guarantee(scores, bad, rate=0.29).threshold is not None
        naive += any(
            failure_bound(int(bad[scores >= at].sum()), int((scores >= at).sum())) <= 0.29
            for at in thresholds(scores)
        )
    assert broken <= 300 * 0.05 + 3 * (300 * 0.05 * 0.95) ** 0.5
    assert naive > 30  # what a scan without the correction would have promised


def test_one_poor_picture_among_the_surest_does_not_end_the_search() -> None:
    scores = np.linspace(0, 1, 600)
    bad = np.zeros(600, bool)
    bad[[-3, *range(0, 250, 5)]] = True
    found = guarantee(scores, bad, rate=0.1)
    assert found.kept > 350
    assert found.poor >= 1


def test_no_threshold_is_safe_with_too_few_pairs() -> None:
    found = guarantee(np.linspace(0, 1, 10), np.zeros(10), rate=0.05)
    assert found.threshold is None
    assert "at least 59 kept pictures" in found.sentence()
    with pytest.raises(ValueError, match="cannot be promised"):
        guarantee([0.1, 0.2], [True, False], rate=1.5)


def test_the_worst_mistakes_are_those_that_cost_most_either_way() -> None:
    scores = [0.9, 0.8, 0.7, 0.2, 0.1, 0.3]
    gains = [0.5, 0.1, 0.6, -0.4, 0.0, 0.7]
    defer = [True, False, True, False, False, True]
    assert mistakes(scores, gains, defer, 0.5) == ((2, 0), (3, 4))
    assert mistakes(scores, gains, defer, 0.5, count=1) == ((2,), (3,))
    assert mistakes(scores, gains, defer, 0.0) == ((5, 2, 0), ())


def test_the_deferred_share_has_an_interval(pairs: Pairs) -> None:
    found = operate(pairs, 0.25).deferred
    assert found.value == 0.5
    assert found.low == pytest.approx(0.15, abs=0.01)  # Wilson, 2 of 4
    assert found.high == pytest.approx(0.85, abs=0.01)


def test_a_roc_curve_has_the_area_that_is_said_of_it() -> None:
    generator = np.random.default_rng(1)
    scores = generator.random(900)
    labels = generator.random(900) < scores
    corners = np.array(roc_curve(labels, scores))
    assert corners[0].tolist() == [0, 0]
    assert corners[-1].tolist() == [1, 1]
    assert len(corners) == 51
    area = roc_auc(labels, scores, resamples=10)
    assert area is not None
    assert np.trapezoid(corners[:, 1], corners[:, 0]) == pytest.approx(area.value, abs=0.01)
    assert roc_curve([1, 0, 1], [0.5, 0.5, 0.5]) == ((0.0, 0.0), (1.0, 1.0))  # equal scores: a diagonal
    assert roc_curve([1, 1], [0.1, 0.2]) == ()


@pytest.mark.parametrize(
    ("scores", "quality"), [([], []), ([0.1], [0.1, 0.2]), ([float("nan")], [0.1]), ([[0.1]], [[0.1]])]
)
def test_impossible_measurements_are_refused(scores: list[float], quality: list[float]) -> None:
    with pytest.raises(ValueError, match="number"):
        Pairs(np.array(scores), np.array(quality), np.array(quality), np.array(quality), np.array(quality))


def test_the_area_is_one_for_perfect_half_for_useless_and_none_without_two_classes() -> None:
    perfect = roc_auc([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4])
    assert perfect is not None
    assert perfect.value == 1
    useless = roc_auc([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5])
    assert useless is not None
    assert useless.value == 0.5
    assert roc_auc([1, 1], [0.1, 0.2]) is None


def test_calibrated_scores_are_found_calibrated() -> None:
    generator = np.random.default_rng(2)
    scores = generator.random(4000)
    labels = generator.random(4000) < scores
    bins = reliability(labels, scores)
    assert sum(part.count for part in bins) == 4000
    assert max(abs(part.said - part.found) for part in bins) < 0.05
    assert brier(labels, scores) < 0.2 < brier(labels, 1 - scores)


def test_the_window_can_import_the_arithmetic_without_torch() -> None:
    code = (
        "import sys, studio.plan.deferral, studio.plan.discrimination\n"
        "print(sorted({'torch', 'engines', 'agent'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
