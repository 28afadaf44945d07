"""A package that was exported is signed from where it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytestqt.qtbot import QtBot

from studio.record.protocol import decode_request
from studio.ui.window import Window
from tests.studio.ui.window_recording import open_run


def test_a_package_is_signed_and_its_checks_say_by_whom(
    qtbot: QtBot, window: Window, recorded_run: Path
) -> None:
    open_run(window, recorded_run)
    window.go("export")
    page: Any = window.page("export")
    assert not page.sign.isEnabled()
    page.show_exported({"package": "there", "id": "sha256:1", "checks": []})
    assert page.sign.isEnabled()
    page.sign_with("my.pem")
    assert not page.sign.isEnabled()
    request = decode_request(window.worker._waiting[-1])
    assert (request.command, request.arguments) == ("sign", {"package": "there", "key": "my.pem"})
    job = list(window.worker._jobs.values())[-1]
    job.done.emit({"text": "there is signed with the key 12ab."})
    job.ended.emit()
    assert "signed with the key 12ab" in page.message.text
    assert decode_request(window.worker._waiting[-1]).command == "verify"
    page._on_verified(
        {"ok": True, "text": "As it was.", "checks": [{"ok": True, "text": "Signed, it says."}]}
    )
    assert "Signed, it says." in page.checks.item(0).text()
