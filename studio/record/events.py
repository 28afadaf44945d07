"""The one language between the worker and its front ends.

Every event is `{v, seq, run, time, type, data}`; `data` is one of the models
below, chosen by `type`.  The worker commits an event to the journal before it
prints it; the window, the terminal, the report and the tests replay them.
Shapes of candidates mirror `agent.candidate`, which this package may not
import: the window reads events and must never load a model.
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION: Final = 1
EQUAL: Final = 200.0
"""dB that an engine is given whose outputs are eager's own, bit for bit."""
BUSY: Final = 0.25
"""Share of the processors in other programs' hands from which times are worth a warning."""
WALLS: Final = {
    "isolated": "reached neither files nor network",
    "limited": "limits, but no wall before files and network",
    "none": "nothing would have stopped it",
}
"""What a script could do at a level of isolation (docs/sandbox.md)."""


class Data(BaseModel):
    """Base of all event data: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(Data):
    value: float
    low: float
    high: float


class Step(Data):
    technique: str
    parameters: dict[str, int | float | str | bool] = {}


class Sample(Data):
    prompt: str
    seed: int
    image: str
    """PNG in the run folder; of a clip the first frame, `NN/000.png`, the others beside it."""
    metrics: dict[str, float] = {}
    frames: int = 0
    curves: dict[str, tuple[float, ...]] = {}
    """Of a clip: paired metrics by frame."""
    given: str = ""
    """The smaller picture that it was made from."""


class BuiltEngine(Data):
    """One engine of a candidate; see `agent.candidate.BuiltEngine`."""

    component: str
    engine: str
    precision: str
    built_for: str
    verified_on: str = ""
    stand_in: str = ""
    psnr: float | None = None

    @property
    def verified(self) -> str:
        """Where it was compared with eager, in words."""
        if self.verified_on:
            return self.verified_on
        return f"nowhere yet; {self.stand_in} stood in" if self.stand_in else "nowhere yet"

    @property
    def likeness(self) -> str:
        """Component parity, `61.2 dB`; empty where nothing compared it."""
        if self.psnr is None:
            return ""
        return "equal to eager" if self.psnr >= EQUAL else f"{self.psnr:.1f} dB"


class Counted(Data):
    """Calls of one component for one picture; see `agent.candidate.Counted`."""

    component: str
    shape: str
    engine: str
    calls: int
    rows: int

    @property
    def words(self) -> str:
        """`denoiser: 40 calls at 16x16, torch fp32`."""
        size = f" at {self.shape}" if self.shape else ""
        calls = "1 call" if self.calls == 1 else f"{self.calls} calls"
        return f"{self.component.replace('_', ' ')}: {calls}{size}, {self.engine}"


class Census(Data):
    """What was counted while one picture was drawn; see `agent.candidate.Census`."""

    by: Literal["program", "trace"]
    counted: tuple[Counted, ...] = ()
    declared: str = ""
    flops: float = 0.0
    sides: dict[int, float] = {}
    dtypes: dict[str, int] = {}

    @property
    def words(self) -> str:
        """`denoiser: 40 calls at 16x16, torch fp32; declared torch bf16`, then what torch did."""
        parts = [one.words for one in self.counted if one.shape]
        if self.declared:
            parts.append(f"declared {self.declared}")
        if self.flops:
            kinds = ", ".join(f"{kind} in {count}" for kind, count in self.dtypes.items())
            parts.append(f"torch: {self.flops / 1e9:.2f} GFLOP ({kinds} operations)")
        return "; ".join(parts)

    @property
    def counted_by(self) -> str:
        """Who counted, in words."""
        return {
            "program": "by this program's own code, which is all that the script runs",
            "trace": "by torch's observer in the script's process, read outside as it was written",
        }[self.by]


class Verdict(Data):
    """See `agent.candidate.Verdict` for meanings and units."""

    state: Literal["passed", "failed", "quarantined"]
    stage: Literal["static", "build", "smoke", "gate", "certify"]
    reason: str = ""
    evidence: str = ""
    latency: Interval | None = None
    latency_p90: float | None = None
    speedup: Interval | None = None
    warm_up: int = 0
    pairs: int = 0
    stages: dict[str, float] = {}
    throughput: dict[int, float] = {}
    memory: float | None = None
    card_memory: float | None = None
    loss: Interval | None = None
    metrics: dict[str, Interval] = {}
    robustness: dict[str, str] = {}
    floor: float | None = None
    fallbacks: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    seconds: float = 0.0
    others: float = 0.0
    machine: str = ""
    isolation: Literal["", "isolated", "limited", "none"] = ""
    """Empty in runs of before this was kept, and where no script ran."""
    engines: tuple[BuiltEngine, ...] = ()
    census: Census | None = None
    stopped: bool = False
    """Given up early as hopeless: never measured in full, never ranked."""
    spent: dict[str, float] = {}
    """Seconds by stage; empty in runs of before this was kept."""
    sets_note: str = ""

    @property
    def walls(self) -> str:
        """What its script could do at its level of isolation; empty where none is known."""
        return WALLS.get(self.isolation, "")

    @property
    def built_for(self) -> str:
        """The devices that its engines were built for; empty where that is not known."""
        return _by_value((one.component, one.built_for) for one in self.engines)

    @property
    def verified_on(self) -> str:
        """Where its engines were compared with eager: another fact than what they were built for."""
        return _by_value((one.component, one.verified) for one in self.engines)

    @property
    def verified_elsewhere(self) -> bool:
        """Whether an engine was not compared on the device that it was built for."""
        return any(one.verified_on != one.built_for for one in self.engines)

    @property
    def parity(self) -> BuiltEngine | None:
        """The engine that is furthest from eager; None where none was compared."""
        compared = [one for one in self.engines if one.psnr is not None]
        return min(compared, key=lambda one: one.psnr or 0.0, default=None)

    @property
    def disturbed(self) -> str:
        """A warning where other programs were measured as well; empty on a quiet machine."""
        if self.others < BUSY:
            return ""
        return f"Other programs used {self.others:.0%} of the processors while it was timed."

    @property
    def held(self) -> float | None:
        """MiB by which candidates are compared: on the card, where it ran on one, else of its process."""
        return self.memory if self.card_memory is None else self.card_memory


def _by_value(facts: Iterable[tuple[str, str]]) -> str:
    """`the CPU`, or by component where they differ: `nowhere yet (decoder), the CPU (text_encoder)`."""
    named: dict[str, list[str]] = {}
    for component, value in facts:
        named.setdefault(value, []).append(component)
    if len(named) < 2:
        return "".join(named)
    return ", ".join(f"{value} ({', '.join(parts)})" for value, parts in named.items())


class Component(Data):
    """One part of a model: text encoder, denoiser, decoder, scheduler."""

    name: str
    kind: str
    """Class name, for example `UNet2DConditionModel`."""
    parameters: int
    dtype: str
    bytes: int
    share: float | None = None
    """Share of the baseline's time, once profiled."""
    groups: int = 0
    """Of a denoiser: norm groups inside its residual blocks."""
    inner: int = 0
    """Of a denoiser: channels inside its widest feed-forward."""
    fusible: bool = True
    """Of a denoiser: its attention can be fused."""


