"""The generator of tasks: the same seed gives the same tasks; a sample is spread over levels and models."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agent.bench.targets import Target
from agent.candidate import Recipe, Step
from agent.evolution.space import key
from agent.llm.briefing import call_of
from agent.planner.context import Context

Level = Literal["L1", "L2", "L3", "L4", "L5"]
Difficulty = Literal["", "easy", "medium", "hard"]

LEVELS: Final[tuple[Level, ...]] = ("L1", "L2", "L3", "L4", "L5")
COUNTS: Final[dict[Level, int]] = {"L1": 41, "L2": 116, "L3": 261, "L4": 93, "L5": 93}
"""As published: 604 in all."""
DIFFICULTIES: Final[tuple[tuple[Difficulty, float], ...]] = (("easy", 0.7), ("medium", 1.0), ("hard", 1.15))
"""Share of the searched gain that is asked for: a search's best is `medium`."""
_PLAIN: Final = frozenset({"scheduler", "fewer-steps"})
"""Techniques that say how the pipeline is sampled, not how it is accelerated."""


@dataclass(frozen=True, slots=True)
class Task:
    """What an agent is asked.  L1 to L3: a recipe; L4: a speed-up, L5: seconds per image, both bounded."""

    level: Level
    model: str
    family: str
    device: str
    required: Recipe = ()
    speedup: float | None = None
    seconds: float | None = None
    loss: float | None = None
    """Largest quality loss, in `metric`."""
    metric: str = ""
    """The one that exists for the model: a bound in another would say nothing."""
    without: tuple[str, ...] = ()
    """Techniques that may not be used."""
    difficulty: Difficulty = ""

    @property
    def id(self) -> str:
        """The same for the same task, in any list."""
        said = json.dumps(
            [
                self.level, self.model, self.family, self.device, key(self.required), self.speedup,
                self.seconds, self.loss, self.metric, self.without, self.difficulty,
            ]
        )  # fmt: skip
        return f"{self.level}-{self.family}-{hashlib.sha256(said.encode()).hexdigest()[:10]}"

    @property
    def text(self) -> str:
        """The task in words, as an agent reads it."""
        head = f"Write the inference script of {self.model} ({self.family}) on {self.device}"
        if self.level in ("L1", "L2", "L3"):
            plain = [call_of(step) for step in self.required if step.technique in _PLAIN]
            fast = [call_of(step) for step in self.required if step.technique not in _PLAIN]
            sampled = f" sampled with {' and '.join(plain)}" if plain else " with the model's own sampling"
            speed = f", accelerated with {', '.join(fast)}" if fast else ", without any acceleration"
            return f"{head}{sampled}{speed}."
        but = f", without {' and '.join(self.without)}" if self.without else ""
        bound = f"and a quality loss of at most {self.loss:g} ({self.metric}){but}."
        if self.level == "L4":
            return f"{head} that is at least {self.speedup:.2f} times as fast as the unchanged model, {bound}"
        return f"{head} that takes at most {self.seconds:.4g} seconds per image, {bound}"


def generate(
    context: Context, targets: Sequence[Target], seed: int = 0, counts: dict[Level, int] | None = None
) -> list[Task]:
    """All tasks for a model on a device.

    Where the space or the targets give fewer of a level than asked, there are
    more combinations (L3) instead, so that the whole stays as large.
    """
    wanted = counts or COUNTS
    draw = random.Random(f"bench/{seed}")
    aimed = _aimed("L4", context, targets, wanted.get("L4", 0))
    aimed += _aimed("L5", context, targets, wanted.get("L5", 0))
    plain = _required("L1", context, _plain(context, draw), wanted.get("L1", 0))
    single = _required("L2", context, _joined(context, draw, (1, 1)), wanted.get("L2", 0))
    rest = sum(wanted.values()) - len(aimed) - len(plain) - len(single)
    return [*plain, *single, *_required("L3", context, _joined(context, draw, (2, 4)), rest), *aimed]


def _required(level: Level, context: Context, recipes: Iterator[Recipe], count: int) -> list[Task]:
    """A task for each of the first `count` different recipes."""
    found: dict[str, Task] = {}
    for recipe in recipes:
        if len(found) >= count:
            break
        card = context.card
        found.setdefault(key(recipe), Task(level, card.name, card.family, context.device, recipe))
    return list(found.values())


