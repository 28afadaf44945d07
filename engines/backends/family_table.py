"""Every family's components through every engine that can be built here: a table for the documentation.

    python -m engines.backends.family_table --folder F --keep rows.jsonl > table.md
    python -m engines.backends.family_table --folder F --keep rows.jsonl --families sd15,sdxl --engines mlx
    python -m engines.backends.family_table --folder F --keep rows.jsonl --again
    python -m engines.backends.family_table --folder F --keep rows.jsonl --seconds 600
    python -m engines.backends.family_table --keep rows.jsonl --only-print

The models are small, with random weights.  What was built before is read from
`--keep` and not built again; `--again` builds anew what was refused, after a
mend; `--seconds` ends a sitting between two pairs, with exit status 3.  Builds
have a process of their own: what ends it, such as a converter that crashes, is a
row of the table and no end of the walk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from engines.backends.family_pairs import CLOSEST, COLUMNS, TINY, Column, Row
from engines.errors import EngineError

START: Final = "start "
"""What the builds' process says before each pair, so that one that ends it has a name."""
UNFINISHED: Final = 3


def families() -> list[str]:
    """Every family, those whose real models are run most first; networks that enlarge are last."""
    from engines.models.small.families import MAKERS, NETWORKS

    return [*list(MAKERS)[:1], TINY, *list(MAKERS)[1:], *NETWORKS]


def kept(path: Path | None) -> dict[str, Row]:
    """Rows by their key, the latest of each; a line that a stop cut short counts as not built."""
    found = dict[str, Row]()
    if path is not None and path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, TypeError):
                row = Row(**json.loads(text))
                found[row.key] = row
    return found


def keep(path: Path, row: Row) -> None:
    """Add a row; after a line that was cut short, on a line of its own."""
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        cut = file.read()[-1:] not in ("", "\n")
        file.write("\n" * cut + json.dumps(asdict(row)) + "\n")


def walk(family: str, folder: Path, columns: Sequence[Column], known: Sequence[Row]) -> Iterator[Row]:
    """In this process: every pair of a family that is not known, as it is built.

    A component whose program a known row of another family has is left out, and one that torch.export
    refuses is a row of no engine.
    """
    from engines.backends.family_pairs import built, captures, named, program_digest

    done = {row.key for row in known}
    others = {row.program for row in known if row.family != family}
    for capture in captures(family, folder):
        try:
            program = program_digest(capture)
        except EngineError as error:
            yield Row(family, capture.component, "", "capture", refused=str(error))
            continue
        if program in others:
            continue
        for column in columns:
            row = named(family, capture.component, program, column)
            if row.key not in done:
                print(START + json.dumps(asdict(row)), flush=True)
                yield built(capture, row, column)


def forget_refusals(path: Path, families: Sequence[str], columns: Sequence[Column]) -> None:
    """Leave out of what was kept what these engines refused of these families."""
    names = {one.name for one in columns}
    left = [
        row
        for row in kept(path).values()
        if not (row.refused and row.family in families and row.column in names)
    ]
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(json.dumps(asdict(row)) + "\n" for row in left), encoding="utf-8")
    fresh.replace(path)


def apart(families: Sequence[str], folder: Path, columns: Sequence[Column], path: Path) -> Iterator[Row]:
    """The same of many families in a process of its own, begun anew after a pair that ended it."""
    while True:
        command = [
            sys.executable, "-m", "engines.backends.family_table", "--here", "--folder", str(folder),
            "--families", ",".join(families), "--keep", str(path),
            "--engines", ",".join(one.name for one in columns),
        ]  # fmt: skip
        at: Row | None = None
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                for text in process.stdout or ():
                    if text.startswith(START):
                        at = Row(**json.loads(text.removeprefix(START)))
                    elif text.startswith("{"):
                        at = None
                        yield Row(**json.loads(text))
            except GeneratorExit:
                process.terminate()
                raise
        if process.returncode == 0:
            return
        if at is None:
            raise EngineError(f"The walk ended with exit status {process.returncode} between two pairs.")
        yield replace(at, refused=f"its build ended the process (exit status {process.returncode})")


def table(rows: Sequence[Row], columns: Sequence[Column]) -> Iterator[str]:
    """Markdown: a line for each component, a column for each engine, and the sentences of what is not so."""
    said: list[str] = []
    yield f"| Family | Component | {' | '.join(one.title for one in columns)} |"
    yield "|---" * (len(columns) + 2) + "|"
    found = {(row.family, row.component, row.column): row for row in rows}
    order = {name: place for place, name in enumerate(families())}
    lines = dict.fromkeys((row.family, row.component) for row in rows)
    for family, component in sorted(lines, key=lambda one: order.get(one[0], len(order))):
        cells = [_cell(found.get((family, component, one.name)), said) for one in columns]
        yield f"| {family} | {component.replace('_', ' ')} | {' | '.join(cells)} |"
    if said:
        yield ""
        yield from (f"{number}. {sentence}" for number, sentence in enumerate(said, 1))


