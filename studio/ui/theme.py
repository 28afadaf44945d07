"""Colours, sizes and type of the window: tokens -> palette -> a small style sheet.

The palette is ours on every platform: `QStyleHints.setColorScheme` does
nothing under `offscreen` and bare X11, so the system's wish is only read.
Nothing reads a theme at import; widgets that paint hold the `Theme` and
repaint on `changed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from studio.ui import icons

Mode = Literal["system", "dark", "light"]

SPACE: Final = (4, 8, 12, 16, 24, 32)
RADIUS: Final = 6
GREY: Final = "#777777"
"""What pictures sit on: neutral, so that their colours are judged fairly."""
BASE, SMALL, SECTION, TITLE, BIG = 13, 11, 15, 20, 28


@dataclass(frozen=True, slots=True)
class Tokens:
    """One theme's colours as `#RRGGBB`; text roles hold 4.5:1 on ground, surface and raised."""

    name: str
    ground: str
    surface: str
    raised: str
    line: str
    text: str
    muted: str
    accent: str
    on_accent: str
    good: str
    warn: str
    bad: str
    series: tuple[str, ...]
    """Okabe-Ito, tuned to 3:1 against the ground."""


DARK: Final = Tokens(
    name="dark",
    ground="#14161A",
    surface="#1B1E24",
    raised="#242830",
    line="#343A45",
    text="#E7EAEE",
    muted="#9BA4B0",
    accent="#6AA8FF",
    on_accent="#0B1220",
    good="#5FCB8F",
    warn="#E9B44C",
    bad="#FF857C",
    series=("#56B4E9", "#E69F00", "#1FB58A", "#F0E442", "#3C8FD0", "#E8743B", "#CC79A7", "#B9C0CA"),
)
LIGHT: Final = Tokens(
    name="light",
    ground="#F5F6F8",
    surface="#FFFFFF",
    raised="#EEF0F3",
    line="#D5DAE1",
    text="#1B1F24",
    muted="#5A6470",
    accent="#1D5FD0",
    on_accent="#FFFFFF",
    good="#17703D",
    warn="#835400",
    bad="#B4231B",
    series=("#1B7FB8", "#A96F00", "#007F5C", "#8A8000", "#0062A0", "#C24E00", "#A8527F", "#3A424D"),
)


