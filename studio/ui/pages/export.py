"""Export: what goes into the package, checks that tick themselves, and the proof of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFileDialog,
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
from studio.ui.bridge import Job
from studio.ui.desk import Desk
from studio.ui.journey import Journey
from studio.ui.models.run import Changes
from studio.ui.pages.package_card import PackageCard
from studio.ui.pages.package_panel import PackagePanel
from studio.ui.pages.page import Page
from studio.ui.pages.proof import Proof, proved
from studio.ui.theme import Theme
from studio.ui.widgets.also_devices import AlsoDevices
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
        self._received = False
        """Whether the package on show came from elsewhere; it has the step to itself."""
        self._following: set[Job] = set()
        self._asked = ""
        self._checks: list[dict[str, Any]] = []
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
        self.panel = self._package_panel()
        self.column.addWidget(self.panel)
        desk.run.changed.connect(self._on_changed)
        desk.selection_changed.connect(self._on_selection)
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
        self.candidate.setMinimumWidth(160)
        self.candidate.currentIndexChanged.connect(self._on_chosen)
        self.candidate.activated.connect(self.close_package)
        self.layout_choice = Choice()
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
        self._browse = QPushButton("Choose…")
        self._browse.setAccessibleName("Choose the folder for the package")
        self._browse.clicked.connect(self._choose_folder)
        self.go = QPushButton("Export")
        self.go.setProperty("role", "primary")
        self.go.setAccessibleName("Export the candidate")
        self.go.clicked.connect(self.start_export)
        self.head.addWidget(self.candidate, 1)
        self.head.addWidget(self.layout_choice)
        self.head.addWidget(label("to", "muted"))
        self.head.addWidget(self.folder, 1)
        self.head.addWidget(self._browse)
        self.head.addWidget(self.go)

    def _left(self) -> QWidget:
        side = QWidget()
        side.setMinimumWidth(320)
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(8)
        self._planned = QWidget()
        planned = QVBoxLayout(self._planned)
        planned.setContentsMargins(0, 0, 0, 0)
        planned.setSpacing(8)
        planned.addWidget(label("What will be in it", "section"))
        self._chips = Chips()
        planned.addWidget(self._chips)
        self._contents = label("", "muted", wrap=True)
        planned.addWidget(self._contents)
        self.also = AlsoDevices()
        self.also.show_targets(self.desk.targets)
        planned.addWidget(self.also)
        column.addWidget(self._planned)
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
        self._doing.hide()
        return side

    def _right(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(8, 0, 0, 0)
        column.setSpacing(6)
        self.card = PackageCard()
        self.card.put_away.clicked.connect(self.close_package)
        self.proof = Proof(self.desk, self.theme)
        column.addWidget(self.card, 1)
        column.addWidget(self.proof, 1)
        return side

    def _package_panel(self) -> PackagePanel:
        panel = PackagePanel(self.desk)
        panel.asked.connect(self._follow)
        panel.checking.connect(self._on_checking)
        panel.checked.connect(self._on_verified)
        panel.unchecked.connect(self.card.show_unchecked)
        panel.said.connect(lambda words: self.message.say(words, "info"))
        return panel

    # -- jobs -----------------------------------------------------------------------------------

    def start_export(self) -> None:
        """Write the package and have it prove itself."""
        name = self.candidate.currentData()
        if not name:
            return
        self.desk.sitting.change(export_folder=self.folder.text().strip())
        self.close_package()
        self.proof.show_pictures(None, None)
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
        job.done.connect(self._on_exported)
        job.done.connect(lambda _: self.journey.exported(ok=True))
        job.failed.connect(lambda *_: self.journey.exported(ok=False))

    def open_package(self, package: Path) -> None:
        """Show a package from elsewhere, folder or archive: what it is, and whether it is as it was made."""
        self._received = True
        self.message.clear()
        self.show_checks([])
        self.panel.show_package(package, verifiable=True)
        self._show_parts()
        self.panel.verify()

    def close_package(self) -> None:
        """Put a package from elsewhere away; the run's candidates have the step again."""
        if self._received:
            self._forget()
            self._show_parts()
            self._examine()

    def _forget(self) -> None:
        """No package is on show."""
        self._received, self._asked = False, ""
        self.panel.forget()
        self.show_checks([])
        self.proof.show_pictures(None, None)

    def _show_parts(self) -> None:
        """A package from elsewhere has the step to itself; without one there must be candidates."""
        something = self._received or self.candidate.count() > 0
        self.also.offer(offered=not self.layout_choice.currentData())
        self._body.setVisible(something)
        self.panel.setVisible(something)
        self._empty.setVisible(not something)
        self.card.setVisible(self._received)
        for part in (self._planned, self.proof):
            part.setVisible(not self._received)

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

    def _follow(self, job: Job) -> None:
        self._following.add(job)
        self._show_work()
        job.progress.connect(self._on_progress)
        job.ended.connect(lambda: self._on_ended(job))

    def _show_work(self) -> None:
        """While anything is made or checked no other is begun."""
        busy = bool(self._following)
        self.panel.set_busy(busy=busy)
        self.go.setEnabled(self.candidate.count() > 0 and not busy)
        self._bar.setRange(0, 0)
        self._bar.setVisible(busy)
        self._doing.setVisible(busy)
        self._doing.setText("")

    def _on_progress(self, done: int, total: int, doing: str) -> None:
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        self._doing.setText(doing)

    def _on_ended(self, job: Job) -> None:
        self._following.discard(job)
        self._show_work()

    def _on_examined(self, result: dict[str, Any]) -> None:
        if result.get("candidate") == self.candidate.currentData() and self.panel.package is None:
            self.show_checks(result.get("checks", []))
            offers = [one["text"] for one in result.get("offers", [])]
            if offers:
                self.message.say(offers[0], "info")

    def _on_checking(self) -> None:
        if self._received and self.panel.package is not None:
            self.card.show_checking(self.panel.package)

    def _on_verified(self, result: dict[str, Any]) -> None:
        self.show_checks(result.get("checks", []))
        if self._received:
            self.card.show_result(result)
            return
        words, good = str(result.get("text", "")), bool(result.get("ok"))
        self.proof.say(words, good=good)
        if not good:
            self.message.say(words, "error")
        self.proof.show_result(result)

    def _on_exported(self, result: dict[str, Any]) -> None:
        self.desk.exported = str(result["package"])
        self.desk.busy_changed.emit()
        if self._received:  # opened meanwhile, and looked at
            again = ("Show", lambda: self.show_exported(result))
            self.message.say(f"The package was written: {result['package']}", "info", again)
        else:
            self.show_exported(result)

    def show_exported(self, result: dict[str, Any]) -> None:
        """Show the worker's `export` result."""
        self._received = False
        package, layout = Path(result["package"]), result.get("layout")
        self.desk.exported = str(package)
        self.desk.busy_changed.emit()
        self.show_checks(result.get("checks", []))
        size = f"  ·  {text.size(result['bytes'])}" if isinstance(result.get("bytes"), int) else ""
        self.panel.show_package(package, size, str(result.get("command", "")), verifiable=not layout)
        self.panel.show_id(str(result["id"]))
        self.panel.signer.show_signature(None, known=not layout)
        self.proof.say(proved(result))
        self.proof.show_result(result)
        self._show_parts()

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

    # -- following ------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything:
            self.desk.exported = ""
            if not self._received:
                self._forget()
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
        self._show_parts()
        for widget in (self.candidate, self.layout_choice, self.folder, self._browse):
            widget.setEnabled(bool(names))
        self.go.setEnabled(bool(names) and not self._following)

    def _on_selection(self, name: str) -> None:
        wanted = name if self.candidate.findData(name) >= 0 else (self.desk.run.state.winner or "")
        at = self.candidate.findData(wanted)
        if at >= 0 and at != self.candidate.currentIndex():
            self.candidate.setCurrentIndex(at)
        elif at >= 0:
            self._on_chosen()

    def _on_layout(self) -> None:
        """Another layout: what was exported before is no longer what the checks are about."""
        self._forget()
        self._show_parts()
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
        if self.panel.package is None and self.isVisible():
            self._examine()

    def _choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder for the package", self.folder.text())
        if name:
            self.folder.setText(name)
