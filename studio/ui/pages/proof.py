"""The proof of a package: the Studio's picture beside the package's, their difference, and a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.ui import text
from studio.ui.desk import Desk
from studio.ui.theme import Theme, set_role
from studio.ui.widgets.canvas import Canvas
from studio.ui.widgets.labels import label


class Proof(QWidget):
    """Two pictures, what lies between them, and what is said of them."""

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self._desk = desk
        self._places: tuple[Path | None, Path | None] = (None, None)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(
            label(
                "Proof: the Studio's picture beside the package's, their difference below",
                "section",
                wrap=True,
            )
        )
        self.canvas = Canvas(theme)
        self.canvas.setAccessibleName("The Studio's picture and the package's")
        self.difference = Canvas(theme)
        self.difference.setAccessibleName("Difference between the Studio's picture and the package's")
        self.difference.set_mode("difference")
        self.difference.set_gain(8)
        for canvas in (self.canvas, self.difference):  # two, one above the other, in a small window
            canvas.setMinimumHeight(110)
        column.addWidget(self.canvas, 3)
        column.addWidget(self.difference, 2)
        self.verdict = label(
            "The package makes a picture in a clean process; it appears here.", "muted", wrap=True
        )
        column.addWidget(self.verdict)
        desk.pictures.ready.connect(self._on_picture)

    def say(self, words: str, *, good: bool = True) -> None:
        """The sentence below the pictures."""
        self.verdict.setText(words)
        set_role(self.verdict, "muted" if good else "bad")

    def show_result(self, result: dict[str, Any]) -> None:
        """The pictures of a worker's result, where it has any; their places are relative to the run."""
        proof = result.get("proof")
        if not isinstance(proof, dict):
            return
        found = []
        for name in ("own", "package"):
            place = proof.get(name)
            path = Path(place) if isinstance(place, str) and place else None
            if path is not None and not path.is_absolute() and self._desk.run.folder is not None:
                path = self._desk.run.folder / path
            found.append(path)
        self.show_pictures(*found)

    def show_pictures(self, studio: Path | None, package: Path | None) -> None:
        """Put two pictures side by side; either may be missing."""
        self._places = (studio, package)
        one, two = self._desk.pictures.get(studio), self._desk.pictures.get(package)
        self.canvas.show_pair(one, two, ("Studio", "Package"))
        self.difference.show_pair(one, two, ("Studio", "Package"))

    def _on_picture(self, path: str) -> None:
        if path in {str(one) for one in self._places}:
            self.show_pictures(*self._places)


def proved(result: dict[str, Any]) -> str:
    """The outcome of the proof as sentences."""
    proof = result.get("proof") or {}
    if result.get("layout"):
        return " ".join(filter(None, [str(result.get("verified_on", "")), str(proof.get("note", ""))]))
    parts = []
    if "psnr" in proof:
        alike = (
            "the same picture, bit for bit"
            if proof.get("max_abs") == 0
            else f"PSNR {text.metric('psnr', proof['psnr'])}, at most {proof.get('max_abs')} of 255 apart"
        )
        parts.append(f"The package made “{proof.get('prompt')}” on its own: {alike}.")
    if proof.get("note"):
        parts.append(str(proof["note"]))
    if result.get("verified_on"):
        parts.append(str(result["verified_on"]))
    return " ".join(parts) or "The package made its picture on its own."
