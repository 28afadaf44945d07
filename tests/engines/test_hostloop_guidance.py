"""Adaptive guidance: a picture's guidance ends once both of its passes agree, whatever batch it is in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from engines.hostloop import Loop, LoopError, LoopSettings
from engines.hostloop.guidance import similarity, surely_guided
from engines.hostloop.loop import Arrays, Result
from engines.measure import floor
from tests.engines import test_hostloop_loop as loops
from tests.engines import test_hostloop_passes as stand
from tests.engines.test_hostloop_reuse import RULES

tokenizer = loops.tokenizer
PROMPTS, SEEDS, STEPS = stand.PROMPTS, stand.SEEDS, stand.STEPS


class Agreeing(stand.Parts):
    """Passes that come nearer with every step, at a pace that hangs on the prompt."""

    def _deep(self, inputs: Arrays) -> Any:
        apart = np.sin(40 * inputs["embeddings"].mean(axis=(1, 2))) * inputs["timestep"] / 1000
        sample = inputs["sample"]
        turned = np.roll(sample, 1, axis=-1)
        return (np.tanh(sample) + apart[:, None, None, None] * turned).astype(np.float32)


def draw(tokenizer: Tokenizer, prompts: list[str], seeds: list[int], **changes: Any) -> Result:
    return stand.draw(tokenizer, Agreeing(), prompts, seeds, **changes)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"guidance_from": 0.2, "guidance_until": 0.8},
        {"small_until": 0.3},
        {"cache_interval": 3},
        {"cache_interval": 3, "forecast_order": 2},
        *({"reuse": rule} for rule in RULES),
    ],
    ids=str,
)
def test_each_picture_ends_its_own_guidance_in_any_batch(
    tokenizer: Tokenizer, change: dict[str, Any], batched: bool
) -> None:
    changes = {"guidance_agreement": 0.97, "batched_guidance": batched, **change}
    together = draw(tokenizer, PROMPTS, SEEDS, **changes)
    ends = set()
    for prompt, seed, image in zip(PROMPTS, SEEDS, together.images, strict=True):
        alone = draw(tokenizer, [prompt], [seed], **changes)
        np.testing.assert_array_equal(alone.images[0], image)
        ends.add(sum(rows for name, rows in alone.rows.items() if name.startswith("denoiser")))
    assert len(ends) > 1


def test_a_picture_that_is_guided_no_more_is_one_row(tokenizer: Tokenizer) -> None:
    found = draw(tokenizer, PROMPTS, SEEDS, guidance_agreement=0.97, batch=8)
    assert found.calls["denoiser"] == STEPS
    alone = [
        draw(tokenizer, [prompt], [seed], guidance_agreement=0.97).rows["denoiser"]
        for prompt, seed in zip(PROMPTS, SEEDS, strict=True)
    ]
    assert found.rows["denoiser"] == sum(alone)


@pytest.mark.parametrize("change", [{}, {"cache_interval": 3}, {"guidance_from": 0.25}], ids=str)
def test_what_never_agrees_is_guided_throughout_and_what_does_at_once_after_a_fifth(
    tokenizer: Tokenizer, change: dict[str, Any]
) -> None:
    plain = draw(tokenizer, PROMPTS, SEEDS, **change)
    never = draw(tokenizer, PROMPTS, SEEDS, guidance_agreement=1.0, **change)
    np.testing.assert_array_equal(never.images, plain.images)
    assert never.rows == plain.rows
    same = {"guidance_agreement": 1e-6, **change}
    one = draw(tokenizer, ["red"], [5], **same)
    assert floor.rows(stand.settings(**same)) == one.rows
    assert floor.most(stand.settings(**same)) == draw(tokenizer, ["red"], [5], **change).rows
    first = stand.settings(**change).guidance_from * STEPS
    assert surely_guided(stand.settings(**same), STEPS) == range(int(first), int(first) + 3)


def test_the_guided_step_in_which_they_agree_counts(tokenizer: Tokenizer) -> None:
    """Up to the end the picture is the guided one, from then on the prompt's alone."""
    steps: list[Any] = []
    made = Loop(Agreeing().components(), tokenizer, stand.settings(guidance_agreement=1e-6))
    made.generate(["red"], [5], lambda one: steps.append(one.latent))
    guided: list[Any] = []
    made = Loop(Agreeing().components(), tokenizer, stand.settings())
    made.generate(["red"], [5], lambda one: guided.append(one.latent))
    for step, (found, wanted) in enumerate(zip(steps, guided, strict=True)):
        assert np.array_equal(found, wanted) == (step < 3)


def test_similarity_is_the_cosine_of_each_row() -> None:
    one = np.array([[[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 0.0]], [[3.0, 4.0]]], np.float32)
    other = np.array([[[0.0, 2.0]], [[1.0, 0.0]], [[1.0, 1.0]], [[6.0, 8.0]]], np.float32)
    np.testing.assert_allclose(similarity(one, other), [0.0, 0.5**0.5, 0.0, 1.0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"guidance_agreement": -0.1}, "guidance_agreement must be between 0 and 1"),
        ({"guidance_agreement": 1.5}, "guidance_agreement must be between 0 and 1"),
        ({"guidance_agreement": 0.9, "gate_after": 0.5}, "one can be used"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tokenizer: Tokenizer, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(LoopError, match=words):
        Loop(Agreeing().components(), tokenizer, stand.settings(**changes))


def test_a_manifest_says_it_only_where_it_is() -> None:
    assert "guidance_agreement" not in stand.settings().to_json()
    told = replace(stand.settings(), guidance_agreement=0.98)
    assert LoopSettings.from_json(json.loads(json.dumps(told.to_json()))) == told
