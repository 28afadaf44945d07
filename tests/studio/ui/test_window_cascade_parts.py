"""The Cascade step's parts: ways to decide, options for a deferred prompt, the user's votes."""

from __future__ import annotations

import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from typing_extensions import override

from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval
from studio.plan.discrimination import roc_curve
from studio.plan.guarantee import guarantees
from studio.plan.learning import Epoch
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
    table = page.discriminator.table
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


def test_training_draws_its_losses_as_they_come_and_keeps_them(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    part = page.discriminator
    part._count.setValue(48)
    part.use_folder("/somewhere/photographs")
    page.start_training()
    request = decode_request(shown.worker._waiting[-1])
    assert (request.arguments["count"], request.arguments["real"]) == (48, "/somewhere/photographs")
    job = list(shown.worker._jobs.values())[-1]
    job.point.emit("practice", 1, {"learned": 0.7, "held": 0.69})
    assert page._tabs.currentWidget() is part
    job.point.emit("practice", 2, {"learned": 0.6, "held": None})
    assert part.learning.epochs == (Epoch("practice", 1, 0.7, 0.69), Epoch("practice", 2, 0.6))
    assert part.learning.accessibleDescription() == "practice, epoch 2: loss 0.60"
    drawn = inked(part.learning, shown.theme.tokens.series[0])
    job.point.emit("fold 1", 1, {"learned": 0.65, "held": 0.7})
    assert inked(part.learning, shown.theme.tokens.series[0]) != drawn
    found = replace(trained(shown), training=(Epoch("all pairs", 1, 0.5),))
    job.done.emit({"cascade": found.to_json()})
    assert part.learning.epochs == found.training
    page.start_training()
    assert part.learning.epochs == ()


def inked(widget: QWidget, colour: str) -> set[tuple[int, int]]:
    """Where a widget has a colour."""
    widget.resize(300, 220)
    picture = widget.grab().toImage()
    wanted = QColor(colour).rgb()
    return {
        (x, y)
        for x in range(picture.width())
        for y in range(picture.height())
        if picture.pixel(x, y) == wanted
    }


def test_roc_and_calibration_are_drawn_and_told(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    found = trained(shown)
    good = np.array([not one.defer for one in found.samples])
    first = replace(found.scorers[0], roc=roc_curve(good, found.pairs.scores))
    found = replace(found, scorers=(first, *found.scorers[1:]))
    part = page.discriminator
    assert not part.roc.ready()
    page.show_result({"cascade": found.to_json()})
    page._tabs.setCurrentWidget(part)
    assert "discriminator: area 0.86" in part.roc.accessibleDescription()
    assert f"of {found.reliability[0].count}" in part.calibration.accessibleDescription()
    # The curve lies above the diagonal: its colour is found in the upper left half of the plot.
    spots = inked(part.roc, shown.theme.tokens.series[0])
    assert any(x < 150 and 30 < y < 110 for x, y in spots)
    assert inked(part.calibration, shown.theme.tokens.series[0])


def test_the_worst_mistakes_either_way_are_shown_for_the_threshold(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    found = trained(shown)
    page.show_result({"cascade": found.to_json()})
    sheets = page.threshold.pictures
    page.threshold.slider.setValue(0)
    assert sheets.deferred.rows == 0  # nothing is deferred, so nothing in vain
    gains = {one.seed: one.heavy_quality - one.light_quality for one in found.samples}
    wrong = sorted((gains[one.seed] for one in found.samples if one.defer), reverse=True)
    assert sheets.kept._cells.cell(0).remark == f"{wrong[0] * 100:+.0f}"
    assert f": {len(wrong)}, worst first" in sheets._kept_word.text()
    page.threshold.slider.setValue(page.threshold.slider.maximum())
    assert sheets.kept.rows == 0
    vain = min(gains[one.seed] for one in found.samples if not one.defer)
    assert sheets.deferred._cells.cell(0).remark == f"{vain * 100:+.0f}"


def test_a_promise_is_told_with_its_numbers_and_the_threshold_goes_to_it(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    found = trained(shown)
    bad = [one.defer for one in found.samples]
    found = replace(found, guarantees=guarantees(found.pairs.scores, bad))
    page.show_result({"cascade": found.to_json()})
    part = page.threshold
    held = next(at for at, one in enumerate(found.guarantees) if one.threshold is not None)
    part._rate.setCurrentIndex(held)
    part._rate.activated.emit(held)
    promise = found.guarantees[held]
    part.snap_to_promise()
    assert part.operation.threshold >= promise.threshold
    assert part._promise.text() == promise.sentence()
    assert f"{promise.poor} of {promise.kept} were" in promise.sentence()
    part.slider.setValue(0)
    assert part._promise.text().endswith("so it does not hold.")
    part._rate.setCurrentIndex(0)
    part._rate.activated.emit(0)
    assert found.guarantees[0].threshold is None
    assert "kept pictures without a poor one are needed" in part._promise.text()
    assert not part._keep.isEnabled()
    assert " – " in part.share._remark.text()


class Painted(QObject):
    """Counts how often a widget was painted."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @override
    def eventFilter(self, _: QObject, event: QEvent) -> bool:
        self.count += event.type() == QEvent.Type.Paint
        return False


@pytest.mark.alone
def test_moving_the_slider_repaints_within_sixteen_milliseconds(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    found = trained(shown)
    many = tuple(replace(one, seed=at) for at, one in enumerate(found.samples * 5))
    found = replace(found, samples=many)
    found = replace(found, guarantees=guarantees(found.pairs.scores, [one.defer for one in many]))
    page.show_result({"cascade": found.to_json()})
    slider = page.threshold.slider
    QApplication.processEvents()
    painted = Painted()
    page.threshold.curves.installEventFilter(painted)
    taken = []
    for at in (*range(0, slider.maximum(), 3), *range(slider.maximum(), 0, -7)):
        before, start = painted.count, time.thread_time()
        slider.setValue(at)
        while painted.count == before:
            QApplication.processEvents()
        taken.append(time.thread_time() - start)
    assert statistics.median(taken) < 0.016, sorted(taken)
    print(f"median {statistics.median(taken) * 1e3:.1f} ms, slowest {max(taken) * 1e3:.1f} ms")
