"""What a language model was asked for a candidate, or a run, and what that cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from studio.record.events import LlmAnswered
from studio.record.state import RunState


@dataclass(frozen=True, slots=True)
class Cost:
    """Of some calls."""

    calls: int
    tokens: int
    usd: float | None
    """US dollars; None: the price of one of them is not known."""
    estimated: bool = False
    """Whether tokens of one of them were counted from characters."""

    @property
    def words(self) -> str:
        """`2 calls, 12,300 tokens, $0.050`."""
        about = "about " if self.estimated else ""
        parts = ["1 call" if self.calls == 1 else f"{self.calls} calls", f"{about}{self.tokens:,} tokens"]
        return ", ".join(parts + ([] if self.usd is None else [f"${self.usd:.3f}"]))


def of_answers(answers: Iterable[LlmAnswered]) -> Cost:
    """The sum."""
    found = list(answers)
    money = [one.usd for one in found]
    return Cost(
        len(found),
        sum(map(tokens, found)),
        None if None in money else sum(one or 0.0 for one in money),
        any(one.estimated for one in found),
    )


def tokens(answered: LlmAnswered) -> int:
    """Of a call, the service's cache included."""
    return answered.input + answered.output + answered.write + answered.read


def of_candidate(state: RunState, name: str) -> Cost | None:
    """Of the calls that wrote its script, or repaired it into being; None: nothing was asked for it alone.

    The plan of its generation is asked for all its candidates together and is nobody's own.
    """
    own = [one for one in state.answered.values() if one.candidate == name]
    return of_answers(own) if own else None


def of_run(state: RunState) -> Cost | None:
    """None: no language model was asked."""
    return of_answers(state.answered.values()) if state.answered else None
