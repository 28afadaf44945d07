"""What a Triton server is started with."""

from __future__ import annotations

import os

from engines.layouts.triton_server import _outside


def test_an_active_virtual_environment_is_not_the_servers() -> None:
    path = os.pathsep.join(("/servers/bin", "/here/.venv/bin", "/usr/bin"))
    given = {"PATH": path, "VIRTUAL_ENV": "/here/.venv", "HOME": "/home"}
    assert _outside(given) == {"PATH": os.pathsep.join(("/servers/bin", "/usr/bin")), "HOME": "/home"}
    without = {"PATH": path, "HOME": "/home"}
    assert _outside(without) == without
