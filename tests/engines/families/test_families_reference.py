"""The proof of each adapter: our host loop draws what diffusers' own pipeline draws from the same noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.models.model import Model
from engines.models.reference import Reference
from engines.pipeline import build, plan
from tests.engines.families.family_models import MAKERS, workload_of

PROMPTS, SEEDS = ["a red house", "the small blue bird and a cat"], [3, 2**40]


@pytest.mark.parametrize("name", MAKERS)
def test_the_host_loop_draws_what_diffusers_draws(family: Callable[[str], Model], name: str) -> None:
    model = family(name)
    workload = workload_of(name)
    wanted = Reference(model, "cpu", workload).generate(PROMPTS, SEEDS)
    pipeline = build(plan(model, "cpu", workload))
    result = pipeline.generate(PROMPTS, SEEDS)
    assert result.images.shape == wanted.shape
    assert result.broken == ()
    assert wanted.std() > 3, "a picture of one colour proves nothing"
    assert np.abs(result.images.astype(int) - wanted.astype(int)).max() <= 1
