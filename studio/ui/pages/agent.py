"""Who evolves: the agent's settings, and what leaves the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from studio.ui.desk import Desk
from studio.ui.widgets.labels import label, rule

TITLES = {"built-in": "Built-in agent", "llm": "Language model"}
PRESETS = {
    "hybrid": "Hybrid: the agent chooses structures, mathematics their numbers",
    "paper": "Paper: DiffAgent's search as published, nothing tunes numbers",
}


class AgentDialog(QDialog):
    """Address, key, model, preset, budget, approval; every field is kept as it is changed."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self.setWindowTitle("Agent")
        self.setMinimumWidth(560)
        now = desk.sitting.settings
        keep = desk.sitting.change
        form = QFormLayout()
        form.setSpacing(8)

        def field(made: QWidget, name: str, tip: str) -> QWidget:
            made.setAccessibleName(name)
            made.setToolTip(tip)
            form.addRow(name, made)
            return made

        self.agent = QComboBox()
        for kind, title in TITLES.items():
            self.agent.addItem(title, kind)
        self.agent.setCurrentIndex(list(TITLES).index(now.agent))
        self.agent.currentIndexChanged.connect(lambda _: self._on_agent())
        field(self.agent, "Agent", "Who plans, writes and repairs candidates")
        self.url = QLineEdit(now.llm_url)
        self.url.setPlaceholderText("the service's own address")
        self.url.editingFinished.connect(self._on_url)
        field(self.url, "Address", "Any server of the same protocol, for example one on this machine")
        self.key = QLineEdit()
        self.key.setEchoMode(QLineEdit.EchoMode.Password)
        self.key.setPlaceholderText("kept in the system keyring, never in a file of the Studio")
        self._store = QPushButton("Keep key")
        self._store.clicked.connect(self._on_key)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.key, 1)
        row.addWidget(self._store)
        holder = QWidget()
        holder.setLayout(row)
        self.key.setAccessibleName("Key")
        form.addRow("Key", holder)
        self._key_state = label("", "small", wrap=True)
        form.addRow("", self._key_state)
        self.model = QComboBox()
        self.model.setEditable(True)
        self.model.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.model.setCurrentText(now.llm_model)
        self.model.currentTextChanged.connect(self._on_model)
        self._list = QPushButton("Ask for its list")
        self._list.clicked.connect(self._ask_models)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.model, 1)
        row.addWidget(self._list)
        holder = QWidget()
        holder.setLayout(row)
        self.model.setAccessibleName("Model")
        form.addRow("Model", holder)
        self.preset = QComboBox()
        for kind, title in PRESETS.items():
            self.preset.addItem(title, kind)
        self.preset.setCurrentIndex(list(PRESETS).index(now.preset))
        self.preset.currentIndexChanged.connect(lambda _: keep(preset=self.preset.currentData()))
        field(self.preset, "Preset", "How either agent evolves candidates")
        self.budget = QLineEdit(now.llm_budget)
        self.budget.setPlaceholderText("no limit; for example 2.50 (US dollars) or 300k tokens")
        self.budget.textEdited.connect(lambda words: keep(llm_budget=words[:60]))
        field(self.budget, "Budget", "What the language model may cost in a run; then the run ends cleanly")
        self.approve = QCheckBox("Ask before each candidate runs")
        self.approve.setToolTip("Whichever agent plans: nothing runs until you say so")
        self.approve.setChecked(now.approve)
        self.approve.toggled.connect(lambda on: keep(approve=on))
        form.addRow("", self.approve)
        self.said = label("", "muted", wrap=True)
        self.said.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        show = QPushButton("Show its prompts")
        show.setToolTip("The files that every question is made of")
        show.clicked.connect(self._ask_prompts)
        close = QPushButton("Close")
        close.clicked.connect(self.accept)
        column = QVBoxLayout(self)
        column.setSpacing(12)
        column.addLayout(form)
        column.addWidget(self.said)
        column.addWidget(rule())
        row = QHBoxLayout()
        row.addWidget(show)
        row.addStretch(1)
        row.addWidget(close)
        column.addLayout(row)
        self._on_agent()

    def _on_agent(self) -> None:
        kind = self.agent.currentData()
        self._desk.sitting.change(agent=kind)
        asks = kind == "llm"
        for one in (
            self.url,
            self.key,
            self._store,
            self.model,
            self._list,
            self.budget,
        ):
            one.setEnabled(asks)
        self.said.setText(
            "Calls, repairs and costs are tested against a server of the same protocol; not verified with a "
            "live model."
            if asks
            else "Needs no key and no network; it plans by a forecast, in Hybrid with a Gaussian process, "
            "and reads sentences such as “without int8” or “only with OpenVINO”."
        )
        if asks:
            self._about()

    def _on_url(self) -> None:
        self._desk.sitting.change(llm_url=self.url.text().strip()[:500])
        self._about()

    def _on_model(self, words: str) -> None:
        found = self.model.currentData() if self.model.findText(words) >= 0 else None
        self._desk.sitting.change(llm_model=str(found or words).strip()[:200])

    def _about(self) -> None:
        self._ask("llm_about", self._show_about, url=self._desk.sitting.settings.llm_url)

    def _show_about(self, result: dict[str, Any]) -> None:
        words = {
            "sitting": "A key is kept for this sitting only: this system has no keyring.",
            "environment": "The key comes from the environment.",
            "keyring": "The key comes from the system keyring.",
            "none": "There is no key yet."
            if result.get("needs_key")
            else "No key; this address may need none.",
        }
        self._key_state.setText(words.get(str(result.get("key")), ""))

    def _on_key(self) -> None:
        key = self.key.text()
        self.key.clear()
        self._ask("llm_key", lambda _: self._about(), key=key, url=self._desk.sitting.settings.llm_url)

    def _ask_models(self) -> None:
        self.said.setText("Asking the service for its models.")
        self._ask("llm_models", self._show_models, url=self._desk.sitting.settings.llm_url)

    def _show_models(self, result: dict[str, Any]) -> None:
        self._show_about(result)
        wanted = self._desk.sitting.settings.llm_model
        self.model.blockSignals(True)
        self.model.clear()
        for one in result["models"]:
            money = ""
            if one.get("input") is not None:
                money = f"  ${one['input']:g} / ${one['output']:g} a million tokens"
            self.model.addItem(f"{one['name']}{money}", one["id"])
        at = max(0, self.model.findData(wanted))
        self.model.setCurrentIndex(at)
        self.model.blockSignals(False)
        self._desk.sitting.change(llm_model=str(self.model.currentData() or ""))
        prices = result["prices"]
        self.said.setText(
            f"{len(result['models'])} models. Prices as of {prices['as_of']} ({prices['source']}); where "
            "none is shown, tokens are counted."
        )

    def _ask_prompts(self) -> None:
        self._ask("llm_prompts", self._show_prompts)

    def _show_prompts(self, result: dict[str, Any]) -> None:
        dialog = PromptsDialog(result["prompts"], self)
        dialog.show()

    def _ask(self, command: str, then: Callable[[dict[str, Any]], object], **arguments: Any) -> None:
        job = self._desk.worker.request(command, **arguments)
        job.done.connect(then)
        job.failed.connect(lambda words, _detail: self.said.setText(words))


