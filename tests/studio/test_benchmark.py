"""The published benchmark is the recorded run, told by the command it names."""

from __future__ import annotations

from pathlib import Path

from studio.work.benchmark import read, table

ROOT = Path(__file__).parents[2]


def test_the_published_table_is_what_the_command_makes_of_the_recorded_run() -> None:
    published = (ROOT / "docs/benchmarks/2026-11-27-tiny-scenes-cpu.md").read_text(encoding="utf-8")
    assert table(read(ROOT / "tests/data/recorded-run")) in published
