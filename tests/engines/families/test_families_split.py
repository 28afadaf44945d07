"""A denoiser in parts computes what it computes whole, in every family that can be split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from engines.capture.capture import Arrays, Capture
from engines.capture.structure import Structure
from engines.errors import CaptureError
from engines.models.kinds.blocks import borders
from engines.models.model import Model
from engines.plan import DenoiserStructure

STAGED = DenoiserStructure(staged=True)
GATED = DenoiserStructure(gated=True)


TRANSFORMERS = ("hunyuan-dit", "sana", "ltx", "wan")
VIDEO_UNETS = ("modelscope", "animatediff", "stable-video-diffusion")


def slow(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow)


def part(model: Model, name: str, denoiser: DenoiserStructure) -> Capture:
    # FLUX is told no size by its settings, and its own is large
    side = min(model.latent_size, 16)
    frames = 3 if model.frames else 0
    return Capture(model, Structure(name, model.denoiser_kind.latent(model, side, frames), denoiser))


def whole(model: Model) -> tuple[Arrays, Arrays]:
    plain = part(model, "denoiser", DenoiserStructure())
    inputs = plain.example()
    return inputs, plain.reference(inputs)


@pytest.mark.parametrize(
    "name",
    ["pixart-sigma", "stable-cascade", *map(slow, ("sdxl", "sd3", "flux-dev", *TRANSFORMERS, *VIDEO_UNETS))],
)
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


def test_the_probe_of_stable_cascades_prior_is_what_its_first_level_adds(
    family: Callable[[str], Model],
) -> None:
    model = family("stable-cascade")
    inputs, _ = whole(model)
    plain = part(model, "denoiser", DenoiserStructure()).module
    network: Any = plain.network
    seen: list[Any] = []
    network.embedding.register_forward_hook(lambda _module, _given, answer: seen.append(answer))
    network.down_blocks[0][-1].register_forward_hook(lambda _module, _given, answer: seen.append(answer))
    plain(*(torch.from_numpy(inputs[spec.name]) for spec in part(model, "denoiser", STAGED).inputs))
    probe = part(model, "denoiser_first", STAGED).reference(inputs)["probe"]
    np.testing.assert_allclose(probe, (seen[1] - seen[0]).detach().numpy(), atol=1e-5)


DEEP = ["pixart", "hunyuan", "wan", *map(slow, ("sd3", "flux", "sana", "ltx"))]
SPLITS = (
    DenoiserStructure(staged=True, modulated=True),
    DenoiserStructure(staged=True, front=0.34),
    DenoiserStructure(staged=True, front=0.2, back=0.34),
    DenoiserStructure(staged=True, front=0.5, back=0.2),
)


@pytest.mark.parametrize("wanted", SPLITS, ids=["modulated", "front", "front and back", "more in front"])
@pytest.mark.parametrize("name", DEEP)
def test_a_transformer_split_anywhere_with_a_fresh_feature_is_the_whole(
    name: str, wanted: DenoiserStructure, deep: Callable[[str], Model]
) -> None:
    model = deep(name)
    inputs, whole_answer = whole(model)
    first, rest, last = (part(model, f"denoiser_{stage}", wanted) for stage in ("first", "rest", "last"))
    state = first.reference(inputs)
    given = inputs | {name: value for name, value in state.items() if name != "probe"}
    feature = rest.reference(given)["feature"]
    found = last.reference(given | {"feature": feature})["prediction"]
    np.testing.assert_allclose(found, whole_answer["prediction"], atol=1e-5)
    for one in (first, rest, last):
        answers = one.reference(one.example(batch=3))
        assert {spec.name: (3, *spec.shape) for spec in one.outputs} == {
            name: value.shape for name, value in answers.items()
        }
    weights = [sum(value.numel() for value in one.module.parameters()) for one in (first, rest, last)]
    middle = part(model, "denoiser_rest", STAGED).module
    assert weights[1] < sum(value.numel() for value in middle.parameters()) or wanted.modulated


@pytest.mark.parametrize("name", DEEP)
def test_the_modulated_input_is_what_the_first_blocks_attention_sees(
    name: str, deep: Callable[[str], Model]
) -> None:
    model = deep(name)
    inputs, _ = whole(model)
    seen: list[Any] = []
    plain = part(model, "denoiser", DenoiserStructure()).module
    network: Any = plain.network
    assert model.denoiser_kind.blocks is not None
    block = getattr(network, model.denoiser_kind.blocks.lists[0])[0]
    attention = block.attn if model.denoiser_kind.blocks.joint else block.attn1
    attention.register_forward_pre_hook(
        lambda _module, given, named: seen.append(named.get("hidden_states", given[0] if given else None)),
        with_kwargs=True,
    )
    plain(*(torch.from_numpy(inputs[spec.name]) for spec in part(model, "denoiser", STAGED).inputs))
    probe = part(model, "denoiser_first", SPLITS[0]).reference(inputs)["probe"]
    np.testing.assert_allclose(probe, seen[0].numpy(), atol=1e-5)


def test_shares_are_whole_blocks_and_one_at_least_lies_between() -> None:
    def at(blocks: int, front: float, back: float) -> tuple[int, int]:
        return borders(blocks, DenoiserStructure(staged=True, front=front, back=back))

    assert at(57, 0.14, 0.14) == (8, 49)
    assert at(57, 0.0, 0.0) == (1, 57)
    assert at(2, 0.3, 0.3) == (1, 2)
    with pytest.raises(CaptureError, match="no block behind"):
        at(1, 0.3, 0.0)


CACHED = DenoiserStructure(cached=True)


@pytest.mark.parametrize(
    "name", ["sd15", "animatediff", "stable-cascade", *map(slow, ("sdxl", "upscaler", *VIDEO_UNETS[::2]))]
)
def test_a_u_net_around_its_deep_part_with_a_fresh_feature_is_the_whole(
    name: str, family: Callable[[str], Model]
) -> None:
    model = family(name)
    inputs, wanted = whole(model)
    full, shallow = (part(model, f"denoiser_{one}", CACHED) for one in ("full", "shallow"))
    answers = full.reference(inputs)
    assert answers["feature"].shape[1:] == full.outputs[1].shape
    np.testing.assert_allclose(answers["prediction"], wanted["prediction"], atol=1e-5)
    given = inputs | {"feature": answers["feature"]}
    np.testing.assert_allclose(shallow.reference(given)["prediction"], wanted["prediction"], atol=1e-5)
    other = shallow.reference(given | {"feature": np.roll(answers["feature"], 1, axis=1)})["prediction"]
    assert np.abs(other - wanted["prediction"]).max() > 1e-4
    assert shallow.reference(shallow.example(batch=3))["prediction"].shape == (3, *full.structure.latent)
    sizes = [sum(value.numel() for value in one.module.parameters()) for one in (full, shallow)]
    assert sizes[1] < 0.7 * sizes[0]


BOTH = DenoiserStructure(cached=True, gated=True)


@pytest.mark.parametrize("name", ["sd15", slow("sd21"), slow("sdxl")])
def test_both_splits_at_once_with_fresh_answers_are_the_whole(
    name: str, family: Callable[[str], Model]
) -> None:
    model = family(name)
    inputs, wanted = whole(model)
    full, shallow, gated, both = (
        part(model, f"denoiser_{one}", BOTH) for one in ("full", "shallow", "gated", "gated_shallow")
    )
    answers = full.reference(inputs)
    kept = {"attention": answers["attention"]}
    found = gated.reference(inputs | kept)
    np.testing.assert_allclose(found["feature"], answers["feature"], atol=1e-5)
    given = inputs | {"feature": answers["feature"]}
    for prediction in (
        answers["prediction"], found["prediction"], shallow.reference(given)["prediction"],
        both.reference(given | kept)["prediction"],
    ):  # fmt: skip
        np.testing.assert_allclose(prediction, wanted["prediction"], atol=1e-5)
    front, back = model.denoiser_kind.outer_attention(model, full.structure.latent)
    other = {"attention": np.where(np.arange(kept["attention"].shape[1]) < front, 1, kept["attention"])}
    moved = both.reference(given | {"attention": other["attention"].astype(np.float32)})["prediction"]
    assert (np.abs(moved - wanted["prediction"]).max() > 1e-4) == (front > 0)
    assert (front > 0) == (back > 0) == (name != "sdxl")
    assert shallow.key == part(model, "denoiser_shallow", DenoiserStructure(cached=True)).key


@pytest.mark.parametrize("name", ["pixart-sigma", "hunyuan-dit", "sana", slow("sdxl")])
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
    with pytest.raises(CaptureError, match="leave attention-gate out"):
        Capture(model, Structure("denoiser_full", model.latent(model.size, model.frames), GATED))
    with pytest.raises(CaptureError, match="leave feature-cache out"):
        Capture(model, Structure("denoiser_full", model.latent(model.size, model.frames), CACHED))
