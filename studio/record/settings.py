"""What the program remembers between sittings: one table, one JSON file.

The table is the class `Settings`: name, type, default and description of
every setting.  A value that does not fit, or a name that is unknown, is moved
to `settings.aside.json` with a notice and never stops the program.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.record.events import Notice

NAME: Final = "settings.json"
ASIDE: Final = "settings.aside.json"
RECENT: Final = 10
RENAMED: Final = {"llm_approve": "approve", "llm_preset": "preset"}
"""What settings of earlier versions are called now."""
FORMER: Final = {("preset", "quick"): "hybrid"}
"""What values of earlier versions are called now."""


class SavedWorkload(BaseModel):
    """The user's own work; mirrors `engines.workload.Workload`, which this package may not import."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: tuple[str, ...] = ()
    size: Annotated[int, Field(ge=8, le=4096)] | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance: Annotated[float, Field(ge=0, le=50)] | None = None
    negative_prompt: str = ""
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    frames: Annotated[int, Field(ge=1, le=512)] | None = None
    """Of a video."""


class Settings(BaseModel):
    """Every setting with its type, default and meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    theme: Literal["system", "dark", "light"] = Field(default="system", description="Colours of the window.")
    model: str = Field(default="tiny-scenes", description="The model that was open last.")
    recent_models: tuple[str, ...] = Field(
        default=(), max_length=RECENT, description="Models opened before, newest first."
    )
    target: str = Field(default="cpu", description="The device to optimize for.")
    workload: SavedWorkload = Field(
        default=SavedWorkload(), description="Prompts and settings that everything is measured on."
    )
    preset: Literal["hybrid", "paper"] = Field(
        default="hybrid", description="How either agent evolves candidates."
    )
    generations: int = Field(default=4, ge=1, le=1000, description="Generations of a search.")
    population: int = Field(default=7, ge=1, le=100, description="Candidates evaluated in a generation.")
    budget: float | None = Field(
        default=None, gt=0, description="Seconds for a search; none: until the generations are done."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the search.")
    metric: Literal["", "adherence", "lpips", "clip", "cmmd", "dino", "haarpsi"] = Field(
        default="", description="What the loss of a search measures; empty: what the model allows."
    )
    gate: int = Field(default=16, ge=16, le=32, description="Pictures that every candidate is judged on.")
    workers: str = Field(
        default="", max_length=200, description="The Ray cluster that candidates are judged on; empty: here."
    )
    agent: Literal["built-in", "llm"] = Field(
        default="built-in",
        description="Who plans, writes and repairs: the built-in agent or a language model.",
    )
    llm_url: str = Field(
        default="", max_length=500, description="Address of the language model; empty: the service's own."
    )
    llm_model: str = Field(
        default="", max_length=200, description="The language model; empty: the list's first."
    )
    llm_budget: str = Field(
        default="", max_length=60, description="What the language model may cost in a run: 2.50, 300k tokens."
    )
    approve: bool = Field(default=False, description="Ask before each candidate runs.")
    llm_agreed: str = Field(
        default="", max_length=500, description="Address for which what leaves the machine was agreed to."
    )
    last_run: str = Field(default="", description="The run that was open last.")
    export_folder: str = Field(default="", description="Where packages were written last.")
    reduced_motion: bool = Field(default=False, description="Show changes without animation.")
    window: str = Field(default="", description="Place and state of the window, base64.")

    def opened(self, model: str) -> Settings:
        """With `model` as the newest of the recent ones."""
        recent = (model, *(other for other in self.recent_models if other != model))[:RECENT]
        return self.model_copy(update={"model": model, "recent_models": recent})


def load(home: Path) -> tuple[Settings, list[Notice]]:
    """Read the settings; what cannot be used is kept aside, with a notice each."""
    path = home / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is not a table")
    except FileNotFoundError:
        return Settings(), []
    except (OSError, ValueError) as error:
        return Settings(), [_set_file_aside(path, error)]
    good: dict[str, Any] = {RENAMED.get(str(name), str(name)): value for name, value in found.items()}
    good |= {name: now for (name, value), now in FORMER.items() if good.get(name) == value}
    bad: dict[str, Any] = {}
    notices: list[Notice] = []
    while True:
        try:
            settings = Settings.model_validate(good)
            break
        except ValidationError as error:
            for problem in error.errors():
                name = str(problem["loc"][0])
                if name in good:
                    bad[name] = good.pop(name)
                    why = (
                        "is not known here"
                        if problem["type"] == "extra_forbidden"
                        else f"is refused ({problem['msg']})"
                    )
                    notices.append(
                        Notice(level="warning", text=f"The setting {name} {why}; it was moved to {ASIDE}.")
                    )
    if bad:
        _keep_aside(home, bad)
        save(home, settings)
    return settings, notices


def save(home: Path, settings: Settings) -> None:
    """Write all settings atomically.

    Raises:
        OSError: the folder cannot be written; the old file is intact.
    """
    write_atomically(home / NAME, settings.model_dump_json(indent=2) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write beside the file, flush to the disk, then rename over it.

    Raises:
        OSError: it cannot be written; what was there is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    # There is no way to read it but to set it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _keep_aside(home: Path, bad: dict[str, Any]) -> None:
    path = home / ASIDE
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    write_atomically(path, json.dumps({**kept, **bad}, indent=2) + "\n")


def _set_file_aside(path: Path, error: Exception) -> Notice:
    for number in range(1, 1000):
        aside = path.with_name(f"settings.damaged-{number}.json")
        if not aside.exists():
            break
    try:
        path.rename(aside)
    except OSError:
        return Notice(
            level="warning", text=f"The settings {path} cannot be read ({error}); defaults are used."
        )
    return Notice(
        level="warning",
        text=f"The settings could not be read ({error}); they were kept as {aside.name}, defaults are used.",
    )
