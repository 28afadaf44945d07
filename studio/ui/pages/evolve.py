"""Evolve: the plot fills while candidates are judged; table and inspector follow the selection."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, QModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QSplitter,
    QTableView,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from studio.ui import icons, text
from studio.ui.actions import Commands
from studio.ui.desk import Desk
from studio.ui.journey import Journey
from studio.ui.models.candidates import ID, SORT, CandidateTable
from studio.ui.models.run import Changes
from studio.ui.pages.agent_bar import AgentBar
from studio.ui.pages.inspector import Inspector
from studio.ui.pages.lineage import LineageView
from studio.ui.pages.page import Page
from studio.ui.pages.talk import TalkView
from studio.ui.theme import Theme, set_role
from studio.ui.widgets.fields import real, whole
from studio.ui.widgets.hypervolume import HypervolumeLine
from studio.ui.widgets.labels import FlowRow, label
from studio.ui.widgets.pareto import ParetoPlot
from studio.ui.widgets.ticks import GenerationTicks


class EvolvePage(Page):
    """Third step."""

    step = "evolve"
    title = "Evolve"

    def __init__(self, desk: Desk, theme: Theme, commands: Commands, journey: Journey) -> None:
        super().__init__(desk, theme, commands, journey)
        self._header()
        self.plot = ParetoPlot(desk.run, theme, desk.pictures)
        commands.attach("plot", self.plot)
        self.table = self._build_table()
        self.inspector = Inspector(desk, theme)
        upper = QWidget()
        column = QVBoxLayout(upper)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self._limits())
        column.addWidget(self.plot, 1)
        column.addWidget(HypervolumeLine(desk.run, theme))
        lower = QWidget()
        below = QVBoxLayout(lower)
        below.setContentsMargins(0, 4, 0, 0)
        below.setSpacing(4)
        self._filter = QLineEdit()
        self._filter.setPlaceholderText("Filter candidates")
        self._filter.setAccessibleName("Filter candidates")
        self._filter.setClearButtonEnabled(True)
        self._filter.textChanged.connect(self._proxy.setFilterFixedString)
        self._filter.setMaximumWidth(260)
        self._counts = label("", "small")
        row = QHBoxLayout()
        row.addWidget(self._counts)
        row.addStretch(1)
        row.addWidget(self._filter)
        below.addLayout(row)
        below.addWidget(self.table, 1)
        self.talk = TalkView(desk, theme)
        self.lineage = LineageView(desk, theme)
        self.views = QTabWidget()
        self.views.setAccessibleName("Candidates, conversation and lineage")
        self.views.tabBar().setDrawBase(False)
        for view, title in ((lower, "Candidates"), (self.talk, "Conversation"), (self.lineage, "Lineage")):
            self.views.addTab(view, title)
        left = QSplitter(Qt.Orientation.Vertical)
        left.addWidget(upper)
        left.addWidget(self.views)
        left.setStretchFactor(0, 3)
        left.setStretchFactor(1, 2)
        left.setSizes([460, 220])
        whole = QSplitter(Qt.Orientation.Horizontal)
        whole.addWidget(left)
        whole.addWidget(self.inspector)
        whole.setStretchFactor(0, 1)
        whole.setSizes([770, 400])
        for name, splitter in (("evolve/left", left), ("evolve/whole", whole)):
            splitter.setChildrenCollapsible(False)
            desk.sitting.follow(name, splitter)
        self.agent = AgentBar(desk)
        given = QHBoxLayout()
        given.setSpacing(12)
        given.addWidget(self.agent, 1)
        given.addWidget(self._amounts())
        self.column.addLayout(given)
        self.column.addWidget(whole, 1)
        self.plot.selected.connect(desk.select)
        self.plot.opened.connect(self._compare)
        desk.selection_changed.connect(self._on_selection)
        desk.run.changed.connect(self._on_changed)
        desk.busy_changed.connect(self._show_phase)
        theme.changed.connect(self._restyle)
        for name, handler in (
            ("evolve.previous", lambda: self.plot.step(-1)),
            ("evolve.next", lambda: self.plot.step(1)),
            ("evolve.knee", self.plot.select_knee),
            ("evolve.compare", self.plot.open_selected),
            ("evolve.reset", self.plot.show_all),
        ):
            commands.on(name, handler)
        self._restyle()
        self._on_changed(Changes(everything=True, phase=True))
        self._on_selection(desk.selected)
        self._on_limit()

    def entered(self) -> None:
        self.plot.setFocus()

    # -- building -------------------------------------------------------------------------------

    def _header(self) -> None:
        self.start, self.pause, self.stop = QPushButton("Start"), QPushButton("Pause"), QPushButton("Stop")
        self.start.setProperty("role", "primary")
        self.more = QPushButton("Go on…")
        self.more.setProperty("role", "primary")
        for button, name in (
            (self.more, "run.more"),
            (self.start, "run.start"),
            (self.pause, "run.pause"),
            (self.stop, "run.stop"),
        ):
            button.clicked.connect(self.commands[name].trigger)
            button.setToolTip(self.commands[name].toolTip())
            self.head.addWidget(button)
        self.head.addSpacing(8)
        self.head.addWidget(GenerationTicks(self.desk.run, self.theme))
        self.head.addStretch(1)

    def _amounts(self) -> QWidget:
        """How much the next run is given."""
        now = self.desk.sitting.settings
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        keep = self.desk.sitting.change
        self._generations = whole("Generations", 1, 1000, now.generations)
        self._generations.valueChanged.connect(lambda value: keep(generations=value))
        self._population = whole("Candidates a generation", 1, 100, now.population)
        self._population.valueChanged.connect(lambda value: keep(population=value))
        minutes = (now.budget or 0) / 60
        self._budget = real("Time budget", 0, 10_000, minutes, digits=0, unit="min", least="no limit")
        self._budget.valueChanged.connect(lambda value: keep(budget=value * 60 if value else None))
        for name, field in (
            ("Generations", self._generations),
            ("of", self._population),
            ("Budget", self._budget),
        ):
            caption = label(name, "small")
            caption.setBuddy(field)
            row.addWidget(caption)
            row.addWidget(field)
        return holder

    def _limits(self) -> QWidget:
        row = FlowRow(12)
        self._legend = QLabel()
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        self._legend.setToolTip(
            "◇ around a point: not verified on the device that its engines were built for"
        )
        row.add(self._legend)
        remembered = self.desk.sitting.real
        self._slowest = real("Latency limit", 0, 1e6, remembered("limit/latency", 0), unit="ms", least="any")
        self._poorest = real("Loss limit", 0, 1e6, remembered("limit/loss", 0), least="any")
        for field, name in ((self._slowest, "At most"), (self._poorest, "Loss up to")):
            field.valueChanged.connect(self._on_limit)
            field.setMaximumWidth(round(112 * self.theme.scale))
            both = QWidget()
            pair = QHBoxLayout(both)
            pair.setContentsMargins(0, 0, 0, 0)
            pair.setSpacing(6)
            pair.addWidget(label(name, "small"))
            pair.addWidget(field)
            row.add(both)
        return row

    def _build_table(self) -> QTableView:
        self._candidates = CandidateTable(self.desk.run, self.theme)
        self._proxy = QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self._candidates)
        self._proxy.setSortRole(SORT)
        self._proxy.setFilterKeyColumn(-1)
        self._proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        table = QTableView()
        table.setAccessibleName("Candidates")
        table.setModel(self._proxy)
        table.setSortingEnabled(True)
        table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        table.setTabKeyNavigation(False)
        table.setWordWrap(False)
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.selectionModel().currentRowChanged.connect(self._on_row)
        table.activated.connect(lambda index: self._compare(index.data(ID)))
        return table

    # -- following ------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.phase or changes.everything:
            self._show_phase()
        if changes.everything:
            metric = self.desk.run.metric
            unit = text.scaled(metric)[1] if metric else ""
            self._poorest.setSuffix(f" {unit}" if unit else "")
            self._on_limit()
        state = self.desk.run.state
        failed = sum(1 for one in state.candidates.values() if one.verdict and one.verdict.state == "failed")
        self._counts.setText(
            f"{len(state.candidates)} candidates · {len(state.front)} on the front · {failed} failed"
            if state.candidates
            else "Waiting for the first candidate."
            if self.desk.run.phase == "running"
            else "No candidates yet: start a run to fill the plot."
        )

    def _show_phase(self) -> None:
        phase = self.desk.run.phase
        going = phase == "running"
        words = {"paused": "Resume", "interrupted": "Resume", "empty": "Start", "running": "Running"}
        self.start.setText(words.get(phase, "Start anew"))
        self.start.setEnabled(not going and not self.desk.opening)
        ended = self.desk.can_go_on
        self.more.setVisible(ended)
        self.more.setEnabled(not self.desk.opening)
        set_role(self.start, "" if ended else "primary")
        self.start.setIcon(icons.icon("play", self._play_ink(), 14))
        self.pause.setEnabled(going)
        self.stop.setEnabled(going or phase == "paused")
        for field in (self._generations, self._population, self._budget):
            field.setEnabled(not going)

    def _play_ink(self) -> str:
        """Of the two buttons that begin something the likelier one is the primary."""
        tokens = self.theme.tokens
        return tokens.text if self.desk.can_go_on else tokens.on_accent

    def _on_selection(self, name: str) -> None:
        self.plot.select(name)
        row = self._candidates.row(name)
        if row is None:
            self.table.clearSelection()
            return
        index = self._proxy.mapFromSource(self._candidates.index(row, 0))
        if index.isValid() and index.row() != self.table.currentIndex().row():
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.table.selectionModel().setCurrentIndex(index, flags)
            self.table.scrollTo(index)

    def _on_row(self, index: QModelIndex) -> None:
        name = index.data(ID)
        if name:
            self.desk.select(name)

    def _compare(self, name: str) -> None:
        candidate = self.desk.run.state.candidates.get(name)
        if candidate is not None and candidate.passed:
            self.desk.compare("c000", name)
            self.desk.step_wanted.emit("compare")

    def _on_limit(self) -> None:
        slow, poor = self._slowest.value(), self._poorest.value()
        self.desk.sitting.put("limit/latency", slow)
        self.desk.sitting.put("limit/loss", poor)
        metric = self.desk.run.metric
        factor = text.scaled(metric)[0] if metric else 1.0
        self.plot.set_limits(slow / 1000 if slow else None, poor / factor if poor else None)

    def _restyle(self) -> None:
        tokens = self.theme.tokens
        parts = (
            (tokens.warn, "★", "baseline"),
            (tokens.accent, "●", "front"),
            (tokens.muted, "○", "dominated"),
            (tokens.accent, "◌", "running"),
            (tokens.warn, "▲", "quarantined"),
            (tokens.bad, "✕", "failed"),
        )
        small = round(11 * self.theme.scale)
        self._legend.setText(
            "&nbsp;&nbsp;".join(
                f'<span style="color:{colour}">{mark}</span>'
                f'<span style="color:{tokens.muted};font-size:{small}px"> {word}</span>'
                for colour, mark, word in parts
            )
        )
        self.start.setIcon(icons.icon("play", self._play_ink(), 14))
        self.more.setIcon(icons.icon("play", tokens.on_accent, 14))
        self.pause.setIcon(icons.icon("pause", tokens.text, 14))
        self.stop.setIcon(icons.icon("stop", tokens.text, 14))
        widths = (52, 116, 42, 72, 76, 112, 76)
        for at, width in enumerate(widths):
            self.table.setColumnWidth(at, round(width * self.theme.scale))
        self.table.verticalHeader().setDefaultSectionSize(round(26 * self.theme.scale))
