"""The cascade's tables: a threshold chosen on pairs, a claim on fresh captions, and who decides best."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.errors import CascadeError
from studio.plan.deferral import Interval, Pairs
from studio.plan.reuse import Arm, Reuse
from studio.work.cascade.benchmark import Trial, main, pairs_from_light, report, rows, strength_of, try_out
from studio.work.cascade.claim import CERTIFIED_ON, Option, certify, choose, kept_sentence
from tests.studio.cascade_run import PROMPTS, run_with_pair, trained


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


def test_few_pairs_to_choose_on_leave_more_room_than_many() -> None:
    few = drawn(200, 0)[0]
    many = Pairs(
        np.tile(few.scores, 20),
        np.tile(few.light_quality, 20),
        np.tile(few.heavy_quality, 20),
        np.tile(few.light_seconds, 20),
        np.tile(few.heavy_seconds, 20),
        few.discriminator_seconds,
    )
    shares = [certify(few, choose(pairs, CERTIFIED_ON)).share for pairs in (many, few)]
    assert shares[0] < shares[1]


def test_a_loss_is_not_shown_and_few_captions_certify_nothing() -> None:
    lost = certify(drawn(CERTIFIED_ON, 1)[0], 0.0)
    assert not lost.held
    assert "not shown" in lost.sentence()
    few = certify(drawn(300, 1)[0], 2.0)
    assert few.bound == 0
    assert not few.held
    assert "takes 1200 captions" in few.sentence()


def late_start(pairs: Pairs, lost: float) -> Option:
    return Option("from the light latent", pairs.heavy_quality - lost, np.full(len(pairs), 0.5))


def test_deferred_prompts_that_start_late_take_their_own_time_and_lose_their_own_quality() -> None:
    pairs, fresh = drawn(600, 0)[0], drawn(CERTIFIED_ON, 1)[0]
    whole = certify(fresh, choose(pairs, CERTIFIED_ON))
    threshold = choose(pairs, CERTIFIED_ON, late_start(pairs, 0.0))
    claim = certify(fresh, threshold, option=late_start(fresh, 0.0))
    assert claim.held
    assert claim.time.value == pytest.approx(0.11 + claim.share * 0.5)
    assert claim.time.high < whole.time.low
    assert claim.sentence().endswith("Deferred prompts: heavy from the light latent.")
    lost = certify(fresh, threshold, option=late_start(fresh, 0.05))
    assert lost.difference.value < claim.difference.value - 0.01
    assert "not shown" in lost.sentence()


def test_the_kept_pictures_of_fresh_captions_are_counted_at_a_threshold_chosen_before() -> None:
    pairs, bad = drawn(CERTIFIED_ON, 3)
    kept = pairs.scores >= 0.6
    said = kept_sentence(pairs, 0.6, 0.05)
    assert f"{int((kept & bad).sum())} of {int(kept.sum())} kept pictures" in said


def test_an_option_is_a_strength_or_the_one_that_was_shown_to_be_worth_it(tmp_path: Path) -> None:
    cascade = trained(run_with_pair(tmp_path / "r"))
    assert strength_of("heavy", cascade) is None
    assert strength_of("strength:0.4", cascade) == 0.4
    for wrong in ("strength:2", "strength", "attention", "0.5"):
        with pytest.raises(CascadeError, match="no option"):
            strength_of(wrong, cascade)
    with pytest.raises(CascadeError, match="--reuse 48"):
        strength_of("best", cascade)

    def arm(strength: float | None, seconds: float, low: float) -> Arm:
        spread = Interval(seconds, seconds, seconds)
        kind = "heavy" if strength is None else "strength"
        return Arm(kind, "", strength, 4, spread, spread, Interval(0, low, 0.01))  # type: ignore[arg-type]

    arms = (arm(None, 1.0, 0), arm(0.3, 0.3, -0.2), arm(0.5, 0.5, -0.01), arm(0.8, 0.8, 0.0))
    measured = replace(cascade, reuse=Reuse(0.4, "latents", (), (), arms))
    assert strength_of("best", measured) == 0.5


@pytest.mark.slow
def test_a_cascade_that_starts_heavy_from_the_light_latent_is_tried_end_to_end(tmp_path: Path) -> None:
    run = run_with_pair(tmp_path / "r")
    with pytest.raises(CascadeError, match="'a red boat' names nothing that could be read"):
        pairs_from_light(run, trained(run), 0.5)
    shutil.rmtree(run / "cascade")
    cascade = trained(run, prompts=[prompt for prompt in PROMPTS if "boat" not in prompt])
    pairs, option = pairs_from_light(run, cascade, 0.5)
    assert len(pairs) == len(option.quality) == len(cascade.samples)
    assert np.median(option.seconds) < np.median(pairs.heavy_seconds)
    trial = try_out(run, cascade, 24, strength=0.5)
    assert trial.option is not None
    claim = certify(trial.pairs, 0.5, option=trial.option)
    text = report(replace(cascade, guarded=0.5), trial, [claim], "a machine")
    assert "from the light latent, strength 0.5" in text
    assert "Clopper-Pearson" in text
    with pytest.raises(CascadeError, match="none of its 8 steps"):
        try_out(run, cascade, 24, strength=0.01)


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
