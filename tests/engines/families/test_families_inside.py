"""What a card says is inside a denoiser is what techniques find there: what cannot work is not offered."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from engines.capture.capture import Capture
from engines.capture.pruning import prune
from engines.capture.structure import Structure
from engines.models.card import describe
from engines.models.load import open_model
from engines.models.model import Model
from engines.models.small.families import MAKERS
from engines.models.small.parts import settled
from engines.plan import DenoiserStructure
from engines.techniques import FusedQKV, Pruning
from engines.techniques.base import kind_of
from engines.techniques.compatibility import check, search_space

SMALL = 64
"""Pixels: FLUX's own size would take minutes, and the others' are smaller."""
QUICK = ("sdxl", "sd3", "hunyuan-dit", "wan")


def _families(*quick: str) -> list[Any]:
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in MAKERS]


@pytest.mark.parametrize("name", _families(*QUICK))
def test_pruning_is_refused_where_and_only_where_nothing_would_go(
    name: str, family: Callable[[str], Model]
) -> None:
    model = family(name)
    card = describe(model)
    (shares,) = Pruning.parameters
    for share in shares.choices:
        reason = Pruning(share=float(share)).applies(card, "cpu")
        gone = prune(copy.deepcopy(model.part(model.layout.denoiser)), float(share))
        assert (reason is None) == (gone > 0), (share, reason, gone)


def test_shares_that_take_nothing_are_no_choice_of_the_search(family: Callable[[str], Model]) -> None:
    card = describe(family("sd3"))
    (pruning,) = (axis for axis in search_space(card) if axis.name == "pruning")
    assert pruning.parameters[0].choices == (0.125, 0.25)
    (reason,) = check([Pruning(share=0.0625)], card)
    assert reason.startswith("The denoiser is too narrow for 6.2%")
    assert "64 inner channels" in reason


def _alike(model: Model) -> None:
    """The denoiser computes the same with its projections fused."""
    latent = model.latent(min(model.size, SMALL))
    plain, fused = (
        Capture(model, Structure("denoiser", latent, structure))
        for structure in (DenoiserStructure(), DenoiserStructure(fused_qkv=True))
    )
    inputs = plain.example()
    np.testing.assert_allclose(
        fused.reference(inputs)["prediction"], plain.reference(inputs)["prediction"], atol=1e-5
    )


@pytest.mark.parametrize("name", _families("pixart-sigma"))
def test_fused_projections_change_nothing_wherever_they_are_offered(
    name: str, family: Callable[[str], Model]
) -> None:
    model = family(name)
    if FusedQKV().applies(describe(model), "cpu") is None:
        _alike(model)
    else:
        assert kind_of(describe(model)) not in ("UNet2DConditionModel", "FluxTransformer2DModel")


def test_fused_projections_are_refused_where_diffusers_would_change_what_is_drawn(
    family: Callable[[str], Model],
) -> None:
    card = describe(family("sd3"))
    assert "fused-qkv" not in {axis.name for axis in search_space(card)}
    (reason,) = check([FusedQKV()], card)
    assert "norms of queries and keys" in reason


@pytest.mark.parametrize(("norm", "allowed"), [(None, True), ("rms_norm", False)])
def test_a_transformer_of_the_same_class_with_plain_attention_is_fused(
    norm: str | None, allowed: bool, family: Callable[[str], Model], tmp_path: Path
) -> None:
    twice = family("sd3")
    folder = shutil.copytree(twice.path, tmp_path / "sd3")
    torch.manual_seed(3)
    config = {**twice.part_config("transformer"), "dual_attention_layers": (), "qk_norm": norm}
    once: Any = diffusers.SD3Transformer2DModel.from_config(config)
    settled(once).save_pretrained(folder / "transformer")
    model = open_model(folder)
    assert (check([FusedQKV()], describe(model)) == []) == allowed
    if allowed:
        _alike(model)
        return
    # Should diffusers learn it, this fails: then the rule can go.
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        _alike(model)
