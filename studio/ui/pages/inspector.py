"""The selected candidate: picture, numbers with intervals, recipe, verdict by stage, script, output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from studio.record import costs
from studio.record.state import CandidateState
from studio.record.verdict import Verdict
from studio.ui import text
from studio.ui.desk import Desk
from studio.ui.models.candidates import ROLES, SHAPES
from studio.ui.models.run import WORDS, Changes
from studio.ui.pages import certifying
from studio.ui.theme import Theme, set_role
from studio.ui.widgets.hover_card import thumbnail
from studio.ui.widgets.labels import Chips, Flow, NumberRows, label
from studio.ui.widgets.script_view import ScriptView

STAGES = ("static", "build", "smoke", "gate", "certify")
PICTURE = 112


class Inspector(QWidget):
    """Follows the desk's selection."""

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self._desk, self._theme = desk, theme
        self._picture_path = ""
        self.setMinimumWidth(340)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 0, 0, 0)
        column.setSpacing(8)
        self._empty = label(
            "Select a candidate in the plot or the table to see what it is.", "muted", wrap=True
        )
        column.addWidget(self._empty)
        self._tabs = QTabWidget()
        self._tabs.tabBar().setDrawBase(False)
        self._tabs.setAccessibleName("Selected candidate")
        self._tabs.addTab(self._overview(), "Candidate")
        self._tabs.addTab(self._script_tab(), "Script")
        self._evidence = QPlainTextEdit()
        self._evidence.setReadOnly(True)
        self._evidence.setAccessibleName("Output of the candidate")
        self._evidence.setFont(theme.fixed(11))
        self._evidence.setTabChangesFocus(True)
        self._tabs.addTab(self._evidence, "Output")
        column.addWidget(self._tabs, 1)
        desk.selection_changed.connect(self._show)
        desk.run.changed.connect(self._on_changed)
        desk.pictures.ready.connect(self._on_picture)
        theme.changed.connect(lambda: self._show(desk.selected))
        self._show(desk.selected)

    def _overview(self) -> QWidget:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 8, 8, 8)
        column.setSpacing(10)
        head = QHBoxLayout()
        head.setSpacing(12)
        self._picture = QLabel()
        self._picture.setFixedSize(PICTURE, PICTURE)
        self._picture.setAccessibleName("First gate picture")
        head.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignTop)
        names = QVBoxLayout()
        names.setSpacing(2)
        self._title = label("", "section", wrap=True)
        self._state = label("", wrap=True)
        self._lineage = label("", "small", wrap=True)
        for one in (self._title, self._state, self._lineage):
            names.addWidget(one)
        names.addStretch(1)
        head.addLayout(names, 1)
        column.addLayout(head)
        self._stages = label("", "small", wrap=True)
        column.addWidget(self._stages)
        self._reason = label("", "bad", wrap=True, select=True)
        column.addWidget(self._reason)
        self._chips = Chips()
        column.addWidget(self._chips)
        self._numbers = NumberRows()
        column.addLayout(self._numbers)
        self._why = label("", "muted", wrap=True)
        column.addWidget(self._why)
        self._certificate = label("", wrap=True)
        column.addWidget(self._certificate)
        self._notes = label("", "small", wrap=True)
        column.addWidget(self._notes)
        holder = QWidget()
        buttons = Flow(holder, 8)
        self.compare = QPushButton("Compare with baseline")
        self.compare.clicked.connect(self._on_compare)
        self.certify = QPushButton("Certify…")
        self.certify.setToolTip("Check a claim on as many fresh prompts as you like, outside the search")
        self.certify.clicked.connect(lambda: certifying.ask(self._desk, self._desk.selected, self.window()))
        self.export = QPushButton("Export")
        self.export.clicked.connect(lambda: self._desk.step_wanted.emit("export"))
        for button in (self.compare, self.certify, self.export):
            buttons.addWidget(button)
        column.addWidget(holder)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setAccessibleName("Candidate details")
        area.setWidget(inside)
        return area

    def _script_tab(self) -> QWidget:
        tab = QWidget()
        column = QVBoxLayout(tab)
        column.setContentsMargins(0, 8, 0, 0)
        row = QHBoxLayout()
        self._as_difference = QCheckBox("Difference to parent")
        self._as_difference.toggled.connect(self._show_script)
        row.addWidget(self._as_difference)
        row.addStretch(1)
        column.addLayout(row)
        self.script = ScriptView(self._theme, "Script of the candidate")
        column.addWidget(self.script, 1)
        return tab

    # -- showing --------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        name = self._desk.selected
        if changes.everything or changes.front or name in changes.updated:
            self._show(name)

    def _show(self, name: str) -> None:
        candidate = self._desk.run.state.candidates.get(name)
        if candidate is not None:
            self._fill(name, candidate)
        self._empty.setVisible(candidate is None)
        self._tabs.setVisible(candidate is not None)  # last: what is hidden is not laid out line by line

    def _fill(self, name: str, candidate: CandidateState) -> None:
        run = self._desk.run
        standing = run.standing(name)
        proposal, verdict = candidate.proposal, candidate.verdict
        self._title.setText(f"{name}  {proposal.title}")
        self._state.setText(f"{SHAPES[standing]} {WORDS[standing]}")
        set_role(self._state, ROLES[standing] if ROLES[standing] in {"good", "warn", "bad", "muted"} else "")
        parents = f", from {', '.join(proposal.parents)}" if proposal.parents else ""
        self._lineage.setText(f"generation {proposal.generation}, {proposal.origin}{parents}")
        self._chips.show_chips(text.step(step.technique, step.parameters.items()) for step in proposal.recipe)
        self._chips.setVisible(bool(proposal.recipe))
        beyond = f"\n\nBeyond its recipe: {proposal.code}" if proposal.code else ""
        self._why.setText(proposal.why + beyond)
        self._stages.setText(_stages(candidate.stage, verdict))
        self._reason.setText(verdict.reason if verdict else candidate.message)
        set_role(
            self._reason, "bad" if standing == "failed" else "warn" if standing == "quarantined" else "muted"
        )
        self._reason.setVisible(bool(self._reason.text()))
        self._show_numbers(verdict)
        certificates = run.certificates(name)
        self._certificate.setVisible(bool(certificates))
        self._certificate.setText(
            "\n".join(
                f"{'✓' if one.held else '✕'} {one.claim}: {'holds' if one.held else 'not proven'}. {one.note}"
                + (f" Its script ran {one.walls}." if one.isolation else "")
                for one in certificates
            )
        )
        set_role(self._certificate, "good" if certificates and certificates[0].held else "bad")
        notes = []
        if verdict is not None:
            notes += [f"Fell back: {one}" for one in verdict.fallbacks]
            notes += [verdict.disturbed] if verdict.disturbed else []
            notes += [f"{name}: {found}" for name, found in verdict.robustness.items() if found != "ok"]
            if verdict.robustness and all(found == "ok" for found in verdict.robustness.values()):
                notes.append(f"Robust: {', '.join(verdict.robustness)}")
        self._notes.setText("\n".join(notes))
        self._notes.setVisible(bool(notes))
        passed = candidate.passed
        self.compare.setEnabled(passed and proposal.origin != "baseline")
        self.certify.setEnabled(passed and proposal.origin != "baseline")
        self.export.setEnabled(passed and proposal.origin != "baseline")
        self._evidence.setPlainText(verdict.evidence if verdict else "")
        self._tabs.setTabVisible(2, bool(verdict and verdict.evidence))
        self._show_script()
        path = run.first_picture(name)
        self._picture_path = "" if path is None else str(path)
        self._picture.setVisible(path is not None)
        self._on_picture(self._picture_path)

    def _show_numbers(self, verdict: Verdict | None) -> None:
        rows: list[tuple[str, str, str]] = []

        def add(name: str, value: str, remark: str = "") -> None:
            rows.append((name, value, remark))

        if verdict is not None:
            self._add_measured(verdict, add)
        if (asked := costs.of_candidate(self._desk.run.state, self._desk.selected)) is not None:
            add("Asked", "", f"{asked.words}; the plan of its generation is not counted")
        self._numbers.show_rows(rows)

    def _add_measured(self, verdict: Verdict, add: Callable[..., None]) -> None:
        """What a verdict says in numbers: name, value, remark."""
        if verdict.latency is not None:
            one = verdict.latency
            add("Latency", text.seconds(one.value), text.span(text.seconds(one.low), text.seconds(one.high)))
        if verdict.latency_p90 is not None:
            add("90th percentile", text.seconds(verdict.latency_p90))
        if verdict.speedup is not None:
            one = verdict.speedup
            add("Speed-up", text.ratio(one.value), text.span(text.ratio(one.low), text.ratio(one.high)))
        if verdict.loss is not None:
            one, metric = verdict.loss, self._desk.run.metric
            add(
                "Loss",
                text.loss(one.value, metric),
                text.span(text.loss(one.low, metric), text.loss(one.high, metric)),
            )
        if verdict.stopped:
            add("Measured", "", "not in full: given up early, never ranked")
        for name, one in verdict.metrics.items():
            title = text.METRIC_TITLES.get(name, name)
            add(
                title,
                text.metric(name, one.value),
                text.span(text.metric(name, one.low), text.metric(name, one.high)),
            )
        if (worst := verdict.parity) is not None:
            add(text.PARITY, worst.likeness, f"{worst.component}, the worst")
        if verdict.engines:
            add("Built for", "", verdict.built_for)
            add("Verified on", "", verdict.verified_on)
        if verdict.card_memory is not None:
            add("Memory", text.size(verdict.card_memory * 2**20), "peak on the card")
        if verdict.memory is not None:
            add(
                "Memory" if verdict.card_memory is None else "Host memory",
                text.size(verdict.memory * 2**20),
                "peak of the process",
            )
        if verdict.isolation:
            add("Walls", verdict.isolation, verdict.walls)
        if verdict.census is not None:
            add("Counted", "", f"{verdict.census.words} ({verdict.census.counted_by})")
        if verdict.sets_note:
            add("Sets", "", verdict.sets_note)
        if verdict.floor is not None:
            add("Floor", text.seconds(verdict.floor), "least time for this work")
        if verdict.stages:
            add(
                "Stages",
                "",
                ", ".join(f"{name} {text.seconds(value)}" for name, value in verdict.stages.items()),
            )
        if verdict.throughput:
            parts = (f"{batch}: {text.number(rate)}" for batch, rate in sorted(verdict.throughput.items()))
            add("Images/s by batch", "", ", ".join(parts))

    def _show_script(self) -> None:
        candidate = self._desk.run.state.candidates.get(self._desk.selected)
        if candidate is None:
            return
        own = self._source(candidate.proposal.script)
        parents = candidate.proposal.parents
        parent = self._desk.run.state.candidates.get(parents[0] if parents else "c000")
        can = parent is not None and parent.id != candidate.id
        self._as_difference.setEnabled(can)
        self._as_difference.setText(
            f"Difference to {parent.id}" if parent is not None and can else "Difference to parent"
        )
        if self._as_difference.isChecked() and parent is not None and can:
            self.script.show_difference(self._source(parent.proposal.script), own, (parent.id, candidate.id))
        else:
            self.script.show_script(own)

    def _source(self, script: str) -> str:
        """A proposal's script is the code itself, or the name of its file in the run folder."""
        folder = self._desk.run.folder
        if "\n" in script or folder is None or not script.endswith(".py"):
            return script
        path = folder / Path(script)
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            return f"# {path.name} cannot be read: {error.strerror}"

    def _on_picture(self, path: str) -> None:
        if not path or path != self._picture_path:
            return
        picture = self._desk.pictures.get(path)
        if picture is not None and not picture.isNull():
            self._picture.setPixmap(thumbnail(picture, PICTURE, self.devicePixelRatioF()))
        else:
            self._picture.clear()

    def _on_compare(self) -> None:
        self._desk.compare("c000", self._desk.selected)
        self._desk.step_wanted.emit("compare")


def _stages(stage: str, verdict: Verdict | None) -> str:
    """`✓ static  ✓ build  ✕ smoke`."""
    reached = verdict.stage if verdict is not None else stage
    if reached not in STAGES:
        return ""
    last = STAGES.index(reached)
    shown = []
    for at, name in enumerate(STAGES[: max(4, last + 1)]):
        if at < last:
            mark = "✓"
        elif at > last:
            mark = "○"
        else:
            mark = "◐" if verdict is None else ("✓" if verdict.state == "passed" else "✕")
        shown.append(f"{mark} {name}")
    return "    ".join(shown)
