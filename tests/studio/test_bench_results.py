"""A folder of DiffBench's results is one agent's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.bench.score import Scored
from studio.errors import RunError
from studio.work.bench_results import Results


def scored(task: str) -> Scored:
    return Scored(task, "L1", "", "", True, "", "", None, 2.0, 0.0, 1)


def test_results_are_found_again_and_a_torn_line_is_not_one(tmp_path: Path) -> None:
    path = tmp_path / "out" / "results.jsonl"
    first = Results(path, "built-in")
    assert first.done == set()
    first.add(scored("a"))
    first.add(scored("b"))
    with path.open("a") as file:
        file.write('{"task": "torn')
    again = Results(path, "built-in")
    assert again.scored == [scored("a"), scored("b")]
    again.add(scored("c"))
    assert Results(path, "built-in").done == {"a", "b", "c"}


def test_another_agents_results_are_not_taken_for_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, "built-in").add(scored("a"))
    before = path.read_bytes()
    with pytest.raises(
        RunError, match=r"holds the results of built-in, and these would be built-in-no-genetic's"
    ):
        Results(path, "built-in-no-genetic")
    assert path.read_bytes() == before


def test_results_of_before_their_agent_was_written_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, "built-in").add(scored("a"))
    path.write_text(path.read_text().splitlines()[1] + "\n")
    assert Results(path, "built-in").done == {"a"}
