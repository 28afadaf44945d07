"""The questions of one run: numbered, paid for, told to whoever records them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from agent.llm.errors import BudgetSpent, LlmError, LlmRefused
from agent.llm.service import ANSWER, Answer, LanguageModel, Question, Tool
from agent.llm.spending import Spending, Usage, tokens_of

Purpose = Literal["plan", "code", "repair"]
DeltaKind = Literal["text", "thinking", "tool", "wait"]


@dataclass(frozen=True, slots=True)
class Call:
    """One question of a run, before its answer."""

    number: int
    purpose: Purpose
    generation: int
    candidate: str
    """Whose script is written or mended; empty for a plan."""
    prompts: tuple[str, ...]
    """The prompt files that it was made of: `system/1`, `plan/1`."""
    question: Question


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call.  `answer` is None where it failed; `error` then says why."""

    answer: Answer | None
    error: str
    usage: Usage
    usd: float | None
    seconds: float
    spent_usd: float | None
    """Of the whole run so far; None where the price is not known."""
    spent_tokens: int


class Hearer:
    """Told every call; override what is wanted."""

    def asked(self, call: Call) -> None: ...
    def delta(self, call: Call, kind: DeltaKind, text: str) -> None:
        """A piece of the answer as it comes; `wait` says why nothing comes."""

    def counted(self, call: Call, usage: Usage, usd: float | None) -> None:
        """What the call has cost so far, while its answer comes; None: the price is not known."""

    def replied(self, call: Call, reply: Reply) -> None: ...
    def notice(self, level: Literal["info", "warning", "error"], text: str) -> None: ...


@dataclass(slots=True)
class Conversation:
    """`number` is the last call's, so that a resumed run counts on."""

    model: LanguageModel
    spending: Spending
    hearer: Hearer = field(default_factory=Hearer)
    cancelled: Callable[[], bool] = lambda: False
    number: int = 0

    def ask(
        self,
        purpose: Purpose,
        system: tuple[str, ...],
        prompt: str,
        *,
        tools: tuple[Tool, ...],
        prompts: tuple[str, ...],
        generation: int,
        candidate: str = "",
        most: int = ANSWER,
    ) -> Answer:
        """Ask one question and count what it costs, also where it fails.

        Raises:
            BudgetSpent: before asking, where the budget has no room for an answer.
            LlmRefused: the service declined.
            LlmError: as `agent.llm.service.Service.ask`.
        """
        question = Question(system, prompt, tools, most)
        size = tokens_of(" " * question.characters)
        room = self.spending.allow(size, most, purpose)
        question = Question(system, prompt, tools, room)
        self.number += 1
        call = Call(self.number, purpose, generation, candidate, prompts, question)
        self.hearer.asked(call)
        began = time.monotonic()

        def heard(kind: DeltaKind, text: str) -> None:
            self.hearer.delta(call, kind, text)

        def counted(usage: Usage) -> None:
            rates = self.spending.rates
            self.hearer.counted(call, usage, None if rates is None else rates.price(usage))

        def reply(answer: Answer | None, error: str, usage: Usage) -> None:
            usd = self.spending.add(usage, purpose)
            known = None if self.spending.rates is None else self.spending.usd
            self.hearer.replied(
                call,
                Reply(answer, error, usage, usd, time.monotonic() - began, known, self.spending.usage.total),
            )

        def affordable(failed: Usage) -> bool:
            try:
                return self.spending.allow(size, room, purpose, failed) >= room
            except BudgetSpent:
                return False

        try:
            answer = self.model.ask(question, heard, self.cancelled, affordable, counted)
        except LlmError as error:
            reply(None, str(error), error.usage or Usage())
            raise
        if answer.stop == "refusal":
            why = f" ({answer.explanation.rstrip('.')})" if answer.explanation else ""
            text = f"The service declined to answer{why}."
            reply(answer, text, answer.usage)
            raise LlmRefused(text)
        reply(answer, "", answer.usage)
        return answer
