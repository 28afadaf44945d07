"""Model: open one, see what it is, say what work it has to do."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from studio.record.described import Component, ModelCard
from studio.record.sources import Source
from studio.ui import text
from studio.ui.actions import Commands
from studio.ui.desk import BUNDLED, Desk
from studio.ui.journey import Journey
from studio.ui.models.run import Changes
from studio.ui.opening import dropped_package
from studio.ui.pages.page import Page
from studio.ui.theme import Theme, set_role
from studio.ui.widgets.added_parts import AddedParts
from studio.ui.widgets.labels import Figure, Flow, FlowRow, label, plain_line
from studio.ui.widgets.message import Empty
from studio.ui.widgets.share_bar import ShareBars
from studio.ui.widgets.workload_form import WorkloadForm

STAGE = {
    "text_encoder": "encode",
    "unet": "denoise",
    "denoiser": "denoise",
    "transformer": "denoise",
    "scheduler": "scheduler",
    "vae": "decode",
    "decoder": "decode",
}
"""Component to the stage of a run's baseline in which it works."""


class DropZone(QFrame):
    """Takes a dropped folder or file.

    Signals:
        dropped(str): its path.
    """

    dropped = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "drop")
        self.setAcceptDrops(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(8)
        column.addWidget(label("Drop a model here", "section"))
        column.addWidget(label("A diffusers folder, or one .safetensors file", "muted", wrap=True))
        self.buttons = QHBoxLayout()
        column.addLayout(self.buttons)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        local = event.mimeData().hasUrls() and event.mimeData().urls()[0].isLocalFile()
        if local and dropped_package(event.mimeData()) is None:  # which the window takes
            event.acceptProposedAction()
            self._mark(over=True)

    def dragLeaveEvent(self, _: QDragLeaveEvent) -> None:
        self._mark(over=False)

    def dropEvent(self, event: QDropEvent) -> None:
        self._mark(over=False)
        event.acceptProposedAction()
        self.dropped.emit(event.mimeData().urls()[0].toLocalFile())

    def _mark(self, *, over: bool) -> None:
        self.setProperty("over", "true" if over else "false")
        self.style().unpolish(self)
        self.style().polish(self)


class ModelPage(Page):
    """First step."""

    step = "model"
    title = "Model"

    def __init__(self, desk: Desk, theme: Theme, commands: Commands, journey: Journey) -> None:
        super().__init__(desk, theme, commands, journey)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self._sources())
        splitter.addWidget(self._details())
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([300, 800])
        desk.sitting.follow("model", splitter)
        self.column.addWidget(splitter, 1)
        desk.card_changed.connect(self._show_card)
        desk.busy_changed.connect(self._show_busy)
        desk.run.changed.connect(self._on_run)
        desk.targets_changed.connect(self._show_fit)
        journey.changed.connect(self._show_legs)
        self._show_card()
        self._show_busy()
        self._show_legs()

    def _sources(self) -> QWidget:
        side = QWidget()
        side.setMinimumWidth(250)
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(12)
        zone = DropZone()
        zone.dropped.connect(self.desk.open_model)
        for title, name in (("Folder…", "file.folder"), ("File…", "file.file")):
            button = QPushButton(title)
            button.setAccessibleName(self.commands[name].text())
            button.clicked.connect(self.commands[name].trigger)
            zone.buttons.addWidget(button)
        column.addWidget(zone)
        row = QHBoxLayout()
        row.setSpacing(4)
        self._name = QLineEdit()
        self._name.setPlaceholderText("or a path or hub id")
        self._name.setAccessibleName("Path or hub id of a model")
        self._name.returnPressed.connect(self._open_named)
        go = QPushButton("Open")
        go.setAccessibleName("Open the named model")
        go.clicked.connect(self._open_named)
        row.addWidget(self._name, 1)
        row.addWidget(go)
        column.addLayout(row)
        holder = QWidget()
        parts = Flow(holder, 4)
        lora = QPushButton("+ LoRA…")
        lora.setAccessibleName("Merge a LoRA file into the model")
        lora.setToolTip("Merge a LoRA file into the named model, or else into the open one")
        lora.clicked.connect(self._choose_lora)
        parts.addWidget(lora)
        column.addWidget(holder)
        column.addWidget(label("Bundled", "small"))
        bundled = QPushButton("Tiny Scenes")
        bundled.setToolTip("A small text-to-image model, trained for this program")
        bundled.clicked.connect(self.commands["file.bundled"].trigger)
        column.addWidget(bundled)
        self._recent_word = label("Recent", "small")
        column.addWidget(self._recent_word)
        self._recent = QListWidget()
        self._recent.setAccessibleName("Recent models")
        self._recent.itemActivated.connect(self._open_item)
        self._recent.itemClicked.connect(self._open_item)
        column.addWidget(self._recent, 1)
        column.addStretch(0)
        return side

    def _details(self) -> QWidget:
        self._tabs = QTabWidget()
        self._tabs.setAccessibleName("Model and workload")
        self._tabs.tabBar().setDrawBase(False)
        self._card = QWidget()
        column = QVBoxLayout(self._card)
        column.setContentsMargins(0, 12, 0, 0)
        column.setSpacing(12)
        self._empty = Empty(
            "No model is open",
            "Open a folder or file, or begin with the small model that ships with the Studio.",
            "Open the bundled model",
        )
        self._empty.button.clicked.connect(self.commands["file.bundled"].trigger)
        column.addWidget(self._empty)
        self._body = QWidget()
        body = QVBoxLayout(self._body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(12)
        hero = QHBoxLayout()
        names = QVBoxLayout()
        names.setSpacing(0)
        self._title = label("", "big", wrap=True)
        self._where = plain_line("Where the model is from, and its digest")
        names.addWidget(self._title)
        names.addWidget(self._where)
        hero.addLayout(names, 1)
        self._whole = QPushButton("Make it fast on this machine")
        self._whole.setProperty("role", "hero")
        self._whole.setToolTip(self.commands["run.whole"].toolTip())
        self._whole.clicked.connect(self.commands["run.whole"].trigger)
        hero.addWidget(self._whole)
        body.addLayout(hero)
        self._legs_row = FlowRow(16)
        self._leg_labels = [label("", "muted") for _ in self.journey.legs]
        self._legs_row.add(*self._leg_labels)
        body.addWidget(self._legs_row)
        figures = FlowRow(24)
        self._figures = {
            name: Figure(name) for name in ("Family", "Task", "Native size", "Steps", "Guidance", "Licence")
        }
        figures.add(*self._figures.values())
        body.addWidget(figures)
        self._fit = label("", "muted", wrap=True)
        body.addWidget(self._fit)
        self._table = QTableWidget(0, 6)
        self._table.setAccessibleName("Components of the model")
        self._table.setHorizontalHeaderLabels(
            ["Component", "Class", "Parameters", "Type", "Memory", "Share of time"]
        )
        self._table.verticalHeader().hide()
        self._table.setShowGrid(False)
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setTabKeyNavigation(False)
        self._shares = ShareBars(self.theme, self._table)
        self._table.setItemDelegateForColumn(5, self._shares)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(5, QHeaderView.ResizeMode.Fixed)
        self._table.setColumnWidth(5, round(150 * self.theme.scale))
        header.setHighlightSections(False)
        for at in (2, 4):
            item = self._table.horizontalHeaderItem(at)
            if item is not None:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for at in (0, 1, 3, 5):
            item = self._table.horizontalHeaderItem(at)
            if item is not None:
                item.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        body.addWidget(self._table)
        self.added = AddedParts()
        self.added.chosen.connect(self.desk.open_model)
        body.addWidget(self.added)
        self._notes = label("", "muted", wrap=True)
        body.addWidget(self._notes)
        body.addStretch(1)
        column.addWidget(self._body, 1)
        self._tabs.addTab(self._card, "Card")
        self._workload = WorkloadForm()
        self._workload.show_workload(self.desk.sitting.settings.workload)
        self._workload.changed.connect(self.desk.set_workload)
        self._tabs.addTab(self._workload, "Workload")
        return self._tabs

    # -- showing --------------------------------------------------------------------------------

    def _show_card(self) -> None:
        card = self.desk.card
        self._empty.setVisible(card is None)
        self._body.setVisible(card is not None)
        self._recent.clear()
        for source in self.desk.sitting.settings.recent_models:
            given = Source.read(source)
            name = "Tiny Scenes" if given.model == BUNDLED else Path(given.model).name
            item = QListWidgetItem(name if given.model == source else f"{name} with added parts")
            item.setData(Qt.ItemDataRole.UserRole, source)
            item.setToolTip(source)
            self._recent.addItem(item)
        for widget in (self._recent_word, self._recent):
            widget.setVisible(bool(self._recent.count()))
        if card is not None:
            if self.desk.sitting.settings.model.startswith(self._name.text().strip()):
                self._name.clear()  # it is open now; what "+ LoRA" is about is the open model again
            self._fill(card)
            self._workload.show_card(card)

    def _fill(self, card: ModelCard) -> None:
        self._title.setText(card.name)
        self._where.setText(f"{card.source}   ·   {card.hash[:16]}")
        values = {
            "Family": card.family,
            "Task": card.task,
            "Native size": f"{card.size}{text.THIN}px",
            "Steps": str(card.steps),
            "Guidance": text.number(card.guidance),
            "Licence": card.licence,
        }
        for name, value in values.items():
            self._figures[name].show_value(value)
        self._table.setRowCount(len(card.components))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for row, part in enumerate(card.components):
            cells = (
                part.name,
                part.kind,
                text.count(part.parameters) if part.parameters else "–",
                part.dtype,
            )
            for at, cell in enumerate((*cells, text.size(part.bytes) if part.bytes else "–", "")):
                item = QTableWidgetItem(cell)
                if at in {2, 4}:
                    item.setTextAlignment(right)
                self._table.setItem(row, at, item)
            known = self._share(card, part)
            share = QTableWidgetItem("" if known is None else text.percent(known))
            share.setData(Qt.ItemDataRole.UserRole, known if part.name in STAGE or known else -1)
            self._table.setItem(row, 5, share)
        rows = sum(self._table.rowHeight(row) for row in range(len(card.components)))
        self._table.setFixedHeight(rows + self._table.horizontalHeader().sizeHint().height() + 6)
        self.added.show_source(card.source)
        self._notes.setText("\n".join(card.notes))
        self._notes.setVisible(bool(card.notes))
        self._show_fit()

    def _share(self, card: ModelCard, part: Component) -> float | None:
        """A part's share of the baseline's time: the card's, else what the run on show measured."""
        state = self.desk.run.state
        verdict = state.baseline.verdict if state.baseline is not None else None
        if part.share is not None or verdict is None or state.model is None or state.model.hash != card.hash:
            return part.share
        whole = sum(verdict.stages.values())
        spent = verdict.stages.get(STAGE.get(part.name, ""))
        return None if not whole or spent is None else spent / whole

    def _on_run(self, changes: Changes) -> None:
        self._show_busy()
        if self.desk.card is not None and (changes.everything or "c000" in changes.updated):
            self._fill(self.desk.card)

    def _show_fit(self) -> None:
        card = self.desk.card
        memory = self.desk.machine.get("memory")
        if card is None:
            return
        needs = f"Weights take {text.size(card.memory)} in fp32"
        if not isinstance(memory, int | float) or memory <= 0:
            self._fit.setText(f"{needs}.")
            set_role(self._fit, "muted")
        elif card.memory * 2 < memory:
            self._fit.setText(f"✓ Fits: w{needs[1:]}; this machine has {text.size(memory)}.")
            set_role(self._fit, "good")
        else:
            self._fit.setText(
                f"! May not fit: w{needs[1:]} and about as much again to run; "
                f"this machine has {text.size(memory)}."
            )
            set_role(self._fit, "warn")

    def _show_busy(self) -> None:
        running = self.desk.opening or self.journey.active or self.desk.run.phase == "running"
        self._whole.setEnabled(not running)
        self._empty.button.setEnabled(not self.desk.opening)
        self._empty.describe(
            "Reading the model…" if self.desk.opening else "No model is open",
            "The worker reads its parts and works out what they are."
            if self.desk.opening
            else "Open a folder or file, or begin with the small model that ships with the Studio.",
        )

    def _show_legs(self) -> None:
        marks = {
            "waiting": ("○", "muted"),
            "running": ("◐", ""),
            "done": ("✓", "good"),
            "failed": ("✕", "bad"),
        }
        for one, leg in zip(self._leg_labels, self.journey.legs, strict=True):
            mark, role = marks[leg.state]
            one.setText(f"{mark} {leg.title}")
            set_role(one, role if leg.state != "done" else "good")
        self._show_busy()

    # -- opening --------------------------------------------------------------------------------

    def choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Open model folder")
        if name:
            self.desk.open_model(name)

    def choose_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Open model file", "", "Weights (*.safetensors);;All files (*)"
        )
        if name:
            self.desk.open_model(name)

    def _open_named(self) -> None:
        if self._name.text().strip():
            self.desk.open_model(self._name.text().strip())

    def _choose_lora(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "LoRA to merge into the model", "", "LoRA (*.safetensors);;All files (*)"
        )
        if name:
            self.open_with(name)

    def open_with(self, part: str) -> None:
        """Open the named model, or else the open one, with a file that is merged into it."""
        self.desk.open_model(f"{self._name.text().strip() or self.desk.source} + {part}")

    def _open_item(self, item: QListWidgetItem) -> None:
        self.desk.open_model(item.data(Qt.ItemDataRole.UserRole))
