"""What was counted of a candidate stands in the Inspector; how many pictures the gate has is a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from studio.record import events as ev
from studio.record.events import Event, event
from studio.record.journal import Journal
from studio.record.protocol import decode_request
from studio.record.state import RunState
from studio.record.verdict import Census, Counted
from studio.ui.window import Window
from tests.studio.ui.window_recording import open_run

CENSUS = Census(
    by="program",
    counted=(Counted(component="denoiser", shape="16x16", engine="openvino bf16", calls=12, rows=24),),
    declared="openvino bf16",
)


def words(widget: Any) -> str:
    return "\n".join(one.text() for one in widget.findChildren(QLabel) if one.isVisibleTo(widget))


def test_the_inspector_shows_the_count_and_the_walls_of_a_certificate(
    qtbot: QtBot, window: Window, recorded_run: Path
) -> None:
    open_run(window, recorded_run)
    recorded = Journal.read(recorded_run)
    name = next(one for one in RunState.replay(recorded).front if one != "c000")

    def counted(one: Event) -> Event:
        if one.type != "candidate.judged" or one.data["id"] != name:
            return one
        more = {"census": CENSUS.model_dump(mode="json"), "sets_note": "No set is compared: a reason."}
        return one.model_copy(update={"data": one.data | {"verdict": one.data["verdict"] | more}})

    walls = ev.Certified(
        id=name, claim="PSNR of 5 dB or more", held=True, prompts=64, loss=None, isolation="isolated"
    )
    window.desk.run.open([*map(counted, recorded), event(walls)], recorded_run)
    window.go("evolve")
    page: Any = window.page("evolve")
    window.desk.select(name)
    qtbot.waitUntil(lambda: "Counted" in words(page.inspector))
    said = words(page.inspector)
    assert "denoiser: 12 calls at 16x16, openvino bf16; declared openvino bf16" in said
    assert "by this program's own code" in said
    assert "No set is compared: a reason." in said
    assert "Its script ran isolated: reached neither files nor network." in said


def test_how_many_pictures_the_gate_has_is_kept(window: Window) -> None:
    panel: Any = window.page("device").metrics  # type: ignore[attr-defined]
    assert panel.gate.value() == 16
    panel.gate.setValue(24)
    assert window.desk.sitting.settings.gate == 24


def test_a_cluster_is_named_once_and_asked_for_by_every_run(qtbot: QtBot, window: Window) -> None:
    field = window.page("device").workers.where  # type: ignore[attr-defined]
    qtbot.keyClicks(field, " ray://here:10001 ")
    field.editingFinished.emit()
    assert window.desk.sitting.settings.workers == "ray://here:10001"
    window.desk.start_run()
    asked = decode_request(window.worker._waiting[-1])
    assert (asked.command, asked.arguments["workers"]) == ("start", "ray://here:10001")
