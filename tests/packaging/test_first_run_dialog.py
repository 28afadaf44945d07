"""The first run in the window: the dialog drives a real setup process on tiny wheels."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog
from pytestqt.qtbot import QtBot

from studio.record.events import WorkerReady
from studio.record.protocol import decode_request
from studio.setup import environment
from studio.setup.__main__ import as_result
from studio.ui.app import application
from studio.ui.bridge import Worker
from studio.ui.bundled import Opened, is_command, own_libraries_only, worker_program
from studio.ui.collect import CollectWheels
from studio.ui.first_run import FirstRun
from tests.packaging.tiny_bundle import ROOT, Parts

LIMIT = 60_000


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    application()
    return Parts(tmp_path)


@pytest.fixture
def setup(parts: Parts) -> Iterator[Worker]:
    bundle = parts.bundle()
    worker = Worker(parts.home, [sys.executable, "-m", "studio.setup", "--bundle", str(bundle.folder)])
    yield worker
    worker.close()


def dialog(qtbot: QtBot, parts: Parts, setup: Worker) -> FirstRun:
    made = FirstRun(setup, as_result(environment.state(parts.home, parts.bundle())))
    qtbot.addWidget(made)
    made.show()
    made.folder.setText(str(parts.folder))
    made.offline.setChecked(True)
    made.wheelhouse.setText(str(parts.wheelhouse))
    return made


def test_one_click_makes_the_environment_and_closes_the_dialog(
    qtbot: QtBot, parts: Parts, setup: Worker
) -> None:
    made = dialog(qtbot, parts, setup)
    qtbot.waitUntil(lambda: "GB free" in made.space.text(), timeout=LIMIT)
    with qtbot.waitSignal(made.made, timeout=LIMIT) as answer:
        made.go.click()
    assert Path(str(answer.args[0])).exists()
    assert made.result() == QDialog.DialogCode.Accepted
    assert "Ready." in made.log.toPlainText()


def test_a_failure_is_a_sentence_with_ways_on(qtbot: QtBot, parts: Parts, setup: Worker) -> None:
    made = dialog(qtbot, parts, setup)
    hidden = parts.wheelhouse / "SHA256SUMS"
    kept = hidden.read_text()
    hidden.unlink()
    made.go.click()
    qtbot.waitUntil(made.problem.isVisible, timeout=LIMIT)
    assert "is no wheelhouse" in made.problem.text()
    assert made.change.isVisible()
    assert made.repair.isVisible()
    assert made.stop.text() == "Quit"
    hidden.write_text(kept)
    made.change.click()
    with qtbot.waitSignal(made.made, timeout=LIMIT):
        made.go.click()


def test_stop_keeps_what_was_fetched_and_offers_to_go_on(qtbot: QtBot, parts: Parts, setup: Worker) -> None:
    made = dialog(qtbot, parts, setup)
    made.go.click()
    qtbot.waitUntil(lambda: made.bar.maximum() > 0, timeout=LIMIT)
    made.stop.click()
    qtbot.waitUntil(made.problem.isVisible, timeout=LIMIT)
    assert made.problem.text() == "Stopped. What was fetched is kept; go on when you like."
    assert made.go.text() == "Try again"


@pytest.mark.parametrize("way", ["close", "reject"])
def test_a_closed_dialog_does_not_start_the_setup_again(
    qtbot: QtBot, parts: Parts, setup: Worker, way: str
) -> None:
    made = dialog(qtbot, parts, setup)  # its folder has just changed: the question of space is due
    getattr(made, way)()
    setup.close()
    qtbot.wait(2 * made._space_later.interval())
    assert not setup.alive


def test_a_wheelhouse_at_hand_is_offered_so_that_nothing_is_asked(
    qtbot: QtBot, parts: Parts, setup: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = parts.base / "Загрузки"
    monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(downloads))
    (downloads / "something else").mkdir(parents=True)
    (downloads / "something else" / "SHA256SUMS").write_text("no hashes\n")
    state = as_result(environment.state(parts.home, parts.bundle()))
    shutil.copytree(parts.wheelhouse, downloads / "for the laptop" / "wheels")
    made = FirstRun(setup, state)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitUntil(made.found.isVisible, timeout=LIMIT)
    assert made.offline.isChecked()
    qtbot.waitUntil(lambda: made.height() >= made.sizeHint().height(), timeout=LIMIT)
    made.network.setChecked(True)
    assert made.proxy.isVisible()
    assert not made.found.isVisible()
    made.offline.setChecked(True)
    assert not made.proxy.isVisible()
    big = downloads / "for the laptop" / "wheels" / "big-1.0-py3-none-any.whl"
    with big.open("wb") as file:
        file.truncate(10**13)  # a hole: it takes no room here
    made.network.setChecked(True)
    qtbot.waitUntil(lambda: "about 0 GB needed" in made.space.text(), timeout=LIMIT)
    made.offline.setChecked(True)
    qtbot.waitUntil(lambda: "choose a folder on another disk" in made.space.text(), timeout=LIMIT)
    big.unlink()
    assert made.wheelhouse.text() == str(downloads / "for the laptop" / "wheels")
    with qtbot.waitSignal(made.made, timeout=LIMIT):
        made.go.click()

    # Another version remembers it, and says where it has not what that one needs.
    for fits in (True, False):
        if not fits:
            sums = downloads / "for the laptop" / "wheels" / "SHA256SUMS"
            sums.write_text(
                "".join(line for line in sums.read_text().splitlines(True) if "helper" not in line)
            )
        again = FirstRun(setup, state | {"condition": "outdated"})
        qtbot.addWidget(again)
        again.show()
        qtbot.waitUntil(again.found.isVisible, timeout=LIMIT)
        assert again.wheelhouse.text() == made.wheelhouse.text()
        assert again.offline.isChecked() == fits
        assert ("another version" in again.found.text()) != fits


def test_collecting_for_another_machine_is_asked_for_stopped_and_failing_in_one_sentence(
    qtbot: QtBot, parts: Parts, setup: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    first = dialog(qtbot, parts, setup)
    first.collect.click()
    made = next(one for one in first.children() if isinstance(one, CollectWheels))
    for field in (made.system, made.python, made.torch, made.folder, made.bar):
        assert field.accessibleName()
    made.system.setCurrentIndex(made.system.findData("macos"))
    assert [made.torch.itemData(row) for row in range(made.torch.count())] == ["auto"]
    made.system.setCurrentIndex(made.system.findData("linux"))
    made.folder.setText(str(parts.base / "for another"))
    made.go.click()
    assert not made.folder.isEnabled()
    qtbot.waitUntil(made.problem.isVisible, timeout=LIMIT)
    assert "The package index cannot be reached" in made.problem.text()
    assert "\n" not in made.problem.text()
    assert made.folder.isEnabled()
    made.folder.setText("no whole path")
    made.go.click()
    qtbot.waitUntil(lambda: "whole path" in made.problem.text(), timeout=LIMIT)
    made.reject()


def test_escape_stops_collecting_as_the_button_does(
    qtbot: QtBot, parts: Parts, setup: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[object] = []
    monkeypatch.setattr(setup, "cancel", stopped.append)
    made = CollectWheels(quiet(setup))
    qtbot.addWidget(made)
    made.show()
    made.folder.setText(str(parts.base / "for another"))
    made.go.click()
    qtbot.keyClick(made, Qt.Key.Key_Escape)
    assert not made.isVisible()
    assert len(stopped) == 1


def test_every_field_and_button_has_a_name(qtbot: QtBot, parts: Parts, setup: Worker) -> None:
    made = dialog(qtbot, parts, setup)
    for field in (made.folder, made.wheelhouse, made.proxy, made.bar, made.log):
        assert field.accessibleName()


def quiet(worker: Worker) -> Worker:
    """Requests wait, as before its process answers."""
    worker.start = lambda: None  # type: ignore[method-assign]
    return worker


def test_a_build_of_torch_is_named_only_where_it_is_fetched(qtbot: QtBot, parts: Parts) -> None:
    setup = quiet(Worker(parts.home, ["false"]))
    made = dialog(qtbot, parts, setup)
    assert not made.torch.isVisible()
    made.torch.setCurrentIndex(made.torch.findData("cpu"))
    for offline, wanted in ((True, "auto"), (False, "cpu")):
        made.offline.setChecked(offline)
        made.network.setChecked(not offline)
        made.start()
        request = decode_request(setup._waiting[-1])
        assert (request.command, request.arguments["torch"]) == ("make", wanted)
        made._show_question()
    assert made.torch.isVisible() == (sys.platform != "darwin")
    assert made.torch.accessibleName()
    assert made.torch.itemData(0) == "auto"


def test_a_package_that_is_opened_before_the_engines_are_there_waits_for_them(
    qtbot: QtBot, parts: Parts, tmp_path: Path
) -> None:
    opened = Opened(parts.bundle(), parts.home)
    quiet(opened.worker)
    qtbot.addWidget(opened.window)
    opened.open_package(tmp_path / "given.pareto")
    assert opened.window.step != "export"
    opened.worker.ready.emit(WorkerReady(version="1", protocol=1, pid=1))
    assert opened.window.step == "export"
    request = decode_request(opened.worker._waiting[-1])
    assert (request.command, request.arguments["package"]) == ("verify", str(tmp_path / "given.pareto"))
    opened.worker.close()


def test_the_installed_window_sets_up_then_starts_its_worker_and_notices_another_protocol(
    qtbot: QtBot, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = parts.bundle()
    parts.setup(bundle).run()
    monkeypatch.delenv("PYTHONPATH")
    opened = Opened(bundle, parts.home)
    opened._begun = True  # the worker alone: what the window asks of it is tested with the window
    qtbot.addWidget(opened.window)
    with qtbot.waitSignal(opened.worker.ready, timeout=LIMIT):
        opened.show()
    python = environment.state(parts.home, bundle).python
    assert python is not None
    opened.worker.request("runs")
    opened.window.commands["file.engines"].trigger()
    assert "The engines are at work" in opened.window.message.text
    assert not any(isinstance(one, FirstRun) for one in opened.window.children())
    opened.worker._jobs.clear()  # this worker never answers
    with qtbot.waitSignal(opened.worker.ready, timeout=LIMIT):
        opened.window.commands["file.engines"].trigger()
        asked = next(one for one in opened.window.children() if isinstance(one, FirstRun))
        assert (asked.go.text(), opened.worker.alive) == ("Repair", False)
        asked.reject()  # nothing was changed, so the engines go on as they were
    qtbot.waitUntil(lambda: not any(isinstance(one, FirstRun) for one in opened.window.children()))
    package = next(python.parents[1].glob("lib/python*/site-packages/studio/work/worker.py"))
    package.write_text(package.read_text().replace('"protocol": 1', '"protocol": 2'))
    # As long as before and in the same second: its compiled form would pass for it.
    shutil.rmtree(package.parent / "__pycache__", ignore_errors=True)
    with qtbot.waitSignal(opened.worker.outdated, timeout=LIMIT):
        opened.worker.restart()
    dialogs = [one for one in opened.window.children() if isinstance(one, FirstRun)]
    assert len(dialogs) == 1
    assert dialogs[0].go.text() == "Update"
    dialogs[0].reject()
    opened.worker.close()


def test_a_plain_word_is_work_by_command_and_a_file_is_a_package(tmp_path: Path) -> None:
    package = tmp_path / "house.pareto"
    package.touch()
    assert is_command(["doctor"])
    assert not is_command([str(package)])
    assert not is_command(["setup"])
    assert not is_command(["--home", "x"])
    assert not is_command([])


def test_the_engines_get_the_library_path_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.setenv(name, "/home/someone")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/pareto-studio/window/_internal")
    monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", "/usr/local/cuda/lib64")
    own_libraries_only()

    assert os.environ["LD_LIBRARY_PATH"] == "/usr/local/cuda/lib64"
    assert not {"LD_LIBRARY_PATH_ORIG", "PYTHONPATH", "PYTHONHOME"} & set(os.environ)
    assert worker_program("python")[1] == "-P"
