"""The menus of the top bar: models, devices and runs, filled when they open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu

from studio.record.journal import NAME
from studio.ui.actions import Commands
from studio.ui.desk import BUNDLED, Desk
from studio.ui.widgets.bars import TopBar

RUNS = 12
"""Runs on offer, newest first; older ones through `Open run`."""


class TopMenus(QObject):
    """Fills the three menus of a top bar."""

    def __init__(
        self,
        bar: TopBar,
        desk: Desk,
        commands: Commands,
        open_model: Callable[[str], None],
        open_run: Callable[[Path], None],
    ) -> None:
        super().__init__(bar)
        self._bar, self._desk, self._commands = bar, desk, commands
        self._open_model, self._open_run = open_model, open_run
        for name, fill in (("model", self._models), ("device", self._devices), ("run", self._runs)):
            bar.menus[name].aboutToShow.connect(fill)

    def _models(self) -> None:
        menu = self._empty("model")
        for source in dict.fromkeys((BUNDLED, *self._desk.sitting.settings.recent_models)):
            action = QAction("Tiny Scenes (bundled)" if source == BUNDLED else source, menu)
            action.triggered.connect(lambda *_, source=source: self._open_model(source))
            menu.addAction(action)
        menu.addSeparator()
        menu.addAction(self._commands["file.folder"])
        menu.addAction(self._commands["file.file"])

    def _devices(self) -> None:
        menu = self._empty("device")
        for target in self._desk.targets:
            action = QAction(target.name, menu)
            action.setCheckable(True)
            action.setChecked(target.id == self._desk.sitting.settings.target)
            action.setEnabled(target.state == "ready")
            action.triggered.connect(lambda *_, name=target.id: self._desk.choose_target(name))
            menu.addAction(action)
        menu.addAction(self._commands["go.device"])

    def _runs(self) -> None:
        menu = self._empty("run")
        base = self._desk.sitting.home / "runs"
        folders = [one for one in base.iterdir() if (one / NAME).is_file()] if base.is_dir() else []
        for folder in sorted(folders, reverse=True)[:RUNS]:
            action = QAction(folder.name, menu)
            action.setCheckable(True)
            action.setChecked(folder.name == self._desk.run.id)
            action.triggered.connect(lambda *_, folder=folder: self._open_run(folder))
            menu.addAction(action)
        menu.addSeparator()
        menu.addAction(self._commands["file.run"])

    def _empty(self, name: str) -> QMenu:
        menu = self._bar.menus[name]
        menu.clear()
        return menu
