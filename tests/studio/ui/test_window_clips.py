"""Compare shows clips by frame and what a picture was made from; Device lists the metrics pack."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from pytestqt.qtbot import QtBot

from studio.record.journal import Journal
from studio.record.state import RunState
from studio.ui.pages.compare import ComparePage
from studio.ui.pages.device import DevicePage
from studio.ui.window import Window
from studio.work.report import render
from tests.studio.ui.clip_recording import FRAMES, write_clips


def opened(window: Window, qtbot: QtBot, run: Path) -> ComparePage:
    assert window.desk.open_run(run)
    window.desk.compare("c000", "c001")
    window.desk.step_wanted.emit("compare")
    page = window.findChildren(ComparePage)[0]
    qtbot.waitUntil(lambda: page.canvas.numbers() is not None)
    return page


def test_clips_play_locked_to_one_frame_with_the_curve_of_a_metric(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    page = opened(window, qtbot, write_clips(tmp_path, "video"))
    player = page.player
    assert player.isVisible()
    assert (player.slider.maximum(), player.frame) == (FRAMES - 1, 0)
    assert [player.measure.itemData(at) for at in range(player.measure.count())][:1] == ["psnr"]
    first = page.canvas.numbers()
    spoilt = page.pairs[0]
    assert min(range(FRAMES), key=lambda at: spoilt.curves["psnr"][at]) == 10
    player.slider.setValue(10)
    qtbot.waitUntil(lambda: page.canvas.numbers() not in (None, first))
    numbers = page.canvas.numbers()
    assert numbers is not None
    assert numbers[0] == pytest.approx(spoilt.curves["psnr"][10], abs=0.05)
    assert "frame 11/16" in player.number.text()
    player.play.click()
    qtbot.waitUntil(lambda: player.frame != 10)
    player.play.click()
    assert not player.play.isChecked()
    assert "worst frame" in spoilt.words()


def test_the_report_plays_clips_as_animated_pictures(tmp_path: Path) -> None:
    folder = write_clips(tmp_path, "video")
    page = render(folder, RunState.replay(Journal.read(folder)))
    found = [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)]
    animated = [data for data in found if b"acTL" in data]
    assert animated
    with Image.open(io.BytesIO(animated[0])) as picture:
        assert getattr(picture, "n_frames", 1) == FRAMES


def test_the_picture_that_was_made_larger_stands_beside_both(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    page = opened(window, qtbot, write_clips(tmp_path, "enlarged"))
    assert not page.player.isVisible()
    assert page.pairs[0].given is not None
    qtbot.waitUntil(lambda: len(page.canvas._panes()) == 3)
    panes = page.canvas._panes()
    assert panes[0].right() < panes[1].left() < panes[1].right() < panes[2].left()
    places = [page.canvas.pixel_at(pane.center().toPointF()) for pane in panes]
    assert all(
        place is not None and abs(place.x() - 48) <= 1 and abs(place.y() - 48) <= 1 for place in places
    )
    page.set_mode("wipe")
    assert len(page.canvas._panes()) == 1
    assert "made small again" in page.pairs[0].words()


def test_the_metrics_pack_is_listed_with_size_checksum_and_licence_before_anything_is_fetched(
    window: Window, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.work.job import Job
    from studio.work.metrics import metrics

    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    window.desk.step_wanted.emit("device")
    panel = window.findChildren(DevicePage)[0].metrics
    panel.show_networks(metrics(Job(tmp_path))["networks"])
    assert set(panel.get) == {"lpips", "clip", "dino"}
    said = panel.consent(panel.networks[1])
    for part in ("1.59", "openai/clip-vit-large-patch14", "MIT", "a2bf730a0c7debf160f7a6b50b3aaf37"):
        assert part in said
    panel.measure.setCurrentIndex(panel.measure.findData("dino"))
    assert window.desk.sitting.settings.metric == "dino"
