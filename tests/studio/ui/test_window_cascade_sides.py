"""The Cascade step takes light or heavy from another run, and finds such a pair again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.record.journal import NAME, Journal
from studio.record.protocol import decode_request
from studio.record.sides import place_of
from studio.record.state import RunState
from studio.ui.pages.cascade_sides import OTHER
from studio.ui.window import Window
from tests.studio.ui.window_recording import CARD, cascade_result, open_run

LONG = "20261121-093000-a-model-with-a-name-that-no-menu-of-this-width-could-ever-show-whole"


def copied(run: Path, to: Path, **changes: Any) -> Path:
    """The recorded run under another name, begun otherwise."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns(f"{NAME}*"))
    with Journal.create(to) as journal:
        for event in Journal.read(run):
            data = event.payload()
            if event.type == "run.started":
                data = data.model_copy(update={"folder": str(to), **changes})
            journal.append(data)
    return to


@pytest.fixture
def shown(window: Window, recorded_run: Path, tmp_path: Path) -> Window:
    """A run on show, and beside it one of another model and one for another device."""
    runs = tmp_path / "home" / "runs"
    other = CARD.model_copy(update={"name": "Other Scenes", "hash": "another"})
    copied(recorded_run, runs / LONG, model=other)
    copied(recorded_run, runs / "20261120-000000-for-a-gpu", target="cuda")
    open_run(window, copied(recorded_run, runs / "20261122-000000-tiny-scenes"))
    window.go("cascade")
    return window


def take(qtbot: QtBot, page: Any, menu: Any, candidate: str) -> str:
    """Choose a candidate of the other run as a user does; its name."""
    del qtbot
    menu.setCurrentIndex(menu.findText(OTHER))
    menu.activated.emit(menu.findText(OTHER))
    dialog = page.other_run
    dialog.runs.setCurrentRow(0)
    rows = [dialog.candidates.item(at).text() for at in range(dialog.candidates.count())]
    dialog.candidates.setCurrentRow(next(at for at, row in enumerate(rows) if row.startswith(candidate)))
    dialog.use.click()
    return f"{LONG}/{candidate}"


def test_heavy_is_taken_from_another_run_and_trained_with(qtbot: QtBot, shown: Window) -> None:
    page: Any = shown.page("cascade")
    before = page.heavy.side
    page.heavy.setCurrentIndex(page.heavy.findText(OTHER))
    page.heavy.activated.emit(page.heavy.findText(OTHER))
    assert page.heavy.side == before  # asking is not choosing
    dialog = page.other_run
    assert [dialog.runs.item(at).text() for at in range(dialog.runs.count())] == [
        LONG,
        "20261120-000000-for-a-gpu",
    ]
    assert dialog.said.text() == "Other Scenes: text to image, 64 px, for cpu."
    dialog.runs.setCurrentRow(1)
    assert not dialog.use.isEnabled()
    assert "choose two runs for one device" in dialog.said.text()
    dialog.reject()
    name = take(qtbot, page, page.heavy, "c000")
    assert page.heavy.side == name
    assert page._full.isVisible()
    assert f"Heavy: {name}  Baseline, Other Scenes." in page._full.text()
    page.start_training()
    request = decode_request(shown.worker._waiting[-1])
    assert (request.arguments["light"], request.arguments["heavy"]) == (page.light.side, name)
    light = take(qtbot, page, page.light, "c000")
    assert page.light.side == light
    page.start_training()
    assert "different candidates" in page.message.text
    page.heavy.choose("c000")
    assert page._full.isVisible()
    page.light.choose(shown.desk.run.state.front[0])
    assert not page._full.isVisible()


def test_no_name_is_cut_off(qtbot: QtBot, shown: Window) -> None:
    page: Any = shown.page("cascade")
    take(qtbot, page, page.heavy, "c000")
    qtbot.wait(50)
    assert page._full.height() >= page._full.heightForWidth(page._full.width())
    page.heavy.showPopup()
    view = page.heavy.view()
    assert view.width() >= view.sizeHintForColumn(0)
    page.heavy.hidePopup()
    page._ask_other(page.heavy, "Heavy")
    runs = page.other_run.runs
    assert runs.textElideMode() == Qt.TextElideMode.ElideNone
    qtbot.wait(50)
    assert runs.horizontalScrollBar().maximum() > 0 or runs.viewport().width() >= runs.sizeHintForColumn(0)
    page.other_run.reject()


def remembered(shown: Window, other: Path, light: str) -> str:
    """What training of a pair of two models left in the run; heavy's name."""
    folder = shown.desk.run.folder
    assert folder is not None
    heavy = f"{LONG}/c000"
    state = RunState.replay(Journal.read(other))
    assert state.model is not None
    models = [CARD.hash, state.model.hash]
    result = cascade_result(folder, light, heavy)
    result["cascade"] |= {"heavy_title": "Baseline, Other Scenes", "models": models}
    place = place_of(folder, light, heavy) / "cascade.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"key": "", **result}), encoding="utf-8")
    return heavy


def test_a_pair_of_two_models_is_found_again_and_says_what_is_missing(shown: Window) -> None:
    page: Any = shown.page("cascade")
    run = shown.desk.run.folder
    assert run is not None
    other = run.parent / LONG
    heavy = remembered(shown, other, shown.desk.run.state.front[0])
    assert page.cascade is None
    assert shown.desk.open_run(run)
    assert page.cascade is not None
    assert page.heavy.side == heavy
    assert not page.message.text
    assert page.planner._tables.devices[0].heavy.at(1) == pytest.approx(1.9)  # the other run's own verdict
    shutil.rmtree(other)
    assert shown.desk.open_run(run)
    assert page.heavy.side == heavy
    assert "nothing more can be drawn with it: There is no run" in page.message.text
    copied(run, other)
    assert shown.desk.open_run(run)
    assert "is of another model now than when this pair was trained" in page.message.text
