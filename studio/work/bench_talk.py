"""The language model of a benchmark: what it will cost, has cost, and says, told as it comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.record import events
from studio.record.data import Data
from studio.record.events import LlmChoice
from studio.work import llm
from studio.work.conversation import FOLDER, ConversationRecord
from studio.work.job import Job

if TYPE_CHECKING:
    from agent.bench.solve import Part
    from agent.bench.tasks import Task
    from agent.llm.conversation import Conversation
    from agent.llm.estimate import Estimate
    from agent.llm.spending import Spending, Usage
    from agent.planner.context import Context


@dataclass
class Telling:
    """What the user is told while tasks are solved: how far it is, with a language model at what cost."""

    job: Job
    done: int = 0
    total: int = 0
    doing: str = ""
    spending: Spending | None = None

    def task(self, done: int, total: int, doing: str) -> None:
        """Raises `Cancelled` once the user gave the job up."""
        self.done, self.total, self.doing = done, total, doing
        self.job.progress(done, total, self._words(doing))

    def event(self, data: Data) -> None:
        """Pass an event on; after an answer and while one is waited for the progress says so."""
        self.job.emit(events.event(data))
        match data:
            case events.LlmAnswered():
                self.job.on_progress(self.done, self.total, self._words(self.doing))
            case events.LlmDelta(kind="wait"):
                self.job.on_progress(self.done, self.total, self._words(data.text))

    def notice(self, level: Any, text: str) -> None:
        self.event(events.Notice(level=level, text=text))

    def _words(self, doing: str) -> str:
        if self.spending is None:
            return doing
        return f"{self.spending.text()} of {self.spending.budget} · {doing}"


def open_talk(choice: LlmChoice, folder: Path, telling: Telling) -> Conversation:
    """The talk with the model, its calls kept beside the results; what was spent before counts.

    Raises:
        LlmError: no key, no such model, or the service is out of reach.
    """
    from agent.llm.conversation import Conversation
    from agent.llm.spending import Budget, Spending, prices

    job = telling.job
    service = llm.opened(choice, lambda: job.control.abort)
    calls, usage, usd = _spent(folder)
    rates = prices().rates(choice.model, choice.url)
    spending = Spending(rates, Budget(choice.usd, choice.tokens), usage, usd, calls)
    telling.spending = spending
    record = ConversationRecord(folder, telling.event, telling.event, service.hide, choice.model)
    asked = [int(path.stem) for path in (folder / FOLDER).glob("[0-9]*.json")]
    return Conversation(service, spending, record, lambda: job.control.abort, max(asked, default=0))


def _spent(folder: Path) -> tuple[int, Usage, float]:
    """Calls, tokens and US dollars of the answers that are kept, those to unfinished tasks among them."""
    from agent.llm.spending import Usage

    calls, usage, usd = 0, Usage(), 0.0
    for path in (folder / FOLDER).glob("[0-9]*.json"):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["usage"]
            one = Usage(
                input=int(found["input"]),
                output=int(found["output"]),
                write=int(found["write"]),
                read=int(found["read"]),
            )
            money = float(found["usd"] or 0.0)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # asked and never answered
        calls, usage, usd = calls + 1, usage + one, usd + money
    return calls, usage, usd


def foretell(
    choice: LlmChoice,
    tasks: Sequence[tuple[Context, Sequence[Task]]],
    machine: dict[str, Any],
    *,
    loops: bool,
    without: Sequence[Part],
    generations: int,
    population: int,
) -> Estimate | None:
    """What the tasks, by model, will cost at a guess; None where none is left."""
    from agent.bench.forecast import Asking
    from agent.llm.briefing import Surroundings
    from agent.llm.spending import prices

    asking = Asking(
        llm.preset_of(choice),
        Surroundings(machine),
        loops,
        without,
        prices().rates(choice.model, choice.url),
        generations,
        population,
    )
    found: Estimate | None = None
    for context, some in tasks:
        if some:
            one = asking.estimate(some, context)
            found = one if found is None else found + one
    return found
