"""The proof of each adapter: our host loop draws what diffusers' own pipeline draws from the same noise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from engines.errors import ModelError
from engines.models.load import open_model
from engines.models.model import Model
from engines.models.reference import Reference, plain
from engines.models.small.families import MAKERS
from engines.models.small.workloads import workload_of
from engines.pipeline import build, plan

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


HALVES = ("sd15", "sd3", "stable-cascade")
"""Tried in every run of the tests; the others are marked slow."""


@pytest.mark.parametrize(
    "name", [one if one in HALVES else pytest.param(one, marks=pytest.mark.slow) for one in MAKERS]
)
def test_the_reference_draws_about_the_same_in_the_half_that_a_gpu_runs_it_in(
    family: Callable[[str], Model], name: str
) -> None:
    """On the CPU: whether every part of a pipeline takes halves does not depend on the device."""
    model = family(name)
    workload = workload_of(name)
    half = plain(model, "cuda")
    assert half == ("fp16" if model.layout.parts[model.layout.denoiser].kind.startswith("UNet") else "bf16")
    wanted = Reference(model, "cpu", workload).generate(PROMPTS, SEEDS)
    found = Reference(model, "cpu", workload, half).generate(PROMPTS, SEEDS)
    assert found.shape == wanted.shape
    off = np.abs(found.astype(int) - wanted.astype(int)).mean()
    # Tiny networks of random weights magnify the three digits that bf16 keeps, discrete codes most of all.
    assert off < (0.5 if half == "fp16" else wanted.std() / 4)


def test_an_unchanged_model_that_overflows_in_fp16_is_drawn_in_bf16_and_said(
    family: Callable[[str], Model], tmp_path: Path
) -> None:
    folder = tmp_path / "loud"
    shutil.copytree(family("sd15").path, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    kept = load_file(weights)
    save_file(kept | {"decoder.conv_in.weight": kept["decoder.conv_in.weight"] * 1e6}, weights)
    model, workload = open_model(folder), workload_of("sd15")
    reference = Reference(model, "cpu", workload, "fp16")
    found = reference.generate(PROMPTS, SEEDS)
    assert reference.last.broken == ()
    (said,) = reference.fallbacks
    assert said.endswith("it runs in bf16.")
    wanted = Reference(model, "cpu", workload).generate(PROMPTS, SEEDS)
    assert np.abs(found.astype(int) - wanted.astype(int)).mean() < 8
    reference.generate(PROMPTS[:1], SEEDS[:1])
    assert len(reference.fallbacks) == 1


def test_a_device_that_torch_does_not_know_has_no_reference(family: Callable[[str], Model]) -> None:
    with pytest.raises(ModelError, match="torch does not run on directml"):
        Reference(family("sd15"), "directml", workload_of("sd15"))
