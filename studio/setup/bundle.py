"""What an installer carries beside the window: uv, the lock, the Studio's own wheel, and `bundle.json`."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.errors import SetupError

NAME: Final = "bundle.json"
FOLDER: Final = "backend"
"""The folder's name beside the window's program."""


class Contents(BaseModel):
    """`bundle.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: str
    protocol: int
    """Of the worker in the wheel; equal to the window's in the same installer."""
    python: str = ">=3.11,<3.14"
    lock: str = "backend.lock"
    lock_sha256: str
    wheel: str
    wheel_sha256: str
    imports: tuple[str, ...]
    """Modules that must import before the environment counts as made."""
    space: Annotated[int, Field(gt=0)]
    """Bytes that the environment takes without CUDA."""
    space_cuda: Annotated[int, Field(gt=0)]
    """Bytes that it takes with CUDA."""


class Bundle:
    """A folder with `bundle.json`, read and found whole."""

    def __init__(self, folder: Path) -> None:
        """Raises `SetupError` where a file is missing or is not the one that was shipped."""
        self.folder = folder
        try:
            self.contents = Contents.model_validate_json((folder / NAME).read_bytes())
        except (OSError, ValidationError) as error:
            raise SetupError(
                f"The installed program is incomplete ({folder / NAME} cannot be read); "
                "install Pareto Studio again.",
                again=False,
            ) from error
        self.lock = self._checked(self.contents.lock, self.contents.lock_sha256)
        self.wheel = self._checked(self.contents.wheel, self.contents.wheel_sha256)
        self.uv = folder / ("uv.exe" if sys.platform == "win32" else "uv")
        if not self.uv.is_file():
            raise SetupError(
                f"The installed program is incomplete ({self.uv.name} is missing); "
                "install Pareto Studio again.",
                again=False,
            )

    @property
    def identity(self) -> str:
        """Version and a digest of everything that decides what is installed."""
        content = f"{self.contents.lock_sha256} {self.contents.wheel_sha256} {self.contents.python}"
        return f"{self.contents.version}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def _checked(self, name: str, digest: str) -> Path:
        path = self.folder / name
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            found = "missing"
        if Path(name).name != name or found != digest:
            raise SetupError(
                f"The installed program is damaged ({name} is not the file that was shipped); "
                "install Pareto Studio again.",
                again=False,
            )
        return path


def shipped() -> Path | None:
    """The bundle's folder of this program; `None` where it runs from its sources."""
    given = os.environ.get("PARETO_STUDIO_BUNDLE")
    if given:
        return Path(given)
    # A frozen program has it beside its own; the Windows installer puts it beside the window's environment.
    for base in (Path(sys.executable).resolve().parent, Path(sys.prefix), Path(sys.prefix).parent):
        for place in (base / FOLDER, base.parent / FOLDER, base.parent / "Resources" / FOLDER):
            if (place / NAME).is_file():
                return place
    return None
