"""The steps, driven by keys and mouse on a recorded run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from studio.record.described import EngineState
from studio.record.journal import Journal
from studio.record.protocol import decode_request
from studio.record.verdict import Verdict
from studio.ui.actions import STEPS
from studio.ui.desk import Problem
from studio.ui.pages.model import DropZone
from studio.ui.pages.token_dialog import TokenDialog
from studio.ui.widgets.added_parts import AddedParts
from studio.ui.widgets.sheet import Sheet
from studio.ui.window import Window
from tests.studio.ui.window_recording import CARD, TARGETS, cascade_result, open_run


def asked(window: Window) -> list[tuple[str, dict[str, Any]]]:
    """What the window asked of the worker, which does not run here."""
    requests = [decode_request(line) for line in window.worker._waiting]
    return [(request.command, request.arguments) for request in requests]


@pytest.fixture
def shown(qtbot: QtBot, window: Window, recorded_run: Path) -> Window:
    open_run(window, recorded_run)
    return window


def test_every_step_opens_by_its_keys(qtbot: QtBot, window: Window) -> None:
    for number, step in enumerate(STEPS, 1):
        qtbot.keyClick(window, Qt.Key(Qt.Key.Key_0 + number), Qt.KeyboardModifier.ControlModifier)
        assert window.step == step
        assert window.rail[step].isChecked()


def test_building_the_steps_shows_no_stray_window(qtbot: QtBot, window: Window) -> None:
    shown: list[object] = []
    window.windowHandle().visibleChanged.connect(shown.append)
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.focusWindowChanged.connect(shown.append)
    for step in STEPS:
        window.go(step)
        qtbot.wait(20)
    assert shown == []
    assert [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()] == [window]


def test_a_student_and_a_tiny_decoder_are_given_to_the_open_model(qtbot: QtBot, window: Window) -> None:
    window.go("model")
    window.desk.card = CARD.model_copy(update={"source": "sd15 + student=/few.safetensors"})
    window.desk.card_changed.emit()
    added = window.pages["model"].findChild(AddedParts)
    assert added is not None
    assert added.student.text() == "/few.safetensors"
    added.student.setText("/other.safetensors:hyper")
    added.tiny_decoder.setText(" /taesd ")
    qtbot.keyClick(added.tiny_decoder, Qt.Key.Key_Return)
    wanted = "sd15 + student=/other.safetensors:hyper + tiny-decoder=/taesd"
    assert asked(window)[-1] == ("inspect", {"model": wanted})
    added.student.clear()
    added.tiny_decoder.clear()
    qtbot.keyClick(added.student, Qt.Key.Key_Return)
    assert asked(window)[-1] == ("inspect", {"model": "sd15"})


def test_the_rail_walks_by_arrow_keys(qtbot: QtBot, window: Window) -> None:
    window.go("model")
    window.rail["model"].setFocus()
    qtbot.keyClick(window.rail["model"], Qt.Key.Key_Down)
    assert window.step == "device"


def test_the_rail_says_how_far_each_step_is(shown: Window) -> None:
    states = {step: shown.rail[step].state for step in STEPS}
    assert states["model"] == states["device"] == states["evolve"] == "done"
    assert states["compare"] == states["cascade"] == "ready"
    assert "done" in shown.rail["evolve"].accessibleName()


def test_an_empty_step_says_what_it_needs_and_offers_the_button(qtbot: QtBot, window: Window) -> None:
    window.go("compare")
    button = next(b for b in window.page("compare").findChildren(QPushButton) if b.text() == "Start a run")
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert window.step == "evolve"


def test_the_palette_finds_and_runs_a_command(qtbot: QtBot, window: Window) -> None:
    qtbot.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    palette = window.palette_overlay
    assert palette.isVisible()
    qtbot.keyClicks(palette.focusProxy(), "casc")
    assert any("Cascade" in title for title in palette.found())
    qtbot.keyClick(palette.focusProxy(), Qt.Key.Key_Return)
    assert not palette.isVisible()
    assert window.step == "cascade"


def test_help_shows_all_keys_and_goes_away_by_escape(qtbot: QtBot, window: Window) -> None:
    qtbot.keyClick(window, Qt.Key.Key_F1)
    assert window.help.isVisible()
    qtbot.keyClick(window.help, Qt.Key.Key_Escape)
    assert not window.help.isVisible()


# -- model and device ---------------------------------------------------------------------------


def test_one_button_does_the_whole_job(qtbot: QtBot, window: Window) -> None:
    window.desk.card = CARD
    window.desk.card_changed.emit()
    window.go("model")
    hero = next(b for b in window.page("model").findChildren(QPushButton) if b.property("role") == "hero")
    qtbot.mouseClick(hero, Qt.MouseButton.LeftButton)
    assert window.journey.active
    assert asked(window)[-1][0] == "devices"


def test_the_whole_job_goes_on_from_step_to_step(qtbot: QtBot, window: Window, recorded_run: Path) -> None:
    window.desk.card = CARD
    open_devices: dict[str, Any] = {"targets": [], "machine": {}}
    window.journey.start("tiny-scenes")
    job = next(iter(window.worker._jobs.values()))
    job.done.emit(open_devices)
    assert asked(window)[-1][0] == "start"
    assert window.step == "evolve"
    window.worker.events.emit(Journal.read(recorded_run))
    assert window.step == "export"
    winner = window.desk.run.state.winner
    assert asked(window)[-1] == ("exportable", {"run": window.desk.run.id, "candidate": winner})
    list(window.worker._jobs.values())[-1].done.emit({"candidate": winner, "ok": False})
    second = asked(window)[-1][1]["candidate"]
    assert second != winner
    list(window.worker._jobs.values())[-1].done.emit({"candidate": second, "ok": True})
    assert asked(window)[-1][0] == "export"
    assert asked(window)[-1][1]["candidate"] == second
    assert f"{second} is packed" in window.page("export").message.text
    last = list(window.worker._jobs.values())[-1]
    last.done.emit({"package": str(recorded_run / "package"), "zip": "", "id": "abc", "checks": []})
    assert [leg.state for leg in window.journey.legs] == ["done"] * 4


def test_a_dropped_folder_is_opened(window: Window, tmp_path: Path) -> None:
    window.go("model")
    zone = window.page("model").findChildren(DropZone)[0]
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    zone.dropEvent(event)
    assert asked(window)[-1] == ("inspect", {"model": str(tmp_path)})


def test_a_model_that_cannot_be_opened_is_said_in_place_with_a_button(qtbot: QtBot, window: Window) -> None:
    window.go("model")
    job = window.desk.open_model("/no/model")
    job.failed.emit("There is no model in /no/model; choose a folder with model_index.json.", "traceback")
    message = window.page("model").message
    assert message.isVisible()
    assert "choose a folder" in message.text
    assert window.rail["model"].state == "attention"
    qtbot.mouseClick(message.buttons[0], Qt.MouseButton.LeftButton)
    assert asked(window)[-1] == ("inspect", {"model": "/no/model"})
    assert "traceback" in window.log.text()


def test_a_run_that_asks_first_is_begun_again_once_the_user_agrees(qtbot: QtBot, window: Window) -> None:
    window.go("evolve")
    job = window.desk.start_run()
    assert job is not None
    job.asks = "without_walls"
    job.failed.emit("This system does not limit candidates. Nothing runs before you agree to that.", "")
    message = window.page("evolve").message
    assert message.isVisible()
    assert message.buttons[0].text() == "Run it all the same"
    qtbot.mouseClick(message.buttons[0], Qt.MouseButton.LeftButton)
    command, arguments = asked(window)[-1]
    assert (command, arguments["without_walls"]) == ("start", True)


def test_prompts_come_from_a_file_and_go_into_the_run(window: Window, tmp_path: Path) -> None:
    window.go("model")
    form = window.page("model")._workload  # type: ignore[attr-defined]
    file = tmp_path / "prompts.txt"
    file.write_text("# mine\na red boat\n\na blue house\n", encoding="utf-8")
    form.load(file)
    form._steps.setValue(20)
    form._batch.setValue(2)
    window.desk.start_run()
    command, arguments = asked(window)[-1]
    assert command == "start"
    assert arguments["workload"]["prompts"] == ["a red boat", "a blue house"]
    assert arguments["workload"]["steps"] == 20
    assert arguments["workload"]["batch"] == 2
    assert arguments["workload"]["size"] is None


def test_frames_are_asked_for_where_the_model_draws_videos_and_only_there(window: Window) -> None:
    window.go("model")
    page = window.page("model")
    page._tabs.setCurrentIndex(1)  # type: ignore[attr-defined]
    frames = page._workload._frames  # type: ignore[attr-defined]
    window.desk.card = CARD
    window.desk.card_changed.emit()
    assert not frames.isVisible()
    video = CARD.model_copy(update={"frames": 25, "task": "image-to-video"})
    window.desk.card = video
    window.desk.card_changed.emit()
    assert frames.isVisible()
    assert frames.text() == "25, as shipped"
    window.desk.start_run()
    assert asked(window)[-1][1]["workload"]["frames"] is None
    frames.setValue(16)
    window.desk.start_run()
    assert asked(window)[-1][1]["workload"]["frames"] == 16
    window.desk.card = CARD
    window.desk.start_run()
    assert asked(window)[-1][1]["workload"]["frames"] is None
    assert window.desk.sitting.settings.workload.frames == 16


def test_a_prompt_file_that_cannot_be_used_is_said_and_loses_nothing(window: Window, tmp_path: Path) -> None:
    window.go("model")
    form = window.page("model")._workload  # type: ignore[attr-defined]
    form._prompts.setPlainText("kept")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n", encoding="utf-8")
    form.load(empty)
    assert "holds no prompt" in form.message.text
    form.load(tmp_path / "missing.txt")
    assert "cannot be read" in form.message.text
    assert form.workload().prompts == ("kept",)


def test_shares_of_time_come_from_the_run_once_it_is_measured(shown: Window) -> None:
    model = shown.desk.run.state.model
    assert model is not None
    parts = tuple(part.model_copy(update={"share": None}) for part in model.components)
    shown.go("model")
    shown.desk.card = model.model_copy(update={"components": parts})
    shown.desk.card_changed.emit()
    table = shown.page("model")._table  # type: ignore[attr-defined]
    rows = {table.item(row, 0).text(): table.item(row, 5).text() for row in range(table.rowCount())}
    assert rows["denoiser"].startswith("92")
    assert rows["scheduler"] == ""


def test_a_missing_device_cannot_be_chosen_and_says_why(shown: Window) -> None:
    shown.go("device")
    rows = {row.target.id: row for row in shown.page("device").rows}  # type: ignore[attr-defined]
    assert rows["cpu"].use.isChecked()
    assert not rows["cuda"].use.isEnabled()
    assert next(iter(rows)) == "cpu"


def test_a_row_says_what_its_engines_lack_and_copies_the_line_that_installs_it(
    qtbot: QtBot, window: Window
) -> None:
    install = "/home/somebody/a long folder/.uv/bin/uv pip install --python /home/somebody/.venv/bin/python"
    engines = (
        EngineState(title="A", state="ready", reason="A 1"),
        EngineState(title="B", state="ready", reason="B 2, without int8", install=f"{install} helper"),
        EngineState(title="C", state="missing", reason="c is not installed", install=f"{install} c"),
        EngineState(title="D", state="missing", reason="there is no driver"),
    )
    target = {"id": "cpu", "name": "CPU", "engine": "A", "state": "ready", "reason": "A 1, B 2"}
    absent = {"id": "mlx", "name": "MLX", "engine": "MLX", "state": "missing", "reason": "no mlx"}
    rows = [{**target, "engines": [one.model_dump() for one in engines]}, {**absent, "install": install}]
    window.resize(960, 640)
    window.desk._on_devices({"targets": rows, "machine": {}})
    window.go("device")
    qtbot.wait(30)
    page = window.page("device")
    row = page.rows[0]  # type: ignore[attr-defined]
    said = [one.text() for one in row.findChildren(QLabel) if one.property("role") == "small"]
    assert said == ["✓ B 2, without int8", "○ C: c is not installed", "○ D: there is no driver"]
    copy = next(one for one in row.findChildren(QPushButton) if one.accessibleName().endswith(" C"))
    copy.click()
    assert QGuiApplication.clipboard().text() == f"{install} c"
    assert page._area.horizontalScrollBar().maximum() == 0  # type: ignore[attr-defined]


# -- evolve -------------------------------------------------------------------------------------


def test_arrow_keys_walk_the_front_from_fastest_to_best(qtbot: QtBot, shown: Window) -> None:
    shown.go("evolve")
    plot = shown.page("evolve").plot  # type: ignore[attr-defined]
    front = shown.desk.run.state.front
    shown.desk.select(front[0])
    plot.setFocus()
    walked = [shown.desk.selected]
    for _ in range(len(front)):
        qtbot.keyClick(plot, Qt.Key.Key_Right)
        walked.append(shown.desk.selected)
    assert walked == [*front, front[-1]]
    qtbot.keyClick(plot, Qt.Key.Key_K)
    assert shown.desk.selected == shown.desk.run.state.knee


def test_plot_and_table_select_together(qtbot: QtBot, shown: Window) -> None:
    shown.go("evolve")
    page: Any = shown.page("evolve")
    shown.desk.select("c005")
    assert page.plot.selection == "c005"
    assert page.table.currentIndex().siblingAtColumn(0).data() == "c005"
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    assert page.plot.selection == shown.desk.selected != "c005"


def test_a_click_selects_and_a_double_click_compares_with_the_baseline(qtbot: QtBot, shown: Window) -> None:
    shown.go("evolve")
    page: Any = shown.page("evolve")
    qtbot.wait(60)
    name = shown.desk.run.state.front[0]
    place = page.plot.scene_place(name)
    assert place is not None
    view = page.plot._graphics.viewport()
    at = view.mapFrom(page.plot, place.toPoint())
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=at)
    assert shown.desk.selected == name
    qtbot.mouseDClick(view, Qt.MouseButton.LeftButton, pos=at)
    qtbot.waitUntil(lambda: shown.step == "compare", timeout=3000)
    assert shown.desk.pair == ("c000", name)


def test_hovering_shows_a_picture_and_four_numbers(qtbot: QtBot, shown: Window) -> None:
    shown.go("evolve")
    page: Any = shown.page("evolve")
    qtbot.wait(60)
    name = shown.desk.run.state.front[0]
    page.plot._hover(name)
    card = page.plot._card
    assert card.isVisible()
    assert all(number.text() not in {"", "–"} for number in card._numbers)
    qtbot.waitUntil(lambda: not card._picture.pixmap().isNull(), timeout=3000)
    page.plot._hover("")
    assert not card.isVisible()


def test_failed_candidates_stand_in_their_own_lane(shown: Window) -> None:
    shown.go("evolve")
    plot: Any = shown.page("evolve").plot  # type: ignore[attr-defined]
    failed = [
        n for n, c in shown.desk.run.state.candidates.items() if c.verdict and c.verdict.state == "failed"
    ]
    assert plot.failures() == failed
    assert not set(failed) & set(plot.points())
    assert "on the front" in plot.accessibleDescription()


def test_the_inspector_shows_the_script_and_its_difference(shown: Window) -> None:
    shown.go("evolve")
    inspector: Any = shown.page("evolve").inspector  # type: ignore[attr-defined]
    name = shown.desk.run.state.winner or ""
    shown.desk.select(name)
    assert "def generate" in inspector.script.toPlainText()
    inspector._as_difference.setChecked(True)
    body = inspector.script.toPlainText()
    assert body.startswith("--- ")
    assert any(line.startswith("+RECIPE") for line in body.splitlines())


def test_the_inspector_says_behind_which_walls_a_candidate_ran(shown: Window) -> None:
    shown.go("evolve")
    inspector: Any = shown.page("evolve").inspector  # type: ignore[attr-defined]
    for level, words in (
        ("isolated", "neither files nor network"),
        ("none", "nothing would have stopped it"),
    ):
        inspector._show_numbers(
            Verdict.model_validate({"state": "failed", "stage": "smoke", "isolation": level})
        )
        grid = inspector._numbers
        said = [grid.itemAt(at).widget().text() for at in range(grid.count())]
        assert said[:2] == ["Walls", level]
        assert words in said[2]


def test_limits_shade_what_fails_them(shown: Window) -> None:
    shown.go("evolve")
    page: Any = shown.page("evolve")
    page._slowest.setValue(500)
    assert page.plot._too_slow.isVisible()
    assert page.plot._too_slow.getRegion()[0] == pytest.approx(-0.30103, abs=1e-4)
    page._slowest.setValue(0)
    assert not page.plot._too_slow.isVisible()


def test_pause_and_stop_ask_the_worker_only_while_a_run_goes_on(window: Window, recorded_run: Path) -> None:
    window.go("evolve")
    page: Any = window.page("evolve")
    assert not page.pause.isEnabled()
    window.worker.events.emit(Journal.read(recorded_run)[:40])
    assert page.pause.isEnabled()
    page.pause.click()
    page.stop.click()
    assert [command for command, _ in asked(window)][-2:] == ["pause", "stop"]
    assert "left" in window.strip._left.text()


# -- compare ------------------------------------------------------------------------------------


def compare(window: Window) -> Any:
    window.desk.compare("c000", window.desk.run.state.front[0])
    window.go("compare")
    return window.page("compare")


def test_keys_one_to_six_choose_the_mode(qtbot: QtBot, shown: Window) -> None:
    page = compare(shown)
    page.canvas.setFocus()
    for key, mode in zip("123456", ("side", "wipe", "swap", "blink", "difference", "heat"), strict=True):
        qtbot.keyClick(page.canvas, key)
        assert page.canvas.mode == mode
    qtbot.keyClick(page.canvas, "3")
    qtbot.keyClick(page.canvas, Qt.Key.Key_Space)
    assert page.canvas.is_flipped
    qtbot.keyClick(page.canvas, "z")
    assert page.canvas.zoom == 1.0


def test_prompts_are_walked_by_keys_and_the_numbers_follow(qtbot: QtBot, shown: Window) -> None:
    page = compare(shown)
    page.canvas.setFocus()
    qtbot.waitUntil(lambda: page.canvas.numbers() is not None, timeout=5000)
    first = page._prompt.text()
    qtbot.keyClick(page.canvas, "n")
    assert page._prompt.text() != first
    qtbot.waitUntil(lambda: "A to B" in page._numbers.text(), timeout=5000)
    qtbot.keyClick(page.canvas, "p")
    assert page._prompt.text() == first


def test_the_contact_sheet_opens_the_pair_that_is_chosen(qtbot: QtBot, shown: Window) -> None:
    page = compare(shown)
    page.canvas.setFocus()
    qtbot.keyClick(page.canvas, "c")
    assert page.stack.currentWidget() is page.sheet
    assert isinstance(page.sheet, Sheet)
    assert page.sheet.rows == 8
    page.sheet.choose(3)
    qtbot.keyClick(page.sheet, Qt.Key.Key_Return)
    assert page.stack.currentWidget() is not page.sheet
    assert page._row == 3


def test_a_blind_choice_by_keys_ends_with_a_tally(qtbot: QtBot, shown: Window) -> None:
    page = compare(shown)
    page.set_view("blind")
    panel = page.blind
    assert "c000" not in panel._question.text() + panel.canvas._names[0] + panel.canvas._names[1]
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Down):
        qtbot.keyClick(panel, key)
    assert panel.session.answers == ["left", "right", "same"]
    qtbot.keyClick(panel, Qt.Key.Key_Backspace)
    assert panel.session.answers == ["left", "right"]
    while panel.session.current is not None:
        qtbot.keyClick(panel, Qt.Key.Key_Left)
    assert "95 %" in panel._question.text()
    assert str(panel.session.seed) in panel._prompt.text()


def test_the_playground_asks_for_the_typed_prompt_and_shows_both(qtbot: QtBot, shown: Window) -> None:
    page = compare(shown)
    page.set_view("playground")
    qtbot.keyClicks(page.playground.prompt, "a red boat")
    qtbot.keyClick(page.playground.prompt, Qt.Key.Key_Return)
    command, arguments = asked(shown)[-1]
    assert command == "generate"
    assert arguments["prompt"] == "a red boat"
    assert arguments["candidate"] == shown.desk.pair[1]
    job = list(shown.worker._jobs.values())[-1]
    pictures = [
        {"candidate": name, "title": "t", "image": f"images/{name}/00.png", "seconds": took, "stages": {}}
        for name, took in (("c000", 1.9), (shown.desk.pair[1], 0.38))
    ]
    job.done.emit(
        {"run": "", "folder": str(shown.desk.run.folder), "prompt": "p", "seed": 9, "pictures": pictures}
    )
    qtbot.waitUntil(lambda: page.playground.canvas.numbers() is not None, timeout=5000)
    assert "5.00×" in page.playground._outcome.text()


def test_what_draws_asks_first_where_nothing_limits_candidates_and_then_no_more(
    qtbot: QtBot, shown: Window
) -> None:
    page = compare(shown)
    page.ask_more()
    job = list(shown.worker._jobs.values())[-1]
    job.asks = "without_walls"
    job.failed.emit("This system does not limit candidates. Nothing runs before you agree to that.", "")
    message = page.message
    assert message.buttons[0].text() == "Run it all the same"
    qtbot.mouseClick(message.buttons[0], Qt.MouseButton.LeftButton)
    command, arguments = asked(shown)[-1]
    assert (command, arguments["without_walls"]) == ("compare", True)
    page.set_view("playground")
    page.playground.prompt.setText("a red boat")
    page.playground.make()
    command, arguments = asked(shown)[-1]
    assert (command, arguments["without_walls"]) == ("generate", True)


def test_the_playground_asks_first_too(qtbot: QtBot, shown: Window) -> None:
    page = compare(shown)
    page.set_view("playground")
    page.playground.prompt.setText("a red boat")
    page.playground.make()
    assert "without_walls" not in asked(shown)[-1][1]
    job = list(shown.worker._jobs.values())[-1]
    job.asks = "without_walls"
    job.failed.emit("This system does not limit candidates. Nothing runs before you agree to that.", "")
    qtbot.mouseClick(page.playground.message.buttons[0], Qt.MouseButton.LeftButton)
    assert asked(shown)[-1][1]["without_walls"]


def test_more_prompts_come_from_the_worker(shown: Window) -> None:
    page = compare(shown)
    page.ask_more()
    command, arguments = asked(shown)[-1]
    assert command == "compare"
    rows = [
        {"prompt": "p", "seed": 1, "a": "a.png", "b": "b.png", "metrics": {"psnr": 20.0, "adherence_a": 0.9}}
    ]
    list(shown.worker._jobs.values())[-1].done.emit(
        {
            "run": "",
            "folder": str(shown.desk.run.folder),
            "a": arguments["a"],
            "b": arguments["b"],
            "rows": rows,
        }
    )
    assert len(page.pairs) == 1
    assert "adherence A" in page.pairs[0].words()


# -- cascade and export -------------------------------------------------------------------------


def test_the_threshold_moves_counts_figures_and_pictures(qtbot: QtBot, shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    front = shown.desk.run.state.front
    page.show_result(cascade_result(shown.desk.run.folder, front[0], "c000"))  # type: ignore[arg-type]
    page.threshold.slider.setValue(0)
    assert page.threshold.operation.heavy == 0
    assert page.threshold.share.value.startswith("0")
    seconds = page.threshold.seconds.value
    page.threshold.slider.setFocus()
    qtbot.keyClick(page.threshold.slider, Qt.Key.Key_End)
    assert page.threshold.operation.share == 1
    assert page.threshold.seconds.value != seconds
    qtbot.keyClick(page.threshold.slider, Qt.Key.Key_PageDown)
    assert 0 < page.threshold.operation.share < 1
    assert page.threshold.pictures.below.rows == 8
    assert page.threshold.pictures.above.rows == 8


def test_a_trained_cascade_is_found_again(shown: Window, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shown.desk.run.folder or tmp_path, folder)
    front = shown.desk.run.state.front
    place = folder / "cascade" / f"{front[0]}-c000" / "cascade.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(cascade_result(folder, front[0], "c000")), encoding="utf-8")
    shown.go("cascade")
    page: Any = shown.page("cascade")
    assert page.cascade is None
    assert shown.desk.open_run(folder)
    assert page.cascade is not None
    assert page.threshold.share.value != "–"


def test_the_threshold_snaps_to_a_latency_budget(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    page.show_result(cascade_result(shown.desk.run.folder, shown.desk.run.state.front[0], "c000"))  # type: ignore[arg-type]
    page.threshold._budget.setValue(500)
    page.threshold.snap()
    assert page.threshold.operation.seconds.value <= 0.5
    better = [one for one in page.cascade.curve if one.seconds.value <= 0.5]
    assert page.threshold.operation.quality.value == max(one.quality.value for one in better)


def test_training_asks_for_the_chosen_pair(shown: Window) -> None:
    shown.go("cascade")
    page: Any = shown.page("cascade")
    page.start_training()
    command, arguments = asked(shown)[-1]
    assert command == "discriminator"
    assert arguments["light"] == shown.desk.run.state.front[0]
    assert arguments["heavy"] == "c000"
    job = list(shown.worker._jobs.values())[-1]
    job.progress.emit(3, 10, "making pictures")
    assert "3/10" in page._progress.text()
    job.failed.emit("Every light picture was good enough; there is nothing to decide.", "")
    assert "nothing to decide" in page.message.text


def test_export_shows_checks_proof_and_the_command(qtbot: QtBot, shown: Window) -> None:
    shown.go("export")
    page: Any = shown.page("export")
    page.start_export()
    command, arguments = asked(shown)[-1]
    assert command == "export"
    assert arguments["candidate"] == shown.desk.run.state.winner
    job = list(shown.worker._jobs.values())[-1]
    job.progress.emit(2, 10, "Building the engines")
    assert page._doing.text() == "Building the engines"
    winner = arguments["candidate"]
    job.done.emit(
        {
            "package": "/somewhere/package",
            "zip": "/somewhere/package.pareto",
            "id": "0123abcd",
            "bytes": 1000,
            "checks": [
                {"name": "judged", "state": "ok", "text": "It passed."},
                {"name": "licence", "state": "warning", "text": "No licence is named."},
            ],
            "command": "python /somewhere/package/run.py --prompt x",
            "proof": {
                "own": f"images/{winner}/00.png",
                "package": f"images/{winner}/00.png",
                "psnr": 100.0,
                "max_abs": 0,
                "prompt": "x",
                "note": "Fresh environment, made by uv.",
            },
        }
    )
    assert page.checks.count() == 2
    assert page.checks.item(0).text().startswith("✓")
    assert page.checks.item(1).text().startswith("!")
    assert "bit for bit" in page.proof.verdict.text()
    page.panel.copy.click()
    assert QApplication.clipboard().text() == "python /somewhere/package/run.py --prompt x"
    qtbot.waitUntil(lambda: page.proof.canvas.numbers() is not None, timeout=5000)
    assert shown.rail["export"].state == "done"


def test_a_package_from_elsewhere_is_shown_where_there_is_no_run(window: Window, tmp_path: Path) -> None:
    page: Any = window.page("export")
    window.go("export")
    assert page._empty.isVisibleTo(page)
    window.open_package(tmp_path / "given.pareto")
    assert asked(window)[-1] == ("verify", {"package": str(tmp_path / "given.pareto")})
    assert page._body.isVisibleTo(page)
    assert not page._empty.isVisibleTo(page)
    page.panel.show_checked({"ok": False, "text": "host_loop.json was changed.", "checks": []})
    assert page.card.reason.text() == "host_loop.json was changed."
    assert not page.go.isEnabled()


def test_export_for_another_runtime_asks_for_its_layout_and_says_what_drew(shown: Window) -> None:
    shown.go("export")
    page: Any = shown.page("export")
    assert page.layout_choice.itemText(0) == "as a package"
    page.layout_choice.setCurrentIndex(page.layout_choice.findData("openvino-genai"))
    assert "openvino_genai.Text2ImagePipeline" in page._contents.text()
    page.start_export()
    command, arguments = asked(shown)[-1]
    assert (command, arguments["layout"]) == ("export_as", "openvino-genai")
    said = "Drawn here by OpenVINO GenAI 2026.4: its picture and the candidate's own are equal."
    job = list(shown.worker._jobs.values())[-1]
    job.done.emit(
        {"layout": "openvino-genai", "package": "/somewhere/folder", "id": "01", "bytes": 1, "checks": [],
         "command": "python generate.py", "verified_on": said, "proof": {"note": "Seen once."}}
    )  # fmt: skip
    job.ended.emit()
    assert page.proof.verdict.text() == f"{said} Seen once."
    assert not page.panel.verify_again.isEnabled()
    assert page.panel.open_folder.isEnabled()
    page.layout_choice.setCurrentIndex(0)
    page.start_export()
    assert asked(shown)[-1][0] == "export"
    assert "layout" not in asked(shown)[-1][1]


def test_a_step_with_a_message_still_fits_its_window(qtbot: QtBot, shown: Window) -> None:
    for step in STEPS:
        shown.go(step)
        shown.desk.raise_problem(Problem(step, "Something was wrong; do something about it."))
        qtbot.wait(30)
        bars = (shown._places[step].verticalScrollBar(), shown._places[step].horizontalScrollBar())
        assert [bar.maximum() for bar in bars] == [0, 0], step


# -- manners ------------------------------------------------------------------------------------


def test_a_lost_worker_is_one_sentence_and_one_button(qtbot: QtBot, window: Window) -> None:
    window.worker.lost.emit("The worker crashed. What had finished is kept; restart it to go on.")
    assert window.message.isVisible()
    assert window.message.buttons[0].text() == "Restart the worker"
    assert window.strip.doing == "The worker is not running"


def test_a_problem_of_another_step_offers_to_show_it(qtbot: QtBot, window: Window) -> None:
    window.go("model")
    window.desk.raise_problem(Problem("export", "The disk is full; free some space."))
    assert "disk is full" in window.message.text
    qtbot.mouseClick(window.message.buttons[0], Qt.MouseButton.LeftButton)
    assert window.step == "export"
    assert "disk is full" in window.page("export").message.text


def test_a_damaged_run_is_said_and_the_open_one_stays(shown: Window, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "journal.sqlite").write_bytes(b"no database at all")
    before = shown.desk.run.id
    assert not shown.desk.open_run(broken)
    assert shown.desk.run.id == before
    assert shown.rail["evolve"].state == "attention"


def test_step_selection_and_theme_are_found_again(
    qtbot: QtBot, window: Window, recorded_run: Path, tmp_path: Path
) -> None:
    open_run(window, recorded_run)
    window.go("evolve")
    window.desk.select("c003")
    window.commands["view.theme"].trigger()
    window.close()
    again = Window(type(window.sitting)(tmp_path / "home"), window.worker)
    qtbot.addWidget(again)
    again.begin()
    assert again.step == "evolve"
    assert again.desk.selected == "c003"
    assert again.theme.tokens.name == "light"
    again.close()


def test_steps_are_built_ahead_one_by_one_but_never_during_a_run(
    qtbot: QtBot, window: Window, recorded_run: Path
) -> None:
    window.begin()
    window.worker.events.emit(Journal.read(recorded_run)[:40])
    assert window.desk.run.phase == "running"
    qtbot.wait(500)
    assert len(window.pages) < len(STEPS)
    window.desk.run.live = False
    qtbot.waitUntil(lambda: set(window.pages) == set(STEPS), timeout=60_000)


def test_the_menus_of_the_top_bar_offer_models_devices_and_runs(
    qtbot: QtBot, window: Window, recorded_run: Path
) -> None:
    open_run(window, recorded_run)
    shutil.copytree(recorded_run, window.sitting.home / "runs" / "another")
    for menu in window.top.menus.values():
        menu.aboutToShow.emit()
    titles = {name: [action.text() for action in menu.actions()] for name, menu in window.top.menus.items()}
    assert titles["model"][0] == "Tiny Scenes (bundled)"
    assert "CPU" in titles["device"]
    assert titles["run"][0] == "another"
    window.top.menus["run"].actions()[0].trigger()
    assert window.desk.run.folder == window.sitting.home / "runs" / "another"


def test_closing_during_a_run_asks_first(window: Window, recorded_run: Path) -> None:
    window.worker.events.emit(Journal.read(recorded_run)[:40])
    asked_for: list[int] = []

    def stay() -> bool:
        asked_for.append(1)
        return False

    window._may_close = stay  # type: ignore[method-assign]
    assert not window.close()
    assert window.isVisible()
    assert asked_for == [1]


def test_the_log_follows_its_end_until_one_scrolls_up(qtbot: QtBot, shown: Window) -> None:
    shown.commands["view.log"].trigger()
    assert shown.log.isVisible()
    bar = shown.log._view.verticalScrollBar()
    assert bar.value() >= bar.maximum() - 2
    bar.setValue(0)
    from studio.ui.models.run import LogLine

    shown.log.add([LogLine(0.0, "info", "one more")] * 50)
    assert bar.value() == 0
    shown.log._find.setText("c000")
    assert all("c000" in line for line in shown.log.text().splitlines())


def test_engines_for_devices_that_can_only_be_built_for_are_ticked_at_the_export(
    qtbot: QtBot, shown: Window
) -> None:
    page: Any = shown.page("export")
    shown.go("export")
    assert set(page.also.boxes) == {"coreml"}
    assert page.also.isVisible()
    page.start_export()
    assert "also" not in asked(shown)[-1][1]
    box = page.also.boxes["coreml"]
    assert "not verified on this machine" in box.accessibleName()
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    shown.desk.targets_changed.emit()
    assert page.also.chosen() == ["coreml"]
    page.start_export()
    assert asked(shown)[-1][1]["also"] == ["coreml"]
    page.layout_choice.setCurrentIndex(1)
    assert not page.also.isVisible()
    page.start_export()
    assert "also" not in asked(shown)[-1][1]


def test_the_export_step_asks_what_can_be_built_for_unless_a_run_is_timed(window: Window) -> None:
    window.desk.run.live = False
    window.go("export")
    assert "devices" in [command for command, _ in asked(window)]
    row = next(target for target in TARGETS if target.state == "build_only")
    window.desk.targets = [row]
    window.desk.targets_changed.emit()
    window.page("device")
    tip = window.page("device").rows[0].use.toolTip()  # type: ignore[attr-defined]
    assert "Export step" in tip
    assert "--also" not in tip


def test_a_gated_model_asks_for_the_token_in_place_and_opens_once_it_is_kept(
    qtbot: QtBot, window: Window
) -> None:
    window.go("model")
    job = window.desk.open_model("somebody/small")
    job.wants = "hub_token"
    job.failed.emit("The hub model somebody/small is gated: accept its licence.", "")
    job.ended.emit()
    qtbot.mouseClick(window.page("model").message.buttons[0], Qt.MouseButton.LeftButton)
    dialog = window.findChildren(TokenDialog)[0]
    assert dialog.isVisible()
    assert not dialog.keep.isEnabled()
    qtbot.keyClicks(dialog.token, "hf_canary")
    assert "hf_canary" not in dialog.token.displayText()
    before = len(asked(window))
    qtbot.mouseClick(dialog.keep, Qt.MouseButton.LeftButton)
    assert asked(window)[-1] == ("hub_token", {"token": "hf_canary"})
    assert dialog.token.text() == ""
    kept = list(window.worker._jobs.values())[-1]
    kept.failed.emit("This system has no keyring that keeps the token.", "")
    assert "no keyring" in dialog.message.text
    assert len(asked(window)) == before + 1
    qtbot.keyClicks(dialog.token, "hf_canary")
    qtbot.keyClick(dialog.token, Qt.Key.Key_Return)
    list(window.worker._jobs.values())[-1].done.emit({"kept": True})
    assert not dialog.isVisible()
    assert asked(window)[-1] == ("inspect", {"model": "somebody/small"})


def test_a_lora_file_is_merged_into_the_named_model_or_the_open_one(
    qtbot: QtBot, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.go("model")
    page: Any = window.page("model")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("/models/style.safetensors", ""))
    button = next(b for b in page.findChildren(QPushButton) if b.text() == "+ LoRA…")
    page._name.setText("somebody/small")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    wanted = "somebody/small + /models/style.safetensors"
    assert asked(window)[-1] == ("inspect", {"model": wanted})
    assert page._name.text() == "somebody/small"
    window.desk._on_card(wanted, {"card": CARD.model_copy(update={"source": wanted}).model_dump()})
    assert page._name.text() == ""
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert asked(window)[-1] == ("inspect", {"model": f"{wanted} + /models/style.safetensors"})
