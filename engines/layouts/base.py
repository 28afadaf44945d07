"""The contract of every layout: a folder that another runtime loads.

    spoken(plan, model)       -> Spoken: the plan as that runtime carries it out; what it leaves out, refuses
    write(subject, folder)    the files; nothing is written before `spoken` refused nothing
    draw(folder, ...)         -> Drawn: the folder's own picture, made by that runtime in another process;
                              `None` where the runtime cannot be had here

What a runtime cannot say is refused where leaving it out would change what was
measured, and listed where only the speed changes.  Diffusers' folder is the
exception that it names itself: its reader wants the model, not the engine.
Adding a layout is adding one file and naming it in `engines.layouts`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from engines import installing
from engines.errors import PackageError
from engines.package.manifest import Facts

if TYPE_CHECKING:
    from engines.backends.base import Artifact
    from engines.models.model import Model
    from engines.plan import Plan

Pixels = NDArray[np.uint8]
LAYOUTS: Final[dict[str, Layout]] = {}
"""By name, as `--as` takes it."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A plan in another runtime's words."""

    plan: Plan
    """What the folder carries out; the picture that it must draw is this plan's."""
    left_out: tuple[str, ...] = ()
    """What is not in the folder, as sentences: a technique, and what that costs."""
    refused: tuple[str, ...] = ()
    """Why there can be no folder, as sentences with a way on."""
    other_picture: bool = False
    """Something that was left out changes the picture: it is compared with the spoken plan's own."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What a layout is given to write."""

    plan: Plan
    """As spoken."""
    model: Model
    name: str
    """For example `tiny-scenes-c012`."""
    title: str
    prompt: str
    seed: int
    picture: Pixels
    """That the folder must draw from `prompt` and `seed`."""
    facts: Facts
    """Source, licence, techniques, measured numbers: as in the package's manifest."""
    licence: str
    left_out: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    """Engines of the spoken plan; empty where the layout takes none."""
    package: Path | None = None
    """The candidate's package, written and proved; where the layout is built around one."""
    gallery: Sequence[tuple[str, int, Pixels]] = ()
    """Prompt, seed and picture of what the candidate drew when it was judged."""
    reference: Mapping[tuple[str, int], Pixels] = field(default_factory=dict)
    """The unchanged model's pictures of the same prompts and seeds."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A folder's own picture."""

    picture: Pixels
    runtime: str
    """Name and version of what drew it, as a person knows it."""
    note: str = ""
    """What the proof does not show, as a sentence."""


class Layout(ABC):
    """One layout.  A subclass says what it is called, what its runtime can say, and what lies where."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    usage: ClassVar[str]
    """How the folder is used, in Markdown, the line for a terminal that draws first; `{name}`, `{prompt}`,
    `{seed}`, `{steps}` and `{guidance}` are filled in."""
    absent: ClassVar[str] = "its own runtime is not installed here"
    """Why `draw` answered `None`, as a clause."""
    modules: ClassVar[tuple[str, ...]] = ()
    """Modules without which it cannot be written."""
    extra: ClassVar[str] = ""
    """The extra of pareto-studio that brings them."""
    takes_engines: ClassVar[bool] = True
    """Whether `Subject.artifacts` are wanted."""
    takes_package: ClassVar[bool] = False
    """Whether `Subject.package` is wanted."""

    def spoken(self, plan: Plan, model: Model) -> Spoken:  # noqa: ARG002 - by model where it matters
        """The plan as it is: for layouts that carry the host loop along."""
        return Spoken(plan)

    @abstractmethod
    def write(self, subject: Subject, folder: Path) -> None:
        """Write the files into an empty folder; raise `PackageError` where something is missing."""

    @abstractmethod
    def draw(self, folder: Path, prompt: str, seed: int) -> Drawn | None:
        """Let the folder's own runtime draw, in another process; `None` where it is not installed.

        Raises:
            PackageError: it is installed and cannot draw, with its own words.
        """

    def used(self, subject: Subject) -> str:
        """`usage` for one subject."""
        return self.usage.format(
            name=subject.name,
            prompt=subject.prompt,
            seed=subject.seed,
            steps=subject.plan.loop.steps,
            guidance=subject.plan.loop.guidance,
        )

    def missing(self) -> str:
        """Why it cannot be written here, as a sentence; empty where it can."""
        absent = [name for name in self.modules if find_spec(name) is None]
        if not absent:
            return ""
        return (
            f"{self.title} needs {absent[0].replace('_', '-')}, which is not installed; run"
            f" `{installing.lacking(*absent, extra=self.extra)}`."
        )


def register(kind: type[Layout]) -> type[Layout]:
    """Make a layout known by its name."""
    LAYOUTS[kind.name] = kind()
    return kind


def layout(name: str) -> Layout:
    """Raises `PackageError` for a name that there is not."""
    if name not in LAYOUTS:
        raise PackageError(f"There is no layout {name!r}; choose one of {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]
