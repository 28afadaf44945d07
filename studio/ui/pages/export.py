"""Export: what goes into the package, checks that tick themselves, and the proof of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from studio.layouts import LAYOUTS
from studio.ui import text
from studio.ui.actions import Commands
from studio.ui.desk import Desk
from studio.ui.journey import Journey
from studio.ui.models.run import Changes
from studio.ui.pages.page import Page
from studio.ui.pages.signing import Asked, SignDialog, Signer, TrustDialog
from studio.ui.theme import Theme
from studio.ui.widgets.also_devices import AlsoDevices
from studio.ui.widgets.canvas import Canvas
from studio.ui.widgets.choice import Choice
from studio.ui.widgets.labels import Chips, label
from studio.ui.widgets.message import Empty
from studio.ui.widgets.wrapped_list import WrappedList

_PACKAGE = (
    "Engine files per component, tokenizer and scheduler settings, run.py, licence and provenance, evidence, "
    "a bill of materials, and the SHA-256 of every file."
)


class ExportPage(Page):
    """Sixth step."""

    step = "export"
    title = "Export"

    def __init__(self, desk: Desk, theme: Theme, commands: Commands, journey: Journey) -> None:
        super().__init__(desk, theme, commands, journey)
        self._quiet = False
        self._package: Path | None = None
        self._verifiable = False
        self._proof: tuple[Path | None, Path | None] = (None, None)
        self._asked = ""
        self._checks: list[dict[str, Any]] = []
        self._trust = Asked()
        self._command = ""
        self._header()
        self._empty = Empty(
            "Nothing to export yet",
            "A package is made from a candidate of a run; the winner is offered first.",
            "Start a run",
        )
        self._empty.button.clicked.connect(lambda: desk.step_wanted.emit("evolve"))
        self.column.addWidget(self._empty, 1)
        self._body = QSplitter(Qt.Orientation.Horizontal)
        self._body.setChildrenCollapsible(False)
        self._body.addWidget(self._left())
        self._body.addWidget(self._right())
        self._body.setStretchFactor(1, 1)
        self._body.setSizes([460, 620])
        desk.sitting.follow("export", self._body)
        self.column.addWidget(self._body, 1)
        desk.run.changed.connect(self._on_changed)
        desk.selection_changed.connect(self._on_selection)
        desk.pictures.ready.connect(self._on_picture)
        desk.targets_changed.connect(lambda: self.also.show_targets(desk.targets))
        theme.changed.connect(lambda: self.show_checks(self._checks))
        self._on_changed(Changes(everything=True))

    def entered(self) -> None:
        desk = self.desk
        unasked = not (desk.targets or desk.asking_devices or "device" in desk.problems)
        if unasked and desk.run.phase != "running":  # looking at the machine would disturb what is timed
            desk.refresh_devices()
        self._examine()

    # -- building -------------------------------------------------------------------------------

    def _header(self) -> None:
        self.candidate = Choice()
        self.candidate.setAccessibleName("Candidate to export")
        self.candidate.setMinimumWidth(220)
        self.candidate.currentIndexChanged.connect(self._on_chosen)
        self.layout_choice = QComboBox()
        self.layout_choice.setAccessibleName("What to export it as")
        self.layout_choice.addItem("as a package", "")
        self.layout_choice.setItemData(0, "Runs on its own, without the Studio.", Qt.ItemDataRole.ToolTipRole)
        for at, (name, (title, summary)) in enumerate(LAYOUTS.items(), 1):
            self.layout_choice.addItem(f"for {title}", name)
            self.layout_choice.setItemData(at, summary, Qt.ItemDataRole.ToolTipRole)
        self.layout_choice.currentIndexChanged.connect(self._on_layout)
        self.folder = QLineEdit()
        self.folder.setAccessibleName("Folder to write the package to")
        self.folder.setPlaceholderText("in the run's own folder")
        self.folder.setText(self.desk.sitting.settings.export_folder)
        browse = QPushButton("Choose…")
        browse.setAccessibleName("Choose the folder for the package")
        browse.clicked.connect(self._choose_folder)
        self.go = QPushButton("Export")
        self.go.setProperty("role", "primary")
        self.go.setAccessibleName("Export the candidate")
        self.go.clicked.connect(self.start_export)
        self.head.addWidget(self.candidate, 1)
        self.head.addWidget(self.layout_choice)
        self.head.addWidget(label("to", "muted"))
        self.head.addWidget(self.folder, 1)
        self.head.addWidget(browse)
        self.head.addWidget(self.go)

    def _left(self) -> QWidget:
        side = QWidget()
        side.setMinimumWidth(320)
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(8)
        column.addWidget(label("What will be in it", "section"))
        self._chips = Chips()
        column.addWidget(self._chips)
        self._contents = label("", "muted", wrap=True)
        column.addWidget(self._contents)
        self.also = AlsoDevices()
        self.also.show_targets(self.desk.targets)
        column.addWidget(self.also)
        column.addWidget(label("Checks", "section"))
        self.checks = WrappedList()
        self.checks.setAccessibleName("Checks of the package")
        column.addWidget(self.checks, 1)
        self._bar = QProgressBar()
        self._bar.setAccessibleName("Progress of the export")
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self._doing = label("", "muted", wrap=True)
        column.addWidget(self._bar)
        column.addWidget(self._doing)
        self._bar.hide()
        return side

    def _right(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(8, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(
            label("Proof: the Studio's picture beside the package's, their difference below", "section")
        )
        self.canvas = Canvas(self.theme)
        self.canvas.setAccessibleName("The Studio's picture and the package's")
        self.difference = Canvas(self.theme)
        self.difference.setAccessibleName("Difference between the Studio's picture and the package's")
        self.difference.set_mode("difference")
        self.difference.set_gain(8)
        column.addWidget(self.canvas, 3)
        column.addWidget(self.difference, 2)
        self._verdict = label(
            "The package makes a picture in a clean process; it appears here.", "muted", wrap=True
        )
        column.addWidget(self._verdict)
        self._identity = label("", "small", select=True)
        column.addWidget(self._identity)
        self._identity.hide()
        self.signer = Signer()
        column.addWidget(self.signer)
        row = QHBoxLayout()
        self.open_folder = QPushButton("Open folder")
        self.open_folder.clicked.connect(self._open_folder)
        self.copy = QPushButton("Copy command")
        self.copy.setToolTip("Copy the command that makes a picture with this package")
        self.copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.command()))
        self.verify = QPushButton("Verify again")
        self.verify.setToolTip("Check every byte of the package and make its picture again")
        self.verify.clicked.connect(self._verify)
        self.whose = QPushButton("Whose…")
        self.whose.setAccessibleName("Whose package it must be")
        self.whose.setToolTip("Verify that a maker whom you name has signed the package")
        self.whose.clicked.connect(self._choose_trust)
        self.sign = QPushButton("Sign…")
        self.sign.setToolTip(
            "Sign the package with your key or certificate; others can then check who made it"
        )
        self.sign.clicked.connect(self._choose_signature)
        for button in self._package_buttons():
            button.setEnabled(False)
            row.addWidget(button)
        row.addStretch(1)
        column.addLayout(row)
        return side

    def _package_buttons(self) -> tuple[QPushButton, ...]:
        """What can be done once there is a package."""
        return (self.open_folder, self.copy, *self._trust_buttons())

    def _trust_buttons(self) -> tuple[QPushButton, ...]:
        """What can be done with a package, and not with a folder for another runtime."""
        return (self.verify, self.whose, self.sign)

    # -- jobs -----------------------------------------------------------------------------------

    def start_export(self) -> None:
        """Write the package and have it prove itself."""
        name = self.candidate.currentData()
        if not name:
            return
        self.desk.sitting.change(export_folder=self.folder.text().strip())
        self._show_proof(None, None)
        layout, also = self.layout_choice.currentData(), self.also.chosen()
        job = self.desk.ask(
            "export",
            "export_as" if layout else "export",
            self.start_export,
            run=self.desk.run.id,
            candidate=name,
            out=self.folder.text().strip(),
            **({"layout": layout} if layout else {"also": also} if also else {}),
        )
        self._follow(job)
        job.done.connect(self.show_exported)
        job.done.connect(lambda _: self.journey.exported(ok=True))
        job.failed.connect(lambda *_: self.journey.exported(ok=False))

    def open_package(self, package: Path) -> None:
        """Check a package that was opened from outside: by a double click or the command line."""
        self._package, self._verifiable, self._trust = package, True, Asked()
        self._identity.setText(str(package))
        self._identity.show()
        self.open_folder.setEnabled(True)
        self._show_body(bool(self.candidate.count()))
        self._verify()

    def _show_body(self, candidates: bool) -> None:
        """A run's candidates, or a package that came from elsewhere: else there is nothing to show."""
        self.also.offer(offered=candidates and not self.layout_choice.currentData())
        self._body.setVisible(candidates or self._package is not None)
        self._empty.setVisible(not (candidates or self._package is not None))

    def _verify(self) -> None:
        if self._package is not None:
            asked = self._trust.arguments()
            job = self.desk.ask("export", "verify", self._verify, package=str(self._package), **asked)
            self._follow(job)
            job.done.connect(self._on_verified)

    def _choose_trust(self) -> None:
        dialog = TrustDialog(self.desk.sitting, self._trust, self)
        dialog.accepted.connect(lambda: self.verify_from(dialog.asked()))
        dialog.open()

    def verify_from(self, asked: Asked) -> None:
        """Verify that the package which is shown comes from whom is asked for."""
        self._trust = asked
        self._verify()

    def _choose_signature(self) -> None:
        dialog = SignDialog(self.desk.sitting, self)
        dialog.accepted.connect(lambda: self.sign_with(**dialog.arguments()))
        dialog.open()

    def sign_with(self, **arguments: Any) -> None:
        """Sign the package that is shown; its checks then say by whom."""
        if self._package is None:
            return
        job = self.desk.ask("export", "sign", self._choose_signature, package=str(self._package), **arguments)
        self._follow(job)
        job.done.connect(self._on_signed)

    def _on_signed(self, result: dict[str, Any]) -> None:
        self.message.say(str(result.get("text", "")), "info")
        self._trust = Asked()
        self._verify()

    def _examine(self) -> None:
        """Ask which checks the chosen candidate passes before anything is written."""
        name = self.candidate.currentData()
        layout = self.layout_choice.currentData()
        asked = f"{self.desk.run.id} {name} {layout}".rstrip()
        if not name or not self.desk.worker.is_ready or self._asked == asked:
            return
        self._asked = asked
        more = {"layout": layout} if layout else {}
        job = self.desk.worker.request("exportable", run=self.desk.run.id, candidate=name, **more)
        job.done.connect(self._on_examined)
        job.failed.connect(lambda *_: setattr(self, "_asked", ""))

    def _follow(self, job: Any) -> None:
        for button in (self.go, *self._trust_buttons()):
            button.setEnabled(False)
        self._bar.setRange(0, 0)
        self._bar.show()
        job.progress.connect(self._on_progress)
        job.ended.connect(self._on_ended)

    def _on_progress(self, done: int, total: int, doing: str) -> None:
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        self._doing.setText(doing)

    def _on_ended(self) -> None:
        self._bar.hide()
        self._doing.setText("")
        self.go.setEnabled(self.candidate.count() > 0)
        for button in self._trust_buttons():
            button.setEnabled(self._verifiable)

    def _on_examined(self, result: dict[str, Any]) -> None:
        if result.get("candidate") == self.candidate.currentData() and self._package is None:
            self.show_checks(result.get("checks", []))
            offers = [one["text"] for one in result.get("offers", [])]
            if offers:
                self.message.say(offers[0], "info")

    def _on_verified(self, result: dict[str, Any]) -> None:
        self.show_checks(result.get("checks", []))
        words = str(result.get("text", ""))
        self._verdict.setText(words)
        if not result.get("ok"):
            self.message.say(words, "error")
        self.signer.show_signature(result.get("signature"), known=bool(result.get("ok")))
        self._read_proof(result)

    def show_exported(self, result: dict[str, Any]) -> None:
        """Show the worker's `export` result."""
        self._package = Path(result["package"])
        self._command = str(result.get("command", ""))
        self.desk.exported = str(self._package)
        self.desk.busy_changed.emit()
        self.show_checks(result.get("checks", []))
        size = f"  ·  {text.size(result['bytes'])}" if isinstance(result.get("bytes"), int) else ""
        self._identity.setText(f"{self._package}{size}\nid {result['id']}")
        self._identity.show()
        self._verdict.setText(_proved(result))
        self._verifiable, self._trust = not result.get("layout"), Asked()
        for button in self._package_buttons():
            button.setEnabled(True)
        for button in self._trust_buttons():
            button.setEnabled(self._verifiable)
        self.signer.show_signature(None, known=self._verifiable)
        self._read_proof(result)

    def show_checks(self, checks: list[dict[str, Any]]) -> None:
        """A list of checks: `name`, `text`, and `ok` (bool) or `state` (ok, warning, failed)."""
        self._checks = checks
        marks = {"ok": ("✓", "good"), "warning": ("!", "warn"), "failed": ("✕", "bad")}
        self.checks.clear()
        for check in checks:
            state = check.get("state") or ("ok" if check.get("ok") else "failed")
            mark, role = marks.get(state, marks["failed"])
            item = QListWidgetItem(f"{mark}  {check.get('text') or check.get('name')}")
            item.setForeground(self.theme.colour(role if role != "good" else "text"))
            item.setToolTip(str(check.get("name", "")))
            self.checks.addItem(item)

    # -- the proof ------------------------------------------------------------------------------

    def _read_proof(self, result: dict[str, Any]) -> None:
        proof = result.get("proof")
        if not isinstance(proof, dict):
            return
        found = []
        for name in ("own", "package"):
            place = proof.get(name)
            path = Path(place) if isinstance(place, str) and place else None
            if path is not None and not path.is_absolute() and self.desk.run.folder is not None:
                path = self.desk.run.folder / path
            found.append(path)
        self._show_proof(*found)

    def _show_proof(self, studio: Path | None, package: Path | None) -> None:
        self._proof = (studio, package)
        one, two = self.desk.pictures.get(studio), self.desk.pictures.get(package)
        self.canvas.show_pair(one, two, ("Studio", "Package"))
        self.difference.show_pair(one, two, ("Studio", "Package"))

    def _on_picture(self, path: str) -> None:
        if path in {str(one) for one in self._proof}:
            self._show_proof(*self._proof)

    # -- following ------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything:
            self._package, self._verifiable = None, False
            self.desk.exported = ""
            self.show_checks([])
            self._show_proof(None, None)
            self._identity.hide()
            self.signer.hide()
            for button in self._package_buttons():
                button.setEnabled(False)
        if not (changes.everything or changes.front or changes.phase or changes.updated):
            return
        run = self.desk.run
        names = [
            name
            for name in self.desk.candidates()
            if run.state.candidates[name].proposal.origin != "baseline"
        ]
        front = [name for name in run.state.front if name in names]
        names = [*front, *(name for name in names if name not in front)]
        if [self.candidate.itemData(at) for at in range(self.candidate.count())] != names:
            self._quiet = True
            self.candidate.clear()
            for name in names:
                mark = "●" if name in front else "○"
                self.candidate.addItem(f"{mark} {name}  {run.state.candidates[name].proposal.title}", name)
            self._quiet = False
            self._on_selection(self.desk.selected)
        self._show_body(bool(names))
        for widget in (self.candidate, self.folder, self.go):
            widget.setEnabled(bool(names))

    def _on_selection(self, name: str) -> None:
        wanted = name if self.candidate.findData(name) >= 0 else (self.desk.run.state.winner or "")
        at = self.candidate.findData(wanted)
        if at >= 0 and at != self.candidate.currentIndex():
            self.candidate.setCurrentIndex(at)
        elif at >= 0:
            self._on_chosen()

    def _on_layout(self) -> None:
        """Another layout: what was exported before is no longer what the checks are about."""
        self._package, self._verifiable = None, False
        self.also.offer(offered=not self.layout_choice.currentData())
        self.signer.hide()
        for button in self._trust_buttons():
            button.setEnabled(False)
        self._on_chosen()

    def _on_chosen(self) -> None:
        name = self.candidate.currentData()
        candidate = self.desk.run.state.candidates.get(name or "")
        if self._quiet or candidate is None:
            return
        self._chips.show_chips(
            text.step(one.technique, one.parameters.items()) for one in candidate.proposal.recipe
        )
        verdict = candidate.verdict
        measured = ""
        if verdict is not None and verdict.latency is not None:
            measured = f"Measured here: {text.seconds(verdict.latency.value)} an image"
            if verdict.speedup is not None:
                measured += f", {text.ratio(verdict.speedup.value)} the baseline's speed"
            measured += ". "
        certificate = self.desk.run.certificate(candidate.id)
        claim = f"Certified: {certificate.claim}. " if certificate is not None and certificate.held else ""
        layout = self.layout_choice.currentData()
        holds = LAYOUTS[layout][1] if layout else _PACKAGE
        self._contents.setText(f"{measured}{claim}{holds}")
        if self._package is None and self.isVisible():
            self._examine()

    # -- the package ----------------------------------------------------------------------------

    def command(self) -> str:
        """What makes a picture with the package, as the worker said it."""
        return (
            self._command
            or f'python "{self._package}/run.py" --prompt "a red house" --seed 1 --out picture.png'
        )

    def _open_folder(self) -> None:
        if self._package is not None:
            folder = self._package if self._package.is_dir() else self._package.parent
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder for the package", self.folder.text())
        if name:
            self.folder.setText(name)


def _proved(result: dict[str, Any]) -> str:
    """The outcome of the proof as sentences."""
    proof = result.get("proof") or {}
    if result.get("layout"):
        return " ".join(filter(None, [str(result.get("verified_on", "")), str(proof.get("note", ""))]))
    parts = []
    if "psnr" in proof:
        alike = (
            "the same picture, bit for bit"
            if proof.get("max_abs") == 0
            else f"PSNR {text.metric('psnr', proof['psnr'])}, at most {proof.get('max_abs')} of 255 apart"
        )
        parts.append(f"The package made “{proof.get('prompt')}” on its own: {alike}.")
    if proof.get("note"):
        parts.append(str(proof["note"]))
    if result.get("verified_on"):
        parts.append(str(result["verified_on"]))
    return " ".join(parts) or "The package made its picture on its own."
