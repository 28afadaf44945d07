"""Other programs are noticed before they are measured as well."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from studio.work import machine


@pytest.fixture
def loops() -> Iterator[None]:
    """A process for each core that does nothing but compute."""
    code = "while True: pass"
    made = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(os.cpu_count() or 1)]
    yield
    for one in made:
        one.kill()
        one.wait()


@pytest.mark.usefixtures("loops")
def test_a_machine_that_works_for_others_is_said_to() -> None:
    assert max(machine.others() for _ in range(5)) > 0.5
    assert "Other programs use" in machine.busy_sentence()


def test_a_quiet_machine_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "others", lambda: 0.1)
    assert machine.busy_sentence() == ""
