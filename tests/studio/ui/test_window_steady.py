"""Words that change with every movement of a slider, and the layouts around them."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QApplication, QLabel, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot
from typing_extensions import override

from studio.ui.widgets.labels import Steady, label


class Requests(QObject):
    """Counts how often a widget was asked to lay out anew."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self.count = 0
        widget.installEventFilter(self)

    @override
    def eventFilter(self, _: QObject, event: QEvent) -> bool:
        self.count += event.type() == QEvent.Type.LayoutRequest
        return False


def settle() -> None:
    """A request of a request is dealt with a turn later."""
    for _ in range(4):
        QApplication.processEvents()


def shown(qtbot: QtBot, words: QLabel) -> tuple[QWidget, QLabel]:
    """A window with steady words above free room."""
    around = QWidget()
    qtbot.addWidget(around)
    column = QVBoxLayout(around)
    column.addWidget(Steady(words))
    column.addStretch(1)
    around.show()
    settle()
    return around, words


def test_other_words_of_the_same_room_ask_no_layout(qtbot: QtBot) -> None:
    around, words = shown(qtbot, label("thirty of a hundred"))
    requests = Requests(around)
    words.setText("two of a hundred")
    settle()
    assert requests.count == 0
    words.setText("thirty of a hundred, and a good deal more than there was room for before")
    settle()
    assert requests.count > 0
    assert words.width() >= words.sizeHint().width()


def test_words_that_need_another_line_get_it(qtbot: QtBot) -> None:
    around, words = shown(qtbot, label("short", wrap=True))
    around.resize(120, 300)
    settle()
    low = words.height()
    words.setText("a sentence that does not end before the line does")
    settle()
    assert words.height() >= words.heightForWidth(words.width()) > low


def test_what_changed_while_it_was_hidden_has_room_when_shown(qtbot: QtBot) -> None:
    around, words = shown(qtbot, label("short"))
    around.hide()
    words.setText("a sentence that is a good deal longer than what stood here")
    around.show()
    settle()
    assert words.width() >= words.sizeHint().width()