class ModelCard(Data):
    name: str
    source: str
    """Folder, file or hub id it was loaded from."""
    family: str
    task: str
    size: int
    """Native height and width in pixels."""
    steps: int
    guidance: float
    licence: str
    components: tuple[Component, ...]
    hash: str
    """Digest of all weights and settings."""
    memory: int
    """Bytes that the weights take when loaded in fp32."""
    notes: tuple[str, ...] = ()
    frames: int = 0
    """Native frames of a video; 0 for pictures."""


class EngineState(Data):
    """One of the engines that serve a target."""

    title: str
    state: Literal["ready", "build_only", "missing"]
    reason: str
    install: str = ""
    """What would add it here, or what a ready one does without."""

    @property
    def words(self) -> str:
        """Its title and the reason, said once where the reason begins with it."""
        return self.reason if self.reason.startswith(self.title) else f"{self.title}: {self.reason}"


class TargetState(Data):
    """One row of the Device step."""

    id: str
    """For example `cpu`, `cuda`, `directml`, `mlx`, `coreml`."""
    name: str
    engine: str
    state: Literal["ready", "build_only", "missing"]
    reason: str
    install: str = ""
    gflops: float | None = None
    gbytes: float | None = None
    packable: bool = True
    """Whether a package can hold engines for it that its runner opens."""
    engines: tuple[EngineState, ...] = ()
    """Every engine that serves it; empty in what earlier versions kept."""

    def lacking(self) -> tuple[EngineState, ...]:
        """Engines that are not ready or do less than they could, but for what the row says of one itself.

        Those for which the same is so stand together, their titles joined.
        """
        found: dict[tuple[str, str, str], list[str]] = {}
        for one in self.engines:
            if one.state == "ready" and not one.install:
                continue
            if one.state == self.state and one.reason in self.reason and one.install in ("", self.install):
                continue
            found.setdefault((one.state, one.reason, one.install), []).append(one.title)
        return tuple(
            EngineState.model_validate(
                {"title": ", ".join(titles), "state": state, "reason": reason, "install": install}
            )
            for (state, reason, install), titles in found.items()
        )


