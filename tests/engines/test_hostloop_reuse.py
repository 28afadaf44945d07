"""When the blocks of a denoiser run again: each rule by itself, with small numpy components."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from engines.errors import BuildError
from engines.hostloop import LoopError, LoopSettings
from engines.hostloop.passes import Passes, parts
from engines.hostloop.reuse import Kept, curved, stale, whole_at_least
from engines.hostloop.settings import Reuse
from engines.measure import floor
from engines.reuse import curve_of, ratios_of
from tests.engines import test_hostloop_passes as stand

tokenizer = stand.tokenizer
PROMPTS, SEEDS, STEPS = stand.PROMPTS, stand.SEEDS, stand.STEPS
LINE: dict[str, Any] = {"curve": (1.0, 0.0), "span": (0.0, 10.0)}
RATIOS = (1.0, *(1.0 - 0.02 * step for step in range(1, STEPS)))
RULES = (
    Reuse("residual", 0.12, warm=0.2),
    Reuse("modulated", 0.3, **LINE),
    Reuse("magnitude", 0.2, longest=3, warm=0.2, ratios=RATIOS),
)


def whole(reuse: Reuse, probes: list[float]) -> list[int]:
    """Steps at which one picture's blocks run, its probe being these numbers."""
    ran: list[int] = []

    def call(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        if name == "denoiser_first":
            return {"state": inputs["sample"], "probe": np.full((1, 2), probes[step], np.float32)}
        if name == "denoiser_rest":
            ran.append(step)
        return {"feature": inputs["state"], "prediction": inputs["state"]}

    passes = Passes(stand.settings(reuse=reuse), len(probes), call)
    for step in range(len(probes)):
        sample = np.zeros((1, 1), np.float32)
        passes.evaluate("prompt", {"sample": sample, "timestep": np.zeros(1, np.float32)}, step, np.arange(1))
    return ran


def test_by_the_residual_the_blocks_run_when_it_has_moved_since_they_last_ran() -> None:
    slowly = [1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3]
    assert whole(Reuse("residual", 0.12), slowly) == [0, 3, 6]
    assert whole(Reuse("residual", 0.12, warm=0.3), slowly) == [0, 1, 2, 5]
    assert whole(Reuse("residual", 0.12, longest=1), slowly) == [0, 2, 4, 6]


def test_by_the_modulated_input_changes_from_step_to_step_add_up() -> None:
    """There and back again is no change since the last whole pass, and two changes since the step before."""
    there_and_back = [1.0, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0]
    assert whole(Reuse("residual", 0.15), there_and_back) == [0]
    assert whole(Reuse("modulated", 0.15, **LINE), there_and_back) == [0, 2, 4, 6]
    doubled = Reuse("modulated", 0.15, curve=(2.0, 0.0), span=(0.0, 10.0))
    assert whole(doubled, there_and_back) == [0, 1, 2, 3, 4, 5, 6]
    assert whole(Reuse("modulated", 99.0, **LINE), there_and_back) == [0, 6]


def test_the_curve_is_not_followed_outside_what_it_was_measured_on() -> None:
    bent = Reuse("modulated", 0.1, curve=(-1.0, 1.0, 0.0), span=(0.1, 0.5))
    found = curved(bent, np.array([0.0, 0.1, 0.5, 7.0, np.inf]))
    np.testing.assert_allclose(found, [0.09, 0.09, 0.25, 0.25, 0.25])
    assert curved(Reuse("modulated", 0.1, curve=(-1.0,), span=(0.0, 1.0)), np.array([0.5])) == [0.0]


def test_by_magnitude_the_steps_are_the_same_whatever_the_picture() -> None:
    reuse = Reuse("magnitude", 0.25, longest=9, ratios=(1.0, 0.9, 0.9, 0.9, 0.9, 0.9))
    # errors since the last whole pass: 0.1, then 0.19 more: 0.29 is too much
    assert whole(reuse, [1.0] * 6) == whole(reuse, [1.0, 5.0, -3.0, 0.0, 9.0, 2.0]) == [0, 2, 4]
    assert whole(replace(reuse, longest=1, threshold=9.0), [1.0] * 6) == [0, 2, 4]
    assert whole(replace(reuse, warm=0.5, threshold=9.0), [1.0] * 6) == [0, 1, 2]


@pytest.mark.parametrize("reuse", RULES, ids=lambda one: one.rule)
@pytest.mark.parametrize("batched", [True, False])
def test_a_seed_gives_the_same_picture_in_any_batch(
    tokenizer: Tokenizer, reuse: Reuse, batched: bool
) -> None:
    changes: dict[str, Any] = {"reuse": reuse, "guidance_until": 0.6, "batched_guidance": batched}
    together = stand.draw(tokenizer, stand.Parts(), PROMPTS, SEEDS, **changes)
    least, most = (count(stand.settings(**changes))["denoiser_rest"] for count in (floor.rows, floor.most))
    assert least * len(PROMPTS) <= together.rows["denoiser_rest"] < most * len(PROMPTS)
    for prompt, seed, image in zip(PROMPTS, SEEDS, together.images, strict=True):
        alone = stand.draw(tokenizer, stand.Parts(), [prompt], [seed], **changes).images[0]
        np.testing.assert_array_equal(alone, image)


@pytest.mark.parametrize("reuse", RULES, ids=lambda one: one.rule)
def test_a_rule_that_trusts_nothing_draws_the_whole_picture(tokenizer: Tokenizer, reuse: Reuse) -> None:
    plain = stand.draw(tokenizer, stand.Parts(), PROMPTS, SEEDS)
    strict = replace(reuse, threshold=1e-12)
    found = stand.draw(tokenizer, stand.Parts(), PROMPTS, SEEDS, reuse=strict)
    assert found.rows["denoiser_rest"] == 2 * len(PROMPTS) * STEPS
    np.testing.assert_array_equal(found.images, plain.images)


def test_what_was_not_measured_is_refused() -> None:
    for rule in ("modulated", "magnitude"):
        with pytest.raises(LoopError, match="was not measured for this model; build the pipeline again"):
            whole(Reuse(rule, 0.1), [1.0, 2.0, 3.0])


def test_the_fewest_whole_steps_are_counted() -> None:
    assert whole_at_least(Reuse("residual", 0.1, longest=3), 10) == [0, 4, 8]
    assert whole_at_least(Reuse("residual", 0.1, warm=0.2), 10) == [0, 1]
    assert whole_at_least(Reuse("magnitude", 0.1, longest=2, warm=0.2), 10) == [0, 1, 4, 7]
    assert whole_at_least(Reuse("modulated", 0.1), 10) == [0, 9]
    assert whole_at_least(Reuse("modulated", 0.1), 1) == [0]


def test_settings_say_a_rule_only_where_there_is_one_and_survive_json() -> None:
    plain = stand.settings()
    assert "reuse" not in plain.to_json()
    for reuse in RULES:
        told = replace(plain, reuse=reuse)
        assert LoopSettings.from_json(json.loads(json.dumps(told.to_json()))) == told
        assert parts(told) == ("denoiser_first", "denoiser_rest", "denoiser_last")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cache_threshold": 0.1}, "of cache_threshold and reuse one"),
        ({"cache_interval": 2}, "one can be used"),
        ({"reuse": Reuse("residual", -0.1)}, "must not be below 0"),
        ({"reuse": Reuse("residual", 0.1, warm=1.0)}, "below 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LoopError, match=words):
        parts(stand.settings(**{"reuse": RULES[0], **changes}))


def test_rows_that_had_a_whole_pass_begin_anew() -> None:
    reuse = Reuse("residual", 0.1)
    kept = Kept.of(np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32))
    due = stale(reuse, kept, np.array([[2.0], [1.0]], np.float32), 1, 5, np.arange(2))
    assert due.tolist() == [True, False]
    kept.renew(due, np.array([[7.0]], np.float32))
    assert (kept.feature.tolist(), kept.age.tolist()) == ([[7.0], [0.0]], [0, 1])
    assert kept.probe.tolist() == [[2.0], [1.0]]


def steps_of(probes: list[float], answers: list[float], sizes: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "probe": np.full((1, 3), probe),
            "prediction": np.full((1, 3), answer),
            "feature": np.full((1, 2, 4), size),
        }
        for probe, answer, size in zip(probes, answers, sizes, strict=True)
    ]


