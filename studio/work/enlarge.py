"""Enlarged copies of pictures, for looking at them closely; numbers are never taken from these."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from studio.errors import RunError
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.compare import save_picture
from studio.work.job import Job

FOLDER: Final = "enlarged"


def enlarge(job: Job, run: str, pictures: list[str]) -> dict[str, Any]:
    """Command `enlarge`: the model's own super-resolution network on pictures of the run.

    `pictures` are paths inside the run folder; the result maps each to its
    enlarged copy, which is made once and kept.

    Raises:
        RunError: no such run or picture, or a model that ships no such network.
        ModelError: a network that cannot be read.
    """
    folder = job.run_folder(run)
    state = RunState.replay(Journal.read(folder))
    if state.started is None:
        raise RunError(f"The run {run} has not begun; there is nothing to enlarge.")
    made: dict[str, str] = {}
    for done, name in enumerate(pictures):
        job.progress(done, len(pictures), "enlarging")
        place = (folder / name).resolve()
        if not place.is_relative_to(folder.resolve()) or not place.is_file():
            raise RunError(f"There is no picture {name} in the run {run}.")
        target = folder / FOLDER / Path(name)
        if not target.is_file():
            _make(state.started.model.source, place, target)
        made[name] = str(target.relative_to(folder))
    return {"run": folder.name, "folder": str(folder), "pictures": made}


def _make(source: str, picture: Path, target: Path) -> None:
    import numpy as np
    from PIL import Image

    from engines.models import upscaler
    from engines.models.load import open_model

    network = open_model(source).path / upscaler.FILE
    if not network.is_file():
        raise RunError("This model ships no super-resolution network; pictures are shown at their own size.")
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    save_picture(target, upscaler.enlarge(network, pixels[None])[0])
