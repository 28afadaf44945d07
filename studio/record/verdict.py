"""What a candidate is and what came of it, as journals keep it.

Shapes mirror `agent.candidate`, which this package may not import: the window reads events and must never
load a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from pydantic import Field

from studio.record.data import Data, Interval

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


class Step(Data):
    technique: str
    parameters: dict[str, int | float | str | bool] = Field(default_factory=dict)


class Sample(Data):
    prompt: str
    seed: int
    image: str
    """PNG in the run folder; of a clip the first frame, `NN/000.png`, the others beside it."""
    metrics: dict[str, float] = Field(default_factory=dict)
    frames: int = 0
    curves: dict[str, tuple[float, ...]] = Field(default_factory=dict)
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
    sides: dict[int, float] = Field(default_factory=dict)
    dtypes: dict[str, int] = Field(default_factory=dict)

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
    stages: dict[str, float] = Field(default_factory=dict)
    throughput: dict[int, float] = Field(default_factory=dict)
    memory: float | None = None
    card_memory: float | None = None
    loss: Interval | None = None
    metrics: dict[str, Interval] = Field(default_factory=dict)
    robustness: dict[str, str] = Field(default_factory=dict)
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
    spent: dict[str, float] = Field(default_factory=dict)
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
