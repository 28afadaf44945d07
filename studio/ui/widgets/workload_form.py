"""The user's own work: prompts typed or from a file, size, steps, guidance, negative prompt, batch."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from studio.record.described import ModelCard
from studio.record.settings import SavedWorkload
from studio.ui.widgets.fields import real, whole
from studio.ui.widgets.labels import label
from studio.ui.widgets.message import Message


class PromptFileError(Exception):
    """A prompt file that cannot be used; the text is the sentence for the user."""


def read_prompts(path: Path) -> list[str]:
    """One prompt a line; empty lines and lines that begin with `#` are skipped.

    Raises:
        PromptFileError: no such file, not text, or nothing in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptFileError(f"{path.name} cannot be read ({error}); give a UTF-8 text file.") from error
    prompts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not prompts:
        raise PromptFileError(f"{path.name} holds no prompt; write one prompt a line.")
    return prompts


class WorkloadForm(QWidget):
    """Fields that are left at their lowest value mean: as the model's authors ship it.

    Signals:
        changed(SavedWorkload)
    """

    changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._quiet = False
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 12, 0, 0)
        column.setSpacing(8)
        column.addWidget(
            label(
                "Everything is measured on this work. Without prompts of your own, fresh ones are drawn "
                "from the model's prompt source.",
                "muted",
                wrap=True,
            )
        )
        self.message = Message()
        column.addWidget(self.message)
        head = QHBoxLayout()
        self._count = label("", "small")
        head.addWidget(label("Prompts, one a line"))
        head.addWidget(self._count)
        head.addStretch(1)
        self._load = QPushButton("From file…")
        self._load.setAccessibleName("Read prompts from a file")
        self._load.clicked.connect(self._choose_file)
        head.addWidget(self._load)
        column.addLayout(head)
        self._prompts = QPlainTextEdit()
        self._prompts.setAccessibleName("Prompts, one a line")
        self._prompts.setPlaceholderText("a red house under a cloudy sky\ntwo blue boats at night")
        self._prompts.setTabChangesFocus(True)
        column.addWidget(self._prompts, 1)
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(8)
        self._negative = QLineEdit()
        shipped = "as shipped"
        self._size = whole("Size", 0, 4096, 0, step=8, unit="px", least=shipped)
        self._steps = whole("Steps", 0, 1000, 0, least=shipped)
        self._frames = whole("Frames", 0, 512, 0, least=shipped)
        self._batch = whole("Batch", 1, 64, 1)
        self._guidance = real("Guidance", -0.5, 50, -0.5, step=0.5, least=shipped)
        self._native = label("", "small")
        for name, field in (
            ("Negative prompt", self._negative),
            ("Size", self._size),
            ("Frames", self._frames),
            ("Steps", self._steps),
            ("Guidance", self._guidance),
            ("Batch", self._batch),
        ):
            field.setAccessibleName(name)
            caption = QLabel(name)
            caption.setBuddy(field)
            if field is not self._negative:
                field.setMaximumWidth(160)
            form.addRow(caption, field)
        column.addLayout(form)
        self._form = form
        form.setRowVisible(self._frames, False)
        column.addWidget(self._native)
        self._prompts.textChanged.connect(self._on_edit)
        self._negative.textChanged.connect(self._on_edit)
        for spin in (self._size, self._frames, self._steps, self._batch):
            spin.valueChanged.connect(self._on_edit)
        self._guidance.valueChanged.connect(self._on_edit)

    def show_workload(self, workload: SavedWorkload) -> None:
        """Fill the fields without emitting `changed`."""
        self._quiet = True
        self._prompts.setPlainText("\n".join(workload.prompts))
        self._negative.setText(workload.negative_prompt)
        self._size.setValue(workload.size or 0)
        self._frames.setValue(workload.frames or 0)
        self._steps.setValue(workload.steps or 0)
        self._guidance.setValue(-0.5 if workload.guidance is None else workload.guidance)
        self._batch.setValue(workload.batch)
        self._quiet = False
        self._show_count()

    def show_card(self, card: ModelCard) -> None:
        """Say what the model ships with; one that draws videos is asked for its frames."""
        self._form.setRowVisible(self._frames, bool(card.frames))
        self._frames.setSpecialValueText(f"{card.frames}, as shipped" if card.frames else "as shipped")
        clip = f" {card.frames} frames," if card.frames else ""
        self._native.setText(
            f"{card.name} ships with {card.size} px,{clip} {card.steps} steps, guidance {card.guidance:g}."
        )

    def workload(self) -> SavedWorkload:
        lines = (line.strip() for line in self._prompts.toPlainText().splitlines())
        size = self._size.value()
        return SavedWorkload(
            prompts=tuple(line for line in lines if line and not line.startswith("#")),
            size=max(8, size // 8 * 8) if size else None,
            steps=self._steps.value() or None,
            guidance=self._guidance.value() if self._guidance.value() >= 0 else None,
            negative_prompt=self._negative.text(),
            batch=self._batch.value(),
            frames=self._frames.value() or None,
        )

    def load(self, path: Path) -> None:
        """Take the prompts of a file; one that cannot be used is said in place."""
        try:
            prompts = read_prompts(path)
        except PromptFileError as error:
            self.message.say(str(error), "error", ("Choose another file", self._choose_file))
            return
        self.message.clear()
        self._prompts.setPlainText("\n".join(prompts))

    def _choose_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Prompts", "", "Text files (*.txt);;All files (*)")
        if name:
            self.load(Path(name))

    def _on_edit(self) -> None:
        self._show_count()
        if not self._quiet:
            self.changed.emit(self.workload())

    def _show_count(self) -> None:
        count = len(self.workload().prompts)
        self._count.setText(f"{count} of your own" if count else "drawn fresh")
