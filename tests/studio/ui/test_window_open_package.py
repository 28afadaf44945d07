"""A package that somebody received is opened where there is no run: what it is, and whether to trust it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QDragEnterEvent, QDropEvent, QFileOpenEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from engines.package import sums
from engines.package.sign import new_key, sign
from engines.package.write import pack, write
from studio.layouts import VARIANTS
from studio.record.protocol import decode_request
from studio.ui.app import application
from studio.ui.bridge import Worker
from studio.ui.bundled import worker_program
from studio.ui.opening import FileOpener
from studio.ui.pages.add_variant import AddVariantDialog
from studio.ui.pages.difference import DifferenceDialog
from studio.ui.pages.signing import Asked
from studio.ui.sitting import Sitting
from studio.ui.window import Window
from tests.engines.package_parts import contents
from tests.studio.ui.window_recording import open_run

LIMIT = 60_000
SHOTS = os.environ.get("PARETO_SCREENSHOTS")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same small model as two packages: for ONNX Runtime and for OpenVINO."""
    folder = tmp_path_factory.mktemp("made")
    for engine in ("onnxruntime", "openvino"):
        (folder / engine).mkdir()
        write(contents(folder / engine, engine), folder / f"tiny-{engine}")
        pack(folder / f"tiny-{engine}")
    return folder


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    """Signed, and alone in a folder of a download, as it is received."""
    place = tmp_path / "Загрузки" / "tiny.pareto"
    place.parent.mkdir()
    shutil.copy(made / "tiny-onnxruntime.pareto", place)
    key, _ = new_key(tmp_path / "key.pem")
    sign(place, key)
    return place


@pytest.fixture
def opened(qtbot: QtBot, tmp_path: Path) -> Iterator[Window]:
    """A window on an empty home, with a real worker."""
    home = tmp_path / "home"
    home.mkdir()
    application()
    worker = Worker(home, worker_program(sys.executable))
    sitting = Sitting(home)
    sitting.change(theme="dark")
    window = Window(sitting, worker)
    window.resize(1280, 800)
    window.show()
    qtbot.addWidget(window)
    yield window
    window.close()


def shot(window: Window, name: str, what: QWidget | None = None) -> None:
    """Kept where a folder is named for it, to be looked at; of `what`, else of the window."""
    if SHOTS:
        for mode in ("light", "dark"):
            window.theme.set_mode("light" if mode == "light" else "dark")
            QApplication.processEvents()
            (what or window).grab().save(str(Path(SHOTS) / f"{name}-{mode}.png"))


def newer(archive: Path, place: Path) -> Path:
    """The same package as a later Studio would write it: consistent, of schema 2.0."""
    shutil.unpack_archive(archive, place, "zip")
    folder = next(one for one in place.iterdir() if one.is_dir())
    (folder / sums.SIGNATURE).unlink(missing_ok=True)
    manifest = folder / sums.MANIFEST
    manifest.write_text(manifest.read_text().replace('"schema_version": "1.', '"schema_version": "2.'))
    sums.write(folder)
    return folder