def _cell(row: Row | None, said: list[str]) -> str:
    if row is None:
        return ""
    if row.refused:
        return f"no ({_number(row.refused, said)})"
    if row.max_abs is not None:
        cell = f"{row.max_abs:.0e}, {row.psnr:.0f} dB"
        if row.column.startswith("mlx-"):
            cell += f", {row.facts['quantised']} of {row.facts['quantised'] + row.facts['excluded']}"
    else:
        cell = f"built, {(row.facts.get('weight_bytes') or row.facts['bytes']) / 2**10:.0f} KiB"
        if "operators" in row.facts:
            cell += f", {row.facts['operators']} operators"
    return f"{cell} ({_number(row.note, said)})" if row.note else cell


def _number(sentence: str, said: list[str]) -> int:
    if sentence not in said:
        said.append(sentence)
    return said.index(sentence) + 1


def heading(rows: Sequence[Row]) -> Iterator[str]:
    """Which versions on which machine, and what a cell says."""
    import torch

    days = sorted({row.day for row in rows if row.day})
    machines = sorted({row.machine for row in rows if row.machine})
    when = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing built yet"
    versions = {one.title.split(",")[0].rsplit(" ", 1)[0]: "" for one in COLUMNS}
    for column in COLUMNS:
        of = [row.version for row in rows if row.column == column.name]
        name = column.title.split(",")[0].removesuffix(f" {column.precision}")
        versions[name] = of[-1] if of else versions.get(name, "")
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield f"{'; '.join(machines)}, {when}; torch {torch.__version__}, {told}."
    yield ""
    good = sum(not row.refused for row in rows)
    far = [row for row in rows if row.column == "mlx" and (row.max_abs or 0) > CLOSEST]
    yield f"{good} of {len(rows)} pairs are built; {len(far)} of MLX in fp32 differ by more than {CLOSEST:g}."
    yield ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engines.backends.family_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [one.name for one in COLUMNS]
    parser.add_argument("--families", default="", help="separated by commas; all if not given")
    parser.add_argument("--engines", default=",".join(names), help=f"of {','.join(names)}")
    parser.add_argument("--folder", type=Path, help="where models and engines are kept; else nowhere")
    parser.add_argument("--keep", type=Path, help="JSON lines of what was built, read and added to")
    parser.add_argument("--again", action="store_true", help="build anew what was refused")
    parser.add_argument("--seconds", type=float, help="of this sitting; no pair is begun after them")
    parser.add_argument("--only-print", action="store_true", help="build nothing, print what was kept")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    columns = [one for one in COLUMNS if one.name in given.engines.split(",")]
    if not columns:
        parser.error(f"there is no engine {given.engines}; choose of {', '.join(names)}")
    try:
        wanted = given.families.split(",") if given.families else families()
        if unknown := set(wanted) - set(families()):
            parser.error(f"there is no family {min(unknown)}; choose of {', '.join(families())}")
        if given.here:
            known = list(kept(given.keep).values())
            for family in wanted:
                for row in walk(family, given.folder, columns, known):
                    known.append(row)
                    print(json.dumps(asdict(row)), flush=True)
            return 0
        with tempfile.TemporaryDirectory(prefix="families-") as nowhere:
            folder = given.folder or Path(nowhere)
            path = given.keep or Path(nowhere) / "rows.jsonl"
            os.environ["PARETO_STUDIO_CACHE"] = str(folder / "cache")
            if given.again:
                forget_refusals(path, wanted, columns)
            whole = given.only_print or _walked(wanted, folder, columns, path, given.seconds)
            rows = [row for row in kept(path).values() if row.family in wanted]
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join([*heading(rows), *table(rows, columns)]))
    return 0 if whole else UNFINISHED


def _walked(
    wanted: Sequence[str], folder: Path, columns: Sequence[Column], path: Path, seconds: float | None
) -> bool:
    """Keep every row as it is built; whether the time was enough."""
    end = time.monotonic() + seconds if seconds else None
    for row in apart(wanted, folder, columns, path):
        keep(path, row)
        said = row.refused or f"{row.max_abs} {row.psnr} {row.note}"
        print(f"{row.family} {row.component} {row.column}: {said}", file=sys.stderr, flush=True)
        if end is not None and time.monotonic() > end:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
