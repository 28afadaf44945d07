"""Tiny models of many families become folders of other runtimes, which draw what the host loop draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from engines.layouts import LAYOUTS, Layout, Spoken, Subject
from engines.models.model import Model
from engines.models.small.workloads import workload_of
from engines.package.likeness import psnr
from engines.pipeline import build, plan, prepare
from engines.techniques import Engine, GuidanceCutoff

PROMPT, SEED = "the small red house", 11
pytestmark = pytest.mark.slow


def drawn(layout: Layout, model: Model, spoken: Spoken, folder: Path) -> float:
    """dB between a folder's picture and the spoken plan's."""
    folder.mkdir()
    subject = Subject(
        plan=spoken.plan,
        model=model,
        name="tiny",
        title="tiny",
        prompt=PROMPT,
        seed=SEED,
        picture=build(spoken.plan).generate([PROMPT], [SEED]).images[0],
        facts=cast("Any", None),  # these layouts write none of them
        licence="CC0-1.0",
        artifacts=prepare(spoken.plan) if layout.takes_engines else (),
    )
    layout.write(subject, folder)
    found = layout.draw(folder, PROMPT, SEED)
    assert found is not None
    return psnr(found.picture, subject.picture)


@pytest.mark.parametrize("name", ["sd15", "sd21"])
def test_genai_draws_stable_diffusion(family: Callable[[str], Model], tmp_path: Path, name: str) -> None:
    pytest.importorskip("openvino_genai")
    model, layout = family(name), LAYOUTS["openvino-genai"]
    workload = workload_of(name).model_copy(update={"steps": 4})
    spoken = layout.spoken(plan(model, "cpu", workload, [Engine("openvino")]), model)
    assert not spoken.refused
    assert drawn(layout, model, spoken, tmp_path / "g") >= 40


@pytest.mark.parametrize("name", ["sdxl", "flux-dev", "pixart-sigma", "wan", "upscaler"])
def test_genai_is_not_written_for_other_families_and_says_so(
    family: Callable[[str], Model], name: str
) -> None:
    model = family(name)
    spoken = LAYOUTS["openvino-genai"].spoken(plan(model, "cpu", workload_of(name), []), model)
    assert "export the package as it is" in " ".join(spoken.refused)


@pytest.mark.parametrize(
    "name", ["sd15", "sdxl", "sdxl-turbo", "sdxl-lightning", "pixart-sigma", "sd3", "flux-schnell"]
)
def test_diffusers_draws_many_families(family: Callable[[str], Model], tmp_path: Path, name: str) -> None:
    model, layout = family(name), LAYOUTS["diffusers"]
    recipe = [GuidanceCutoff(until=0.5)] if name in ("sd15", "sdxl") else []
    workload = workload_of(name).model_copy(update={"steps": 4})
    spoken = layout.spoken(plan(model, "cpu", workload, recipe), model)
    assert drawn(layout, model, spoken, tmp_path / "d") >= 40