def test_the_curve_is_the_change_of_the_answer_by_that_of_the_input() -> None:
    probes, answers = [1.0], [1.0]
    for change in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06):
        probes.append(probes[-1] * (1 + change))
        answers.append(answers[-1] * (1 + 3 * change + 10 * change**2))
    found = curve_of([steps_of(probes, answers, probes)])
    assert np.allclose(found["span"], [0.01, 0.06])
    reuse = Reuse("modulated", 0.1, **{name: tuple(value) for name, value in found.items()})  # type: ignore[arg-type]
    np.testing.assert_allclose(curved(reuse, np.array([0.025, 0.055])), [0.08125, 0.19525], rtol=1e-4)
    with pytest.raises(BuildError, match="take more steps, or leave teacache out"):
        curve_of([steps_of([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [1.0] * 3)])


def test_the_ratios_are_those_of_what_the_blocks_add() -> None:
    pictures = [steps_of([1.0] * 3, [1.0] * 3, sizes) for sizes in ([1.0, 0.5, 0.5], [1.0, 0.7, 0.35])]
    np.testing.assert_allclose(ratios_of(pictures), [1.0, 0.6, 0.75])
    with pytest.raises(BuildError, match="leave magcache out"):
        ratios_of([steps_of([1.0] * 3, [1.0] * 3, [0.0, 1.0, 1.0])])
