"""What the user wants to generate: the work that everything is measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from engines.errors import WorkloadError
from engines.hostloop.pictures import SEPARATOR


class Workload(BaseModel):
    """Prompts and settings, saved with a run; reference and baseline are made from it.

    `None` means: as the model's authors ship it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: tuple[str, ...] = ()
    """The user's own prompts; empty: drawn fresh from the model's prompt source."""
    size: Annotated[int, Field(ge=8, le=4096)] | None = None
    """Height and width in pixels."""
    frames: Annotated[int, Field(ge=1, le=512)] | None = None
    """Of a video."""
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance: Annotated[float, Field(ge=0, le=50)] | None = None
    negative_prompt: str = ""
    batch: Annotated[int, Field(ge=1, le=64)] = 1


def read_prompts(path: Path) -> tuple[str, ...]:
    """One prompt a line; empty lines and lines that begin with `#` are skipped.

    A picture that a line names (`picture.png`, `picture.png | what it shows`) is sought beside the file, then
    from here, and becomes a whole path: candidates run in folders of their own.

    Raises:
        WorkloadError: no such file, not text, or nothing in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise WorkloadError(
            f"There is no prompt file {path}; give a text file with one prompt a line."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(
            f"The prompt file {path} cannot be read ({error}); give a UTF-8 text file."
        ) from error
    wanted = (line.strip() for line in lines if line.strip() and not line.startswith("#"))
    prompts = tuple(_with_whole_path(line, path.parent) for line in wanted)
    if not prompts:
        raise WorkloadError(f"The prompt file {path} holds no prompt; write one prompt a line.")
    return prompts


def _with_whole_path(prompt: str, folder: Path) -> str:
    name, separator, words = prompt.partition(SEPARATOR)
    for place in (folder / name, Path(name)):
        try:
            if place.is_file():
                return f"{place.resolve()}{separator}{words}"
        except OSError:  # a long prompt is no path
            return prompt
    return prompt
