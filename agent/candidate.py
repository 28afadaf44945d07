"""A candidate: what was tried, as what code, from which parents, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from agent.sandbox.limits import Isolation

Origin = Literal["baseline", "seed", "new", "refined", "given"]
"""`seed`: planned first; `new`: a new structure; `refined`: from parents; `given`: the user's own script."""
By = Literal["", "language", "mathematics", "built-in", "rules"]
"""Whose idea a candidate of a run with a language model is; empty: the agent's, whichever it is."""
State = Literal["passed", "failed", "quarantined"]
Stage = Literal["static", "build", "smoke", "gate", "certify"]


@dataclass(frozen=True, slots=True)
class Step:
    """One technique of a recipe with its parameters (JSON values)."""

    technique: str
    parameters: Mapping[str, int | float | str | bool] = field(default_factory=dict)


Recipe = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe that a planner wants tried, and why."""

    recipe: Recipe
    why: str
    origin: Origin
    parents: tuple[str, ...] = ()
    code: str = ""
    """What its script does beyond the recipe, in words; empty: the recipe is all."""
    by: By = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal with its name (`c000` is the baseline), its generation and its script."""

    id: str
    generation: int
    proposal: Proposal
    script: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One gate picture of a candidate beside the reference."""

    prompt: str
    seed: int
    image: str
    """File name of the PNG inside the run folder; of a clip its first frame, `NN/000.png`."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    frames: int = 0
    """Of a clip; 0 for a picture."""
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Of a clip: paired metrics by frame."""
    given: str = ""
    """File name of the smaller picture that it was made from; empty where there is none."""


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """What is known of one engine that a candidate runs on, as it was found when it was built."""

    component: str
    engine: str
    precision: str
    built_for: str
    """The device, in words."""
    verified_on: str = ""
    """The device that it was compared with eager on; empty: nowhere yet."""
    stand_in: str = ""
    """What took the device's place in the comparison."""
    psnr: float | None = None
    """Component parity: dB of its outputs against eager's; `None` where nothing compared them."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Calls of one component for one picture, all of one size on one engine."""

    component: str
    shape: str
    """Height and width of what it was given, `16x16`; empty for what is no picture."""
    engine: str
    """Engine and precision, `torch fp32`."""
    calls: int
    rows: int
    """Of all calls: with guidance in one batch two a call."""


@dataclass(frozen=True, slots=True)
class Census:
    """What was counted while one picture was drawn (docs/sandbox.md, Honesty)."""

    by: Literal["program", "trace"]
    """`program`: by this program's own code, which is all that its process runs; `trace`: by torch's
    observer in the process of a script with code of its own, read outside as it was written."""
    counted: tuple[Counted, ...] = ()
    declared: str = ""
    """Engine and precision that its recipe declares; empty where it declares none."""
    flops: float = 0.0
    """Nominal, torch's share of the work; 0 where torch did none or was not watched."""
    sides: Mapping[int, float] = field(default_factory=dict)
    """Shares of the convolutions' FLOPs by the height in pixels of what they took."""
    dtypes: Mapping[str, int] = field(default_factory=dict)
    """Heavy operations of torch by the narrowest type they took."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the stages found.

    Times are seconds per image, whole pipeline, warm; memory is the peak of
    the candidate's process in MiB, `card_memory` what it took on an NVIDIA
    card that it ran on; `loss` is the run's quality metric (lower
    is better, the baseline is 0).
    """

    state: State
    stage: Stage
    """The last stage reached."""
    reason: str = ""
    """One sentence for the user where the state is not `passed`."""
    evidence: str = ""
    """Traceback or output of the candidate, shortened in the middle."""
    latency: Interval | None = None
    latency_p90: float | None = None
    speedup: Interval | None = None
    """Baseline time over candidate time, measured in turns (`engines.measure.timing`)."""
    warm_up: int = 0
    """Calls of its process before the first that was timed; 0: not known."""
    pairs: int = 0
    """Turns of the candidate that were timed, each between two of the baseline's; 0: not known."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds in `encode`, `denoise`, `decode`, as the candidate reports them."""
    throughput: Mapping[int, float] = field(default_factory=dict)
    """Images per second by batch size."""
    memory: float | None = None
    card_memory: float | None = None
    loss: Interval | None = None
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    """`psnr` (dB), `ssim`, `haarpsi`, `lpips`, `adherence` (share) and others of
    `engines.measure.quality`; what could be computed."""
    robustness: Mapping[str, str] = field(default_factory=dict)
    """Check (`seeds`, `batch`, `prompts`, `repeat`) to `ok` or a sentence; of a script with code of its own
    that declares nothing beyond its recipe also `declared`: whether its pictures are the recipe's."""
    floor: float | None = None
    """Seconds per image below which this machine cannot do the declared work."""
    fallbacks: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    seconds: float = 0.0
    """What the evaluation took."""
    others: float = 0.0
    """Share of the machine's processors that other programs used while it was timed, 0 to 1."""
    machine: str = ""
    """Where it was measured, if not on the machine of the run."""
    isolation: Isolation | Literal[""] = ""
    """The level reached where its script ran (docs/sandbox.md); empty: it did not run."""
    engines: tuple[BuiltEngine, ...] = ()
    """What its recipe runs on; empty for the baseline and for scripts that do not say what they do."""
    census: Census | None = None
    """What was counted of a picture; `None` where it did not come so far."""
    stopped: bool = False
    """Ended early as hopeless: its numbers come from few pictures or calls and are never ranked."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, and in `honesty` what a script with code of its own was tried for beyond it."""
    sets_note: str = ""
    """Why no metric of sets is among `metrics`; empty where one is."""
