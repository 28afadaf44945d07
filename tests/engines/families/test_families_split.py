"""A denoiser in parts computes what it computes whole, in every family that can be split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.capture.capture import Arrays, Capture
from engines.capture.structure import Structure
from engines.errors import CaptureError
from engines.models.model import Model
from engines.plan import DenoiserStructure

STAGED = DenoiserStructure(staged=True)
GATED = DenoiserStructure(gated=True)


def slow(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow)


def part(model: Model, name: str, denoiser: DenoiserStructure) -> Capture:
    return Capture(model, Structure(name, model.latent(model.size), denoiser))


def whole(model: Model) -> tuple[Arrays, Arrays]:
    plain = part(model, "denoiser", DenoiserStructure())
    inputs = plain.example()
    return inputs, plain.reference(inputs)


@pytest.mark.parametrize("name", ["pixart-sigma", *map(slow, ("sdxl", "sd3", "flux-dev"))])
def test_the_three_stages_with_a_fresh_feature_are_the_whole(
    name: str, family: Callable[[str], Model]
) -> None:
    model = family(name)
    inputs, wanted = whole(model)
    first, rest, last = (part(model, f"denoiser_{stage}", STAGED) for stage in ("first", "rest", "last"))
    state = first.reference(inputs)
    given = inputs | {name: value for name, value in state.items() if name != "probe"}
    feature = rest.reference(given)["feature"]
    found = last.reference(given | {"feature": feature})["prediction"]
    np.testing.assert_allclose(found, wanted["prediction"], atol=1e-5)
    for one in (first, rest, last):
        answers = one.reference(one.example(batch=3))
        assert {spec.name: (3, *spec.shape) for spec in one.outputs} == {
            name: value.shape for name, value in answers.items()
        }
    # Not a sum or a product: a transformer's last norm takes both away.
    other = last.reference(given | {"feature": np.roll(feature, 1, axis=1)})["prediction"]
    assert np.abs(other - wanted["prediction"]).max() > 1e-4


@pytest.mark.parametrize("name", ["pixart-sigma", slow("sdxl")])
def test_cross_attention_that_is_given_its_own_answers_is_the_whole(
    name: str, family: Callable[[str], Model]
) -> None:
    model = family(name)
    inputs, wanted = whole(model)
    full, shallow = (part(model, f"denoiser_{half}", GATED) for half in ("full", "shallow"))
    answers = full.reference(inputs)
    assert answers["feature"].shape[1:] == full.outputs[1].shape
    np.testing.assert_allclose(answers["prediction"], wanted["prediction"], atol=1e-5)
    found = shallow.reference(inputs | {"feature": answers["feature"]})["prediction"]
    np.testing.assert_allclose(found, wanted["prediction"], atol=1e-5)


@pytest.mark.slow
def test_a_kind_that_cannot_be_split_says_so(family: Callable[[str], Model]) -> None:
    model = family("wan")
    with pytest.raises(CaptureError, match="leave threshold-cache out"):
        Capture(model, Structure("denoiser_first", model.latent(model.size, model.frames), STAGED))
    with pytest.raises(CaptureError, match="leave attention-gate out"):
        Capture(model, Structure("denoiser_full", model.latent(model.size, model.frames), GATED))
