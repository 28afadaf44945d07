"""Write a small model of a family, to try the Studio on without a download.

    python -m engines.models.small                              # the families there are
    python -m engines.models.small pixart-sigma --folder F      # F/small-pixart-sigma
    pareto-studio bench --model tiny-scenes --model F/small-pixart-sigma

The weights are random: such a model draws noise, so only how its pictures differ from the unchanged
model's can be measured, and not what they are worth.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NAME: Final = "small-{}"


def make(family: str, folder: Path) -> Path:
    """Write `small-FAMILY` into `folder`; a model that is there already is kept.

    Raises:
        KeyError: no such family.
        OSError: the folder cannot be written.
    """
    place = folder / NAME.format(family)
    if (place / "model_index.json").is_file():
        return place
    from engines.models.small.families import write

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        made = write(family, Path(unfinished) / place.name)
        facts = {"name": f"Small {family}", "licence": "CC0-1.0"}
        (made / "pareto.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
        shutil.move(made, place)
    return place


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engines.models.small",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("family", nargs="?", help="if not given, the families are listed")
    parser.add_argument("--folder", type=Path, default=Path(), help="where it is written (default: here)")
    given = parser.parse_args(arguments)

    import transformers

    from engines.models.small.families import MAKERS

    transformers.utils.logging.disable_progress_bar()
    if given.family is None:
        print("\n".join(MAKERS))
        return 0
    if given.family not in MAKERS:
        print(f"There is no family {given.family}; there are: {', '.join(MAKERS)}.", file=sys.stderr)
        return 1
    try:
        print(make(given.family, given.folder.expanduser()))
    except OSError as error:
        print(f"The model could not be written to {given.folder}: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
