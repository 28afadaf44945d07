"""Where things are kept: runs and settings in the home folder, engines in the cache."""

from __future__ import annotations

import os
import time
from pathlib import Path

from studio.errors import RunError

APPLICATION = "pareto-studio"


def home() -> Path:
    """`$PARETO_STUDIO_HOME`, or the user's data folder; not created here."""
    given = os.environ.get("PARETO_STUDIO_HOME")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir(APPLICATION, appauthor=False))


def cache() -> Path:
    """`$PARETO_STUDIO_CACHE`, or the user's cache folder; not created here."""
    given = os.environ.get("PARETO_STUDIO_CACHE")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir(APPLICATION, appauthor=False))


def new_run_folder(base: Path, model: str) -> Path:
    """Create an empty run folder below `base / "runs"`, named by day, time and model.

    Raises:
        RunError: the folder cannot be created.
    """
    stem = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in model.lower())
    name = time.strftime("%Y%m%d-%H%M%S-", time.localtime()) + (stem.strip("-.")[:40] or "model")
    runs = base / "runs"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = runs / (name + suffix)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(
                f"The run folder {folder} cannot be created ({error.strerror or error}); "
                "choose a folder that can be written with --home or PARETO_STUDIO_HOME."
            ) from error
        return folder
    raise RunError(f"No free name for a run was found in {runs}; remove old runs.")
