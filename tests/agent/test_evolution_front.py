"""Fronts, elites, the knee, and which candidates a run names."""

from dataclasses import replace

import pytest

from agent.candidate import Candidate, Interval, Proposal, Step, Verdict
from agent.evolution.choice import best_single, fastest, lossless, to_certify, winner
from agent.evolution.front import Judged, elites, front, hypervolume, knee, rank, reference_point

REFERENCE = (1.1, 0.5)


def judged(
    name: str,
    seconds: float,
    loss: float,
    *,
    half: float = 0.0,
    psnr: float | None = None,
    techniques: int = 2,
    state: str = "passed",
) -> Judged:
    recipe = tuple(Step(f"t{index}") for index in range(techniques))
    proposal = Proposal(recipe, "", "seed" if techniques else "baseline")
    verdict = Verdict(
        state,  # type: ignore[arg-type]
        "gate",
        latency=Interval(seconds, seconds, seconds),
        loss=Interval(loss, loss - half, loss + half),
        metrics={} if psnr is None else {"psnr": Interval(psnr, psnr, psnr)},
    )
    return Judged(Candidate(name, 1, proposal, ""), verdict)


BASELINE = judged("c000", 1.0, 0.0, techniques=0)


def test_the_front_holds_what_nothing_dominates_from_fastest_to_best() -> None:
    there = [BASELINE, judged("c001", 0.5, 0.1), judged("c002", 0.6, 0.2), judged("c003", 0.2, 0.3)]
    assert [one.id for one in front(there)] == ["c003", "c001", "c000"]


def test_failed_quarantined_and_unmeasured_candidates_are_no_points() -> None:
    there = [
        BASELINE,
        judged("c001", 0.1, 0.0, state="failed"),
        judged("c002", 0.1, 0.0, state="quarantined"),
        judged("c003", float("nan"), 0.0),
        Judged(judged("c004", 1, 1).candidate, Verdict("passed", "gate")),
    ]
    assert [one.id for one in front(there)] == ["c000"]


def test_of_equal_points_the_first_one_is_on_the_front() -> None:
    assert [one.id for one in front([judged("c001", 0.5, 0.1), judged("c002", 0.5, 0.1)])] == ["c001"]


def test_hypervolume_is_the_area_up_to_the_reference_point() -> None:
    there = [judged("c001", 0.5, 0.1), judged("c002", 0.2, 0.3)]
    assert hypervolume(there, REFERENCE) == pytest.approx(0.6 * 0.4 + 0.3 * 0.2)
    assert hypervolume([judged("c003", 2.0, 0.1)], REFERENCE) == 0.0
    assert hypervolume([], REFERENCE) == 0.0


def test_the_reference_point_lies_a_tenth_behind_the_baseline() -> None:
    seconds, loss = reference_point(BASELINE.verdict, 0.5)
    assert seconds == pytest.approx(1.1)
    assert loss == 0.5


def test_rank_orders_by_front_and_then_by_contribution() -> None:
    there = [
        judged("far", 0.9, 0.4),
        judged("crowded", 0.49, 0.21),
        judged("neighbour", 0.5, 0.2),
        judged("alone", 0.2, 0.3),
    ]
    order = [one.id for one in rank(there, REFERENCE)]
    assert order[0] == "alone"
    assert order[-1] == "far"


def test_elites_are_few_and_never_the_baseline() -> None:
    there = [BASELINE, *(judged(f"c{n:03}", 1 / (n + 1), n / 50) for n in range(1, 9))]
    chosen = elites(there, REFERENCE, 4)
    assert len(chosen) == 4
    assert all(not one.is_baseline for one in chosen)


def test_the_knee_is_the_bend_of_the_front() -> None:
    there = [judged("fast", 0.1, 0.40), judged("bend", 0.15, 0.05), judged("mid", 0.5, 0.03), BASELINE]
    found = knee(front(there))
    assert found is not None
    assert found.id == "bend"


def test_a_front_of_two_has_no_knee() -> None:
    assert knee([judged("a", 0.1, 0.4), judged("b", 1.0, 0.0)]) is None


def test_the_winner_is_the_fastest_that_is_surely_within_the_tolerance() -> None:
    there = [
        BASELINE,
        judged("sure", 0.4, 0.0, half=0.01),
        judged("likely", 0.1, 0.015, half=0.02),
        judged("bad", 0.01, 0.3),
    ]
    best = winner(there, 0.02)
    assert best is not None
    assert best.id == "sure"
    assert [one.id for one in to_certify(there, 0.02)] == ["likely", "sure"]


def sped(name: str, times: float, loss: float, *, half: float = 0.0) -> Judged:
    """Measured in turns with a baseline of a second, its speed-up known to `half`."""
    one = judged(name, 1 / times, loss)
    speedup = Interval(times, times - half, times + half)
    return Judged(one.candidate, replace(one.verdict, speedup=speedup))


def test_of_two_that_speed_cannot_tell_apart_the_one_that_loses_less_wins() -> None:
    there = [
        BASELINE,
        sped("lossy", 40.0, 0.015, half=3.0),
        sped("near", 38.0, 0.005),
        sped("slow", 36.0, 0.0),
    ]
    best = winner(there, 0.02)
    assert best is not None
    assert best.id == "near"
    assert [one.id for one in to_certify(there, 0.02)] == ["near", "lossy"]
    assert fastest(there, {"near": 0.018}).id == "lossy"


def test_without_a_speed_up_the_interval_of_the_time_says_who_is_as_fast() -> None:
    quick = judged("quick", 0.10, 0.015)
    quick = Judged(quick.candidate, replace(quick.verdict, latency=Interval(0.10, 0.09, 0.12)))
    assert fastest([quick, judged("near", 0.12, 0.0), judged("slow", 0.13, -0.1)]).id == "near"


def test_certification_tries_a_slower_one_only_for_less_loss_and_never_skips_the_winner() -> None:
    there = [judged(f"c{n:03}", 0.1 + n / 100, 0.018 - n / 2000, half=0.05) for n in range(12)]
    there += [judged("worse", 0.15, 0.019, half=0.05), judged("sure", 0.5, 0.0)]
    names = [one.id for one in to_certify(there, 0.02, 6)]
    assert names == ["c000", "c003", "c006", "c008", "c011", "sure"]


def test_without_a_sure_one_the_likely_wins_and_without_that_the_least_loss() -> None:
    likely = [judged("likely", 0.1, 0.015, half=0.02), judged("bad", 0.01, 0.3)]
    assert [one.id for one in to_certify(likely, 0.02)] == ["likely"]
    worse = [judged("bad", 0.01, 0.3), judged("less", 0.2, 0.1)]
    best = winner(worse, 0.02)
    assert best is not None
    assert best.id == "less"
    assert winner([BASELINE], 0.02) is None


def test_lossless_and_best_single_are_named_by_pictures_and_by_recipe() -> None:
    there = [
        BASELINE,
        judged("near", 0.5, 0.0, psnr=31.0),
        judged("nearer", 0.6, 0.0, psnr=60.0, techniques=1),
        judged("far", 0.1, 0.01, psnr=20.0),
    ]
    near, single = lossless(there), best_single(there, 0.02)
    assert near is not None
    assert near.id == "near"
    assert single is not None
    assert single.id == "nearer"
