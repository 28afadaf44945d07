"""A card for a package from elsewhere: whether it is as it was made, what it is, what of it runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from studio.ui import text
from studio.ui.theme import set_role
from studio.ui.widgets.labels import label


class PackageCard(QWidget):
    """The verdict in one line; below it what the package says of itself, once that may be believed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[tuple[str, str]] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        row = QHBoxLayout()
        self.title = label("", "title", wrap=True)
        self.put_away = QPushButton("Close package")
        row.addWidget(self.title, 1)
        row.addWidget(self.put_away, 0, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row)
        self.verdict = label("", "section", wrap=True)
        self.verdict.setAccessibleName("Whether the package is as it was made")
        self.reason = label("", wrap=True, select=True)
        column.addWidget(self.verdict)
        column.addWidget(self.reason)
        inside = QWidget()
        self._facts = QFormLayout(inside)
        self._facts.setContentsMargins(0, 0, 8, 0)
        self._facts.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._facts.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self._facts.setHorizontalSpacing(16)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setMinimumWidth(300)
        area.setAccessibleName("What the package is")
        area.setWidget(inside)
        column.addWidget(area, 1)

    @property
    def facts(self) -> dict[str, str]:
        """The rows on show: name to words."""
        return dict(self._rows)

    def show_checking(self, package: Path) -> None:
        """The check goes on; until it ends nothing that the package says of itself is shown."""
        self.title.setText(package.stem if package.is_file() else package.name)
        self._show("Checking every byte of it…", "muted")

    def show_unchecked(self) -> None:
        """The check itself could not be made."""
        self._show("!  Not checked.", "warn")

    def show_result(self, result: dict[str, Any]) -> None:
        """As the command `verify` found it."""
        if not result.get("ok"):
            self._show("✕  Do not use this package.", "bad", str(result.get("text", "")))
            return
        signed = (result.get("signature") or {}).get("checked")
        moment = "signed" if signed else "made"
        self._show(f"✓  Every byte is as it was when the package was {moment}.", "good")
        info = result.get("info") or {}
        if info.get("name"):
            self.title.setText(str(info["name"]))
        self._fill(_facts(result, info))

    def _show(self, verdict: str, role: str, reason: str = "") -> None:
        self.verdict.setText(verdict)
        set_role(self.verdict, role)
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        self._fill([])

    def _fill(self, rows: list[tuple[str, str]]) -> None:
        self._rows = rows
        while self._facts.rowCount():
            self._facts.removeRow(0)
        for name, words in rows:
            self._facts.addRow(label(name, "muted"), label(words, wrap=True, select=True))


def _facts(result: dict[str, Any], info: dict[str, Any]) -> list[tuple[str, str]]:
    verified = [
        str(one["text"]).removeprefix("Verified on ")
        for one in result.get("checks", [])
        if one.get("name") == "verified"
    ]
    size = f"{text.size(info['bytes'])} in {info.get('files')} files" if "bytes" in info else ""
    native = ", ".join(str(one) for one in result.get("native") or [])
    rows = [
        ("What it is", str(info.get("title") or "")),
        ("Model", str(info.get("model") or "")),
        ("Source", str(info.get("source") or "")),
        ("Licence", str(info.get("licence") or "not named")),
        ("Made", str(info.get("created") or "")[:10]),
        ("Size", size),
        ("Built for", f"{info.get('device', '')} with {info.get('engine', '')}"),
        ("Verified on", "\n".join(verified) or "no device yet"),
        ("Variants", "\n".join(_variant(one) for one in result.get("variants", []))),
        (
            "Machine code",
            f"{native}: loaded only where its maker is known, or you allow it" if native else "",
        ),
        ("Make a picture", str(result.get("command") or "")),
    ]
    return [(name, words) for name, words in rows if words]


def _variant(row: dict[str, Any]) -> str:
    """One way to run it, in the order in which its runner tries them."""
    where = "can run here" if not row.get("obstacle") else f"not here: {row['obstacle']}"
    proved = "verified" if row.get("verified") else "built, not verified on device"
    return f"{'–' if row.get('obstacle') else '✓'} {row['name']}: {where} ({proved})"
