"""What went wrong, as one sentence for the user and a detail for whoever mends it."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass

from studio.errors import Cancelled, StudioError

_LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Failure:
    """`expected`: raised on purpose, the text says what to do; else it is a defect of ours."""

    text: str
    detail: str
    expected: bool
    asks: str = ""
    """An argument of the command by which the user agrees to have it done all the same."""
    wants: str = ""
    """A command that takes what is missing, after which the same can be asked again."""


def explain(error: BaseException) -> Failure:
    """Turn any exception into one sentence; a traceback only where the cause is not known."""
    if isinstance(error, Cancelled):
        return Failure(str(error), "", expected=True)
    detail = "".join(traceback.format_exception(error))[-_LONGEST:]
    if isinstance(error, StudioError) or _is_ours(error):
        asks, wants = getattr(error, "asks", ""), getattr(error, "wants", "")
        return Failure(_one_line(str(error)), detail, expected=True, asks=asks, wants=wants)
    if isinstance(error, OSError):
        return Failure(_system(error), detail, expected=True)
    if isinstance(error, MemoryError):
        return Failure(
            "The machine has too little free memory for this; close other programs.", detail, expected=True
        )
    return Failure(
        f"Something unexpected went wrong ({type(error).__name__}: {_one_line(str(error))[:200]}); "
        "nothing that was finished is lost, the detail says where it happened.",
        detail,
        expected=False,
    )


def _is_ours(error: BaseException) -> bool:
    # By name, so that a light process need not import engines or agent to ask.
    return any(
        base.__name__ in ("EngineError", "AgentError", "HostLoopError") for base in type(error).__mro__
    )


def _system(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"The disk is full{where and ' at' + where}; free some space, then try again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return (
                f"The folder or file{where} cannot be written or read with your rights; choose another one."
            )
        case errno.ENOENT:
            return f"There is no file or folder{where}; check the name."
    return f"The system refused{where} ({error.strerror or error}); check the place and try again."


def _one_line(text: str) -> str:
    return " ".join(text.split())
