"""A file to choose: typed, pasted or picked."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

BETWEEN = "; "
"""What stands between several files."""


class FileField(QWidget):
    """A line for a path, or for several with `many`, and the button that picks them.

    Signals:
        changed()
    """

    changed = Signal()

    def __init__(
        self,
        name: str,
        kinds: str,
        *,
        many: bool = False,
        new: bool = False,
        folder: bool = False,
        placeholder: str = "",
        parent: QWidget | None = None,
    ) -> None:
        """`kinds` as Qt's file dialogs take them, empty where only a folder will do.

        `new`: a file that is still to be made; `folder`: a folder may be chosen too.
        """
        super().__init__(parent)
        self._name, self._kinds, self._many, self._new = name, kinds, many, new
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.line = QLineEdit()
        self.line.setAccessibleName(name)
        self.line.setPlaceholderText(placeholder)
        self.line.setClearButtonEnabled(True)
        self.line.textChanged.connect(self.changed)
        self.choose = QPushButton("Choose…")
        self.choose.setAccessibleName(f"Choose: {name}")
        self.choose.clicked.connect(self._choose)
        row.addWidget(self.line, 1)
        row.addWidget(self.choose)
        self.choose.setVisible(bool(kinds))
        self.choose_folder = QPushButton("Folder…")
        self.choose_folder.setAccessibleName(f"Choose a folder: {name}")
        self.choose_folder.clicked.connect(self._choose_folder)
        self.choose_folder.setVisible(folder)
        row.addWidget(self.choose_folder)
        self.setFocusProxy(self.line)

    @property
    def paths(self) -> list[str]:
        """What is named, in order."""
        if not self._many:
            return [self.line.text().strip()] if self.line.text().strip() else []
        return [one.strip() for one in self.line.text().split(BETWEEN.strip()) if one.strip()]

    @property
    def path(self) -> str:
        """The first of them, or empty."""
        return next(iter(self.paths), "")

    def name(self, *paths: str) -> None:
        self.line.setText(BETWEEN.join(paths))

    def _choose(self) -> None:
        begin = self.path
        if self._many:
            found, _ = QFileDialog.getOpenFileNames(self, self._name, begin, self._kinds)
        else:
            ask = QFileDialog.getSaveFileName if self._new else QFileDialog.getOpenFileName
            one, _ = ask(self, self._name, begin, self._kinds)
            found = [one] if one else []
        if found:
            self.name(*found)

    def _choose_folder(self) -> None:
        found = QFileDialog.getExistingDirectory(self, self._name, self.path)
        if found:
            self.name(found)
