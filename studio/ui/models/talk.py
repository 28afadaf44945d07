"""What the Conversation lists of the built-in agent: its plans with their reasons, failures and repairs.

Between them stand the user's sentences with what was answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from studio.record.events import Verdict
from studio.record.state import CandidateState, RunState, Said
from studio.ui import text


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
    """The built-in agent's side of a run, in order: each plan with its reason, each failure's evidence."""
    said = list(enumerate(state.said))
    found: list[Entry] = []
    for at, (name, candidate) in enumerate(state.candidates.items()):
        found += [sentence(number, one) for number, one in said if one.candidates == at]
        if candidate.proposal.origin != "baseline":
            found += _of(name, candidate, state)
    return found + [sentence(number, one) for number, one in said if one.candidates >= len(state.candidates)]


def sentence(number: int, one: Said) -> Entry:
    """A sentence of the user, counted from 0."""
    answer = f"\n\nThe agent: {one.answer}" if one.answer else ""
    return Entry(f"said/{number}", f"You: {one.text}", about="You to the agent", words=f"{one.text}{answer}")


def _of(name: str, candidate: CandidateState, state: RunState) -> Iterator[Entry]:
    """Its plan, or the repair that it is; then the evidence, where it did not pass."""
    proposal, verdict = candidate.proposal, candidate.verdict
    failed = [one for one in proposal.parents if _failed(state.candidates.get(one))]
    kind = f"Repair {name} of {failed[0]}" if failed else f"Plan {name}"
    parents = f", from {', '.join(proposal.parents)}" if proposal.parents else ""
    steps = (text.step(step.technique, step.parameters.items()) for step in proposal.recipe)
    outcome = _outcome(name, verdict, state)
    yield Entry(
        f"{name}/plan",
        f"{kind} · {proposal.title} · {outcome}",
        name,
        about=f"{proposal.title}\nGeneration {proposal.generation}, {proposal.origin}{parents}: {outcome}",
        words="\n".join((proposal.why, "", *(f"  {step}" for step in steps))),
    )
    if verdict is not None and verdict.state != "passed":
        yield Entry(
            f"{name}/evidence",
            f"Evidence {name} · {verdict.reason}",
            name,
            about=f"{name} {outcome}\n{verdict.reason}",
            words=verdict.evidence or verdict.reason,
        )


def _failed(candidate: CandidateState | None) -> bool:
    return candidate is not None and candidate.verdict is not None and candidate.verdict.state == "failed"


def _outcome(name: str, verdict: Verdict | None, state: RunState) -> str:
    if verdict is None:
        if name in state.declined:
            return "you left it out"
        return "waits for you" if name == state.waiting else "not judged yet"
    if verdict.state == "passed":
        return "passed" if verdict.speedup is None else f"passed, {text.ratio(verdict.speedup.value)}"
    return f"{verdict.state} at {verdict.stage}"
