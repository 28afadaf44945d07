"""DiffBench's report sets agents beside each other only where they had the same tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.bench.score import Scored, by_difficulty, rates
from studio.work.bench_report import by_family, others, text


def made(passed: str, without: list[str], tasks: str = "abcd") -> dict[str, Any]:
    """A report on tasks a, b, c, d of L4, of which those in `passed` passed."""
    scored = [
        Scored(
            name, "L4", "easy", f"Task {name}.", name in passed, "" if name in passed else "relative speed",
            "" if name in passed else "It reached 2.00x of 4.00x.", 1.0 if name in passed else 0.5,
            2.0, 0.0, 7,
        )
        for name in tasks
    ]  # fmt: skip
    return {
        "agent": "built-in", "without": without, "target": "cpu", "families": by_family(scored),
        "models": [{"name": "Tiny Scenes", "family": "unet", "metric": "adherence"}],
        "language_model": None, "machine": {"processor": "P", "cores": 2}, "date": "2026-11-28", "seed": 0,
        "search": 28, "generated": 9, "tasks": len(scored), "ended": "", "rates": rates(scored),
        "difficulties": by_difficulty(scored), "results": [one.to_json() for one in scored],
    }  # fmt: skip


def test_agents_on_the_same_tasks_stand_side_by_side(tmp_path: Path) -> None:
    whole, without = made("abc", []), made("a", ["genetic"])
    for name, report in (("built-in", whole), ("no-genetic", without), ("fewer", made("a", [], "ab"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "report.json").write_text('{"results": [')
    beside = others(whole, tmp_path / "built-in")
    assert [one["without"] for one in beside] == [["genetic"]]
    said = text(whole, beside).splitlines()
    assert "| built-in | 75.0% (30 to 95) | 75.0% (30 to 95) | 87.5% | 28 |" in said
    assert "| built-in, without genetic | 25.0% (5 to 70) | 25.0% (5 to 70) | 62.5% | 28 |" in said
    assert any("that 28 evaluations" in line and "hard 115%" in line for line in said)
    assert "- d (relative speed): Task d. It reached 2.00x of 4.00x." in said


def test_alone_it_has_no_table_of_others(tmp_path: Path) -> None:
    assert "The same tasks" not in text(made("ab", []), others(made("ab", []), tmp_path / "x"))


def test_hard_tasks_stand_beside_the_published_rate_and_each_part_beside_its_own() -> None:
    def with_hard(without: list[str], achievement: float, **more: Any) -> dict[str, Any]:
        scored = [
            Scored("a", "L2", "", "", True, "", "", None, 2.0, 0.0, 1),
            Scored("b", "L4", "easy", "", True, "", "", 1.0, 2.0, 0.0, 3),
            Scored("c", "L5", "hard", "", False, "relative speed", "Slow.", achievement, 2.0, 0.0, 28),
        ]
        new = {"rates": rates(scored), "difficulties": by_difficulty(scored)}
        return made("", without) | new | {"results": [one.to_json() for one in scored]} | more

    older = with_hard(["knowledge"], 0.2)
    del older["difficulties"]
    talk = {"model": "m", "url": "u", "text": "2 calls"}
    said = text(
        with_hard([], 0.5),
        [older, with_hard([], 0.4, agent="llm", language_model=talk, preset="paper")],
    ).splitlines()
    for row in (
        "| easy | L4 | 1 | 1 | 100.0% (21 to 100) | 100.0% | 3 |",
        "| hard | L4 and L5 | 1 | 0 | 0.0% (0 to 79) | 50.0% | 28 |",
        "| built-in | 66.7% | 50.0% of 1 |",
        "| built-in, without knowledge | 66.7% | 20.0% of 1 |",
        "| llm with m at u, preset paper | 66.7% | 40.0% of 1 |",
        "| DiffAgent with Claude Sonnet 4 (published) | 81.59 | 68.27 |",
        "| the same without its genetic selector | 67.88 | 8.16 |",
        "| Gemini 2.5 Flash alone (published) | 39.02 | 29.31 | 7.66 | 2.15 | 1.08 | 12.09 |",
    ):
        assert row in said
