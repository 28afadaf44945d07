"""What a recipe is expected to cost and to lose, before it is measured.

The starting point is arithmetic on the baseline's own profile: passes of the
denoiser counted from steps and guidance, and a rough factor for every
technique.  Each verdict then corrects it: seconds and loss by Bayesian linear
regression on which techniques are on, picture error by adding up the squared
errors of the parts.  It ranks structures; numbers are left to the Gaussian
process in `agent.evolution.numbers`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Recipe, Step
from agent.evolution.choice import decibels
from agent.evolution.front import Judged, measured
from agent.evolution.space import Space, Value
from agent.planner.context import FactsLike

_SHARES: Final = {"encode": 0.02, "denoise": 0.82, "scheduler": 0.01, "decode": 0.15}
"""Where time goes where the baseline did not say."""

# Rough factors on the seconds of (encode, denoise, decode), before anything is measured.
_FACTORS: Final[dict[str, tuple[float, float, float]]] = {
    "engine/openvino": (0.8, 0.55, 0.6),
    "engine/onnxruntime": (0.8, 0.7, 0.75),
    "engine/compile": (1.0, 0.75, 0.75),
    "bf16": (1.0, 0.9, 0.9),
    "fp32": (1.0, 2.0, 2.0),
    "int8": (1.0, 0.8, 0.85),
    "prompt-cache": (0.2, 1.0, 1.0),
    "tiny-decoder": (1.0, 1.0, 0.15),
    "fused-qkv": (1.0, 0.98, 1.0),
    "channels-last": (1.0, 0.95, 0.95),
    "sequential-guidance": (1.0, 1.04, 1.0),
}
# The same on a CPU, as `python -m engines.techniques.table` measured on Tiny Scenes
# (docs/benchmarks/2026-11-28-techniques.md): what is believed closely, so that a wrong guess would stay.
_ON_CPU: Final[dict[str, tuple[float, float, float]]] = {
    "channels-last": (1.0, 1.14, 1.14),
    "sequential-guidance": (1.0, 1.33, 1.0),
}
# Expected loss as a share of the worst loss, and PSNR in dB, of techniques without numbers.
_LOSS: Final = {"bf16": 0.002, "fp32": 0.0, "int8": 0.02, "tiny-decoder": 0.02, "scheduler": 0.005}
_DECIBELS: Final = {
    "bf16": 38.0,
    "fp32": 60.0,
    "int8": 29.0,
    "tiny-decoder": 26.0,
    "scheduler": 29.0,
    "engine": 60.0,
    "fused-qkv": 80.0,
    "channels-last": 80.0,
    "sequential-guidance": 80.0,
    "prompt-cache": 90.0,
}
_COUNTED: Final = frozenset(
    {
        "fewer-steps",
        "student",
        "guidance-cutoff",
        "guidance-interval",
        "adaptive-guidance",
        "feature-cache",
        "feature-forecast",
        "token-merging",
        "scheduler",
    }
)
"""Techniques with a rule of their own below."""
_BLIND: Final = (0.02, 40.0)
"""The same of every technique where nothing is known."""
_RISK: Final = {"none": (0.0, 80.0), "low": (0.005, 36.0), "medium": (0.02, 28.0), "high": (0.06, 18.0)}
"""Share of the worst loss and PSNR to expect from what the knowledge base calls a risk."""
_GENTLE: Final = frozenset(
    {"prompt-cache", "tiny-decoder", "fused-qkv", "channels-last", "sequential-guidance"}
)
"""Techniques whose worth is known well from the profile."""
_SHALLOW: Final = 0.45
"""Time of a shallow pass of the denoiser over a full one (feature caching)."""
_HALF: Final = 0.5
"""Share of the steps that adaptive guidance guides: the paper's quarter of all evaluations saved."""
_CEILING: Final = 90.0
"""dB above which two pictures are called the same."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Seconds per image, loss, and PSNR (dB) that a recipe is expected to have."""

    seconds: float
    loss: float
    decibels: float
    unsure: float = 0.0
    """Standard deviation of the expected loss."""


