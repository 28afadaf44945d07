"""What is given to the open model: a few-step student's LoRA and a tiny decoder."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QGridLayout, QLineEdit, QPushButton, QWidget

from studio.record.sources import Source
from studio.ui.widgets.labels import label


class AddedParts(QWidget):
    """Two fields, each with a button that chooses.

    Signals:
        chosen(str): the model's source with what stands in the fields.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._source = Source("")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        self.student = self._field(
            grid, 0, "Student", "a distilled LoRA: LCM, Lightning, Hyper-SD, DMD2, Turbo", self._choose_file
        )
        self.student.setToolTip(
            "FILE.safetensors, or FILE.safetensors:KIND where its name does not say the kind"
        )
        self.tiny_decoder = self._field(
            grid, 1, "Tiny decoder", "a folder with an AutoencoderTiny, such as TAESD", self._choose_folder
        )

    def _field(
        self, grid: QGridLayout, row: int, title: str, example: str, choose: Callable[[], None]
    ) -> QLineEdit:
        field = QLineEdit()
        field.setPlaceholderText(example)
        field.setAccessibleName(title)
        field.returnPressed.connect(self._tell)
        button = QPushButton("Choose…")
        button.setAccessibleName(f"Choose the {title.lower()}")
        button.clicked.connect(choose)
        for column, widget in enumerate((label(title, "muted"), field, button)):
            grid.addWidget(widget, row, column)
        return field

    def show_source(self, text: str) -> None:
        """Show what the open model was given; what is being written for the same model stays."""
        if Source.read(text) == self._source:
            return
        self._source = Source.read(text)
        self.student.setText(self._source.student)
        self.tiny_decoder.setText(self._source.tiny_decoder)

    def _choose_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Choose the student's LoRA", "", "Weights (*.safetensors);;All files (*)"
        )
        if name:
            self.student.setText(name)
            self._tell()

    def _choose_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Choose the tiny decoder's folder")
        if name:
            self.tiny_decoder.setText(name)
            self._tell()

    def _tell(self) -> None:
        self.chosen.emit(
            str(Source(self._source.model, self.student.text().strip(), self.tiny_decoder.text().strip()))
        )
