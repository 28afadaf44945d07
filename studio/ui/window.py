"""The frame: rail, top bar, step, log drawer, status strip; pages are built when first opened, or idle."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QCloseEvent, QDesktopServices, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMainWindow,
    QMessageBox,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.record.journal import NAME
from studio.ui import icons, text
from studio.ui.actions import STEPS, Commands
from studio.ui.bridge import Worker
from studio.ui.desk import BUNDLED, Desk, Problem
from studio.ui.journey import Journey
from studio.ui.menus import TopMenus
from studio.ui.models.run import Changes
from studio.ui.opening import dropped_package
from studio.ui.pages.page import Page
from studio.ui.pages.token_dialog import TokenDialog
from studio.ui.sitting import Sitting
from studio.ui.steps import state_of
from studio.ui.theme import Theme
from studio.ui.widgets.bars import StatusStrip, TopBar
from studio.ui.widgets.log_view import LogView
from studio.ui.widgets.message import Message
from studio.ui.widgets.overlays import Help, Palette
from studio.ui.widgets.rail import Rail

PAGES: Final = {
    "model": "studio.ui.pages.model:ModelPage",
    "device": "studio.ui.pages.device:DevicePage",
    "evolve": "studio.ui.pages.evolve:EvolvePage",
    "compare": "studio.ui.pages.compare:ComparePage",
    "cascade": "studio.ui.pages.cascade:CascadePage",
    "export": "studio.ui.pages.export:ExportPage",
}
"""The rail: step to page.  Named, not imported: a page costs nothing until it is opened."""
BETWEEN_PAGES: Final = 60
"""Milliseconds between two pages that are built ahead of their first use."""
SCALES: Final = (0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)


class Window(QMainWindow):
    """The one window.

    Signals:
        complete(): every page is built.
    """

    complete = Signal()

    def __init__(self, sitting: Sitting, worker: Worker) -> None:
        super().__init__()
        self.sitting, self.worker = sitting, worker
        self.theme = Theme(sitting.settings.theme, sitting.real("scale", 1.0), self)
        self.theme.apply()
        self.commands = Commands(self)
        self.desk = Desk(sitting, worker, self)
        self.journey = Journey(self.desk, self)
        self.pages: dict[str, Page] = {}
        self._places: dict[str, QScrollArea] = {}
        self.step = ""
        self.setWindowTitle("Pareto Studio")
        self.setWindowIcon(icons.icon("studio", "#000000", 64))
        self.setMinimumSize(960, 620)
        self.setAcceptDrops(True)
        self._build()
        self._connect()
        self.commands.fill(self.menuBar())
        self.menuBar().setNativeMenuBar(True)
        self._restore()

    # -- building -------------------------------------------------------------------------------

    def _build(self) -> None:
        self.rail = Rail({step: self.commands[f"go.{step}"] for step in PAGES}, self.theme)
        self.top = TopBar(self.commands, self.theme)
        self.message = Message()
        self.stack = QStackedWidget()
        self.log = LogView(self.theme)
        self.log.hide()
        self.strip = StatusStrip(self.commands, self.theme)
        drawer = QSplitter(Qt.Orientation.Vertical)
        drawer.setChildrenCollapsible(False)
        drawer.addWidget(self.stack)
        drawer.addWidget(self.log)
        drawer.setStretchFactor(0, 1)
        drawer.setSizes([600, 180])
        self.sitting.follow("log", drawer)
        right = QWidget()
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.top)
        holder = QVBoxLayout()
        holder.setContentsMargins(16, 0, 16, 0)
        holder.addWidget(self.message)
        column.addLayout(holder)
        column.addWidget(drawer, 1)
        column.addWidget(self.strip)
        whole = QWidget()
        row = QHBoxLayout(whole)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.rail)
        row.addWidget(right, 1)
        self.setCentralWidget(whole)
        self.palette_overlay = Palette(self.commands, whole)
        self.help = Help(self.commands, whole)

    def _connect(self) -> None:
        desk = self.desk
        for command, action in self.commands:
            if command.scope == "window":
                self.addAction(action)
        table: dict[str, Callable[[], object]] = {
            "file.folder": lambda: self._model_page("choose_folder"),
            "file.file": lambda: self._model_page("choose_file"),
            "file.bundled": lambda: self._open_model(BUNDLED),
            "file.package": self._choose_package,
            "file.package_folder": self._choose_package_folder,
            "file.run": self._choose_run,
            "file.report": self._report,
            "file.space": self._space,
            "file.quit": self.close,
            "run.whole": self._whole_job,
            "run.start": self._start,
            "run.pause": desk.pause_run,
            "run.stop": desk.stop_run,
            "run.certify": self._certify,
            "run.more": self._go_on,
            "run.worker": self.worker.restart,
            "view.theme": self._toggle_theme,
            "view.system": lambda: self._set_theme("system"),
            "view.larger": lambda: self._resize_text(1),
            "view.smaller": lambda: self._resize_text(-1),
            "view.reset": lambda: self._resize_text(0),
            "view.log": self.toggle_log,
            "view.palette": self.palette_overlay.open,
            "help.keys": self.help.open,
            **{f"go.{step}": partial(self.go, step) for step in STEPS},
        }
        for name, handler in table.items():
            self.commands.on(name, handler)
        desk.token_wanted.connect(lambda again: TokenDialog(desk, again, self).open())
        desk.step_wanted.connect(self.go)
        desk.logged.connect(self.log.add)
        desk.problem.connect(self._on_problem)
        for signal in (desk.card_changed, desk.targets_changed, desk.busy_changed, self.journey.changed):
            signal.connect(self._show_frame)
        desk.run.changed.connect(self._on_changed)
        self.worker.vitals.connect(self.strip.show_vitals)
        self.worker.ready.connect(lambda _: self.message.clear())
        self.journey.export_wanted.connect(self._export)
        self.menus = TopMenus(self.top, desk, self.commands, self._open_model, self._open_run)

    def _restore(self) -> None:
        geometry = self.sitting.blob("geometry")
        if geometry is None or not self.restoreGeometry(geometry):
            self.resize(1280, 800)
        self.log.setVisible(self.sitting.text("log") == "shown")
        step = self.sitting.text("step", "model")
        self.go(step if step in PAGES else "model")
        for notice in self.sitting.notices:
            self.message.say(notice.text, notice.level)

    def begin(self) -> None:
        """After the window is on the screen: start the worker, open what was open last."""
        self.worker.start()
        # pyqtgraph takes most of a second to import; beside the event loop nobody waits for it.
        importing = threading.Thread(target=_import_pages, name="import pages", daemon=True)
        importing.start()
        builder = QTimer(self, interval=BETWEEN_PAGES)
        builder.timeout.connect(lambda: self._build_ahead(importing, builder))
        builder.start()
        last = self.sitting.settings.last_run
        if last and (Path(last) / NAME).is_file():
            candidate = self.sitting.text("candidate")
            if self.desk.open_run(Path(last)) and candidate in self.desk.run.state.candidates:
                self.desk.select(candidate)
            pair = self.sitting.text("pair").split()
            if len(pair) == 2 and set(pair) <= set(self.desk.run.state.candidates):
                self.desk.compare(pair[0], pair[1])
        self.desk.open_model(self.sitting.settings.model)

    # -- steps ----------------------------------------------------------------------------------

    def go(self, step: str) -> None:
        """Open a step; the page is built the first time."""
        page = self.page(step)
        self.stack.setCurrentWidget(self._places[step])
        self.rail.set_current(step)
        self.step = step
        self.sitting.put("step", step)
        page.entered()
        self._show_frame()

    def page(self, step: str) -> Page:
        """The page of a step."""
        if step not in self.pages:
            module, _, name = PAGES[step].partition(":")
            made: Page = getattr(importlib.import_module(module), name)(
                self.desk, self.theme, self.commands, self.journey
            )
            self.pages[step] = made
            # Where text is large or the window small, a page scrolls rather than being cut off.
            place = QScrollArea()
            place.setWidgetResizable(True)
            place.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            place.setWidget(made)
            self._places[step] = place
            self.stack.addWidget(place)
        return self.pages[step]

    def _build_ahead(self, importing: threading.Thread, builder: QTimer) -> None:
        """One page a turn, so that a click on a step, or a run's first event, waits for none to be built."""
        missing = [step for step in PAGES if step not in self.pages]
        if not missing:
            builder.stop()
            self.complete.emit()
        elif not importing.is_alive() and self.desk.run.phase != "running":
            self.page(missing[0])

    def _open_model(self, source: str) -> None:
        self.go("model")
        self.desk.open_model(source)

    def _start(self) -> None:
        self.go("evolve")
        self.desk.start_or_resume()

    def _go_on(self) -> None:
        from studio.ui.pages.going_on import GoOnDialog

        self.go("evolve")
        if self.desk.can_go_on:
            GoOnDialog(self.desk, self).exec()

    def _certify(self) -> None:
        from studio.ui.pages import certifying

        certifying.ask(self.desk, self.desk.selected, self)

    def _model_page(self, method: str) -> None:
        self.go("model")
        getattr(self.page("model"), method)()

    def _whole_job(self) -> None:
        if self.desk.run.phase != "running":
            self.journey.start(self.desk.source)

    def _export(self, name: str) -> None:
        self.desk.select(name)
        page = self.page("export")
        getattr(page, "start_export")()  # noqa: B009

    # -- frame ----------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything or changes.phase or changes.progress or changes.updated or changes.front:
            self._show_frame()

    def _show_frame(self) -> None:
        desk = self.desk
        for step in PAGES:
            state = state_of(step, desk)
            if self.rail[step].state != state:
                self.rail[step].set_state(state)
        target = desk.target
        model = desk.card.name if desk.card is not None else ""
        where = f"{target.name}" if target is not None else desk.sitting.settings.target.upper()
        self.top.show_names(model, where, self._run_name())
        self._show_status()

    def _run_name(self) -> str:
        run = self.desk.run
        if not run.id:
            return ""
        started = time.strftime("%d %b %H:%M", time.localtime(run.state.started_at))
        return f"run of {started}"

    def _show_status(self) -> None:
        desk, run = self.desk, self.desk.run
        progress = run.state.progress
        if not self.worker.alive and not self.worker.is_ready and "worker" in desk.problems:
            self.strip.show_state("The worker is not running", "bad")
        elif run.phase == "running" and progress is not None:
            left = text.time_range(progress.seconds_low, progress.seconds_high)
            words = (
                f"{progress.doing} {progress.done} of {progress.total}" if progress.total else progress.doing
            )
            self.strip.show_state(words, "good", progress.done, progress.total, left)
        elif run.phase == "running":
            self.strip.show_state("Starting the run", "good")
        elif desk.opening:
            self.strip.show_state("Opening the model", "good")
        elif desk.asking_devices:
            self.strip.show_state("Measuring this machine", "good")
        elif self.worker.busy:
            self.strip.show_state("Working", "good")
        elif run.phase in {"paused", "interrupted"}:
            self.strip.show_state(f"Run {run.phase}; resume it in Evolve", "warn")
        elif run.state.finished is not None:
            self.strip.show_state(run.state.finished.text, "muted")
        else:
            self.strip.show_state("Ready", "muted")

    def _on_problem(self, problem: Problem) -> None:
        if problem.step == "worker":
            self.message.say(
                problem.text,
                problem.level,
                (problem.title, problem.action or self.worker.restart),
                lasting=True,
            )
        elif problem.step != self.step and problem.step in PAGES:
            self.message.say(problem.text, problem.level, ("Show", lambda: self.go(problem.step)))
        self._show_frame()

    def toggle_log(self) -> None:
        self.log.setVisible(not self.log.isVisible())
        self.sitting.put("log", "shown" if self.log.isVisible() else "hidden")

    # -- runs ----------------------------------------------------------------------------------

    def _open_run(self, folder: Path) -> None:
        if self.desk.run.phase == "running":
            self.message.say("A run is going on; pause or stop it before another is shown.", "warning")
            return
        self.go("evolve")
        self.desk.open_run(folder)

    def _choose_run(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Open run", str(self.sitting.home / "runs"))
        if name:
            self._open_run(Path(name))

    def _choose_package(self) -> None:
        kinds = "Packages (*.pareto *.zip);;All files (*)"
        name, _ = QFileDialog.getOpenFileName(self, "Open package", str(Path.home()), kinds)
        if name:
            self.open_package(Path(name))

    def _choose_package_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Open unpacked package", str(Path.home()))
        if name:
            self.open_package(Path(name))

    def open_package(self, package: Path) -> None:
        """Show on the Export step what a package is, and whether it is as its maker left it."""
        self.go("export")
        page: Any = self.page("export")
        page.open_package(package.absolute())

    def _space(self) -> None:
        from studio.ui.pages.space import SpaceDialog

        SpaceDialog(self.desk, self).open()

    def _report(self) -> None:
        if self.desk.run.id:
            job = self.desk.report()
            job.done.connect(self._show_report)

    def _show_report(self, result: dict[str, str]) -> None:
        place = result["path"]
        show = partial(QDesktopServices.openUrl, QUrl.fromLocalFile(place))
        self.message.say(f"The report was written: {place}", "info", ("Open", show))

    # -- look -----------------------------------------------------------------------------------

    def _toggle_theme(self) -> None:
        self.theme.toggle()
        self.sitting.change(theme=self.theme.mode)

    def _set_theme(self, mode: str) -> None:
        self.theme.set_mode("system")
        self.sitting.change(theme=mode)

    def _resize_text(self, by: int) -> None:
        nearest = min(range(len(SCALES)), key=lambda at: abs(SCALES[at] - self.theme.scale))
        scale = 1.0 if by == 0 else SCALES[max(0, min(len(SCALES) - 1, nearest + by))]
        self.theme.set_scale(scale)
        self.sitting.put("scale", scale)

    # -- dropping -------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_package(event.mimeData()) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        if (package := dropped_package(event.mimeData())) is not None:
            event.acceptProposedAction()
            self.open_package(package)

    # -- closing --------------------------------------------------------------------------------

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.desk.run.phase == "running" and not self._may_close():
            event.ignore()
            return
        self.sitting.put_blob("geometry", self.saveGeometry())
        self.sitting.put("candidate", self.desk.selected)
        self.sitting.put("pair", " ".join(self.desk.pair))
        self.hide()
        self.desk.close()
        event.accept()

    def _may_close(self) -> bool:
        box = QMessageBox(self)
        box.setWindowTitle("A run is going on")
        box.setText("A run is going on.")
        box.setInformativeText(
            "If you close the window, the candidate in flight is given up; everything judged so far is kept, "
            "and the run can be resumed."
        )
        leave = box.addButton("Close", QMessageBox.ButtonRole.AcceptRole)
        box.addButton("Keep open", QMessageBox.ButtonRole.RejectRole)
        box.exec()
        return box.clickedButton() is leave

    def show_and_begin(self) -> None:
        """Show the window at once; everything slow comes after the first frame."""
        self.show()
        QTimer.singleShot(0, self.begin)


def _import_pages() -> None:
    """Have the code of every page ready before it is opened."""
    for place in PAGES.values():
        importlib.import_module(place.partition(":")[0])
