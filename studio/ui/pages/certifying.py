"""What is certified of a candidate, and on how many fresh prompts."""

from __future__ import annotations

from typing import Final

from PySide6.QtWidgets import QComboBox, QDialog, QFormLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from studio.ui import text
from studio.ui.desk import CERTIFIED_ON, Desk
from studio.ui.widgets.fields import whole
from studio.ui.widgets.labels import label, rule

OWN: Final = "the run's own claim"
CLAIMS: Final = {
    "adherence": ("adherence loss under 2 points", "adherence loss under 1 point"),
    "lpips": ("LPIPS under 0.1",),
    "clip": ("CLIP score loss under 1 point",),
    "cmmd": ("CMMD under 0.1",),
    "dino": ("DINO distance under 0.1",),
    "haarpsi": ("HaarPSI loss under 0.1",),
}
"""By what the run's loss measures; `PSNR of ...` goes with every run."""
ALWAYS: Final = ("PSNR of 30 dB or more",)


class CertifyDialog(QDialog):
    """Asks for a claim and a number of prompts, then has it checked."""

    def __init__(self, desk: Desk, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk, self._name = desk, name
        self.setWindowTitle(f"Certify {name}")
        self.setMinimumWidth(460)
        metric = desk.run.metric
        self.claim = QComboBox()
        self.claim.setEditable(True)
        self.claim.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.claim.addItems([OWN, *CLAIMS.get(metric.name if metric else "", ()), *ALWAYS])
        self.claim.setAccessibleName("Claim")
        self.claim.setToolTip("A bound on a metric, with the number that you want to state")
        self.prompts = whole("Fresh prompts", 1, 100_000, CERTIFIED_ON, step=100)
        self.prompts.valueChanged.connect(self._show_time)
        form = QFormLayout()
        form.setSpacing(8)
        form.addRow("Claim", self.claim)
        form.addRow("Fresh prompts", self.prompts)
        self.time = label("", "muted", wrap=True)
        note = label(
            "No search has seen these prompts. More of them make the bounds narrower; adherence under "
            "2 points needs 200 at least, under 1 point 1200.",
            "small",
            wrap=True,
        )
        self.go = QPushButton("Certify")
        self.go.setProperty("role", "primary")
        self.go.setDefault(True)
        self.go.clicked.connect(self._on_go)
        cancel = QPushButton("Cancel")
        cancel.clicked.connect(self.reject)
        column = QVBoxLayout(self)
        column.setSpacing(12)
        column.addLayout(form)
        column.addWidget(self.time)
        column.addWidget(note)
        column.addWidget(rule())
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(cancel)
        row.addWidget(self.go)
        column.addLayout(row)
        self._show_time()

    def _show_time(self) -> None:
        state = self._desk.run.state
        there = (state.candidates.get(one) for one in ("c000", self._name))
        taken = [one.verdict.latency.value for one in there if one and one.verdict and one.verdict.latency]
        count = self.prompts.value()
        self.time.setText(
            f"{text.count(count)} pictures of each take about {text.seconds(count * sum(taken))}."
            if len(taken) == 2
            else ""
        )

    def _on_go(self) -> None:
        claim = self.claim.currentText().strip()
        self._desk.certify(self._name, "" if claim == OWN else claim, self.prompts.value())
        self.accept()


def ask(desk: Desk, name: str, parent: QWidget) -> None:
    """Open the dialog for a candidate that can be certified; do nothing for any other."""
    candidate = desk.run.state.candidates.get(name)
    if candidate is not None and candidate.passed and candidate.proposal.origin != "baseline":
        CertifyDialog(desk, name, parent).exec()
