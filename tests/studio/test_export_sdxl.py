"""A package of a model with SDXL's parts draws without torch, by its own wheels, what the Studio draws."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.candidate import Step
from engines.models.small.families import write
from engines.package import sums
from engines.package.likeness import psnr
from engines.package.runner import read_picture
from engines.pipeline import build, plan
from engines.techniques import from_step
from engines.workload import Workload
from studio.work.export import export_candidate
from studio.work.proof import make_environment
from tests.studio.recorded_run import add, begin

PROMPTS, SEED = ["the small red house", "a large blue bird with a cat"], 20
WORKLOAD = Workload(steps=4, guidance=4.0, batch=2)
ABSENT = ("torch", "diffusers", "transformers", "studio")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two text encoders, a U-Net that is told sizes and a pooled embedding; random weights."""
    return write("sdxl", tmp_path_factory.mktemp("models") / "tiny-sdxl")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_package_of_an_sdxl_shaped_model_runs_in_a_fresh_environment_without_torch(
    model: Path, tmp_path: Path, engine: str
) -> None:
    folder = tmp_path / "runs" / "r"
    recipe = (Step("guidance-cutoff", {"until": 0.5}), Step("engine", {"backend": engine}))
    with begin(folder, WORKLOAD.model_dump(mode="json"), model=model) as journal:
        add(journal, folder, "c001", recipe)
    result = export_candidate(folder, "c001", tmp_path / "out")
    assert result["proof"]["psnr"] >= 40
    package = Path(result["package"])
    components = json.loads((package / sums.MANIFEST).read_bytes())["components"]
    assert set(components) == {"text_encoder", "text_encoder_2", "denoiser", "decoder"}

    room = tmp_path / "room"
    room.mkdir()
    environment = make_environment(package / "requirements.txt", room, lambda _doing: None)
    if not environment.fresh:
        pytest.skip(environment.note)
    assert result["proof"]["fresh_environment"]
    look = f"import importlib.util as u; print([name for name in {ABSENT} if u.find_spec(name)])"
    assert said([*environment.command, "-c", look], room).strip() == "[]"
    command = [*environment.command, str(package / "run.py"), "--seed", str(SEED), "--out", "x.png"]
    said([*command, *(word for prompt in PROMPTS for word in ("--prompt", prompt))], room)
    drawn = [read_picture(room / f"x-{at}.png") for at in (1, 2)]

    assert all(picture.std() > 5 for picture in drawn)
    assert psnr(*drawn) < 40
    for steps in (recipe, recipe[:1]):  # on the same engine, then on torch
        pictures = by_studio(model, steps)
        assert min(psnr(*pair) for pair in zip(pictures, drawn, strict=True)) >= 40


def said(command: list[str], room: Path) -> str:
    """What a program of an environment prints; there is no way for it to a hub or an index."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=room, env=kept)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_studio(model: Path, recipe: tuple[Step, ...]) -> list[Any]:
    pipeline = build(plan(str(model), "cpu", WORKLOAD, [from_step(step) for step in recipe]))
    return list(pipeline.generate(PROMPTS, [SEED, SEED + 1]).images)
