"""What a scorer is worth at a deferred share, what a guarantee takes, and what is kept and read again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from studio.plan.deferral import Interval
from studio.plan.guarantee import failure_bound, guarantee, needed_sentence, samples_needed
from studio.plan.reuse import Arm, Reuse
from studio.plan.worth import deferred, worth
from studio.record.votes import FILE, Vote, keep, votes


def test_a_perfect_scorer_beats_chance_and_a_useless_one_does_not() -> None:
    rng = np.random.default_rng(0)
    light, heavy = rng.uniform(0.4, 1.0, 400), np.full(400, 0.9)
    perfect = worth(light, light, heavy)
    useless = worth(rng.random(400), light, heavy)
    for good, bad in zip(perfect, useless, strict=True):
        assert good.gain.low > 0
        assert bad.gain.low < 0.01
        assert good.quality.value > bad.quality.value
    at = perfect[1]
    chosen = deferred(light, 0.4)
    assert chosen.sum() == 160
    assert light[chosen].max() <= light[~chosen].min()
    assert at.quality.value == pytest.approx(np.where(chosen, heavy, light).mean())
    assert at.quality.low < at.quality.value < at.quality.high


def test_equal_scores_are_deferred_by_chance_and_in_the_share_asked_for() -> None:
    first, second = deferred(np.ones(100), 0.2, seed=1), deferred(np.ones(100), 0.2, seed=2)
    assert first.sum() == second.sum() == 20
    assert (first != second).any()


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        worth([0.1, np.nan], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="finite"):
        guarantee([0.1, np.nan], [False, True], rate=0.1)


@pytest.mark.parametrize(("rate", "least"), [(0.1, 29), (0.05, 59), (0.01, 299)])
def test_the_fewest_pictures_for_a_guarantee_are_clopper_and_pearsons(rate: float, least: int) -> None:
    assert samples_needed(rate) == least
    assert failure_bound(0, least) <= rate < failure_bound(0, least - 1)


def test_with_failures_more_pictures_are_needed_and_with_too_many_none_are_enough() -> None:
    clean, some = samples_needed(0.1), samples_needed(0.1, 0.05)
    assert clean is not None
    assert some is not None
    assert some > clean
    assert failure_bound(int(np.ceil(0.05 * some)), some) <= 0.1
    assert samples_needed(0.1, 0.1) is None


def test_the_sentence_says_how_many_pairs_would_do() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(40)
    few = needed_sentence(scores, scores < 0.5, rate=0.1)
    assert "at least 29 kept pictures" in few
    assert "there are 40" in few
    assert "would not help" in needed_sentence(scores, np.ones(40, bool), rate=0.1)


def arm(kind: str, strength: float | None, seconds: float, against: tuple[float, float, float]) -> Arm:
    quality = Interval(0.9, 0.88, 0.92)
    return Arm(kind, kind, strength, 12, quality, Interval(seconds, seconds, seconds), Interval(*against))  # type: ignore[arg-type]


def test_a_late_start_is_advised_only_where_its_loss_is_shown_to_be_small() -> None:
    whole = arm("heavy", None, 1.0, (0, 0, 0))
    bad = arm("strength", 0.2, 0.2, (-0.2, -0.3, -0.1))
    unsure = arm("strength", 0.4, 0.4, (0.0, -0.2, 0.2))
    good = arm("strength", 0.8, 0.8, (0.0, -0.01, 0.01))
    found = Reuse(0.4, "latents", ("a",), (1,), (whole, good, bad, unsure), ("a note",))
    assert "strength 0.8" in found.verdict(0.05)
    assert "20% less time" in found.verdict(0.05)
    assert "start heavy from the beginning" in Reuse(0.4, "latents", (), (), (whole, bad)).verdict(0.05)
    assert [one.strength for one in found.curve] == [0.2, 0.4, 0.8, None]
    assert Reuse.from_json(json.loads(json.dumps(asdict(found)))) == found


def test_votes_survive_a_cut_line_and_the_last_one_counts(tmp_path: Path) -> None:
    keep(tmp_path, Vote("a house", 1, "c001", "c002", "a"))
    keep(tmp_path, Vote("a tree", 2, "c002", "c001", "a"))
    keep(tmp_path, Vote("a house", 1, "c002", "c001", "a"))
    keep(tmp_path, Vote("a car", 3, "c001", "c002", "same"))
    keep(tmp_path, Vote("a car", 4, "c001", "c003", "a"))
    keep(tmp_path, Vote("a tree", 2, "c001", "c002", "withdrawn"))
    with (tmp_path / FILE).open("a") as file:
        file.write('{"prompt": "a boat", "se')
    assert votes(tmp_path, "c001", "c002") == {("a house", 1): True, ("a car", 3): None}
    assert votes(tmp_path / "none", "c001", "c002") == {}