def luminance(colour: str) -> float:
    """Relative luminance of `#RRGGBB` (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    """`one` with `share` (0 to 1) of `other`, as `#RRGGBB`."""
    first, second = QColor(one), QColor(other)
    parts = (
        round(a + (b - a) * share)
        for a, b in (
            (first.red(), second.red()),
            (first.green(), second.green()),
            (first.blue(), second.blue()),
        )
    )
    return "#{:02X}{:02X}{:02X}".format(*parts)


def palette(tokens: Tokens) -> QPalette:
    """Every colour role that Fusion reads, for active and disabled widgets."""
    roles = QPalette.ColorRole
    table = {
        roles.Window: tokens.ground,
        roles.WindowText: tokens.text,
        roles.Base: tokens.surface,
        roles.AlternateBase: mixed(tokens.surface, tokens.raised, 0.5),
        roles.ToolTipBase: tokens.raised,
        roles.ToolTipText: tokens.text,
        roles.PlaceholderText: tokens.muted,
        roles.Text: tokens.text,
        roles.Button: tokens.raised,
        roles.ButtonText: tokens.text,
        roles.BrightText: tokens.bad,
        roles.Light: tokens.raised,
        roles.Midlight: tokens.raised,
        roles.Mid: tokens.line,
        roles.Dark: tokens.line,
        roles.Shadow: tokens.ground,
        roles.Highlight: tokens.accent,
        roles.HighlightedText: tokens.on_accent,
        roles.Accent: tokens.accent,
        roles.Link: tokens.accent,
        roles.LinkVisited: tokens.accent,
    }
    made = QPalette()
    for role, colour in table.items():
        made.setColor(role, QColor(colour))
    faint = QColor(mixed(tokens.muted, tokens.ground, 0.35))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, faint)
    return made


def style_sheet(tokens: Tokens, scale: float) -> str:
    """What a palette cannot say: hairlines, radius, focus ring, roles of type."""

    def px(size: float) -> str:
        return f"{round(size * scale)}px"

    def picture(name: str) -> str:
        return f'url("{(folder / f"{name}-{tokens.name}.svg").as_posix()}")'

    folder = icons.folder()
    selected = mixed(tokens.surface, tokens.accent, 0.22)
    disabled = mixed(tokens.muted, tokens.ground, 0.35)
    return f"""
    QToolTip {{ background: {tokens.raised}; color: {tokens.text}; border: 1px solid {tokens.line};
        padding: 4px; }}
    QMenuBar {{ background: {tokens.ground}; border-bottom: 1px solid {tokens.line}; }}
    QMenuBar::item {{ padding: 4px 10px; background: transparent; }}
    QMenuBar::item:selected {{ background: {tokens.raised}; }}
    QMenu {{ background: {tokens.surface}; border: 1px solid {tokens.line}; padding: 4px; }}
    QMenu::item {{ padding: 5px 24px 5px 12px; border-radius: 4px; }}
    QMenu::item:selected {{ background: {selected}; color: {tokens.text}; }}
    QMenu::item:disabled {{ color: {disabled}; }}
    QMenu::separator {{ height: 1px; background: {tokens.line}; margin: 4px 8px; }}
    QPushButton, QToolButton {{ background: {tokens.raised}; border: 1px solid {tokens.line};
        border-radius: {RADIUS}px; padding: 5px 12px; color: {tokens.text}; }}
    QToolButton {{ padding: 5px 8px; }}
    QPushButton:hover, QToolButton:hover {{ border-color: {tokens.muted}; }}
    QPushButton:pressed, QToolButton:pressed {{ background: {tokens.line}; }}
    QPushButton:checked, QToolButton:checked {{ background: {selected}; border-color: {tokens.accent}; }}
    QPushButton:disabled, QToolButton:disabled {{ color: {disabled}; background: {tokens.surface}; }}
    QPushButton:focus, QToolButton:focus {{ border: 2px solid {tokens.accent}; padding: 4px 11px; }}
    QToolButton:focus {{ padding: 4px 7px; }}
    QPushButton[role="primary"] {{ background: {tokens.accent}; color: {tokens.on_accent};
        border-color: {tokens.accent}; font-weight: 600; }}
    QPushButton[role="primary"]:hover {{ background: {mixed(tokens.accent, tokens.text, 0.15)}; }}
    QPushButton[role="primary"]:focus {{ border: 2px solid {tokens.text}; }}
    QPushButton[role="primary"]:disabled {{ background: {tokens.raised}; color: {disabled};
        border-color: {tokens.line}; }}
    QPushButton[role="hero"] {{ background: {tokens.accent}; color: {tokens.on_accent}; font-weight: 600;
        border-color: {tokens.accent}; font-size: {px(SECTION)}; padding: 10px 20px; }}
    QPushButton[role="hero"]:hover {{ background: {mixed(tokens.accent, tokens.text, 0.15)}; }}
    QPushButton[role="hero"]:focus {{ border: 2px solid {tokens.text}; padding: 9px 19px; }}
    QPushButton[role="hero"]:disabled {{ background: {tokens.raised}; color: {disabled};
        border-color: {tokens.line}; }}
    QToolButton[role="flat"], QPushButton[role="flat"] {{ background: transparent;
        border-color: transparent; }}
    QToolButton[role="flat"]:hover, QPushButton[role="flat"]:hover {{ background: {tokens.raised}; }}
    QToolButton[role="flat"]:focus, QPushButton[role="flat"]:focus {{ border-color: {tokens.accent}; }}
    QToolButton::menu-indicator, QPushButton::menu-indicator {{ image: none; width: 0px; }}
    QLineEdit, QPlainTextEdit, QSpinBox, QDoubleSpinBox, QComboBox {{ background: {tokens.surface};
        border: 1px solid {tokens.line}; border-radius: {RADIUS}px; padding: 4px 8px;
        selection-background-color: {tokens.accent}; selection-color: {tokens.on_accent}; }}
    QLineEdit:focus, QPlainTextEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus {{
        border: 2px solid {tokens.accent}; padding: 3px 7px; }}
    QLineEdit[role="plain"] {{ background: transparent; border: none; padding: 0; color: {tokens.muted};
        font-size: {px(SMALL)}; }}
    QLineEdit[role="said"] {{ background: transparent; border: none; padding: 0; }}
    QLineEdit[role="said"]:focus, QLineEdit[role="plain"]:focus {{ border: none;
        border-bottom: 2px solid {tokens.accent}; padding: 0; }}
    QComboBox::drop-down {{ border: none; width: 22px; }}
    QComboBox::down-arrow {{ image: {picture("down")}; width: 14px; height: 14px; }}
    QSpinBox, QDoubleSpinBox {{ padding: 4px 20px 4px 8px; }}
    QSpinBox:focus, QDoubleSpinBox:focus {{ padding: 3px 19px 3px 7px; }}
    QAbstractSpinBox QLineEdit, QComboBox QLineEdit {{
        border: none; padding: 0 0 0 6px; background: transparent; }}
    QSpinBox::up-button, QDoubleSpinBox::up-button {{ subcontrol-origin: border;
        subcontrol-position: top right;
        width: 18px; border: none; margin: 2px 2px 0 0; background: transparent; }}
    QSpinBox::down-button, QDoubleSpinBox::down-button {{ subcontrol-origin: border;
        subcontrol-position: bottom right; width: 18px; border: none; margin: 0 2px 2px 0;
        background: transparent; }}
    QSpinBox::up-arrow, QDoubleSpinBox::up-arrow {{ image: {picture("up")}; width: 11px; height: 11px; }}
    QSpinBox::down-arrow, QDoubleSpinBox::down-arrow {{
        image: {picture("down")}; width: 11px; height: 11px; }}
    QSpinBox::up-button:hover, QSpinBox::down-button:hover, QDoubleSpinBox::up-button:hover,
    QDoubleSpinBox::down-button:hover {{ background: {tokens.raised}; }}
    QCheckBox::indicator {{ width: {px(14)}; height: {px(14)}; border: 1px solid {tokens.muted};
        border-radius: 3px; background: {tokens.surface}; }}
    QCheckBox::indicator:checked {{ background: {tokens.accent}; border-color: {tokens.accent};
        image: {picture("check")}; }}
    QRadioButton::indicator {{ width: {px(12)}; height: {px(12)}; border: 1px solid {tokens.muted};
        border-radius: {px(7)}; background: {tokens.surface}; }}
    QRadioButton::indicator:checked {{ background: {tokens.accent}; border-color: {tokens.accent}; }}
    QTableView::item {{ padding: 0 6px; border: none; }}
    QListWidget::item {{ padding: 3px 6px; border: none; }}
    QListWidget::item:selected {{ background: {selected}; color: {tokens.text}; }}
    QTableView::item:selected {{ background: {selected}; color: {tokens.text}; }}
    QComboBox QAbstractItemView {{ background: {tokens.surface}; border: 1px solid {tokens.line};
        selection-background-color: {selected}; selection-color: {tokens.text}; }}
    QTableView, QListView, QTreeView {{ background: {tokens.surface}; border: 1px solid {tokens.line};
        border-radius: {RADIUS}px; gridline-color: {tokens.line}; outline: none;
        selection-background-color: {selected}; selection-color: {tokens.text};
        alternate-background-color: {mixed(tokens.surface, tokens.raised, 0.5)}; }}
    QTableView:focus, QListView:focus, QTreeView:focus {{ border: 2px solid {tokens.accent}; }}
    QHeaderView {{ background: {tokens.surface}; border: none; }}
    QHeaderView::section {{ background: {tokens.surface}; color: {tokens.muted}; border: none;
        border-bottom: 1px solid {tokens.line}; padding: 5px 8px; font-size: {px(SMALL)}; }}
    QTableCornerButton::section {{ background: {tokens.surface}; border: none; }}
    QTabWidget::pane {{ border: none; border-top: 1px solid {tokens.line}; }}
    QTabBar::tab {{ background: transparent; color: {tokens.muted}; padding: 6px 12px;
        border: none; border-bottom: 2px solid transparent; }}
    QTabBar::tab:selected {{ color: {tokens.text}; border-bottom: 2px solid {tokens.accent}; }}
    QTabBar::tab:hover {{ color: {tokens.text}; }}
    QTabBar:focus {{ outline: none; }}
    QTabBar::tab:focus {{ background: {tokens.raised};
        border: 2px solid {tokens.accent}; border-radius: 4px; }}
    QProgressBar {{ background: {tokens.raised}; border: none; border-radius: 3px; text-align: center; }}
    QProgressBar::chunk {{ background: {tokens.accent}; border-radius: 3px; }}
    QSplitter::handle {{ background: {tokens.ground}; }}
    QSplitter::handle:hover {{ background: {tokens.line}; }}
    QScrollBar:vertical {{ background: transparent; width: 10px; margin: 0; }}
    QScrollBar:horizontal {{ background: transparent; height: 10px; margin: 0; }}
    QScrollBar::handle {{ background: {mixed(tokens.line, tokens.muted, 0.35)}; border-radius: 4px;
        min-height: 24px; min-width: 24px; margin: 1px; }}
    QScrollBar::handle:hover {{ background: {tokens.muted}; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
    QScrollArea {{ border: none; background: transparent; }}
    QScrollArea > QWidget > QWidget {{ background: transparent; }}
    QCheckBox:focus, QRadioButton:focus {{ border: 2px solid {tokens.accent}; border-radius: 4px; }}
    QCheckBox, QRadioButton {{ border: 2px solid transparent; padding: 1px; spacing: 6px; }}
    QSlider:focus {{ border: 2px solid {tokens.accent}; border-radius: 4px; }}
    QSlider {{ border: 2px solid transparent; }}
    QSlider::groove:horizontal {{ height: 4px; background: {tokens.line}; border-radius: 2px; }}
    QSlider::sub-page:horizontal {{ background: {tokens.accent}; border-radius: 2px; }}
    QSlider::handle:horizontal {{ background: {tokens.text}; width: 14px; height: 14px; margin: -5px 0;
        border-radius: 7px; }}
    QFrame[role="card"] {{ background: {tokens.surface}; border: 1px solid {tokens.line};
        border-radius: {RADIUS}px; }}
    QFrame[role="rule"] {{ background: {tokens.line}; border: none; max-height: 1px; min-height: 1px; }}
    QFrame[role="bar"] {{ background: {tokens.ground}; border: none;
        border-bottom: 1px solid {tokens.line}; }}
    QFrame[role="strip"] {{ background: {tokens.ground}; border: none;
        border-top: 1px solid {tokens.line}; }}
    QFrame[role="rail"] {{ background: {tokens.ground}; border: none;
        border-right: 1px solid {tokens.line}; }}
    QFrame[role="drop"] {{ background: {tokens.surface}; border: 2px dashed {tokens.line};
        border-radius: {RADIUS}px; }}
    QFrame[role="drop"][over="true"] {{ border-color: {tokens.accent}; background: {selected}; }}
    QFrame[role="message"] {{ background: {tokens.surface}; border: 1px solid {tokens.line}; margin-top: 6px;
        border-radius: {RADIUS}px; }}
    QFrame[role="message"][level="warning"] {{ border-left: 4px solid {tokens.warn}; }}
    QFrame[role="message"][level="error"] {{ border-left: 4px solid {tokens.bad}; }}
    QFrame[role="message"][level="info"] {{ border-left: 4px solid {tokens.accent}; }}
    QFrame[role="overlay"] {{ background: {tokens.surface}; border: 1px solid {tokens.muted};
        border-radius: 8px; }}
    QLabel[role="title"] {{ font-size: {px(TITLE)}; font-weight: 600; }}
    QLabel[role="section"] {{ font-size: {px(SECTION)}; font-weight: 600; }}
    QLabel[role="muted"] {{ color: {tokens.muted}; }}
    QLabel[role="small"] {{ color: {tokens.muted}; font-size: {px(SMALL)}; }}
    QLabel[role="big"] {{ font-size: {px(BIG)}; font-weight: 600; }}
    QLabel[role="good"] {{ color: {tokens.good}; font-weight: 600; }}
    QLabel[role="warn"] {{ color: {tokens.warn}; font-weight: 600; }}
    QLabel[role="bad"] {{ color: {tokens.bad}; font-weight: 600; }}
    QLabel[role="chip"] {{ background: {tokens.raised}; border: 1px solid {tokens.line}; border-radius: 9px;
        padding: 2px 8px; font-size: {px(SMALL)}; }}
    QLabel[role="key"] {{ background: {tokens.raised}; border: 1px solid {tokens.line}; border-radius: 4px;
        padding: 1px 6px; font-size: {px(SMALL)}; }}
    """


class Theme(QObject):
    """The tokens in force and the size of text.

    Signals:
        changed: tokens or scale are others now; repaint.
    """

    changed = Signal()

    def __init__(self, mode: Mode = "system", scale: float = 1.0, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.mode: Mode = mode
        self.scale = scale
        self.tokens = self._wanted()
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._on_system)

    def set_mode(self, mode: Mode) -> None:
        self.mode = mode
        self.apply()

    def toggle(self) -> None:
        """Dark to light and back; leaves `system` behind."""
        self.set_mode("light" if self.tokens is DARK else "dark")

    def set_scale(self, scale: float) -> None:
        """Size of text, 0.8 to 2.0."""
        self.scale = min(2.0, max(0.8, round(scale, 2)))
        self.apply()

    def apply(self) -> None:
        """Put palette, font and style sheet on the application."""
        self.tokens = self._wanted()
        application = QApplication.instance()
        sheet = style_sheet(self.tokens, self.scale)
        # Polishing every widget takes a third of a second: not for nothing.
        if isinstance(application, QApplication) and application.styleSheet() != sheet:
            application.setPalette(palette(self.tokens))
            application.setFont(self.font())
            application.setStyleSheet(sheet)
        self.changed.emit()

    def font(self, size: int = BASE, *, bold: bool = False) -> QFont:
        """The system's font at `size` pixels (before scaling), with figures of one width."""
        made = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
        made.setPixelSize(round(size * self.scale))
        made.setBold(bold)
        made.setFeature(QFont.Tag("tnum"), 1)
        return made

    def fixed(self, size: int = 12) -> QFont:
        """The system's monospaced font."""
        made = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        made.setPixelSize(round(size * self.scale))
        return made

    def colour(self, role: str) -> QColor:
        """A token by name as a Qt colour."""
        return QColor(getattr(self.tokens, role))

    def _wanted(self) -> Tokens:
        if self.mode == "system":
            wish = QGuiApplication.styleHints().colorScheme()
            return LIGHT if wish == Qt.ColorScheme.Light else DARK
        return DARK if self.mode == "dark" else LIGHT

    def _on_system(self) -> None:
        if self.mode == "system":
            self.apply()


def set_role(widget: QWidget, role: str) -> None:
    """Give a widget one of the style sheet's roles and restyle it."""
    if widget.property("role") == role:
        return
    widget.setProperty("role", role)
    style = widget.style()
    style.unpolish(widget)
    style.polish(widget)
    widget.updateGeometry()
