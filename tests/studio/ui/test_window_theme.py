from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from studio.ui.actions import COMMANDS, INSTALLED_ONLY
from studio.ui.theme import DARK, LIGHT, Theme, Tokens, contrast, palette
from studio.ui.window import Window

GROUNDS = ("ground", "surface", "raised")
TEXTS = ("text", "muted", "accent", "good", "warn", "bad")


@pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("ground", GROUNDS)
def test_every_text_colour_is_readable_on_every_ground(tokens: Tokens, text: str, ground: str) -> None:
    found = contrast(getattr(tokens, text), getattr(tokens, ground))
    assert found >= 4.5, f"{text} on {ground}: {found:.2f}"


@pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=["dark", "light"])
def test_buttons_and_series_stand_out(tokens: Tokens) -> None:
    assert contrast(tokens.on_accent, tokens.accent) >= 4.5
    for colour in tokens.series:
        assert contrast(colour, tokens.ground) >= 3, colour
        assert contrast(colour, tokens.surface) >= 3, colour


@pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=["dark", "light"])
def test_the_palette_pairs_of_qt_are_readable(tokens: Tokens) -> None:
    made = palette(tokens)
    roles = QPalette.ColorRole
    for front, back in (
        (roles.WindowText, roles.Window),
        (roles.Text, roles.Base),
        (roles.ButtonText, roles.Button),
        (roles.ToolTipText, roles.ToolTipBase),
        (roles.HighlightedText, roles.Highlight),
        (roles.PlaceholderText, roles.Base),
    ):
        pair = (made.color(front).name(), made.color(back).name())
        assert contrast(*pair) >= 4.5, (front, pair)


def test_the_theme_changes_at_once_and_is_remembered(qtbot: QtBot, window: Window) -> None:
    window.theme.set_mode("dark")
    assert QApplication.palette().color(QPalette.ColorRole.Window).name().upper() == DARK.ground
    with qtbot.waitSignal(window.theme.changed):
        window.commands["view.theme"].trigger()
    assert QApplication.palette().color(QPalette.ColorRole.Window).name().upper() == LIGHT.ground
    assert window.sitting.settings.theme == "light"


def test_text_grows_to_twice_its_size_and_no_further(window: Window) -> None:
    before = QApplication.font().pixelSize()
    for _ in range(12):
        window.commands["view.larger"].trigger()
    assert QApplication.font().pixelSize() == 2 * before
    window.commands["view.reset"].trigger()
    assert QApplication.font().pixelSize() == before


def test_the_system_theme_is_followed_where_it_is_known(qapp: QApplication) -> None:
    theme = Theme("system")
    wish = qapp.styleHints().colorScheme()
    assert theme.tokens is (LIGHT if wish == Qt.ColorScheme.Light else DARK)


def test_every_command_has_a_title_a_tip_and_its_own_keys(window: Window) -> None:
    seen: dict[tuple[str, str], str] = {}
    for command in COMMANDS:
        assert command.title
        assert command.tip
        for keys in command.shortcuts:
            assert (command.scope, keys) not in seen, (
                f"{keys}: {command.id} and {seen.get((command.scope, keys))}"
            )
            seen[command.scope, keys] = command.id
    assert len({command.id for command in COMMANDS}) == len(COMMANDS)
    for step in ("evolve", "compare"):
        window.page(step)
    dead = {command.id for command, action in window.commands if not action.isEnabled()}
    assert dead == INSTALLED_ONLY
    assert not any(window.commands[name].isVisible() for name in dead)
