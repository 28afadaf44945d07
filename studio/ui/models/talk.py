"""What the Conversation lists: plans with their reasons, code, evidence and repairs, in order as they came.

Beside the language model's own words, where there is one, stand the candidates that others thought of, what
became of each, and the user's sentences with what was answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from studio.record import costs
from studio.record.events import LlmAnswered, LlmAsked
from studio.record.state import CandidateState, RunState, Said, Turn
from studio.record.verdict import Verdict
from studio.ui import text

PURPOSES: Final = {"plan": "Plan", "code": "Code", "repair": "Repair"}
PLANS: Final = {"mathematics": "Numbers", "built-in": "Built-in plan"}
"""How a plan is called that is not the language model's; the built-in agent's own is a plan as well."""
WHOSE: Final = {
    "language": "by the language model",
    "mathematics": "numbers by the Gaussian process",
    "built-in": "by the built-in planner",
    "rules": "by a rule",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list.  `call` is a language model's; 0: `about` and `words` are all there is."""

    key: str
    """The same as long as it means the same."""
    line: str
    candidate: str = ""
    call: int = 0
    about: str = ""
    words: str = ""


def told(state: RunState) -> list[Entry]:
    """A run's conversation: each question, plan, failure and sentence, once, where it first came."""
    found = {one.key: one for turn in state.turns for one in _entries(turn, state)}
    return list(found.values())


def _entries(turn: Turn, state: RunState) -> Iterator[Entry]:
    match turn.kind:
        case "said":
            yield sentence(int(turn.name), state.said[int(turn.name)])
        case "asked":
            number = int(turn.name)
            asked = state.asked[number]
            yield Entry(f"call/{number}", line(asked, state.answered.get(number)), asked.candidate, number)
        case "proposed":
            if state.candidates[turn.name].proposal.origin != "baseline":
                yield _plan(turn.name, state.candidates[turn.name], state)
        case "judged":
            yield from _evidence(turn.name, state.candidates[turn.name], state)


def sentence(number: int, one: Said) -> Entry:
    """A sentence of the user, counted from 0."""
    answer = f"\n\nThe agent: {one.answer}" if one.answer else ""
    return Entry(f"said/{number}", f"You: {one.text}", about="You to the agent", words=f"{one.text}{answer}")


def line(asked: LlmAsked, answered: LlmAnswered | None) -> str:
    """`3  Repair c002 · 6,100 tokens · $0.02`."""
    what = " ".join(filter(None, (PURPOSES[asked.purpose], asked.candidate))) + (
        f" (generation {asked.generation})" if asked.purpose == "plan" else ""
    )
    if answered is None:
        return f"{asked.call}  {what} …"
    return f"{asked.call}  {what} · {cost(answered)}" + (" · failed" if answered.error else "")


def cost(answered: LlmAnswered) -> str:
    """`6,100 tokens · $0.02`."""
    about = "about " if answered.estimated else ""
    money = f" · ${answered.usd:.3f}" if answered.usd is not None else ""
    return f"{about}{costs.tokens(answered):,} tokens{money}"


def _plan(name: str, candidate: CandidateState, state: RunState) -> Entry:
    """Its plan, or the repair that it is."""
    proposal = candidate.proposal
    broken = [one for one in proposal.parents if _broken(state.candidates.get(one))]
    if broken:
        kind = f"Repair {name} of {broken[0]}" + (" by rule" if proposal.by == "rules" else "")
    else:
        kind = f"{PLANS.get(proposal.by, 'Plan')} {name}"
    parents = f", from {', '.join(proposal.parents)}" if proposal.parents else ""
    whose = f", {WHOSE[proposal.by]}" if proposal.by else ""
    steps = (f"  {text.step(step.technique, step.parameters.items())}" for step in proposal.recipe)
    beyond = f"Beyond its recipe: {proposal.code}" if proposal.code else ""
    outcome = _outcome(name, candidate.verdict, state)
    where = f"Generation {proposal.generation}, {proposal.origin}{parents}{whose}"
    return Entry(
        f"{name}/plan",
        f"{kind} · {proposal.title} · {outcome}",
        name,
        about=f"{proposal.title}\n{where}: {outcome}",
        words="\n\n".join(filter(None, (proposal.why, "\n".join(steps), beyond))),
    )


def _evidence(name: str, candidate: CandidateState, state: RunState) -> Iterator[Entry]:
    """Why it did not pass."""
    verdict = candidate.verdict
    if verdict is not None and verdict.state != "passed":
        yield Entry(
            f"{name}/evidence",
            f"Evidence {name} · {verdict.reason}",
            name,
            about=f"{name} {_outcome(name, verdict, state)}\n{verdict.reason}",
            words=verdict.evidence or verdict.reason,
        )


def _broken(candidate: CandidateState | None) -> bool:
    return candidate is not None and candidate.verdict is not None and candidate.verdict.state != "passed"


def _outcome(name: str, verdict: Verdict | None, state: RunState) -> str:
    if verdict is None:
        if name in state.declined:
            return "you left it out"
        return "waits for you" if name == state.waiting else "not judged yet"
    if verdict.state == "passed":
        return "passed" if verdict.speedup is None else f"passed, {text.ratio(verdict.speedup.value)}"
    return f"{'stopped early' if verdict.stopped else verdict.state} at {verdict.stage}"
