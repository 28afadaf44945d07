"""The two sides of a cascade: candidates of one run, or of two runs and so perhaps of two models.

A side is named by its candidate, `c003`, or, where that belongs to another run
than the pair's own, by both: `OTHER_RUN/c003`.  What is learned of a pair, and
its pictures, lie in the pair's own run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from studio.errors import CascadeError, StudioError
from studio.record.events import RunStarted
from studio.record.journal import Journal
from studio.record.library import find_run
from studio.record.state import CandidateState, RunState

FOLDER: Final = "cascade"
"""In the folder of a run."""
_OF: Final = "/"


@dataclass(frozen=True, eq=False)
class Side:
    """A candidate and the run that it belongs to."""

    run: Path
    """The folder of its run."""
    state: RunState
    candidate: CandidateState
    name: str
    """As the pair has it: `c003` or `OTHER_RUN/c003`."""

    @property
    def started(self) -> RunStarted:
        assert self.state.started is not None  # a run with a candidate has begun
        return self.state.started

    @property
    def script(self) -> bytes:
        """The text of its script.

        Raises:
            CascadeError: it is no longer there.
        """
        try:
            return (self.run / self.candidate.proposal.script).read_bytes()
        except OSError:
            raise CascadeError(f"The script of {self.name} is gone from the run folder.") from None

    @property
    def size(self) -> int:
        """Height and width of its pictures."""
        return int(self.started.workload.get("size") or self.started.model.size)


@dataclass(frozen=True, eq=False)
class Pair:
    """Light and heavy, at least one of them of the pair's own run."""

    run: Path
    """The folder of that run."""
    light: Side
    heavy: Side

    def __iter__(self) -> Iterator[Side]:
        yield from (self.light, self.heavy)

    @property
    def own(self) -> Side:
        """The side of the pair's own run, whose prompts and measure count for both; of two, light."""
        return self.light if self.light.run == self.run else self.heavy

    @property
    def other(self) -> Side | None:
        """The side of another run, where there is one."""
        return next((side for side in self if side.run != self.run), None)

    @property
    def two_models(self) -> bool:
        return len(set(self.models)) == 2

    @property
    def place(self) -> Path:
        """Where what is learned of it lies."""
        return place_of(self.run, self.light.name, self.heavy.name)

    @property
    def models(self) -> tuple[str, str]:
        """Digests of both sides' models, as their runs recorded them."""
        return self.light.started.model.hash, self.heavy.started.model.hash

    def changed(self, models: Sequence[str]) -> str:
        """That a side is of another model than it was, as a sentence; empty where it is not."""
        for side, model in zip(self, models, strict=False):  # files of earlier versions name none
            if side.started.model.hash != model:
                return (
                    f"The run of {side.name} is of another model now than when this pair was trained; train "
                    "the discriminator again."
                )
        return ""

    def title(self, side: Side) -> str:
        """What a side is, with its model where the two differ."""
        title = side.candidate.proposal.title
        return f"{title}, {side.started.model.name}" if self.two_models else title


def pair_of(run: Path, light: str, heavy: str, home: Path | None = None) -> Pair:
    """The pair that two names mean; `winner`, `knee` and `baseline` are names too.

    Args:
        run: the folder of the pair's own run.
        home: where other runs are looked for; left out: where `run` lies.

    Raises:
        CascadeError: the same candidate twice, or none of the run's own.
        RunError, JournalError: no such run or candidate.
    """
    state = RunState.replay(Journal.read(run))
    found = Pair(run, side_of(run, state, light, home), side_of(run, state, heavy, home))
    if found.light.name == found.heavy.name:
        raise CascadeError("Light and heavy are the same candidate; choose two.")
    if found.own.run != run:
        raise CascadeError(
            f"{found.light.name} and {found.heavy.name} both belong to other runs than {run.name}; name the "
            "run of one of them, and the other as OTHER_RUN/CANDIDATE."
        )
    return found


def side_of(run: Path, state: RunState, name: str, home: Path | None = None) -> Side:
    """The candidate that a name means to the run in the folder `run`, whose state is `state`.

    Raises:
        RunError, JournalError: no such run or candidate.
    """
    home = run.resolve().parent.parent if home is None else home
    where, _, candidate = name.rpartition(_OF)
    folder = find_run(home, where) if where else run
    if folder.resolve() == run.resolve():
        chosen = state.candidate(candidate)
        return Side(run, state, chosen, chosen.id)
    other = RunState.replay(Journal.read(folder))
    chosen = other.candidate(candidate)
    return Side(folder, other, chosen, f"{_name(folder, home)}{_OF}{chosen.id}")


def _name(folder: Path, home: Path) -> str:
    """How a run is named to another: by its folder's name in the home, by its whole path elsewhere."""
    return folder.name if folder.resolve().parent == (home / "runs").resolve() else str(folder)


def sides_of(folder: Path, home: Path | None = None) -> list[Side]:
    """The candidates of another run that passed, as sides.

    Raises:
        JournalError: it cannot be read.
    """
    state = RunState.replay(Journal.read(folder))
    name = _name(folder, folder.resolve().parent.parent if home is None else home)
    return [
        Side(folder, state, one, f"{name}{_OF}{one.id}") for one in state.candidates.values() if one.passed
    ]


def elsewhere(
    run: Path, state: RunState, name: str, models: Sequence[str], home: Path | None = None
) -> CandidateState | None:
    """The candidate of another run, if that is still there and still of one of `models` (digests)."""
    try:
        side = side_of(run, state, name, home)
    except StudioError:
        return None
    return side.candidate if side.started.model.hash in models else None


def trouble(run: Path, light: str, heavy: str, models: Sequence[str], home: Path | None = None) -> str:
    """Why a pair that was trained earlier can be drawn no more, as a sentence; empty where it can.

    `models`: the digests of its models then.
    """
    try:
        return pair_of(run, light, heavy, home).changed(models)
    except StudioError as error:
        return f"What was learned of this pair is still here, but nothing more can be drawn with it: {error}"


def label_of(name: str) -> str:
    """A side's name as part of a file's: `OTHER_RUN~c003`."""
    where, _, candidate = name.rpartition(_OF)
    return f"{Path(where).name}~{candidate}" if where else candidate


def place_of(run: Path, light: str, heavy: str) -> Path:
    """The folder of the pair with these names."""
    return run / FOLDER / f"{label_of(light)}-{label_of(heavy)}"


def mismatch(one: Side, other: Side, *, prompts: bool = False) -> str:
    """Why pictures of two candidates say nothing beside each other, as a sentence; empty where they do.

    `prompts`: the pair gets prompts of its own, so those of the runs don't matter.
    """
    first, second = one.started, other.started
    if first.target != second.target:
        return (
            f"{one.name} was made for {first.target} and {other.name} for {second.target}, so their times "
            "say nothing beside each other; choose two runs for one device."
        )
    if first.model.task != second.model.task:
        return (
            f"{first.model.name} does {first.model.task} and {second.model.name} {second.model.task}; choose "
            "two models for one task."
        )
    if one.size != other.size:
        return (
            f"{one.name} draws pictures of {one.size} px and {other.name} of {other.size} px; choose two "
            "runs with pictures of one size."
        )
    asked = [tuple(each.workload.get("prompts") or ()) for each in (first, second)]
    if asked[0] != asked[1] and not prompts:
        return (
            f"The runs of {one.name} and {other.name} have different prompts, so neither was tried on the "
            "other's; give the pair prompts of its own (--prompts), or choose runs with the same."
        )
    return ""
