"""Whether this system limits candidates at all, known before a run, and the user's word where not."""

from __future__ import annotations

import os
from functools import cache
from typing import Final

from agent.errors import WallsError
from agent.sandbox.limits import CONSENT, ISOLATION, Isolation, agreed
from agent.sandbox.nursery import Nursery

_BARE: Final = ("numpy", "engines.harness")
"""All that a process needs to say behind which walls it is."""


@cache
def level() -> Isolation:
    """The level that candidates reach here at least.

    POSIX limits every process that asks for it, and how far it goes beyond that the
    first candidate tells.  Elsewhere one process is started to see, the first time.

    Raises:
        SandboxError: the system offers a wall and then refuses it.
    """
    if os.name == "posix":
        return "limited"
    with Nursery(preloaded=_BARE, least="none") as nursery:
        nursery.start().close()
        assert nursery.isolation is not None
        return nursery.isolation


def agree() -> None:
    """The user has read what *none* means and wants candidates run, until this program ends."""
    os.environ[CONSENT] = "yes"


def ask_first() -> None:
    """Refuse to begin where nothing limits a candidate and the user has not agreed to that.

    Raises:
        WallsError: it is so; `agree` and begin again once the user says yes.
        SandboxError: as `level`.
    """
    if not agreed() and level() == "none":
        raise WallsError(f"{ISOLATION['none']} Nothing runs before you agree to that.")
