"""What a script declares against what it does: the parts that need no process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.evaluate import declared
from agent.evaluate.conduct import likeness
from agent.evaluate.static import examine
from engines.pipeline import plan
from engines.techniques import FeatureCache, FewerSteps, ThresholdCache
from engines.workload import Workload

PLAIN = '''"""A title"""

from engines.pipeline import build, plan
from engines.techniques import FewerSteps

RECIPE = (FewerSteps(steps=12),)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
'''
RECORDED = Path(__file__).parents[1] / "data" / "recorded-run" / "candidates"
GENERATOR = np.random.default_rng(0)
PICTURES = GENERATOR.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)


def test_a_script_that_is_its_recipe_is_plain() -> None:
    assert declared.is_plain(PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (".images", ".images.copy()"),
        ("RECIPE))", "()))"),
        ("FewerSteps(steps=12)", "FewerSteps(steps=max(12, 1))"),
        ("import build, plan", "import build, plan as made"),
        ("import build, plan", "import build, plan\nimport torch"),
        ("RECIPE = (", "torch = 1\nRECIPE = ("),
        ("def generate", "print('x')\n\n\ndef generate"),
        ("def generate(pipeline, prompts, seeds):", "def generate(pipeline, prompts, seeds=(1,)):"),
    ],
)
def test_whatever_more_there_is_makes_it_code_of_its_own(old: str, new: str) -> None:
    assert old in PLAIN
    assert not declared.is_plain(PLAIN.replace(old, new))


def test_the_same_pictures_are_the_same_and_others_are_named() -> None:
    assert declared.compared(PICTURES, PICTURES) == ""
    rounded = PICTURES.copy()
    rounded[:, 0, 0, 0] ^= 1  # one level in one value of 768
    assert declared.compared(rounded, PICTURES) == ""
    assert likeness(rounded, PICTURES).min() > declared.NUMBERS
    narrow = np.where(GENERATOR.random(PICTURES.shape) < 0.4, PICTURES ^ 1, PICTURES)
    assert "precision" in declared.compared(narrow, PICTURES)
    assert "does not declare" in declared.compared(PICTURES[::-1], PICTURES)


def test_rows_of_the_denoiser_are_those_of_the_recipe() -> None:
    made = plan("tiny-scenes", "cpu", Workload(), [FewerSteps(steps=12)])
    assert declared.rows({"denoiser": 24, "decoder": 1, "text_encoder": 2}, made, 1) == ""
    assert "computed 12 rows" in declared.rows({"denoiser": 12, "decoder": 1}, made, 1)
    cached = plan("tiny-scenes", "cpu", Workload(), [FeatureCache(interval=2)])
    assert declared.rows({"denoiser_full": 30, "denoiser_shallow": 30, "decoder": 1}, cached, 1) == ""
    assert "shallow" in declared.rows({"denoiser_full": 30, "decoder": 1}, cached, 1)
    chosen = plan("tiny-scenes", "cpu", Workload(), [ThresholdCache()])
    told = {"denoiser_first": 60, "denoiser_rest": 40, "denoiser_last": 60, "decoder": 1}
    assert declared.rows(told, chosen, 1) == ""
    assert "computes 16 to 60" in declared.rows(told | {"denoiser_rest": 15}, chosen, 1)


@pytest.mark.parametrize(
    "handler",
    ["except Exception:", "except:", "except (KeyError, BaseException):", "except builtins.Exception:"],
)
def test_a_handler_for_everything_is_refused_unless_it_raises(handler: str) -> None:
    line = "    return build(plan(model, device, workload, RECIPE))"
    swallowing = PLAIN.replace(line, f"    try:\n    {line}\n    {handler}\n        return None")
    assert "swallows" in examine(swallowing).problem
    assert examine(swallowing.replace("return None", "raise")).problem == ""
    assert examine(swallowing.replace(handler, "except KeyError:")).problem == ""


@pytest.mark.parametrize("path", sorted(RECORDED.glob("c0*.py")), ids=lambda path: path.stem)
def test_the_program_s_own_scripts_are_plain(path: Path) -> None:
    assert declared.is_plain(path.read_text()) == (path.stem != "c000")
