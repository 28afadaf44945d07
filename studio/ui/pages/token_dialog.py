"""The user's token for gated hub models: typed once, kept in the system keyring, shown nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from studio.ui.desk import Desk
from studio.ui.widgets.labels import label, rule
from studio.ui.widgets.message import Message

WIDTH: Final = 480


class TokenDialog(QDialog):
    """Keeps what is typed, then does again what the hub refused."""

    def __init__(self, desk: Desk, again: Callable[[], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk, self._again = desk, again
        self.setWindowTitle("Token of the hub")
        column = QVBoxLayout(self)
        column.setSpacing(8)
        column.addWidget(label("Token of the hub", "section"))
        column.addWidget(
            label(
                "Accept the model's licence on its page first, then make a token that may read it in your "
                "account's settings. It is kept in the system keyring and goes to the hub only.",
                "muted",
                wrap=True,
            )
        )
        self.token = QLineEdit()
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setAccessibleName("Token of the hub")
        self.token.setPlaceholderText("hf_…")
        column.addWidget(self.token)
        self.message = Message()
        column.addWidget(self.message)
        column.addWidget(rule())
        row = QHBoxLayout()
        row.addStretch(1)
        cancel = QPushButton("Cancel")
        cancel.clicked.connect(self.reject)
        self.keep = QPushButton("Keep and try again")
        self.keep.setProperty("role", "primary")
        self.keep.setDefault(True)
        self.keep.setEnabled(False)
        self.keep.clicked.connect(self._on_keep)
        row.addWidget(cancel)
        row.addWidget(self.keep)
        column.addLayout(row)
        self.token.textChanged.connect(lambda typed: self.keep.setEnabled(bool(typed.strip())))
        self._fit()

    def _fit(self) -> None:
        """As high as its words need at this width."""
        layout = self.layout()
        if layout is not None:
            layout.activate()
            width = max(WIDTH, layout.totalMinimumSize().width())
            self.setFixedSize(width, layout.totalHeightForWidth(width))

    def _on_keep(self) -> None:
        token = self.token.text().strip()
        self.token.clear()
        self.message.clear()
        self._fit()
        job = self._desk.worker.request("hub_token", token=token)
        job.done.connect(lambda _: self._kept())
        job.failed.connect(lambda words, _detail: self._refused(words))

    def _refused(self, words: str) -> None:
        self.message.say(words, "error", lasting=True)
        self._fit()

    def _kept(self) -> None:
        self.accept()
        self._again()