def _number(step: Step | None, name: str, otherwise: float) -> float:
    return otherwise if step is None else float(step.parameters.get(name, otherwise))


@dataclass(frozen=True, slots=True)
class Work:
    """What the host loop does for one image."""

    steps: float
    passes: float
    """Full-cost passes of the denoiser over one sample; a guided step takes two."""


def work(recipe: Recipe, model_steps: int, guided: bool) -> Work:
    """Count the denoiser's passes that a recipe asks for."""
    found = {step.technique: step for step in recipe}
    student = found.get("student")
    steps = _number(student, "steps", _number(found.get("fewer-steps"), "steps", model_steps))
    guidance = (
        0.0 if student is not None or not guided else _number(found.get("guidance-cutoff"), "until", 1.0)
    )
    if "guidance-interval" in found and guidance:
        middle = found["guidance-interval"]
        guidance = _number(middle, "until", 1.0) - _number(middle, "start", 0.0)
    if "adaptive-guidance" in found and guidance:
        guidance = _HALF
    cache = found.get("feature-cache", found.get("feature-forecast"))
    interval = max(1.0, _number(cache, "interval", 1.0))
    full = math.ceil(steps / interval)
    cost = full + (steps - full) * _SHALLOW if interval > 1 else steps
    return Work(steps, cost * (1 + guidance))


def _prior_loss(step: Step, found: Mapping[str, Step], model_steps: int) -> float:
    """Share of the worst loss that one technique is expected to cost."""
    solver = found.get("scheduler")
    fast = solver is not None and str(solver.parameters.get("name", "")).startswith(("dpm", "unipc"))
    match step.technique:
        case "fewer-steps":
            steps = _number(step, "steps", model_steps)
            scale = 1.8 if fast else 3.0
            return min(0.9, (scale / steps) ** 2) - min(0.9, (scale / model_steps) ** 2)
        case "student":
            return 0.1 * math.pow(max(1.0, _number(step, "steps", 4.0)), -0.8)
        case "guidance-cutoff":
            return 0.15 * (1 - _number(step, "until", 1.0)) ** 2
        case "guidance-interval":
            late = 0.3 * _number(step, "start", 0.1)
            return late + 0.15 * (1 - _number(step, "until", 1.0)) ** 2
        case "adaptive-guidance":
            return 0.15 * (1 - _HALF) ** 2
        case "feature-cache" | "feature-forecast":
            return 0.012 * (_number(step, "interval", 2.0) - 1)
        case "token-merging":
            return 0.2 * _number(step, "ratio", 0.3) ** 2
        case name:
            return float(_LOSS.get(name, 0.0))


def _prior_decibels(step: Step, found: Mapping[str, Step], model_steps: int) -> float:
    match step.technique:
        case "fewer-steps":
            solver = 3.0 if "scheduler" in found else 0.0
            return 18.0 + solver + 22.0 * _number(step, "steps", model_steps) / model_steps
        case "student":
            return 15.0
        case "guidance-cutoff":
            return 20.0 + 18.0 * _number(step, "until", 1.0)
        case "guidance-interval":
            return 18.0 + 10.0 * (_number(step, "until", 1.0) - _number(step, "start", 0.1))
        case "adaptive-guidance":
            return 20.0 + 18.0 * _HALF
        case "feature-cache" | "feature-forecast":
            return 33.0 - 3.0 * (_number(step, "interval", 2.0) - 1)
        case "token-merging":
            return 30.0 - 14.0 * _number(step, "ratio", 0.3)
        case name:
            return _DECIBELS.get(name, 40.0)


