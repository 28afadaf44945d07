"""The cascade's tables: a threshold chosen on pairs, a claim on fresh captions, and who decides best."""

from __future__ import annotations

import numpy as np
import pytest

from studio.plan.deferral import Pairs
from studio.work.cascade.benchmark import CERTIFIED_ON, Trial, certify, choose, main, rows


def drawn(count: int, seed: int, sharp: float = 1.0) -> tuple[Pairs, np.ndarray]:
    """Light fails on three of ten captions; `sharp` scores know which."""
    rng = np.random.default_rng(seed)
    heavy = rng.choice([0.8, 1.0], count, p=[0.1, 0.9])
    bad = rng.random(count) < 0.3
    light = np.where(bad, heavy - 0.4, heavy)
    scores = np.clip(0.7 - 0.5 * bad * sharp + rng.normal(0, 0.12, count), 0, 1)
    return Pairs(scores, light, heavy, np.full(count, 0.1), np.full(count, 1.0), 0.01), bad


def test_a_good_scorer_is_certified_within_a_point_for_less_than_heavys_time() -> None:
    threshold = choose(drawn(600, 0)[0], CERTIFIED_ON)
    claim = certify(drawn(CERTIFIED_ON, 1)[0], threshold)
    assert claim.held
    assert -0.01 <= claim.bound <= claim.difference.value
    assert claim.time.value == pytest.approx(0.11 + claim.share)
    assert claim.time.high < 0.6
    assert claim.sentence().startswith("Within one point of heavy's adherence: certified")


def test_a_useless_scorer_defers_nearly_everything_and_saves_nothing() -> None:
    threshold = choose(drawn(600, 0, sharp=0)[0], CERTIFIED_ON)
    claim = certify(drawn(CERTIFIED_ON, 1, sharp=0)[0], threshold)
    assert claim.share > 0.85
    assert claim.time.value > 0.95


def test_a_loss_is_not_shown_and_few_captions_certify_nothing() -> None:
    lost = certify(drawn(CERTIFIED_ON, 1)[0], 0.0)
    assert not lost.held
    assert "not shown" in lost.sentence()
    few = certify(drawn(300, 1)[0], 2.0)
    assert few.bound == 0
    assert not few.held
    assert "takes 1200 captions" in few.sentence()


def test_the_bound_is_right_as_often_as_it_says() -> None:
    threshold = 0.35
    many, _ = drawn(200_000, 5)
    real = float(((many.light_quality - many.heavy_quality) * (many.scores >= threshold)).mean())
    bounds = [certify(drawn(300, seed + 10)[0], threshold).bound for seed in range(60)]
    assert np.mean(np.array(bounds) > real) < 0.15  # one in twenty, and chance
    assert np.mean(bounds) > real - 0.05


def test_the_table_has_every_way_to_decide_and_what_the_learned_rule_gains() -> None:
    pairs, _ = drawn(CERTIFIED_ON, 2)
    rng = np.random.default_rng(0)
    scores = {
        "discriminator": pairs.scores,
        "real against generated": rng.random(len(pairs)),
        "random": rng.random(len(pairs)),
    }
    table = rows(Trial(("a",) * len(pairs), pairs, scores), 0.05)
    assert len(table) == 2 + 3 + 2
    assert table[-1].startswith("| discriminator against real against generated")
    gains = [float(cell.split()[0]) for cell in table[-1].split("|")[3:6]]
    assert min(gains) > 1


def test_too_few_captions_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere", "c001", "c002", "--captions", "3"]) == 1
    assert "at least 24" in capsys.readouterr().err
