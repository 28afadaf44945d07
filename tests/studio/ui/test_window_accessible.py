"""What a screen reader and a keyboard find: names, order, focus."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QAbstractScrollArea, QComboBox, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from studio.ui.actions import STEPS
from studio.ui.window import Window
from tests.studio.ui.window_recording import cascade_result, open_run


def focusable(root: QWidget) -> list[QWidget]:
    """Visible widgets that take the keyboard, parts of compound widgets left out."""
    found = []
    for widget in root.findChildren(QWidget):
        if widget.focusPolicy() == Qt.FocusPolicy.NoFocus or not widget.isVisibleTo(root):
            continue
        parent = widget.parentWidget()
        if isinstance(widget, QLineEdit) and parent is not None and parent.inherits("QAbstractSpinBox"):
            continue
        if isinstance(parent, QComboBox) or widget.objectName().startswith("qt_"):
            continue
        if isinstance(parent, QAbstractScrollArea) and widget is parent.viewport():
            continue
        found.append(widget)
    return found


def name_of(widget: QWidget) -> str:
    interface = QAccessible.queryAccessibleInterface(widget)
    return interface.text(QAccessible.Text.Name) if interface is not None else widget.accessibleName()


@pytest.fixture
def shown(window: Window, recorded_run: Path) -> Window:
    open_run(window, recorded_run)
    page = window.page("cascade")
    page.show_result(  # type: ignore[attr-defined]
        cascade_result(recorded_run, window.desk.run.state.front[0], "c000")
    )
    return window


@pytest.mark.parametrize("step", STEPS)
def test_every_widget_that_takes_the_keyboard_has_a_name(shown: Window, step: str) -> None:
    shown.log.show()
    shown.go(step)
    widgets = focusable(shown)
    assert len(widgets) > 8
    nameless = [
        f"{type(widget).__name__} {widget.objectName()}" for widget in widgets if not name_of(widget).strip()
    ]
    assert nameless == []


@pytest.mark.parametrize("view", ["sheet", "blind", "playground"])
def test_every_view_of_compare_is_named_too(shown: Window, view: str) -> None:
    shown.go("compare")
    shown.page("compare").set_view(view)  # type: ignore[attr-defined]
    nameless = [type(widget).__name__ for widget in focusable(shown) if not name_of(widget).strip()]
    assert nameless == []


@pytest.mark.parametrize("step", STEPS)
def test_tab_reaches_every_widget_of_a_step(qtbot: QtBot, shown: Window, step: str) -> None:
    shown.go(step)
    shown.activateWindow()
    page = shown.page(step)
    wanted = {
        widget
        for widget in focusable(page)
        if widget.isEnabled()
        and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and widget.focusProxy() is None
    }
    reached: set[QWidget] = set()
    widget = page.nextInFocusChain()
    for _ in range(3000):
        if widget is None or widget is page:
            break
        reached.add(widget)
        widget = widget.nextInFocusChain()
    assert wanted <= reached
    start = shown.rail["model"]
    start.setFocus()
    visited: list[QWidget] = []
    for _ in range(len(focusable(shown)) + 20):
        current = shown.focusWidget()
        if current is None or (visited and current is start):
            break
        visited.append(current)
        qtbot.keyClick(current, Qt.Key.Key_Tab)
    inside = [widget for widget in visited if page.isAncestorOf(widget)]
    assert len(inside) >= min(3, len(wanted)), [name_of(widget) for widget in visited]


def test_the_plot_says_its_front_in_words(shown: Window) -> None:
    shown.go("evolve")
    words = shown.page("evolve").plot.accessibleDescription()  # type: ignore[attr-defined]
    assert "29 candidates" in words
    for name in shown.desk.run.state.front:
        assert name in words


def test_menus_have_no_letter_twice(window: Window) -> None:
    letters = [action.text().partition("&")[2][:1].lower() for action in window.menuBar().actions()]
    assert len(letters) == len(set(letters))
    assert all(letters)
