"""Records a package of the present schema version: `python -m tests.engines.record_package FOLDER`.

Once a version has been recorded its package is never made anew: it stands for those that users have.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from engines.package.manifest import SCHEMA_VERSION
from engines.package.write import pack, write
from tests.engines.cascade_parts import cascade_contents


def main(folder: Path) -> None:
    target = folder / f"schema-{SCHEMA_VERSION}.pareto"
    if target.exists():
        sys.exit(f"{target} is recorded already.")
    with tempfile.TemporaryDirectory() as room:
        write(cascade_contents(Path(room)), Path(room) / "tiny")
        shutil.copyfile(pack(Path(room) / "tiny"), target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
