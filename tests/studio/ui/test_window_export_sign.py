"""A package that was exported is signed and checked from where it is shown, with a key or a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from engines.package.sign import new_key
from engines.package.write import write
from studio.record.protocol import decode_request
from studio.ui.pages.signing import Asked, SignDialog, TrustDialog
from studio.ui.window import Window
from studio.work.job import Job
from studio.work.trust import sign, verify
from tests.engines.certificates import locked_key, maker
from tests.engines.package_parts import contents
from tests.studio.ui.window_recording import open_run


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write(contents(folder), folder / "tiny")
    return folder / "tiny"


def test_a_package_is_signed_and_its_checks_say_by_whom(
    qtbot: QtBot, window: Window, recorded_run: Path
) -> None:
    open_run(window, recorded_run)
    window.go("export")
    page: Any = window.page("export")
    assert not any(button.isEnabled() for button in (page.panel.sign, page.panel.whose))
    assert not page.panel.signer.isVisible()
    page.show_exported({"package": "there", "id": "sha256:1", "checks": []})
    assert page.panel.sign.isEnabled()
    assert page.panel.signer.text().startswith("Not signed")
    page.panel.sign_with(key="my.pem")
    assert not page.panel.sign.isEnabled()
    request = decode_request(window.worker._waiting[-1])
    assert (request.command, request.arguments) == ("sign", {"package": "there", "key": "my.pem"})
    job = list(window.worker._jobs.values())[-1]
    job.done.emit({"text": "there is signed with the key 12ab."})
    job.ended.emit()
    assert "signed with the key 12ab" in page.message.text
    assert decode_request(window.worker._waiting[-1]).command == "verify"
    page.panel.show_checked(
        {"ok": True, "text": "As it was.", "checks": [{"ok": True, "text": "Signed, it says."}]}
    )
    assert "Signed, it says." in page.checks.item(0).text()
    window.theme.set_mode("light")
    assert page.checks.item(0).foreground().color() == window.theme.colour("text")
    page.show_exported({"package": "there", "id": "1", "layout": "container", "checks": []})
    assert not any(
        button.isEnabled() for button in (page.panel.sign, page.panel.whose, page.panel.verify_again)
    )
    assert not page.panel.signer.isVisible()


def test_a_package_is_verified_against_whom_the_user_names(
    qtbot: QtBot, window: Window, recorded_run: Path
) -> None:
    open_run(window, recorded_run)
    window.go("export")
    page: Any = window.page("export")
    page.show_exported({"package": "there", "id": "sha256:1", "checks": []})
    page.panel.verify_from(Asked(certificates=("authority.pem",)))
    for _ in range(2):  # asked for again, it is the same maker's
        request = decode_request(window.worker._waiting[-1])
        assert request.arguments == {"package": "there", "certificates": ["authority.pem"]}
        list(window.worker._jobs.values())[-1].ended.emit()
        page.panel.verify_again.click()
    signature = {"kind": "certificate", "signer": "Maker", "checked": False}
    found = {"ok": True, "text": "As it was.", "checks": [], "signature": signature}
    page.panel.show_checked(found)
    assert page.panel.signer.text().startswith("!  Signed, it says, by Maker")
    page.panel.show_checked(found | {"signature": signature | {"checked": True}})
    assert page.panel.signer.text() == "✓  Signed by Maker; checked."
    page.panel.show_checked({"ok": False, "text": "Not by them.", "checks": [], "signature": None})
    assert not page.panel.signer.isVisible()


def test_the_dialogs_sign_and_verify_with_keys_and_certificates(
    qtbot: QtBot, window: Window, package: Path, tmp_path: Path
) -> None:
    """What they ask for is done by the worker's own commands to a real package."""
    sitting, job = window.desk.sitting, Job(home=tmp_path)
    one, other = maker(tmp_path / "one"), maker(tmp_path / "other", "Other")
    key, public = new_key(tmp_path / "key.pem")

    dialog = SignDialog(sitting)
    qtbot.addWidget(dialog)
    assert (dialog.way, dialog.go.isEnabled()) == ("key", False)
    dialog.key.name(str(locked_key(tmp_path / "locked.pem", "secret")))
    dialog.password.setText("secret")
    dialog.accept()
    assert sign(job, str(package), **dialog.arguments())["signature"]["kind"] == "key"
    sitting.save()
    kept = (sitting.home / "window.ini").read_text()
    assert "locked.pem" in kept
    assert "secret" not in kept

    dialog.choose("certificate")
    dialog.key.name(str(one.key))
    assert not dialog.go.isEnabled()
    dialog.certificate.name(str(one.certificate))
    assert dialog.go.isEnabled()
    dialog.accept()
    assert sign(job, str(package), **dialog.arguments())["signature"]["signer"] == "Maker"

    trust = TrustDialog(sitting, Asked())
    qtbot.addWidget(trust)
    assert trust.way == "any"
    assert not verify(job, str(package), **trust.asked().arguments())["signature"]["checked"]
    trust.choose("certificate")
    assert not trust.go.isEnabled()
    trust.authorities.name(str(other.authority), str(one.authority))
    trust.accept()
    assert verify(job, str(package), **trust.asked().arguments())["signature"]["checked"]
    again = TrustDialog(sitting, Asked())  # remembered
    qtbot.addWidget(again)
    assert again.asked() == trust.asked()
    again.authorities.name(str(other.authority))
    assert not verify(job, str(package), **again.asked().arguments())["ok"]
    assert SignDialog(sitting).arguments() == dialog.arguments()

    again.choose("key")
    again.key.name(str(public))
    refused = verify(job, str(package), **again.asked().arguments())
    assert "signed with a certificate, not with a key" in refused["text"]
    dialog.choose("key")
    dialog.password.clear()
    dialog.key.name(str(key))
    sign(job, str(package), **dialog.arguments())
    assert verify(job, str(package), **again.asked().arguments())["signature"]["checked"]
    dialog.choose("new")
    dialog.new.name(str(tmp_path / "fresh.pem"))
    assert sign(job, str(package), **dialog.arguments())["public"].endswith("fresh.pem.pub")
