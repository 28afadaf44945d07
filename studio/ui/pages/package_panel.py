"""The package on show: where it lies, who signed it, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from studio.ui.desk import Desk
from studio.ui.pages.signing import Asked, SignDialog, Signer, TrustDialog
from studio.ui.widgets.labels import Flow, plain_line


class PackagePanel(QWidget):
    """What was exported here or came from elsewhere; nothing until `show_package`.

    Signals:
        asked(Job): something is being done with it.
        checking(), checked(dict), unchecked(): its check began, ended with this result of `verify`, failed.
        said(str): a sentence for the step.
    """

    asked = Signal(object)
    checking = Signal()
    checked = Signal(dict)
    unchecked = Signal()
    said = Signal(str)

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.desk = desk
        self.package: Path | None = None
        self.command = ""
        """Lines for a terminal that make a picture with it."""
        self._verifiable = self._refused = self._busy = False
        self._check: object = None
        self._trust = Asked()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.place = plain_line("Where the package lies")
        self.identity = plain_line("Id of the package")
        self.signer = Signer()
        for part in (self.place, self.identity, self.signer):
            column.addWidget(part)
        holder = QWidget()
        self._row = Flow(holder, 8)
        column.addWidget(holder)
        self.open_folder = self._button("Open folder", "Show where the package lies", self._open_folder)
        self.copy = self._button(
            "Copy command",
            "Copy the command that makes a picture with this package",
            lambda: QGuiApplication.clipboard().setText(self.command),
        )
        self.verify_again = self._button("Verify again", "Check every byte of the package", self.verify)
        self.whose = self._button(
            "Whose…", "Verify that a maker whom you name has signed the package", self._choose_trust
        )
        self.whose.setAccessibleName("Whose package it must be")
        self.sign = self._button(
            "Sign…",
            "Sign the package with your key or certificate; others can then check who made it",
            self._choose_signature,
        )
        self.compare = self._button(
            "Compare with…", "See what changed between this package and another", self._compare
        )
        self.add = self._button("Add variant…", "", self._add_variant)
        self.forget()

    def _button(self, title: str, tip: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(title)
        button.setToolTip(tip)
        button.clicked.connect(lambda: act())
        self._row.addWidget(button)
        return button

    # -- what is shown --------------------------------------------------------------------------

    def show_package(self, package: Path, about: str = "", command: str = "", *, verifiable: bool) -> None:
        """Another package; `verifiable`: not a folder for another runtime. `about`: its size, say."""
        self.forget()
        self.package, self._verifiable, self.command = package, verifiable, command
        self.place.setText(f"{package}{about}")
        self.place.show()
        self._enable()

    def show_id(self, identity: str) -> None:
        self.identity.setText(f"id {identity}")
        self.identity.setVisible(bool(identity))

    def forget(self) -> None:
        """No package is on show; the answer to a check that is still under way is not waited for."""
        self.package, self.command, self._trust = None, "", Asked()
        self._verifiable = self._refused = False
        self._check = None
        for part in (self.place, self.identity, self.signer):
            part.hide()
        self._enable()

    def set_busy(self, *, busy: bool) -> None:
        """While a job writes or reads it nothing else is begun."""
        self._busy = busy
        self._enable()

    def _enable(self) -> None:
        there = self.package is not None
        free = there and self._verifiable and not self._busy
        self.open_folder.setEnabled(there)
        self.copy.setEnabled(bool(self.command))
        for button in (self.verify_again, self.whose):
            button.setEnabled(free)
        for button in (self.sign, self.compare, self.add):
            button.setEnabled(free and not self._refused)
        tip = "Put engines for another device or in another precision into the package"
        if self.package is not None and self.package.is_file():
            self.add.setEnabled(False)
            tip = "Unpack the archive first and open its folder: variants are put into a folder"
        self.add.setToolTip(tip)

    # -- checking -------------------------------------------------------------------------------

    def verify(self) -> None:
        """Check every byte, and whose it is where that was asked for."""
        package = self.package
        if package is None:
            return
        asked = self._trust.arguments()
        job = self.desk.ask("export", "verify", self.verify, package=str(package), **asked)
        self._check = job
        self.checking.emit()
        self.asked.emit(job)
        # A late answer about what is no longer on show, or was asked again, is nobody's.
        job.done.connect(lambda result: self.show_checked(result) if job is self._check else None)
        job.failed.connect(lambda *_: self.unchecked.emit() if job is self._check else None)

    def show_checked(self, result: dict[str, Any]) -> None:
        """The result of `verify` about the package on show."""
        good = bool(result.get("ok"))
        self._refused = not good
        self.command = str(result.get("command") or "") if good else ""
        self.show_id(str(result.get("id") or ""))
        self.signer.show_signature(result.get("signature"), known=good)
        self._enable()
        self.checked.emit(result)

    def _choose_trust(self) -> None:
        dialog = TrustDialog(self.desk.sitting, self._trust, self)
        dialog.accepted.connect(lambda: self.verify_from(dialog.asked()))
        dialog.open()

    def verify_from(self, asked: Asked) -> None:
        """Verify that the package which is shown comes from whom is asked for."""
        self._trust = asked
        self.verify()

    # -- changing -------------------------------------------------------------------------------

    def _choose_signature(self) -> None:
        dialog = SignDialog(self.desk.sitting, self)
        dialog.accepted.connect(lambda: self.sign_with(**dialog.arguments()))
        dialog.open()

    def sign_with(self, **arguments: Any) -> None:
        """Sign the package that is shown; its checks then say by whom."""
        self._change("sign", self._choose_signature, arguments)

    def _add_variant(self) -> None:
        from studio.ui.pages.add_variant import AddVariantDialog

        dialog = AddVariantDialog(self.desk, self)
        dialog.accepted.connect(lambda: self.add_with(**dialog.arguments()))
        dialog.open()

    def add_with(self, **arguments: Any) -> None:
        """Put further engines into the package that is shown."""
        self._change("add_variant", self._add_variant, arguments)

    def _change(self, command: str, again: Callable[[], object], arguments: dict[str, Any]) -> None:
        package = self.package
        if package is None:
            return
        job = self.desk.ask("export", command, again, package=str(package), **arguments)
        self.asked.emit(job)
        job.done.connect(lambda result: self._on_changed(package, result))

    def _on_changed(self, package: Path, result: dict[str, Any]) -> None:
        words = str(result.get("text", ""))
        if added := result.get("added"):
            words = f"Added {', '.join(added)}. {words}"
        if result.get("unsigned"):
            words += " The package was signed; it is another one now, so sign it again."
        self.said.emit(words)
        if package == self.package:
            self._trust = Asked()
            self.verify()

    # -- looking --------------------------------------------------------------------------------

    def _compare(self) -> None:
        from studio.ui.pages.difference import DifferenceDialog

        if self.package is not None:
            DifferenceDialog(self.desk, self.package, self).open()

    def _open_folder(self) -> None:
        if self.package is not None:
            # The system opens an archive with this very program: its folder is the one that it lies in.
            folder = self.package if self.package.is_dir() else self.package.parent
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
