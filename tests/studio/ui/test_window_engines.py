"""What engines were built for, where they were verified and how near to eager they are stands beside them."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot
from rich.console import Console

from studio.cli.follow import summary
from studio.record.events import Event
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.record.verdict import BuiltEngine
from studio.ui.window import Window
from studio.work.report import render
from tests.studio.ui.window_recording import open_run

HERE = (
    BuiltEngine(
        component="denoiser", engine="openvino", precision="bf16",
        built_for="the CPU", verified_on="the CPU", psnr=54.27,
    ),
    BuiltEngine(
        component="decoder", engine="openvino", precision="fp32",
        built_for="the CPU", verified_on="the CPU", psnr=120.0,
    ),
)  # fmt: skip
ELSEWHERE = (
    BuiltEngine(
        component="denoiser", engine="mlx", precision="fp16",
        built_for="an Apple GPU", stand_in="MLX on this machine's CPU", psnr=61.0,
    ),
)  # fmt: skip


def with_engines(folder: Path) -> tuple[list[Event], str, str]:
    """The recorded run as if engines were known: the fastest of the front built here, the best elsewhere."""
    recorded = Journal.read(folder)
    front = [name for name in RunState.replay(recorded).front if name != "c000"]
    engines = {front[0]: HERE, front[-1]: ELSEWHERE}

    def known(event: Event) -> Event:
        if event.type != "candidate.judged" or event.data["id"] not in engines:
            return event
        built = [one.model_dump(mode="json") for one in engines[event.data["id"]]]
        return event.model_copy(
            update={"data": event.data | {"verdict": event.data["verdict"] | {"engines": built}}}
        )

    return [known(event) for event in recorded], front[0], front[-1]


@pytest.fixture
def engines(window: Window, recorded_run: Path) -> tuple[str, str]:
    open_run(window, recorded_run)
    recorded, here, elsewhere = with_engines(recorded_run)
    window.desk.run.open(recorded, recorded_run)
    return here, elsewhere


def words(widget: Any) -> str:
    return "\n".join(one.text() for one in widget.findChildren(QLabel) if one.isVisibleTo(widget))


def test_the_card_and_the_inspector_say_them_apart(
    qtbot: QtBot, window: Window, engines: tuple[str, str]
) -> None:
    here, elsewhere = engines
    window.go("evolve")
    page: Any = window.page("evolve")
    qtbot.wait(60)
    page.plot._hover(here)
    said = words(page.plot._card)
    assert "Built for: the CPU\nVerified on: the CPU\nComponent parity: 54.3 dB" in said
    page.plot._hover(elsewhere)
    assert "Verified on: nowhere yet; MLX on this machine's CPU stood in" in words(page.plot._card)
    page.plot._hover("c000")
    assert "Built for" not in words(page.plot._card)
    window.desk.select(here)
    qtbot.waitUntil(lambda: "Component parity" in words(page.inspector))
    said = words(page.inspector)
    for part in ("Component parity", "54.3 dB", "denoiser, the worst", "Built for", "Verified on"):
        assert part in said


def test_the_plot_marks_what_was_not_verified_where_it_was_built_for(
    window: Window, engines: tuple[str, str]
) -> None:
    _, elsewhere = engines
    plot: Any = window.page("evolve").plot  # type: ignore[attr-defined]
    assert plot.elsewhere() == [elsewhere]
    marks = plot._elsewhere.getData()
    assert [(x, y) for x, y in zip(*marks, strict=True)] == [plot.points()[elsewhere]]
    assert f"Not verified where built for: {elsewhere}." in plot.accessibleDescription()


def test_compare_says_the_component_parity_of_both(window: Window, engines: tuple[str, str]) -> None:
    here, elsewhere = engines
    page: Any = window.page("compare")
    window.desk.compare(here, elsewhere)
    assert page._as_sets.text() == "Component parity: A 54.3 dB (denoiser), B 61.0 dB (denoiser)"
    window.desk.compare("c000", here)
    assert page._as_sets.text() == "Component parity: B 54.3 dB (denoiser)"


def test_the_report_says_them_for_each_candidate_and_marks_its_plot(recorded_run: Path) -> None:
    recorded, _, _ = with_engines(recorded_run)
    page = render(recorded_run, RunState.replay(recorded))
    assert "built for: the CPU; verified on: the CPU; component parity: 54.3 dB (denoiser)" in page
    assert page.count('<polygon class="elsewhere"') == 1
    assert "built for: an Apple GPU; verified on: nowhere yet" in page


def test_the_terminals_summary_says_them(recorded_run: Path) -> None:
    recorded, here, elsewhere = with_engines(recorded_run)
    state = RunState.replay(recorded)
    written = StringIO()
    console = Console(file=written, width=200)
    terminal: Any = SimpleNamespace(console=console, say=console.print)
    summary(terminal, state, {})
    said = written.getvalue()
    assert "Component parity" in said
    assert "54.3 dB" in said
    assert state.winner in (here, elsewhere)
    assert f"Engines of {state.winner}: built for: " in said
