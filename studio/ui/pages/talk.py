"""The agent's conversation as it happens: plan, code, evidence, repair; prompt, answer and cost of each.

Whoever plans: each plan's reason, the evidence of failures and the repairs, and what the agent was told.
"""

from __future__ import annotations

import json
from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent, QTextCursor
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from studio.record.events import LlmAnswered, LlmAsked, LlmDelta
from studio.ui.desk import Desk
from studio.ui.models.run import Changes
from studio.ui.models.talk import Entry, cost, told
from studio.ui.theme import Theme
from studio.ui.widgets.labels import label

KEY: Final = Qt.ItemDataRole.UserRole
NOTHING: Final = "What the agent plans, why, and what comes of it is listed here once a run has begun."
LONGEST: Final = 400_000
"""Characters of a file that are shown."""


class TalkView(QWidget):
    """What was said at the left, newest last; the chosen one's words at the right, as they come."""

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self._desk, self._theme = desk, theme
        self._live: dict[int, list[tuple[str, str]]] = {}
        self._costs: dict[int, str] = {}
        """By call that is being answered: what it has cost so far."""
        self._entries: dict[str, Entry] = {}
        self._follows = True
        self._stale = False
        self.calls = QListWidget()
        self.calls.setAccessibleName("What the agent and you said")
        self.calls.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.calls.currentItemChanged.connect(lambda *_: self._show())
        self.calls.itemClicked.connect(self._on_click)
        self.only = QCheckBox("Selected candidate only")
        self.only.toggled.connect(lambda _: self._fill())
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.only)
        column.addWidget(self.calls, 1)
        self.answer = self._words("Answer of the agent")
        self.question = self._words("Question to the language model")
        self.fixed = self._words("Rules, knowledge and model: what stays the same through the run")
        self.tabs = QTabWidget()
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.setAccessibleName("Words of a call")
        for page, title in ((self.answer, "Answer"), (self.question, "Question"), (self.fixed, "Rules")):
            self.tabs.addTab(page, title)
        self.tabs.currentChanged.connect(lambda _: self._show())
        self.about = label(NOTHING, "small", wrap=True)
        right = QWidget()
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.about)
        column.addWidget(self.tabs, 1)
        whole = QSplitter(Qt.Orientation.Horizontal)
        whole.setChildrenCollapsible(False)
        whole.addWidget(left)
        whole.addWidget(right)
        whole.setStretchFactor(1, 1)
        whole.setSizes([300, 470])
        desk.sitting.follow("evolve/talk", whole)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(whole)
        desk.run.changed.connect(self._on_changed)
        desk.selection_changed.connect(lambda _: self._fill() if self.only.isChecked() else None)
        desk.worker.heard.connect(self._on_heard)
        theme.changed.connect(self._restyle)
        self._fill()

    def _words(self, name: str) -> QPlainTextEdit:
        made = QPlainTextEdit()
        made.setReadOnly(True)
        made.setAccessibleName(name)
        made.setTabChangesFocus(True)
        made.setFont(self._theme.fixed(11))
        return made

    def _restyle(self) -> None:
        for page in (self.answer, self.question, self.fixed):
            page.setFont(self._theme.fixed(11))

    # -- the list -------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything:
            self._live.clear()
            self._costs.clear()
            self._follows = True
        if self.isVisible() or changes.talk or changes.everything:
            self._fill()
        else:
            # Every stage of every candidate changes something: nothing is listed that nobody sees.
            self._stale = True

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._stale:
            self._fill()

    def _on_click(self, item: QListWidgetItem) -> None:
        """Whoever looks at an older call stays there."""
        self._follows = self.calls.row(item) == self.calls.count() - 1
        entry = self._entries.get(item.data(KEY))
        if (
            entry is not None
            and entry.candidate in self._desk.run.state.candidates
            and not self.only.isChecked()
        ):
            self._desk.select(entry.candidate)

    def _fill(self) -> None:
        self._stale = False
        self._entries = {one.key: one for one in told(self._desk.run.state) if self._wanted(one)}
        shown = list(self._entries)
        before = self._key()
        self.calls.blockSignals(True)
        while self.calls.count() > len(shown):
            self.calls.takeItem(self.calls.count() - 1)
        for at, (key, entry) in enumerate(self._entries.items()):
            item = self.calls.item(at)
            if item is None:
                item = QListWidgetItem()
                self.calls.addItem(item)
            item.setData(KEY, key)
            item.setText(entry.line)
            item.setToolTip(entry.line)
        at = len(shown) - 1 if self._follows or before not in shown else shown.index(before)
        self.calls.setCurrentRow(at)
        self.calls.blockSignals(False)
        self._show()

    def _wanted(self, entry: Entry) -> bool:
        """All, or those of the selected candidate: its plan, its script, the repair that made it."""
        if not self.only.isChecked():
            return True
        state, name = self._desk.run.state, self._desk.selected
        if entry.call:
            return entry.call in calls_of(name, state.asked, state.candidates)
        return entry.candidate == name

    def _key(self) -> str:
        item = self.calls.currentItem()
        return "" if item is None else str(item.data(KEY))

    def _call(self) -> int:
        entry = self._entries.get(self._key())
        return 0 if entry is None else entry.call

    # -- the words ------------------------------------------------------------------------------

    def _show(self) -> None:
        entry = self._entries.get(self._key())
        number = 0 if entry is None else entry.call
        asked = self._desk.run.state.asked.get(number)
        for page in (self.question, self.fixed):
            self.tabs.setTabVisible(self.tabs.indexOf(page), asked is not None)
        self.tabs.tabBar().setVisible(asked is not None)
        if asked is None:
            self.about.setText(NOTHING if entry is None else entry.about)
            _put(self.answer, "" if entry is None else entry.words)
            return
        answered = self._desk.run.state.answered.get(number)
        self.about.setText(about(asked, answered, self._costs.get(number, "")))
        kept = self._kept(asked.file)
        _put(self.question, str(kept.get("prompt", "")))
        if self.tabs.currentWidget() is self.fixed:
            _put(self.fixed, "\n\n".join(self._text(name) for name in kept.get("system", ())))
        if answered is None:
            _put(self.answer, "".join(words for _, words in self._live.get(number, ())))
        else:
            _put(self.answer, answer_text(kept))

    def _on_heard(self, delta: LlmDelta) -> None:
        words = f"\n[{delta.text}]\n" if delta.kind == "wait" else delta.text
        pieces = self._live.setdefault(delta.call, [])
        if pieces and pieces[-1][0] != delta.kind:
            words = f"\n\n{words}"
        pieces.append((delta.kind, words))
        if delta.tokens:
            money = "" if delta.usd is None else f" · ${delta.usd:.3f}"
            self._costs[delta.call] = f"about {delta.tokens:,} tokens{money} so far"
        if delta.call == self._call() and delta.call not in self._desk.run.state.answered:
            asked = self._desk.run.state.asked[delta.call]
            self.about.setText(about(asked, None, self._costs.get(delta.call, "")))
            bar = self.answer.verticalScrollBar()
            at_end = bar.value() >= bar.maximum() - 4
            cursor = QTextCursor(self.answer.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(words)
            if at_end:
                bar.setValue(bar.maximum())

    def _kept(self, file: str) -> dict[str, Any]:
        try:
            found = json.loads(self._text(file))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _text(self, file: str) -> str:
        """A file of the run; what leads out of its folder is not read."""
        folder = self._desk.run.folder
        if folder is None:
            return ""
        path = (folder / file).resolve()
        if folder.resolve() not in path.parents:
            return ""
        try:
            return path.read_text(encoding="utf-8")[:LONGEST]
        except OSError as error:
            return f"{path.name} cannot be read: {error.strerror}"


def _put(page: QPlainTextEdit, words: str) -> None:
    if page.toPlainText() != words:
        page.setPlainText(words)


def calls_of(name: str, asked: dict[int, LlmAsked], candidates: Any) -> set[int]:
    """Numbers of the calls behind a candidate: its own, and the plan that was last before them."""
    own = {number for number, one in asked.items() if one.candidate == name}
    if name not in candidates:
        return own
    generation = candidates[name].proposal.generation
    first = min(own, default=max(asked, default=0) + 1)
    plans = [
        number
        for number, one in asked.items()
        if one.purpose == "plan" and one.generation == generation and number < first
    ]
    return own | ({max(plans)} if plans else set())


def about(asked: LlmAsked, answered: LlmAnswered | None, so_far: str = "") -> str:
    """Model, prompts, what came of it; `so_far`: what a call that is being answered has cost."""
    parts = [asked.model, f"prompts {', '.join(asked.prompts)}"]
    if answered is None:
        return " · ".join(filter(None, [*parts, "answering", so_far]))
    cached = f", {answered.read:,} of them from the cache" if answered.read else ""
    tried = f", {answered.attempts} attempts" if answered.attempts > 1 else ""
    parts.append(f"{cost(answered)}{cached} in {answered.seconds:.1f} s{tried}")
    return " · ".join(parts) + f"\n{answered.error or answered.summary}"


def answer_text(kept: dict[str, Any]) -> str:
    """A kept answer as text: thinking, words, and each tool with what it was given."""
    found = kept.get("answer")
    if not isinstance(found, dict):
        return str(kept.get("error", ""))
    parts = []
    if found.get("thinking"):
        parts.append(f"Thinking\n\n{found['thinking']}")
    if found.get("text"):
        parts.append(str(found["text"]))
    for tool in found.get("tools", ()):
        given = tool.get("input")
        if isinstance(given, dict) and isinstance(given.get("script"), str):
            said = [f"{name.capitalize()}: {given[name]}" for name in ("cause", "change") if given.get(name)]
            parts.append("\n".join([*said, "", given["script"]]))
        else:
            shown = given if isinstance(given, str) else json.dumps(given, indent=1, ensure_ascii=False)
            parts.append(f"{tool.get('name')}\n\n{shown}")
    return "\n\n".join(parts)