@dataclass(frozen=True, slots=True)
class _Linear:
    """Bayesian linear regression with a prior of zero mean: weights (F,) and their covariance (F, F)."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        rows: NDArray[np.float64],
        targets: NDArray[np.float64],
        noise: NDArray[np.float64],
        spread: NDArray[np.float64],
    ) -> _Linear:
        """`rows` (N, F), `targets` (N,), standard deviations of targets (N,) and of weights (F,)."""
        precision = np.diag(spread**-2.0) + (rows.T / noise**2) @ rows
        covariance = np.linalg.inv(precision).astype(np.float64)
        return cls(covariance @ (rows.T @ (targets / noise**2)), covariance)

    def draw(self, rng: np.random.Generator) -> _Linear:
        return replace(self, mean=rng.multivariate_normal(self.mean, self.covariance, method="cholesky"))


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured recipe.  `weight` below 1: measured elsewhere, believed less."""

    recipe: Recipe
    seconds: float
    loss: float | None
    decibels: float | None = None
    weight: float = 1.0
    blur: float = 0.004
    """Standard deviation of the measured loss."""


@dataclass(frozen=True)
class Forecast:
    """Expectations for recipes, corrected by what was measured so far.

    `seconds` is the baseline's time per image, `stages` its profile in seconds,
    `worst` the loss that a picture worth nothing has.
    """

    space: Space
    seconds: float
    stages: Mapping[str, float]
    model_steps: int
    guided: bool
    worst: float
    evidence: tuple[Evidence, ...] = ()
    facts: Mapping[str, FactsLike] = field(default_factory=dict)
    """The knowledge base, for techniques that are not in the tables here."""
    device: str = "cpu"
    blind: bool = False
    """Nothing is believed before it is measured: every technique is expected to change no time and to cost a
    little (benchmark without knowledge)."""

    def __post_init__(self) -> None:
        # Reading these once makes a forecast that never changes, whatever is drawn from it.
        _ = self._time, self._loss, self._offsets

    @cached_property
    def _time(self) -> _Linear:
        """Of log(measured / first belief) on which options are on and where their numbers lie."""
        rows = np.array([self._time_features(one.recipe) for one in self.evidence])
        late = [math.log(max(one.seconds, 1e-9) / self._prior_seconds(one.recipe)) for one in self.evidence]
        noise = [0.06 / max(one.weight, 0.05) for one in self.evidence]
        spread = np.array(
            [value for token in self._tokens for value in ((0.1, 0.02) if token in _GENTLE else (0.35, 0.2))]
        )
        return _Linear.fit(rows.reshape(-1, len(spread)), np.array(late), np.array(noise), spread)

    @cached_property
    def _loss(self) -> _Linear:
        """Of the surplus over the first belief on what each option was believed to cost.

        A weight of 1 means: twice the belief.  So what one number teaches holds
        for the others of the same technique.
        """
        there = [one for one in self.evidence if one.loss is not None]
        rows = np.array([self._loss_features(one.recipe) for one in there])
        surplus = [min((one.loss or 0.0) / self.worst, 1.5) - self._prior_loss(one.recipe) for one in there]
        noise = [
            (one.blur / self.worst + 0.1 * self._prior_loss(one.recipe)) / max(one.weight, 0.05)
            for one in there
        ]
        spread = np.tile([1.0, 0.5], len(self._tokens))
        return _Linear.fit(rows.reshape(-1, len(spread)), np.array(surplus), np.array(noise), spread)

    @cached_property
    def _offsets(self) -> Mapping[str, float]:
        return self._fit_decibels()

    # -- features -------------------------------------------------------------------------------

    @cached_property
    def _tokens(self) -> dict[str, int]:
        """Every option with its place among the features."""
        return {self.space.token(option): index for index, option in enumerate(self.space.all_options)}

    def _place(self, step: Step) -> float:
        """Where the numbers of a step lie, from -1 to 1, logarithmically."""
        places = []
        for parameter in self.space.axis(step.technique).parameters:
            if parameter.kind == "choice" or parameter.high == parameter.low:
                continue
            reach = math.log1p(float(parameter.high) - float(parameter.low))
            here = math.log1p(float(step.parameters[parameter.name]) - float(parameter.low))
            places.append(2 * here / reach - 1)
        return sum(places) / len(places) if places else 0.0

    def _time_features(self, recipe: Recipe) -> NDArray[np.float64]:
        found = np.zeros(2 * len(self._tokens))
        for step in recipe:
            at = 2 * self._tokens[self.space.token(step)]
            found[at : at + 2] = 1.0, self._place(step)
        return found

    def _loss_features(self, recipe: Recipe) -> NDArray[np.float64]:
        found = np.zeros(2 * len(self._tokens))
        by_name = {step.technique: step for step in recipe}
        for step in recipe:
            at = 2 * self._tokens[self.space.token(step)]
            cost = max(self._cost(step, by_name), 1e-3)
            found[at : at + 2] = cost, cost * self._place(step)
        return found

    # -- what is believed at first -----------------------------------------------------------

    def _profile(self) -> dict[str, float]:
        named = {name: float(self.stages.get(name, 0.0)) for name in _SHARES}
        total = sum(named.values())
        if total <= 0:
            return {name: share * self.seconds for name, share in _SHARES.items()}
        return {name: value / total * self.seconds for name, value in named.items()}

    def shares(self) -> dict[str, float]:
        """Share of the baseline's time in `encode`, `denoise`, `scheduler` and `decode`."""
        return {name: value / self.seconds for name, value in self._profile().items()}

    def _prior_seconds(self, recipe: Recipe) -> float:
        if self.blind:
            return self.seconds
        profile = self._profile()
        all_passes = self.model_steps * (2 if self.guided else 1)
        encode, denoise, decode = profile["encode"], profile["denoise"], profile["decode"]
        wanted = work(recipe, self.model_steps, self.guided)
        denoise *= wanted.passes / all_passes
        scheduler = profile["scheduler"] * wanted.steps / self.model_steps
        for step in recipe:
            token = self.space.token(step)
            one, two, three = self._factors(token, step)
            if step.technique == "token-merging":
                two = 1 - 0.25 * _number(step, "ratio", 0.3)
            encode, denoise, decode = encode * one, denoise * two, decode * three
        return encode + denoise + scheduler + decode

    def _factors(self, token: str, step: Step) -> tuple[float, float, float]:
        if self.device == "cpu" and step.technique in _ON_CPU:
            return _ON_CPU[step.technique]
        return _FACTORS.get(token, _FACTORS.get(step.technique, self._from_facts(step)))

    def _from_facts(self, step: Step) -> tuple[float, float, float]:
        """The middle of the speed-up that the knowledge base gives, for a technique without a rule here."""
        known = self.facts.get(step.technique)
        if known is None or step.technique in _COUNTED:
            return (1.0, 1.0, 1.0)
        return (1.0, 1 / math.sqrt(known.factor[0] * known.factor[1]), 1.0)

    def _cost(self, step: Step, found: Mapping[str, Step]) -> float:
        """Share of the worst loss that a step of a recipe is believed to cost."""
        if self.blind:
            return _BLIND[0]
        known = self.facts.get(step.technique)
        if known is not None and step.technique not in _COUNTED and step.technique not in _DECIBELS:
            return _RISK[known.risk][0]
        return _prior_loss(step, found, self.model_steps)

    def _prior_loss(self, recipe: Recipe) -> float:
        found = {step.technique: step for step in recipe}
        return sum(self._cost(step, found) for step in recipe)

    # -- picture error: squared errors of the parts add up ------------------------------------

    def _parts(self, recipe: Recipe, offsets: Mapping[str, float]) -> dict[str, float]:
        """Squared error of each option of a recipe, for pictures in [0, 1]."""
        found = {step.technique: step for step in recipe}

        def first(step: Step) -> float:
            if self.blind:
                return _BLIND[1]
            known = self.facts.get(step.technique)
            if known is not None and step.technique not in _COUNTED and step.technique not in _DECIBELS:
                return _RISK[known.risk][1]
            return _prior_decibels(step, found, self.model_steps)

        return {
            (token := self.space.token(step)): 10 ** (-(first(step) + offsets.get(token, 0.0)) / 10)
            for step in recipe
        }

    def _fit_decibels(self, rounds: int = 12, spread: float = 8.0, noise: float = 1.5) -> dict[str, float]:
        """Offsets in dB of each option, by Gauss-Newton with a prior of zero mean."""
        seen = [one for one in self.evidence if one.decibels is not None and one.recipe]
        tokens = sorted({self.space.token(step) for one in seen for step in one.recipe})
        where = {token: index for index, token in enumerate(tokens)}
        theta = np.zeros(len(tokens))
        for _ in range(rounds if seen else 0):
            rows, misses = np.zeros((len(seen), len(tokens))), np.zeros(len(seen))
            for at, one in enumerate(seen):
                parts = self._parts(one.recipe, dict(zip(tokens, theta, strict=True)))
                total = sum(parts.values())
                misses[at] = min(one.decibels or 0.0, _CEILING) + 10 * math.log10(total)
                for token, part in parts.items():
                    rows[at, where[token]] = part / total
            precision = np.eye(len(tokens)) / spread**2 + rows.T @ rows / noise**2
            step = np.linalg.solve(precision, rows.T @ misses / noise**2 - theta / spread**2)
            theta = theta + np.clip(step, -10, 10)
        return dict(zip(tokens, theta.tolist(), strict=True))

    # -- what is expected ------------------------------------------------------------------------

    def expect(self, recipe: Recipe) -> Expectation:
        """For a canonical recipe."""
        if not recipe:
            return Expectation(self.seconds, 0.0, _CEILING)
        features = self._loss_features(recipe)
        late = float(np.clip(self._time_features(recipe) @ self._time.mean, -2, 2))
        loss = self._prior_loss(recipe) + float(features @ self._loss.mean)
        unsure = math.sqrt(max(0.0, float(features @ self._loss.covariance @ features)))
        error = sum(self._parts(recipe, self._offsets).values())
        return Expectation(
            self._prior_seconds(recipe) * math.exp(late),
            self.worst * max(loss, 0.0),
            min(_CEILING, -10 * math.log10(error)),
            self.worst * unsure,
        )

    def draw(self, rng: np.random.Generator) -> Forecast:
        """One plausible world: the forecast with weights drawn from their posterior (Thompson sampling)."""
        drawn = replace(self)
        vars(drawn)["_time"] = self._time.draw(rng)
        vars(drawn)["_loss"] = self._loss.draw(rng)
        return drawn


def _blur(one: Judged) -> float:
    """Standard deviation that a 95 % interval of the loss stands for, not below what repeats differ by."""
    loss = one.verdict.loss
    return 0.004 if loss is None else max(0.004, (loss.high - loss.low) / 3.92)


def evidence(judged: Sequence[Judged]) -> list[Evidence]:
    """What a run has measured, the baseline left out."""
    return [
        Evidence(one.candidate.proposal.recipe, one.seconds, one.loss, decibels(one), blur=_blur(one))
        for one in measured(judged)
        if not one.is_baseline and one.candidate.proposal.recipe
    ]


def earlier(recipe: Recipe, speedup: float, seconds: float, loss: float | None, *, here: bool) -> Evidence:
    """What an earlier run measured, scaled to this baseline's `seconds`; `here`: on this very processor."""
    return Evidence(recipe, seconds / max(speedup, 1e-6), loss, weight=0.35 if here else 0.15)


def number_range(space: Space, recipe: Recipe) -> dict[str, Value]:
    """The numbers of a recipe, as `technique.parameter`."""
    return {
        f"{step.technique}.{parameter.name}": step.parameters[parameter.name]
        for step in recipe
        for parameter in space.axis(step.technique).parameters
        if parameter.kind != "choice"
    }
