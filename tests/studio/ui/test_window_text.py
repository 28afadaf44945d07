from __future__ import annotations

import math

import pytest

from studio.record.described import Metric
from studio.ui import text
from studio.ui.blind import Session, Tally, exact_interval
from studio.ui.text import THIN


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0382, f"38.2{THIN}ms"), (1.239, f"1.24{THIN}s"), (0.00002, f"20.0{THIN}µs"), (125, f"2:05{THIN}min")],
)
def test_latencies_have_three_digits_and_a_unit(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


def test_ranges_of_time_read_as_minutes() -> None:
    assert text.time_range(100, 140) == "1:40 – 2:20 left"
    assert text.time_range(None, 3) == ""


def test_sizes_and_counts_have_units() -> None:
    assert text.size(6.1 * 2**30) == f"6.10{THIN}GiB"
    assert text.count(13_900_000) == f"13.9{THIN}M"
    assert text.ratio(5.2) == "5.20×"


def test_a_share_is_shown_as_points_and_zero_as_zero() -> None:
    share = Metric(name="adherence", title="Adherence loss", unit="share")
    assert text.loss(0.0123, share) == f"1.23{THIN}points"
    assert text.loss(-0.0000001, share) == f"0{THIN}points"


def test_identical_pictures_are_called_identical() -> None:
    assert text.metric("psnr", math.inf) == "identical"


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (14, 16, 0.6165, 0.9845)],
)
def test_the_interval_of_a_tally_is_clopper_and_pearsons(
    hits: int, trials: int, low: float, high: float
) -> None:
    found = exact_interval(hits, trials)
    assert found == pytest.approx((low, high), abs=1e-4)


def test_blind_sides_are_balanced_and_every_prompt_comes_once() -> None:
    session = Session(16, seed=4)
    assert sum(trial.b_left for trial in session.trials) == 8
    assert sorted(trial.row for trial in session.trials) == list(range(16))
    assert Session(16, seed=4).trials == session.trials


def test_someone_who_always_takes_b_is_counted_for_b() -> None:
    session = Session(10, seed=1)
    while (trial := session.current) is not None:
        session.answer("left" if trial.b_left else "right")
    assert session.tally() == Tally(0, 10, 0)
    assert "looks better than A" in session.tally().verdict("A", "B")


def test_someone_who_always_takes_left_shows_no_preference() -> None:
    session = Session(10, seed=1)
    while session.current is not None:
        session.answer("left")
    assert "no preference" in session.tally().verdict("A", "B")


def test_an_answer_can_be_taken_back() -> None:
    session = Session(4, seed=1)
    session.answer("same")
    session.undo()
    assert session.tally() == Tally(0, 0, 0)
