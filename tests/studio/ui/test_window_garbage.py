"""Where the window's garbage goes: in its own thread, whoever made Python look for it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot

from studio.ui.garbage import Collector


class Ring:
    """Garbage that only a collection finds; says in which thread it went."""

    def __init__(self, gone: list[int]) -> None:
        self.me, self.gone = self, gone

    def __del__(self) -> None:
        self.gone.append(threading.get_ident())


@pytest.fixture
def elsewhere() -> Iterator[threading.Thread]:
    """A thread that makes and keeps many small things, far more than Python's threshold."""
    kept = list[list[int]]()
    gc.collect()
    yield threading.Thread(target=lambda: kept.extend([one] for one in range(50_000)))
    gc.enable()


def test_another_thread_collects_nothing_and_the_window_s_does(
    qtbot: QtBot, elsewhere: threading.Thread
) -> None:
    collector = Collector()
    gone = list[int]()
    Ring(gone)
    elsewhere.start()
    elsewhere.join()
    assert gone == []
    qtbot.waitUntil(lambda: bool(gone), timeout=20_000)
    assert gone == [threading.get_ident()]
    collector.stop()
    assert gc.isenabled()


def test_without_it_the_other_thread_does(elsewhere: threading.Thread) -> None:
    gone = list[int]()
    Ring(gone)
    elsewhere.start()
    elsewhere.join()
    assert gone
    assert gone != [threading.get_ident()]


def test_what_stays_with_the_window_is_not_gone_over_again(qtbot: QtBot) -> None:
    before = gc.get_freeze_count()
    kept = [[one] for one in range(50_000)]
    collector = Collector()
    assert gc.get_freeze_count() >= before + len(kept)
    later = [[one] for one in range(1000)]
    collector.keep()
    assert gc.get_freeze_count() >= before + len(kept) + len(later)
    collector.stop()
    assert gc.get_freeze_count() == 0
