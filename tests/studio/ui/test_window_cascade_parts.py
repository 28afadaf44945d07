"""The Cascade step's parts: ways to decide, options for a deferred prompt, the user's votes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval
from studio.plan.reuse import Arm, Reuse
from studio.plan.worth import worth
from studio.record.protocol import decode_request
from studio.record.votes import votes
from studio.ui.window import Window
from tests.studio.ui.window_recording import cascade_result, open_run


@pytest.fixture
def shown(qtbot: QtBot, window: Window, recorded_run: Path, tmp_path: Path) -> Window:
    """A copy of the run: votes are kept in its folder."""
    del qtbot
    open_run(window, Path(shutil.copytree(recorded_run, tmp_path / "run")))
    return window


def trained(window: Window) -> Cascade:
    """The drawn pair, with what every way to decide is worth and the options measured."""
    folder, light = window.desk.run.folder, window.desk.run.state.front[0]
    assert folder is not None
    found = Cascade.from_json(cascade_result(folder, light, "c000"))
    pairs = found.pairs
    scorers = tuple(
        replace(one, worth=worth(np.roll(pairs.scores, at), pairs.light_quality, pairs.heavy_quality))
        for at, one in enumerate(found.scorers)
    )

    def arm(kind: Any, strength: float | None, quality: float, seconds: float) -> Arm:
        spread = Interval(quality, quality - 0.01, quality + 0.01)
        against = Interval(quality - 0.9, quality - 0.91, quality - 0.89)
        images = tuple(sample.light_image for sample in found.samples[:3])
        return Arm(
            kind,
            f"{kind} {strength}",
            strength,
            10,
            spread,
            Interval(seconds, seconds, seconds),
            against,
            images,
        )

    arms = (
        arm("heavy", None, 0.9, 1.1),
        arm("strength", 0.3, 0.7, 0.4),
        arm("strength", 0.6, 0.9, 0.7),
        arm("light", None, 0.6, 0.0),
    )
    prompts = tuple(sample.prompt for sample in found.samples[:3])
    return replace(
        found, scorers=scorers, reuse=Reuse(0.4, "latents", prompts, (0, 1, 2), arms, ("A note.",))
    )


def test_every_way_to_decide_shows_its_quality_by_share_with_intervals(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    found = trained(shown)
    page.show_result({"cascade": found.to_json()})
    table = page._scorers
    assert [table.horizontalHeaderItem(at).text() for at in range(2, 5)] == ["20 %", "40 %", "60 %"]
    assert table.item(0, 3).text() == page._quality(found.scorers[0].worth[1].quality.value)
    assert page._quality(found.scorers[0].worth[1].quality.low) in table.item(0, 3).toolTip()


def test_options_for_a_deferred_prompt_are_a_table_a_curve_and_pictures(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    assert not page.reuse.measure.isEnabled()
    found = trained(shown)
    page.show_result({"cascade": replace(found, reuse=None).to_json()})
    assert "Not measured yet" in page.reuse.verdict.text()
    page.reuse.measure.click()
    command = decode_request(shown.worker._waiting[-1])
    assert command.command == "reuse"
    assert (command.arguments["light"], command.arguments["heavy"]) == (found.light, "c000")
    job = list(shown.worker._jobs.values())[-1]
    job.done.emit({"cascade": found.to_json()})
    assert page.reuse.table.rowCount() == 4
    assert "strength 0.6" in page.reuse.verdict.text()
    assert page.reuse.sheet.rows == 3 * 4
    assert "strength 0.3" in page.reuse.curve.accessibleDescription()
    page._tabs.setCurrentWidget(page.reuse)
    page.resize(1200, 700)
    assert not page.reuse.curve.grab().isNull()


def test_votes_on_the_least_sure_pairs_are_kept_taken_back_and_trained_with(
    qtbot: QtBot, shown: Window
) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    found = trained(shown)
    page.show_result({"cascade": found.to_json()})
    panel = page.votes
    assert not panel.train.isEnabled()
    panel.more.click()
    trial = panel.blind.session.current
    pair = panel.blind._pairs[trial.row]
    qtbot.keyClick(panel.blind, Qt.Key.Key_Left if trial.b_left else Qt.Key.Key_Right)  # heavy's picture
    folder = shown.desk.run.folder
    assert folder is not None
    assert votes(folder, found.light, "c000") == {(pair.prompt, pair.seed): True}
    qtbot.keyClick(panel.blind, Qt.Key.Key_Backspace)
    assert votes(folder, found.light, "c000") == {}
    qtbot.keyClick(panel.blind, Qt.Key.Key_Down)
    assert votes(folder, found.light, "c000") == {(pair.prompt, pair.seed): None}
    assert "1 vote on" in panel.summary.text()
    panel.more.click()
    assert (pair.prompt, pair.seed) not in {(one.prompt, one.seed) for one in panel.blind._pairs}
    panel.train.click()
    asked = decode_request(shown.worker._waiting[-1])
    assert (asked.command, asked.arguments["target"]) == ("discriminator", "votes")
