"""What a planner, a coder and a debugger are told: the run so far, as one value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from agent.candidate import By, Candidate, Proposal, Recipe, Verdict
from agent.errors import RecipeError
from agent.evolution.front import Judged, Reference
from agent.evolution.space import Check, Space, checker, joint_space, key
from agent.memory import Memory, Remembered, place_of
from engines.workload import Workload


class CardLike(Protocol):
    """What is read of `engines.models.card.Card`."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def guidance(self) -> float: ...
    @property
    def hash(self) -> str: ...


class FactsLike(Protocol):
    """What is read of `engines.techniques.facts.Facts`."""

    @property
    def factor(self) -> tuple[float, float]: ...
    @property
    def risk(self) -> Literal["none", "low", "medium", "high"]: ...
    @property
    def quality(self) -> str: ...
    @property
    def hastens(self) -> bool: ...


@dataclass(frozen=True)
class Context:
    """The run so far.  `history` holds every verdict in order, the baseline first."""

    model: str
    """Source as given: a folder, a file, a hub id or `tiny-scenes`."""
    card: CardLike
    device: str
    workload: Workload
    space: Space
    check: Check
    facts: Mapping[str, FactsLike] = field(default_factory=dict)
    """What the knowledge base says of each technique."""
    rules: str = ""
    """The rules of compatibility that concern this model on this device, as text."""
    history: tuple[Judged, ...] = ()
    generation: int = 1
    population: int = 7
    reference: Reference = (math.inf, 1.0)
    """Hypervolume reference point; set once the baseline is measured."""
    tolerance: float = 0.02
    """Loss that a winner may have."""
    metric: str = "adherence"
    memory: tuple[Remembered, ...] = ()
    seed: int = 0
    notes: tuple[str, ...] = ()
    """What the user asked for in words, in order; `agent.planner.wishes` says what the built-in agent
    understands of it."""
    declined: tuple[Candidate, ...] = ()
    """What the user did not want to run; not planned again."""
    candidate: str = ""
    """Name of the candidate that is being written or mended."""

    @property
    def baseline(self) -> Verdict | None:
        return next((one.verdict for one in self.history if one.is_baseline), None)

    @property
    def steps(self) -> int:
        """Steps of the baseline."""
        return self.workload.steps or int(self.card.steps)

    @property
    def guided(self) -> bool:
        guidance = self.workload.guidance if self.workload.guidance is not None else self.card.guidance
        return float(guidance) > 1.0

    def judged(self, name: str) -> Judged | None:
        return next((one for one in self.history if one.id == name), None)

    def tried(self) -> set[str]:
        """Canonical texts of every recipe of the run, the unchanged model's and declined ones too."""
        found = {key(())}
        for one in (*(judged.candidate for judged in self.history), *self.declined):
            try:
                found.add(self.space.key(one.proposal.recipe))
            except RecipeError:
                continue
        return found

    def is_repair(self, one: Judged) -> bool:
        """Whether a candidate is the debugger's: its parent did not pass."""
        parents = (self.judged(parent) for parent in one.candidate.proposal.parents)
        return any(parent is not None and parent.verdict.state != "passed" for parent in parents)

    def planned(self, generation: int) -> list[Judged]:
        """Candidates of a generation without the debugger's repairs."""
        return [
            one
            for one in self.history
            if one.candidate.generation == generation and not one.is_baseline and not self.is_repair(one)
        ]

    def loss_text(self, loss: float) -> str:
        """A loss as the user reads it."""
        return f"{100 * loss:.1f} points" if self.metric == "adherence" else f"{loss:.3f}"


def prepare(
    model: str,
    card: Any,
    device: str,
    workload: Workload,
    *,
    metric: str = "adherence",
    tolerance: float = 0.02,
    memory: Memory | None = None,
    seed: int = 0,
    history: tuple[Judged, ...] = (),
    declined: tuple[Candidate, ...] = (),
) -> Context:
    """The context of a run on `engines`: its space, its rules, its facts, and what earlier runs learned.

    `card` is `engines.models.card.Card`; a workload's own steps and guidance replace the card's.
    """
    from agent.knowledge import facts
    from engines.techniques import all_techniques

    asked = {
        name: value
        for name, value in (("steps", workload.steps), ("guidance", workload.guidance))
        if value is not None
    }
    effective = replace(card, **asked)
    space = joint_space(effective, device)
    known = {one.name: facts(one.name) for one in all_techniques()}
    idle = {one.name: why for one in all_techniques() if (why := one.idle_on(device))}
    return Context(
        model=model,
        card=effective,
        device=device,
        workload=workload,
        space=space,
        check=checker(effective, device),
        facts={name: replace(one, hastens=one.hastens and name not in idle) for name, one in known.items()},
        rules="\n".join(
            filter(None, [_rules(space, effective, device), *(f"- {why}" for why in idle.values())])
        ),
        history=history,
        metric=metric,
        tolerance=tolerance,
        memory=() if memory is None else tuple(memory.recall(place_of(card, device))),
        seed=seed,
        declined=declined,
    )


def _rules(space: Space, card: Any, device: str) -> str:
    from agent.knowledge import compatibility

    techniques = {*(axis.technique for axis in space.axes), *map(space.token, space.all_options)}
    return compatibility(techniques, card, device)


class Planner(Protocol):
    """Decides what to try.  An LLM planner and the built-in one fit here alike."""

    at_once: int | None
    """How many proposals to ask for at a time; None: a whole generation."""

    def propose(self, context: Context, count: int) -> list[Proposal]:
        """At most `count` recipes, none of them tried before; empty: nothing is left to try."""
        ...


class Coder(Protocol):
    """Writes the standalone script that carries a proposal out."""

    def write(self, proposal: Proposal, context: Context) -> str: ...

    def baseline(self, context: Context) -> str:
        """The script of the unchanged model."""
        ...

    def title(self, recipe: Recipe) -> str:
        """A short label, for example `DPM++ 2M 12 + OpenVINO bf16`."""
        ...


@dataclass(frozen=True, slots=True)
class Repair:
    """A changed script, the recipe it now carries out, and what was changed because of what."""

    recipe: Recipe
    script: str
    why: str
    code: str = ""
    """What the script does beyond the recipe, in words."""
    by: By = ""


class Debugger(Protocol):
    """Mends a candidate that is broken (`agent.broken.is_broken`)."""

    def repair(self, candidate: Candidate, verdict: Verdict, context: Context) -> Repair | None:
        """None: it cannot be mended, so the idea is dropped."""
        ...