def sample(tasks: Sequence[Task], count: int, seed: int = 0) -> list[Task]:
    """`count` tasks, each level in its share (largest remainder), in the order of the list.

    Within a level models have the same part, as far as they have so many tasks.
    """
    if count >= len(tasks):
        return list(tasks)
    by_level = {level: [one for one in tasks if one.level == level] for level in LEVELS}
    shares = {level: count * len(there) / len(tasks) for level, there in by_level.items()}
    sizes = {level: int(share) for level, share in shares.items()}
    rest = count - sum(sizes.values())
    for level in sorted(LEVELS, key=lambda one: (sizes[one] - shares[one], one))[:rest]:
        sizes[level] += 1
    draw = random.Random(f"sample/{seed}")
    chosen: set[str] = set()
    taken: Counter[str] = Counter()
    for level, there in by_level.items():
        by_model: dict[str, list[Task]] = {}
        for one in there:
            by_model.setdefault(one.model, []).append(one)
        for model, part in _parts(
            {name: len(of) for name, of in by_model.items()}, sizes[level], taken
        ).items():
            chosen |= {one.id for one in draw.sample(by_model[model], part)}
    return [one for one in tasks if one.id in chosen]


def _parts(there: dict[str, int], count: int, taken: Counter[str]) -> dict[str, int]:
    """`count` tasks of a level dealt out among models, the odd ones to those with the fewest so far."""
    parts = dict.fromkeys(there, 0)
    for _ in range(count):
        least = min(
            (name for name in there if parts[name] < there[name]), key=lambda name: (parts[name], taken[name])
        )
        parts[least] += 1
        taken[least] += 1
    return parts


def _legal(context: Context, recipe: Recipe) -> Recipe | None:
    """The recipe as it is written, or None where it does not fit or changes nothing."""
    settled = context.space.canonical(recipe)
    return settled if len(settled) == len(recipe) and not context.check(settled) else None


def _value(context: Context, step: Step, draw: random.Random) -> Step:
    """A technique with its numbers drawn from what the search allows."""
    values = dict(step.parameters)
    for parameter in context.space.axis(step.technique).parameters:
        if parameter.kind != "choice":
            values[parameter.name] = draw.choice(context.space.values(parameter))
    return Step(step.technique, values)


def _samplings(context: Context, draw: random.Random) -> Iterator[Recipe]:
    """Ways of sampling: a scheduler, a number of steps, both, or neither."""
    space = context.space
    schedulers = space.options("scheduler") if space.has("scheduler") else []
    fewer = space.options("fewer-steps") if space.has("fewer-steps") else []
    while schedulers or fewer:
        steps: list[Step] = []
        if schedulers and draw.random() < 0.7:
            steps.append(draw.choice(schedulers))
        if fewer and draw.random() < 0.7:
            steps.append(_value(context, draw.choice(fewer), draw))
        yield tuple(steps)
    while True:
        yield ()


def _plain(context: Context, draw: random.Random, attempts: int = 4000) -> Iterator[Recipe]:
    samplings = _samplings(context, draw)
    for _ in range(attempts):
        recipe = _legal(context, next(samplings))
        if recipe:
            yield recipe


def _joined(
    context: Context, draw: random.Random, sizes: tuple[int, int], attempts: int = 30_000
) -> Iterator[Recipe]:
    """Accelerations on top of a way of sampling."""
    options = [one for one in context.space.all_options if one.technique not in _PLAIN]
    samplings = _samplings(context, draw)
    if not options:
        return
    for _ in range(attempts):
        chosen = draw.sample(options, min(len(options), draw.randint(*sizes)))
        if len({one.technique for one in chosen}) < len(chosen):
            continue
        recipe = _legal(context, (*next(samplings), *(_value(context, one, draw) for one in chosen)))
        if recipe:
            yield recipe


def _aimed(level: Level, context: Context, targets: Sequence[Target], count: int) -> list[Task]:
    """Each target at each difficulty; targets that are spread out come first."""
    found = []
    for one in targets:
        for difficulty, share in DIFFICULTIES:
            times = round(1 + share * (one.speedup - 1), 2)
            found.append(
                Task(
                    level,
                    context.card.name,
                    context.card.family,
                    context.device,
                    speedup=times if level == "L4" else None,
                    seconds=float(f"{one.baseline / times:.4g}") if level == "L5" else None,
                    loss=one.loss,
                    metric=context.metric,
                    without=one.without,
                    difficulty=difficulty,
                )
            )
    return found[:count]
