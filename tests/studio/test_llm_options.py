"""Command-line options of the language model and of the benchmark: what cannot be is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.cli import parser
from studio.errors import RunError
from studio.work.bench import read_levels
from studio.work.control import Control


def test_the_options_reach_the_parser() -> None:
    given = parser().parse_args(
        ["optimize", "tiny-scenes", "--agent", "llm", "--llm-budget", "2.50", "--wish", "a", "--wish", "b"]
    )
    assert (given.agent, given.llm_preset, given.llm_budget, given.wish) == (
        "llm",
        "hybrid",
        "2.50",
        ["a", "b"],
    )
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
