"""The pair that a cascade is made of where nobody has said."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.errors import RunError
from studio.record.default_pair import light_and_heavy
from studio.work.benchmark import read

RECORDED = Path(__file__).parents[1] / "data" / "recorded-run"


def test_heavy_is_the_quickest_that_is_as_good_as_the_baseline_and_light_the_quickest_of_some_use() -> None:
    state = read(RECORDED)
    light, heavy = (state.candidate(name) for name in light_and_heavy(state))
    assert light.verdict is not None
    assert light.verdict.loss is not None
    assert light.verdict.loss.value < 0.12
    assert light.id in state.front
    equal = [
        one
        for one in state.candidates.values()
        if one.verdict and one.verdict.loss and one.verdict.latency and one.verdict.loss.high <= 0.005
    ]
    assert len(equal) > 2
    assert heavy.id == min(equal, key=lambda one: one.verdict.latency.value).id  # type: ignore[union-attr]
    assert heavy.id != "c000"


def test_a_light_candidate_that_loses_too_much_gives_way_to_the_next_better_one() -> None:
    state = read(RECORDED)
    light, heavy = light_and_heavy(state)
    for name, one in state.candidates.items():
        if name != heavy and one.verdict is not None and one.verdict.loss is not None and name != "c000":
            worse = one.verdict.loss.model_copy(update={"value": one.verdict.loss.value + 0.5})
            one.verdict = one.verdict.model_copy(update={"loss": worse})
    lost = {name: state.candidates[name].verdict for name in state.front}
    other, same = light_and_heavy(state)
    assert same == heavy
    found = lost[other]
    assert found is not None
    assert found.loss is not None
    assert all(found.loss.value <= one.loss.value for one in lost.values() if one and one.loss)
    assert other != light


def test_nothing_quicker_is_said() -> None:
    state = read(RECORDED)
    state.front = ()
    with pytest.raises(RunError, match="one quick and one good"):
        light_and_heavy(state)