class PromptsDialog(QDialog):
    """The prompt files as they ship, one tab each."""

    def __init__(self, prompts: list[dict[str, Any]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Prompts")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(760, 560)
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName("Prompts")
        for one in prompts:
            page = QPlainTextEdit(str(one["text"]))
            page.setReadOnly(True)
            page.setTabChangesFocus(True)
            page.setAccessibleName(f"Prompt {one['name']}, version {one['version']}")
            self.tabs.addTab(page, f"{one['name']} {one['version']}")
        column = QVBoxLayout(self)
        column.addWidget(self.tabs)


class ConsentDialog(QDialog):
    """What leaves the machine, what never does, and what it may cost; before the first call."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        now = desk.sitting.settings
        self.setWindowTitle("What leaves this machine")
        self.setMinimumWidth(560)
        column = QVBoxLayout(self)
        column.setSpacing(8)
        column.addWidget(label("The language model will be told", "section"))
        self.leaves = label("…", wrap=True, select=True)
        column.addWidget(self.leaves)
        column.addWidget(label("Never", "section"))
        self.stays = label("…", wrap=True, select=True)
        column.addWidget(self.stays)
        self.where = label(f"Address: {now.llm_url or 'the service of the model'}", "muted", wrap=True)
        column.addWidget(self.where)
        column.addWidget(label("Not verified with a live model.", "muted"))
        self.guess = label("Estimating what it will cost.", "muted", wrap=True)
        column.addWidget(self.guess)
        column.addWidget(rule())
        row = QHBoxLayout()
        row.addStretch(1)
        keep = QPushButton("Keep everything here")
        keep.clicked.connect(self.reject)
        self.agree = QPushButton("Agree and start")
        self.agree.setProperty("role", "primary")
        self.agree.setEnabled(False)
        self.agree.clicked.connect(self.accept)
        row.addWidget(keep)
        row.addWidget(self.agree)
        column.addLayout(row)
        job = desk.worker.request("llm_about", url=now.llm_url)
        job.done.connect(self._show)
        job.failed.connect(lambda words, _detail: self.leaves.setText(words))
        guess = desk.worker.request("llm_estimate", **desk.estimate_language())
        guess.done.connect(lambda result: self.guess.setText(str(result["text"])))
        guess.failed.connect(lambda words, _detail: self.guess.setText(words))

    def _show(self, result: dict[str, Any]) -> None:
        self.leaves.setText("\n".join(f"•  {one}" for one in result["leaves"]))
        self.stays.setText("\n".join(f"•  {one}" for one in result["stays"]))
        place = ", on this machine" if result["local"] else ""
        self.where.setText(f"Address: {result['url']}{place}")
        self.agree.setEnabled(True)
