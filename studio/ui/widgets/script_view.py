"""A candidate's script: as it is, or as the difference to its parent's."""

from __future__ import annotations

import difflib
import keyword
import re
from typing import Final

from PySide6.QtGui import QColor, QSyntaxHighlighter, QTextCharFormat, QTextDocument, QTextOption
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from studio.ui.theme import Theme, mixed

TOKENS: Final = re.compile(
    r"(?P<comment>#.*)"
    r"|(?P<text>\"\"\".*?(?:\"\"\"|$)|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
    r"|(?P<word>\b(?:" + "|".join((*keyword.kwlist, "self")) + r")\b)"
    r"|(?P<number>\b\d+(?:\.\d+)?(?:e[+-]?\d+)?\b)"
    r"|(?P<name>(?<=def )\w+|(?<=class )\w+)"
)


def unified(parent: str, own: str, names: tuple[str, str]) -> str:
    """The difference of two scripts as unified lines."""
    lines = difflib.unified_diff(
        parent.splitlines(), own.splitlines(), f"{names[0]}.py", f"{names[1]}.py", lineterm="", n=3
    )
    return "\n".join(lines) or f"{names[1]} has the same script as {names[0]}."


class _Colours(QSyntaxHighlighter):
    """Light colouring of Python, or of a unified difference."""

    def __init__(self, document: QTextDocument, theme: Theme) -> None:
        super().__init__(document)
        self._theme = theme
        self.difference = False
        self._formats: dict[str, QTextCharFormat] = {}
        self.restyle()

    def restyle(self) -> None:
        tokens = self._theme.tokens
        colours = {
            "comment": tokens.muted,
            "text": tokens.good,
            "word": tokens.accent,
            "number": tokens.warn,
            "name": tokens.accent,
            "added": tokens.good,
            "removed": tokens.bad,
            "place": tokens.accent,
        }
        for name, colour in colours.items():
            made = QTextCharFormat()
            made.setForeground(QColor(colour))
            if name in {"added", "removed"}:
                made.setBackground(QColor(mixed(tokens.surface, colour, 0.12)))
            self._formats[name] = made
        self.rehighlight()

    def highlightBlock(self, block: str) -> None:
        if self.difference:
            name = {"+": "added", "-": "removed", "@": "place"}.get(block[:1])
            if name:
                self.setFormat(0, len(block), self._formats[name])
            return
        for found in TOKENS.finditer(block):
            if found.lastgroup:
                self.setFormat(found.start(), found.end() - found.start(), self._formats[found.lastgroup])


class ScriptView(QPlainTextEdit):
    """Read-only code."""

    def __init__(self, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setReadOnly(True)
        self.setAccessibleName(name)
        self.setWordWrapMode(QTextOption.WrapMode.NoWrap)
        self.setTabChangesFocus(True)
        self._colours = _Colours(self.document(), theme)
        theme.changed.connect(self._restyle)
        self.setFont(theme.fixed())

    def show_script(self, script: str) -> None:
        self._set(script, difference=False)

    def show_difference(self, parent: str, own: str, names: tuple[str, str]) -> None:
        self._set(unified(parent, own, names), difference=True)

    def _set(self, body: str, *, difference: bool) -> None:
        if self.toPlainText() == body and self._colours.difference == difference:
            return
        self._colours.difference = difference
        self.setPlainText(body)

    def _restyle(self) -> None:
        self.setFont(self._theme.fixed())
        self._colours.restyle()