def test_a_received_package_is_told_whole_and_a_bad_one_is_refused(
    qtbot: QtBot, opened: Window, archive: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good archive, its folder, a changed archive, no package at all, one of a newer schema."""
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(archive), ""))
    opened.commands["file.package"].trigger()
    page: Any = opened.page("export")
    held, card = page.panel, page.card
    assert not page._empty.isVisible()
    assert card.verdict.text().startswith("Checking")
    assert not any(one.isEnabled() for one in (held.sign, held.copy, page.layout_choice, page.go))
    qtbot.waitUntil(held.verify_again.isEnabled, timeout=LIMIT)
    assert card.verdict.text() == "✓  Every byte is as it was when the package was made."
    assert held.signer.text().startswith("!  Signed, it says, by the key")
    facts = card.facts
    assert (facts["Model"], facts["Source"], facts["Licence"]) == ("tiny", "tests", "Apache-2.0")
    assert facts["Built for"].startswith("cpu with onnxruntime")
    assert facts["Verified on"] == "no device yet"
    assert facts["Variants"] == "✓ onnxruntime-cpu-fp32: can run here (built, not verified on device)"
    assert "files" in facts["Size"]
    assert not held.add.isEnabled()
    assert "Unpack the archive" in held.add.toolTip()
    shot(opened, "package-opened")

    held.verify_from(Asked(key=str(tmp_path / "key.pem.pub")))
    qtbot.waitUntil(held.verify_again.isEnabled, timeout=LIMIT)
    assert card.verdict.text() == "✓  Every byte is as it was when the package was signed."
    held.copy.click()
    unpack, run = QGuiApplication.clipboard().text().splitlines()
    assert unpack.startswith("python -m zipfile -e ")
    assert run.endswith(f"--out picture.png --key {tmp_path / 'key.pem.pub'}")
    shown: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", shown.append)
    held.open_folder.click()
    assert [Path(one.toLocalFile()) for one in shown] == [archive.parent]

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(made / "tiny-onnxruntime"))
    opened.commands["file.package_folder"].trigger()
    qtbot.waitUntil(held.verify_again.isEnabled, timeout=LIMIT)
    assert held.add.isEnabled()
    assert held.command.startswith(f"python {made / 'tiny-onnxruntime' / 'run.py'} --prompt")

    changed, none = tmp_path / "changed.pareto", tmp_path / "none.pareto"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    none.write_text("no package")
    for place, words in (
        (changed, "get the package again"),
        (none, "is no readable zip"),
        (newer(archive, tmp_path / "newer"), "update Pareto Studio"),
        (tmp_path / "gone.pareto", "There is no package"),
    ):
        opened.open_package(place)
        assert card.facts == {}
        qtbot.waitUntil(held.verify_again.isEnabled, timeout=LIMIT)
        assert card.verdict.text() == "✕  Do not use this package."
        assert words in card.reason.text()
        assert card.facts == {}
        assert page.checks.item(0).text().startswith("✕")
        refused = (held.copy, held.sign, held.compare, held.add)
        assert not any(one.isEnabled() for one in refused)
        assert not held.signer.isVisible()
        if place == changed:
            shot(opened, "package-changed")
    card.put_away.click()
    assert page._empty.isVisible()
    assert not page._body.isVisible()


@pytest.mark.slow
def test_the_copied_lines_make_a_picture_from_the_archive(
    qtbot: QtBot, opened: Window, archive: Path, tmp_path: Path
) -> None:
    opened.open_package(archive)
    held = opened.page("export").panel  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: bool(held.command), timeout=LIMIT)
    for line in held.command.splitlines():
        line = line.replace("python ", f"{sys.executable} ", 1)
        subprocess.run(line, shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "picture.png").stat().st_size > 100


@pytest.mark.slow
def test_two_packages_are_compared_and_the_engines_of_one_added_to_the_other(
    qtbot: QtBot, opened: Window, made: Path, tmp_path: Path
) -> None:
    own, other = tmp_path / "tiny", made / "tiny-openvino"
    shutil.copytree(made / "tiny-onnxruntime", own)
    pack(own)
    opened.open_package(own)
    page: Any = opened.page("export")
    held = page.panel
    qtbot.waitUntil(held.compare.isEnabled, timeout=LIMIT)
    held.compare.click()
    dialog = opened.findChildren(DifferenceDialog)[0]
    assert not dialog.go.isEnabled()
    dialog.other.name(str(tmp_path / "absent.pareto"))
    dialog.go.click()
    qtbot.waitUntil(dialog.message.isVisible, timeout=LIMIT)
    assert "There is no package" in dialog.message.text
    dialog.other.name(str(other.with_suffix(".pareto")))
    dialog.go.click()
    qtbot.waitUntil(lambda: dialog.tree.topLevelItemCount() > 0, timeout=LIMIT)
    parts = {dialog.tree.topLevelItem(at).text(0) for at in range(dialog.tree.topLevelItemCount())}  # type: ignore[union-attr]
    assert {"Engines", "Facts", "Files", "Wheels"} <= parts
    assert not dialog.message.isVisible()
    shot(opened, "package-compared", dialog)
    dialog.other.name(str(own))
    dialog.go.click()
    qtbot.waitUntil(lambda: dialog.summary.text().startswith("They are the same"), timeout=LIMIT)
    dialog.reject()

    before = held.identity.text()
    held.add_with(engine="openvino")  # it was made from no run that is here
    qtbot.waitUntil(lambda: page.message.isVisible() and held.add.isEnabled(), timeout=LIMIT)
    assert "r" in page.message.text
    assert held.identity.text() == before
    held.add_with(other=str(other), first=True)
    assert not held.add.isEnabled()
    qtbot.waitUntil(lambda: held.identity.text() != before, timeout=LIMIT)
    assert page.message.text.startswith("Added openvino-cpu-fp32.")
    assert (
        page.card.facts["Variants"].splitlines()[0].startswith("✓ openvino-cpu-fp32: can run here (verified)")
    )
    shot(opened, "package-added")


def test_the_dialog_asks_for_a_variant_as_the_worker_takes_it(
    qtbot: QtBot, window: Window, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    window.open_package(tmp_path / "folder")
    page: Any = window.page("export")
    page.panel.show_checked({"ok": True, "checks": [], "id": "sha256:1", "info": {}, "command": "x"})
    list(window.worker._jobs.values())[-1].ended.emit()
    page.panel.add.click()
    dialog = window.findChildren(AddVariantDialog)[0]
    assert dialog.arguments() == {"engine": "openvino", "device": "cpu"}
    for at in range(dialog.engine.count()):
        dialog.engine.setCurrentIndex(at)
        devices = VARIANTS[dialog.engine.currentData()][1]
        assert [dialog.device.itemData(row) for row in range(dialog.device.count())] == list(devices)
    dialog.engine.setCurrentIndex(dialog.engine.findData("onnxruntime"))
    dialog.device.setCurrentIndex(dialog.device.findData("directml"))
    dialog.precision.setCurrentIndex(dialog.precision.findData("fp16"))
    dialog.first.setChecked(True)
    wanted = {"engine": "onnxruntime", "device": "directml", "precision": "fp16", "first": True}
    assert dialog.arguments() == wanted
    shot(window, "package-add", dialog)
    dialog.choose("other")
    assert not dialog.go.isEnabled()
    dialog.other.name("/there")
    assert dialog.arguments() == {"other": "/there", "first": True}
    dialog.go.click()
    request = decode_request(window.worker._waiting[-1])
    assert request.command == "add_variant"
    assert request.arguments == {"package": str(tmp_path / "folder"), "other": "/there", "first": True}
    assert not page.panel.add.isEnabled()


def test_beside_a_run_it_has_the_step_to_itself_until_it_is_closed(
    qtbot: QtBot, window: Window, recorded_run: Path, tmp_path: Path
) -> None:
    open_run(window, recorded_run)
    window.open_package(tmp_path / "house.pareto")
    page: Any = window.page("export")
    assert page.card.isVisible()
    assert not any(one.isVisible() for one in (page.proof, page._planned))
    late = list(window.worker._jobs.values())[-1]
    window.open_package(tmp_path / "boat.pareto")
    late.done.emit({"ok": True, "text": "As it was.", "checks": [{"ok": True, "text": "Of the house."}]})
    late.ended.emit()
    assert page.checks.count() == 0
    assert page.card.verdict.text().startswith("Checking")
    late = list(window.worker._jobs.values())[-1]
    page.layout_choice.setCurrentIndex(1)  # back to the run
    assert not page.card.isVisible()
    assert all(one.isVisible() for one in (page.proof, page._planned))
    late.done.emit({"ok": True, "text": "As it was.", "checks": [{"ok": True, "text": "Of the boat."}]})
    late.ended.emit()
    assert page.checks.count() == 0
    assert not page.panel.verify_again.isEnabled()
    assert page.go.isEnabled()


def test_an_export_that_ends_while_another_package_is_looked_at_waits_to_be_shown(
    window: Window, recorded_run: Path, tmp_path: Path
) -> None:
    open_run(window, recorded_run)
    window.go("export")
    page: Any = window.page("export")
    page.start_export()
    export = list(window.worker._jobs.values())[-1]
    window.open_package(tmp_path / "boat.pareto")
    check = list(window.worker._jobs.values())[-1]
    check.ended.emit()
    assert not page.go.isEnabled()
    export.done.emit({"package": "/made/package", "id": "sha256:1", "checks": []})
    export.ended.emit()
    assert page.card.isVisible()
    assert window.desk.exported == str(Path("/made/package"))
    page.message.buttons[0].click()
    assert page.proof.isVisible()
    assert page.panel.package == Path("/made/package")


def test_a_check_that_could_not_be_made_does_not_look_like_one_that_goes_on(
    window: Window, tmp_path: Path
) -> None:
    window.open_package(tmp_path / "house.pareto")
    page: Any = window.page("export")
    job = list(window.worker._jobs.values())[-1]
    job.failed.emit("The worker ended.", "")
    job.ended.emit()
    assert page.card.verdict.text() == "!  Not checked."
    assert "The worker ended." in page.message.text
    assert page.panel.verify_again.isEnabled()


def dropped(*paths: Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return data


def test_a_package_is_opened_where_it_is_dropped_and_a_model_is_not(window: Window, tmp_path: Path) -> None:
    unpacked, model = tmp_path / "unpacked", tmp_path / "model"
    for folder in (unpacked, model):
        folder.mkdir()
    (unpacked / "manifest.json").write_text(json.dumps({}))
    right, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    for place, opens in ((tmp_path / "a.pareto", True), (unpacked, True), (model, False)):
        data = dropped(place)
        enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, data, right, none)
        enter.ignore()
        window.dragEnterEvent(enter)
        assert enter.isAccepted() == opens
        window.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, right, none))
        page: Any = window.page("export")
        assert (page.panel.package == place) == opens


def test_a_file_that_the_system_opens_reaches_the_window(window: Window, tmp_path: Path) -> None:
    """As macOS does it: an event to the program that runs, not an argument."""
    app = application()
    opener = FileOpener(app, window.open_package)
    QCoreApplication.sendEvent(app, QFileOpenEvent(str(tmp_path / "given.pareto")))
    app.removeEventFilter(opener)
    page: Any = window.page("export")
    assert page.panel.package == tmp_path / "given.pareto"
    assert window.step == "export"
