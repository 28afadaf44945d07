"""A dialog with several ways to do one thing, each with fields of its own."""

from __future__ import annotations

from PySide6.QtWidgets import (
    QButtonGroup,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from studio.ui.sitting import Sitting
from studio.ui.widgets.file_field import FileField
from studio.ui.widgets.labels import label, rule


class Ways(QDialog):
    """One of several ways, each with fields of its own; what is chosen is remembered."""

    ways: tuple[tuple[str, str], ...]
    """Name and words of each way."""

    def __init__(self, sitting: Sitting, title: str, remark: str, go: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.sitting = sitting
        self.setWindowTitle(title)
        self.setMinimumWidth(560)
        column = QVBoxLayout(self)
        column.setSpacing(8)
        column.addWidget(label(title, "section"))
        column.addWidget(label(remark, "muted", wrap=True))
        self.buttons: dict[str, QRadioButton] = {}
        group = QButtonGroup(self)
        for name, words in self.ways:
            self.buttons[name] = QRadioButton(words)
            group.addButton(self.buttons[name])
            column.addWidget(self.buttons[name])
        self.buttons[self.ways[0][0]].setChecked(True)
        self.form = QFormLayout()
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        column.addLayout(self.form)
        column.addWidget(rule())
        row = QHBoxLayout()
        row.addStretch(1)
        cancel = QPushButton("Cancel")
        cancel.clicked.connect(self.reject)
        self.go = QPushButton(go)
        self.go.setProperty("role", "primary")
        self.go.setDefault(True)
        self.go.clicked.connect(self.accept)
        row.addWidget(cancel)
        row.addWidget(self.go)
        column.addLayout(row)
        self._fields: list[tuple[QWidget, tuple[str, ...]]] = []
        group.buttonToggled.connect(lambda *_: self.refresh())

    @property
    def way(self) -> str:
        return next((name for name, button in self.buttons.items() if button.isChecked()), "")

    def choose(self, way: str) -> None:
        self.buttons.get(way, self.buttons[self.ways[0][0]]).setChecked(True)
        self.refresh()

    def add(self, words: str, field: QWidget, *ways: str) -> None:
        """A field that `ways` ask for."""
        self.form.addRow(words, field)
        self._fields.append((field, ways))
        if isinstance(field, FileField):
            field.changed.connect(self.refresh)

    def refresh(self) -> None:
        """Show the fields of the chosen way; the button waits for those without which nothing can be done."""
        for field, ways in self._fields:
            self.form.setRowVisible(field, self.way in ways)
        self.go.setEnabled(self.complete())
        self.adjustSize()

    def complete(self) -> bool:
        raise NotImplementedError
