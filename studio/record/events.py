"""The one language between the worker and its front ends.

Every event is `{v, seq, run, time, type, data}`; `data` is one of the models
below, chosen by `type`.  The worker commits an event to the journal before it
prints it; the window, the terminal, the report and the tests replay them.
"""

from __future__ import annotations

import time as clock
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from studio.record.data import Data, Interval
from studio.record.described import Metric, ModelCard
from studio.record.verdict import WALLS, Step, Verdict

VERSION: Final = 1

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
    machine: dict[str, Any] = Field(default_factory=dict)
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