class Metric(Data):
    """What the y axis shows."""

    name: str
    title: str
    unit: str
    note: str = ""


# -- events of a run -------------------------------------------------------------------------


class LlmChoice(Data):
    """Which language model evolves a run, and what it may cost.  Holds no key."""

    model: str
    url: str
    preset: str = "hybrid"
    usd: float | None = None
    """Budget in US dollars; None: no limit."""
    tokens: int | None = None
    """Budget in tokens; None: no limit."""
    priced: str = ""
    """Date of the prices that money is counted with; empty: the price is not known."""
    approve: bool = False
    """Where earlier versions kept `RunStarted.approve`."""
    wishes: tuple[str, ...] = ()
    """Where earlier versions kept what was said before the run began; now the first `run.steered`."""


class RunStarted(Data):
    model: ModelCard
    target: str
    workload: dict[str, Any]
    metric: Metric
    preset: str
    generations: int
    population: int
    budget: float | None
    """Seconds for the search, certification not included; None: until the generations are done."""
    seed: int
    reference: tuple[float, float] | None = None
    """Hypervolume reference point: (seconds per image, loss); None: `front.updated` says it later."""
    folder: str
    machine: dict[str, Any] = {}
    """Processor, cores, memory in bytes, system, versions of what was used."""
    agent: LlmChoice | None = None
    """The language model that plans, writes and repairs; None: the built-in agent."""
    approve: bool = False
    """Whether the user is asked before each candidate runs."""
    gate: int = 16
    """Pictures that the gate looks at."""


class GenerationStarted(Data):
    generation: int
    planned: int


class CandidateProposed(Data):
    id: str
    generation: int
    origin: Literal["baseline", "seed", "new", "refined", "given"]
    parents: tuple[str, ...]
    recipe: tuple[Step, ...]
    title: str
    """A short label, for example `DPM++ 2M 12 + OpenVINO bf16`."""
    why: str
    script: str
    code: str = ""
    """What the script does beyond the recipe, in words; empty: the recipe is all."""
    by: Literal["", "language", "mathematics", "built-in", "rules"] = ""
    """Whose idea it is in a run with a language model; empty: the built-in agent's, or not kept then."""


class CandidateStage(Data):
    id: str
    stage: Literal["static", "build", "smoke", "gate", "certify"]
    message: str


class CandidateJudged(Data):
    id: str
    verdict: Verdict


class FrontUpdated(Data):
    generation: int
    front: tuple[str, ...]
    """Ids from fastest to best."""
    knee: str | None
    hypervolume: float
    reference: tuple[float, float] | None = None
    """The point that the hypervolume is measured from; the same one through the whole run."""


class Progress(Data):
    done: int
    total: int
    doing: str
    seconds_low: float | None = None
    seconds_high: float | None = None


class Notice(Data):
    level: Literal["info", "warning", "error"]
    text: str
    action: str = ""


class Certified(Data):
    """A claim checked on fresh prompts outside the search."""

    id: str
    claim: str
    """For example `adherence loss under 2 points`."""
    held: bool
    prompts: int
    loss: Interval | None
    """One-sided 95 % bounds of the claim's metric (for PSNR in dB); None: it failed before."""
    speedup: Interval | None = None
    note: str = ""
    isolation: Literal["", "isolated", "limited", "none"] = ""
    """Behind which walls its script ran; empty in runs of before this was kept, and where it did not run."""

    @property
    def walls(self) -> str:
        """`isolated: reached neither files nor network`; empty where none is known."""
        return f"{self.isolation}: {WALLS[self.isolation]}" if self.isolation else ""


class CandidateWaiting(Data):
    """A candidate that runs only if the user agrees."""

    id: str


class CandidateDecided(Data):
    """What the user said to a waiting candidate."""

    id: str
    run: bool


class RunSteered(Data):
    """A sentence of the user to the agent, heard before the next plan."""

    text: str
    answer: str = ""
    """What the built-in agent understood; a language model answers by what it plans."""


class LlmAsked(Data):
    """A question to the language model.  `file` in the run's folder holds all of it, and later the answer."""

    call: int
    """Counts from 1 within a run."""
    purpose: Literal["plan", "code", "repair"]
    generation: int
    candidate: str = ""
    """Whose script is written or mended; empty for a plan."""
    model: str
    prompts: tuple[str, ...] = ()
    """Prompt files with their versions: `system/1`, `plan/1`."""
    file: str


