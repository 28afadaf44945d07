"""A world for the search: a judge that answers from arithmetic, without running anything.

Its truths are not the forecast's beliefs: engines are worth other factors, one
precision is slower than none, and losses interact.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agent.candidate import Candidate, Interval, Recipe, Stage, Step, Verdict
from agent.coder import title
from agent.evolution.front import Judged, hypervolume
from agent.evolution.space import Axis, Parameter, Space
from agent.planner.context import Context
from engines.workload import Workload

STEPS = 30
STAGES = {"encode": 0.015, "denoise": 0.85, "decode": 0.115}


def tiny_space() -> Space:
    return Space(
        (
            Axis("student", 10, (Parameter("steps", "int", 4, 1, 8),)),
            Axis("fewer-steps", 20, (Parameter("steps", "int", 15, 1, STEPS),), {"steps": STEPS}),
            Axis("scheduler", 21, (Parameter("name", "choice", "dpm++2m", choices=("dpm++2m", "unipc")),)),
            Axis("token-merging", 30, (Parameter("ratio", "float", 0.3, 0.0, 0.75),), {"ratio": 0.0}),
            Axis("feature-cache", 31, (Parameter("interval", "int", 2, 2, 6),)),
            Axis("fused-qkv", 32),
            Axis("tiny-decoder", 40),
            Axis("guidance-cutoff", 50, (Parameter("until", "float", 0.6, 0.0, 1.0),), {"until": 1.0}),
            Axis("sequential-guidance", 51),
            Axis("prompt-cache", 52),
            Axis("channels-last", 60),
            Axis(
                "engine",
                70,
                (
                    Parameter(
                        "backend", "choice", "torch", choices=("torch", "compile", "onnxruntime", "openvino")
                    ),
                ),
                {"backend": "torch"},
            ),
            Axis("bf16", 80),
            Axis("int8", 81),
        )
    )


_CLASHES = (
    ("student", "fewer-steps"),
    ("student", "scheduler"),
    ("student", "guidance-cutoff"),
    ("student", "feature-cache"),
    ("student", "sequential-guidance"),
    ("token-merging", "feature-cache"),
    ("bf16", "int8"),
)


def tiny_check(recipe: Recipe) -> list[str]:
    names = {step.technique for step in recipe}
    found = [f"{one} does not go with {other}." for one, other in _CLASHES if one in names and other in names]
    backend = next((step.parameters["backend"] for step in recipe if step.technique == "engine"), "torch")
    if "int8" in names and backend not in ("openvino", "onnxruntime"):
        found.append("int8 needs an engine that calculates in int8.")
    return found


@dataclass(frozen=True)
class TinyCard:
    name: str = "Tiny Table"
    family: str = "stable-diffusion"
    steps: int = STEPS
    guidance: float = 4.0
    hash: str = "0" * 8


def truth(recipe: Recipe) -> tuple[dict[str, float], float, float]:
    """(seconds by stage, loss, PSNR in dB) without noise."""
    found = {step.technique: step for step in recipe}

    def number(technique: str, name: str, otherwise: float) -> float:
        return float(found[technique].parameters[name]) if technique in found else otherwise

    backend = str(found["engine"].parameters["backend"]) if "engine" in found else "torch"
    engine = {"torch": 1.0, "compile": 0.82, "onnxruntime": 0.66, "openvino": 0.47}[backend]
    student = "student" in found
    steps = number("student", "steps", number("fewer-steps", "steps", STEPS))
    guided = 0.0 if student else number("guidance-cutoff", "until", 1.0)
    interval = number("feature-cache", "interval", 1.0)
    full = math.ceil(steps / interval)
    unit = STAGES["denoise"] / (2 * STEPS)
    denoise = unit * (full + (steps - full) * 0.55) * (1 + guided) * engine
    decode = STAGES["decode"] * engine
    encode = STAGES["encode"] * (0.1 if "prompt-cache" in found else 1.0) + 0.004
    merged = number("token-merging", "ratio", 0.0)
    denoise *= 1 + 0.03 * (merged > 0) - 0.1 * merged
    if "bf16" in found:
        denoise, decode = denoise * (0.9 if backend == "openvino" else 1.3), decode * 1.1
    if "int8" in found:
        denoise *= 0.72 if backend == "openvino" else 0.95
    if "tiny-decoder" in found:
        decode *= 0.14
    if "channels-last" in found:
        denoise *= 0.94 if backend == "torch" else 1.02
    if "sequential-guidance" in found:
        denoise *= 1.06

    solver = found["scheduler"].parameters["name"] if "scheduler" in found else "ddim"
    scale = {"ddim": 2.6, "dpm++2m": 1.5, "unipc": 1.7}[str(solver)]
    loss = 0.16 / steps**1.3 + 0.012 if student else (scale / steps) ** 2 - (2.6 / STEPS) ** 2
    error = 10**-1.4 if student else (10**-2.3 * ((STEPS / steps) ** 1.5 - 1) + 1e-9)
    loss += 0.09 * (1 - number("guidance-cutoff", "until", 1.0)) ** 1.5
    error += 10**-2.2 * (1 - number("guidance-cutoff", "until", 1.0)) ** 2
    loss += 0.006 * (interval - 1) * (STEPS / steps) ** 0.7
    error += 10**-3.1 * (interval - 1) * (STEPS / steps)
    loss += 0.15 * merged**2
    error += 10**-2.0 * merged
    for name, cost, decibels in (
        ("bf16", 0.001, 41.0),
        ("int8", 0.006, 31.0),
        ("tiny-decoder", 0.004, 27.0),
        ("scheduler", 0.001, 28.0),
        ("engine", 0.0, 66.0),
    ):
        if name in found:
            loss += cost
            error += 10 ** (-decibels / 10)
    return (
        {"encode": encode, "denoise": denoise, "decode": decode},
        min(max(loss, 0.0), 0.6),
        min(90.0, -10 * math.log10(error)),
    )


@dataclass
class TableJudge:
    """Answers with `truth`, blurred by 3 % in time and `blur` in loss."""

    seed: int = 0
    blur: float = 0.003
    seconds: float = 0.0
    """What one evaluation pretends to take."""
    broken: dict[str, Verdict] = field(default_factory=dict)
    """Verdict for recipes with a technique."""
    asked: list[str] = field(default_factory=list)

    def _verdict(self, recipe: Recipe, random_: random.Random, quiet: bool = False) -> Verdict:
        stages, loss, decibels = truth(recipe)
        noise = 0.0 if quiet else random_.gauss(0, 0.03)
        seconds = sum(stages.values()) * math.exp(noise)
        loss += 0.0 if quiet or decibels > 45 else random_.gauss(0, self.blur)
        base = sum(truth(())[0].values())
        half = 0.0 if quiet or decibels > 45 else 2 * self.blur
        return Verdict(
            "passed",
            "gate",
            latency=Interval(seconds, seconds * 0.97, seconds * 1.03),
            speedup=Interval(base / seconds, base / seconds * 0.97, base / seconds * 1.03),
            stages=stages,
            loss=Interval(loss, loss - half, loss + half),
            metrics={"psnr": Interval(decibels, decibels - 1, decibels + 1)},
            seconds=self.seconds,
        )

    def baseline(self) -> Verdict:
        return self._verdict((), random.Random(0), quiet=True)

    def judge(self, candidate: Candidate, on_stage: Callable[[Stage, str], None]) -> Verdict:
        recipe = candidate.proposal.recipe
        self.asked.append(title(recipe))
        on_stage("static", "reading the script")
        for step in recipe:
            if step.technique in self.broken:
                return self.broken[step.technique]
        on_stage("gate", "measuring")
        return self._verdict(recipe, random.Random(f"{self.seed}/{title(recipe)}"))


def true_hypervolume(judged: list[Judged], context: Context) -> float:
    """Of the noise-free values of what was tried."""
    judge = TableJudge()
    clean = [
        Judged(one.candidate, judge._verdict(one.candidate.proposal.recipe, random.Random(0), quiet=True))
        for one in judged
    ]
    return hypervolume(clean, context.reference)


@dataclass(frozen=True)
class World:
    """What tests of the search need, so that no test module imports another."""

    space: Space
    context: Context
    judge: type[TableJudge] = TableJudge
    step: type[Step] = Step
    truth: Callable[[Recipe], tuple[dict[str, float], float, float]] = truth
    true_hypervolume: Callable[[list[Judged], Context], float] = true_hypervolume


@pytest.fixture(scope="session")
def world() -> World:
    space = tiny_space()
    return World(
        space,
        Context("table", TinyCard(), "cpu", Workload(), space, tiny_check, tolerance=0.02, seed=1),
    )
