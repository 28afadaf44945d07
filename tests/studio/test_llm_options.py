"""Command-line options of the language model and of the benchmark: what cannot be is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.coder import ScriptWriter
from agent.planner.builtin import BuiltinPlanner
from agent.planner.paper import PaperPlanner
from studio.cli import parser
from studio.errors import RunError
from studio.record.described import Metric, ModelCard
from studio.record.events import RunStarted
from studio.record.settings import Settings, load
from studio.work.bench import read_levels
from studio.work.control import Control
from studio.work.llm import built_in, choose, read_preset


def test_the_options_reach_the_parser() -> None:
    given = parser().parse_args(
        ["optimize", "tiny-scenes", "--agent", "llm", "--llm-budget", "2.50", "--wish", "a", "--wish", "b"]
    )
    assert (given.agent, given.preset, given.llm_budget, given.wish) == (
        "llm",
        "hybrid",
        "2.50",
        ["a", "b"],
    )
    assert parser().parse_args(["optimize", "tiny-scenes", "--preset", "paper"]).preset == "paper"
    assert parser().parse_args(["bench", "--agent", "llm", "--llm-preset", "paper"]).preset == "paper"
    bench = parser().parse_args(["bench", "--levels", "L1-L3", "--without", "genetic"])
    assert (bench.model, bench.models, bench.agent, bench.sample, bench.without) == (
        None,
        [],
        "built-in",
        60,
        ["genetic"],
    )
    several = parser().parse_args(["bench", "a", "--model", "b", "--model", "c", "--without", "loop"])
    assert (several.model, several.models, several.without) == ("a", ["b", "c"], ["loop"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["optimize", "tiny-scenes", "--llm-budget", "5"], "need --agent llm"),
        (["optimize", "tiny-scenes", "--approve"], "needs a terminal"),
        (["bench", "--levels", "L9"], "no level 'L9'"),
        (["bench", "--agent", "one-shot", "--without", "loop"], "without the loop is --agent one-shot"),
        (["bench", "--without", "loop", "--preset", "paper"], "leave --preset out"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_no_traceback(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    environment = {**os.environ, "PARETO_STUDIO_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "studio", *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("L1-L5", "L1 L2 L3 L4 L5"),
        ("l2", "L2"),
        ("L4,L1", "L1 L4"),
        ("L3-L2", "L2 L3"),
        ("L1, L4-L5", "L1 L4 L5"),
    ],
)
def test_levels_are_read_as_written(text: str, levels: str) -> None:
    assert read_levels(text) == tuple(levels.split())


@pytest.mark.parametrize("text", ["", "5", "L0", "L1-", "L1-L9", "L1;L2"])
def test_what_is_no_level_is_said(text: str) -> None:
    if text == "L1-":
        assert read_levels(text) == ("L1",)
        return
    with pytest.raises(RunError, match="no level"):
        read_levels(text)


def test_a_preset_is_either_agents_and_what_it_was_called_before_is_still_read(tmp_path: Path) -> None:
    assert read_preset("quick") == read_preset("") == "hybrid"
    with pytest.raises(RunError, match="no preset fast; choose"):
        choose("built-in", preset="fast")
    (tmp_path / "settings.json").write_text('{"preset": "quick", "llm_preset": "paper"}')
    assert load(tmp_path) == (Settings(preset="paper"), [])
    (tmp_path / "settings.json").write_text('{"preset": "quick"}')
    assert load(tmp_path) == (Settings(), [])


@pytest.mark.parametrize(("preset", "planner"), [("paper", PaperPlanner), ("quick", BuiltinPlanner)])
def test_the_built_in_agent_is_the_one_that_the_preset_names(preset: str, planner: type) -> None:
    card = ModelCard(
        name="Tiny", source="tiny", family="stable-diffusion", task="text-to-image", size=64, steps=30,
        guidance=4.0, licence="", components=(), hash="0", memory=0,
    )  # fmt: skip
    begun = RunStarted(
        model=card, target="cpu", workload={}, metric=Metric(name="adherence", title="A", unit=""),
        preset=preset, generations=4, population=7, budget=None, seed=0, folder="",
    )  # fmt: skip
    parts = built_in(begun, ScriptWriter())
    assert isinstance(parts.planner, planner)
    assert (parts.settings.repairs, parts.settings.population, parts.settings.generations) == (3, 7, 4)


def test_the_users_words_and_decisions_are_taken_once() -> None:
    control = Control()
    control.steer("one")
    control.steer("two")
    assert control.heard() == ["one", "two"]
    assert control.heard() == []
    control.decide("c001", run=False)
    assert control.decision("c002") is None
    assert control.decision("c001") is False
    assert control.decision("c001") is None
