"""The planner's tab: sliders plan at once, traffic is replayed without stopping the window."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt, QTimer
from pytestqt.qtbot import QtBot

from studio.plan.policies import POLICIES
from studio.ui.pages.cascade_planner import MOST_WORKERS, CascadePlanner
from studio.ui.widgets.timelines import averaged
from studio.ui.window import Window
from tests.studio.ui.window_recording import cascade_result, open_run

KEEP = os.environ.get("PARETO_SCREENSHOTS")


@pytest.fixture
def panel(window: Window, recorded_run: Path) -> CascadePlanner:
    open_run(window, recorded_run)
    window.go("cascade")
    page: Any = window.page("cascade")
    page.show_result(cascade_result(recorded_run, window.desk.run.state.front[0], "c000"))
    page._tabs.setCurrentIndex(1)
    found: CascadePlanner = page.planner
    return found


def test_a_plan_is_there_as_soon_as_there_is_a_pair_and_follows_the_sliders(panel: CascadePlanner) -> None:
    first = panel.plan
    assert first is not None
    assert f"{first.share:.0%} of the prompts" in panel._words.text()
    panel.load.set_value(panel.load.value * 4)
    busier = panel.plan
    assert busier is not None
    assert busier.share < first.share
    panel.workers.set_value(panel.workers.value * 8)
    larger = panel.plan
    assert larger is not None
    assert larger.share > busier.share
    assert "not what makes it hard" in panel._timing.text()
    assert "1.02:" in panel._cliff.text()


def test_the_plans_threshold_moves_the_cascades_slider(window: Window, panel: CascadePlanner) -> None:
    page: Any = window.page("cascade")
    page.threshold.slider.setValue(0)
    assert panel.plan is not None
    panel.use.click()
    assert abs(page.threshold.operation.share - panel.plan.share) < 0.02
    assert page._tabs.currentIndex() == 0
    panel.workers.set_value(1)
    panel.load.set_value(5000)
    assert not panel.use.isEnabled()


def test_what_cannot_be_met_is_said_with_the_nearest_that_can(qtbot: QtBot, panel: CascadePlanner) -> None:
    panel.workers.set_value(1)
    panel.load.set_value(5000)
    assert panel.plan is None
    qtbot.waitUntil(lambda: "nearest load" in panel._words.text(), timeout=5000)


def test_moving_a_slider_plans_within_a_frame(panel: CascadePlanner) -> None:
    taken = []
    for step in range(20):
        start = time.thread_time()
        panel.load._slider.setValue(100 + step)
        taken.append(time.thread_time() - start)
    assert sorted(taken)[10] < 0.016


def test_traffic_is_replayed_policy_by_policy_while_the_window_lives(
    qtbot: QtBot, panel: CascadePlanner
) -> None:
    gaps: list[float] = []
    last = [time.thread_time()]

    def beat() -> None:
        gaps.append(time.thread_time() - last[0])
        last[0] = time.thread_time()

    pulse = QTimer(panel, interval=1)
    pulse.timeout.connect(beat)
    pulse.start()
    last[0] = time.thread_time()
    panel.start()
    assert panel.simulate.text() == "Stop"
    qtbot.waitUntil(lambda: panel.simulate.text() == "Simulate", timeout=60_000)
    pulse.stop()
    assert panel.outcomes[0].policy == "ours"
    assert {one.policy for one in panel.outcomes} == set(POLICIES)
    assert panel.table.rowCount() == len(POLICIES)
    assert panel.timelines.curves() == {"Arrivals": 1, "Waiting": 4, "Late": 4, "Deferred": 4}
    assert "ours" in panel.timelines.accessibleDescription()
    assert sorted(gaps)[int(len(gaps) * 0.95)] < 0.1
    if KEEP:
        panel.window().grab().save(str(Path(KEEP) / "cascade-plan-dark.png"), quality=1)


def test_ticking_a_policy_draws_it_and_stopping_keeps_what_was_found(
    qtbot: QtBot, panel: CascadePlanner
) -> None:
    panel.load.set_value(3)
    panel.start()
    qtbot.waitUntil(lambda: len(panel.outcomes) >= 2, timeout=30_000)
    panel.start()
    assert panel.simulate.text() == "Simulate"
    count = len(panel.outcomes)
    before = panel.timelines.curves()["Late"]
    item = panel.table.item(1, 0)
    assert item is not None
    assert item.checkState() == Qt.CheckState.Unchecked
    item.setCheckState(Qt.CheckState.Checked)
    assert panel.timelines.curves()["Late"] == before + 1
    panel._theme.toggle()
    assert len(panel.outcomes) == count
    assert panel.timelines.curves()["Late"] == before + 1


def test_a_file_of_arrivals_is_replayed_and_a_bad_one_is_told(
    qtbot: QtBot, panel: CascadePlanner, tmp_path: Path
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("arrival_ms,prompt_id\n" + "\n".join(f"{at * 300},{at}" for at in range(60, 0, -1)))
    panel.use_file(path)
    panel.start()
    qtbot.waitUntil(lambda: panel.simulate.text() == "Simulate", timeout=30_000)
    assert panel.outcomes[0].requests == 60
    path.write_text("1\n-4\n")
    panel.start()
    assert "Line 2" in panel.message.text
    assert panel.simulate.text() == "Simulate"


def test_a_large_fleet_is_simulated_as_a_slice_and_says_so(panel: CascadePlanner) -> None:
    panel.workers.set_value(50_000)
    panel.load.set_value(5000)
    panel.start()
    assert f"slice of {MOST_WORKERS} workers" in panel._note.text()
    panel.start()


def test_without_a_pair_the_tab_says_what_it_needs(window: Window, recorded_run: Path) -> None:
    open_run(window, recorded_run)
    window.go("cascade")
    page: Any = window.page("cascade")
    assert page.planner.plan is None
    assert "Train a discriminator" in page.planner._words.text()
    assert not page.planner.simulate.isEnabled()


def test_averages_leave_out_what_is_not_known() -> None:
    values = np.array([1.0, np.nan, 3.0, 5.0])
    np.testing.assert_allclose(averaged(values, 2), [1, 1, 3, 4])
    assert np.isnan(averaged(np.array([np.nan, 1.0]), 2)[0])
