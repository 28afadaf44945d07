"""What can go wrong in the studio.

    StudioError
    ├── JournalError     a journal that is damaged, newer than this program, or cannot be written
    ├── RunError         a run or a candidate that does not exist or does not fit the request
    │   └── RunLocked    a run that another process is writing
    ├── ProtocolError    a line that is no request and no event
    ├── ReportError      a report that cannot be written
    ├── ExportError      a candidate that cannot become a package
    ├── SetupError       the engines' environment cannot be made here
    ├── CascadeError     a pair from which no cascade can be made
    ├── PlanError        tables, a trace or a load from which nothing can be planned
    │   └── NoPlan       an objective that no plan meets; says the nearest that one does
    └── Cancelled        a job that the user gave up

The text of each is one sentence for the user: what was wrong with which
input, and what to do.
"""

from __future__ import annotations


class StudioError(Exception):
    """Base of everything that `studio` raises on purpose."""


class JournalError(StudioError):
    """A journal that cannot be read or written."""


class RunError(StudioError):
    """A run or a candidate that does not exist or does not fit the request."""


class RunLocked(RunError):
    """A run that another process is writing."""


class ProtocolError(StudioError):
    """A line that is no request and no event."""


class ReportError(StudioError):
    """A report that cannot be written."""


class ExportError(StudioError):
    """A candidate that cannot become a package, or a package that did not prove itself."""


class SetupError(StudioError):
    """The engines' environment cannot be made; `again` says whether the same order may work later."""

    def __init__(self, text: str, *, again: bool = True) -> None:
        super().__init__(text)
        self.again = again


class CascadeError(StudioError):
    """A pair of candidates from which no cascade can be made."""


class PlanError(StudioError):
    """Tables, a trace or a load from which nothing can be planned or simulated."""


class NoPlan(PlanError):
    """No plan meets the objective; the nearest that one does is part of the text.

    `objective` is in seconds, `demand` in requests/s; `None` where that alone does not help.
    """

    def __init__(
        self,
        text: str,
        *,
        objective: float | None = None,
        demand: float | None = None,
        workers: int | None = None,
    ) -> None:
        super().__init__(text)
        self.objective, self.demand, self.workers = objective, demand, workers


class Cancelled(StudioError):
    """A job that the user gave up."""

    def __init__(self) -> None:
        super().__init__("Cancelled.")