class LlmAnswered(Data):
    """What came of a question, and what it cost."""

    call: int
    purpose: Literal["plan", "code", "repair"]
    candidate: str = ""
    error: str = ""
    """One sentence where there is no usable answer."""
    summary: str = ""
    """The cause and the change of a repair, what a script does, how many plans."""
    stop: str = ""
    input: int = 0
    output: int = 0
    write: int = 0
    """Prompt tokens written to the service's cache."""
    read: int = 0
    """Prompt tokens read from it."""
    estimated: bool = False
    """Tokens counted from characters: the service did not say."""
    usd: float | None = None
    """US dollars; None: the price is not known."""
    seconds: float = 0.0
    attempts: int = 1
    spent_usd: float | None = None
    """Of the run so far."""
    spent_tokens: int = 0
    file: str = ""


class RunPaused(Data):
    reason: str = ""


class RunResumed(Data):
    """`generations`, `budget` (seconds, all in all) and `agent`: where the user changed them."""

    generations: int | None = None
    budget: float | None = None
    agent: LlmChoice | None = None


class RunFinished(Data):
    reason: Literal["done", "budget", "stopped", "failed"]
    text: str
    winner: str | None = None
    seconds: float = 0.0
    """Work on the run all in all; pauses and interruptions are not counted."""


# -- events of a job: what a front end asked for by a command (see protocol) -------------------


class JobProgress(Data):
    job: int
    done: int
    total: int
    doing: str


class JobPoint(Data):
    """A point of a curve that grows while a job goes on, such as an epoch of training."""

    job: int
    curve: str
    at: int
    values: dict[str, float | None]
    """By series; `None` where this one has no value here."""


class JobDone(Data):
    job: int
    result: dict[str, Any]


class JobFailed(Data):
    job: int
    text: str
    """One sentence: what and what to do."""
    detail: str = ""
    asks: str = ""
    """An argument of the command, true by which the user agrees to have it done all the same."""
    wants: str = ""
    """A command that takes what is missing (`hub_token`), after which the same can be asked again."""


class LlmDelta(Data):
    """A piece of an answer as it streams in; `wait` says why nothing comes."""

    call: int
    kind: Literal["text", "thinking", "tool", "wait"]
    text: str
    tokens: int = 0
    """Of the call so far, its prompt included; of the answer at a guess until the service has counted."""
    usd: float | None = None
    """US dollars of the call so far; None: the price is not known."""


class WorkerReady(Data):
    version: str
    protocol: int
    pid: int


class Vitals(Data):
    """Load of the machine, once a second while something runs."""

    cpu: float
    memory: int
    memory_total: int


EVENTS: Final[dict[str, type[Data]]] = {
    "run.started": RunStarted,
    "generation.started": GenerationStarted,
    "candidate.proposed": CandidateProposed,
    "candidate.stage": CandidateStage,
    "candidate.judged": CandidateJudged,
    "front.updated": FrontUpdated,
    "progress": Progress,
    "notice": Notice,
    "certified": Certified,
    "candidate.waiting": CandidateWaiting,
    "candidate.decided": CandidateDecided,
    "run.steered": RunSteered,
    "llm.asked": LlmAsked,
    "llm.answered": LlmAnswered,
    "llm.delta": LlmDelta,
    "run.paused": RunPaused,
    "run.resumed": RunResumed,
    "run.finished": RunFinished,
    "job.progress": JobProgress,
    "job.point": JobPoint,
    "job.done": JobDone,
    "job.failed": JobFailed,
    "worker.ready": WorkerReady,
    "vitals": Vitals,
}
TYPES: Final = {model: name for name, model in EVENTS.items()}
TRANSIENT: Final = frozenset(
    {"job.progress", "job.point", "job.done", "job.failed", "worker.ready", "vitals", "llm.delta"}
)
"""Types that are printed but not journalled; their `seq` is 0."""


class Event(BaseModel):
    """An envelope.  `seq` counts from 1 within a run and has no gaps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: int = VERSION
    seq: Annotated[int, Field(ge=0)]
    run: str
    time: float
    type: str
    data: dict[str, Any]

    def payload(self) -> Data:
        """The typed data; raises `KeyError` for an unknown type."""
        return EVENTS[self.type].model_validate(self.data)


def event(data: Data, *, run: str = "", seq: int = 0) -> Event:
    """Wrap data with the present time (seconds since the epoch)."""
    return Event(
        seq=seq, run=run, time=clock.time(), type=TYPES[type(data)], data=data.model_dump(mode="json")
    )
