"""Size and time of everything that a candidate is exported as, as Markdown for `docs/benchmarks`.

    python -m studio.work.package_benchmark RUN [CANDIDATE] [--layout NAME]... [--cascade LIGHT HEAVY]
                                            [--also DEVICE]... [--padded GB]

Exports into a temporary folder, which goes.  The package is then installed as
somebody does who received it: a fresh environment by its `requirements.txt`,
its archive unpacked, every start a new process of that environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engines.devices import processor_name
from engines.errors import EngineError
from engines.package import sums
from engines.package.processors import cores
from engines.package.runtimes import REQUIREMENTS
from engines.package.seal import Seal
from engines.package.verify import verify
from studio.errors import StudioError
from studio.layouts import LAYOUTS
from studio.work.export import export_candidate
from studio.work.export_as import export_candidate_as
from studio.work.export_cascade import export_pair
from studio.work.proof import RUN_SECONDS, call, last_words, make_environment

STARTS: Final = 7
"""Of `run.py --info`; the median counts."""
PROMISED: Final = 2.0
"""Seconds within which the program of a package starts, before it loads its model."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is exported beside the package."""

    layouts: Sequence[str]
    cascade: Sequence[str] = ()
    """Light and heavy; none: no cascade."""
    also: Sequence[str] = ()
    """Devices for which a second package holds variants."""
    padded: float = 0.0
    """GB of a file beside the package's own: what a large package's start takes."""


def rows(run: Path, candidate: str, asked: Asked, room: Path) -> Iterator[tuple[str, str]]:
    """What was made and measured, and how much.

    Raises:
        StudioError, EngineError: the package cannot be exported, or does not run.
    """
    start = time.perf_counter()
    exported = export_candidate(run, candidate, room / "package")
    yield "package exported and proved", _seconds(time.perf_counter() - start)
    yield from _sizes(exported)
    yield from received(Path(exported["zip"]), room)
    if asked.padded:
        yield from padded(Path(exported["package"]), asked.padded, room)
    if asked.also:
        several = export_candidate(run, candidate, room / "several", also=asked.also)
        yield from started(f"with variants for {' and '.join(asked.also)}", several, room)
    if cascade := asked.cascade:
        start = time.perf_counter()
        pair = export_pair(run, cascade[0], cascade[1], out=room / "cascade")
        named = f"cascade of {cascade[0]} and {cascade[1]}"
        yield f"{named}, exported", _seconds(time.perf_counter() - start)
        yield from started(named, pair, room)
    for name in asked.layouts:
        start = time.perf_counter()
        try:
            made = export_candidate_as(run, candidate, name, room / name)
        except (StudioError, EngineError) as error:
            yield f"as {name}", f"not written: {error}"
            continue
        size = f"{_megabytes(made['bytes'])}, {made['files']} files"
        yield f"as {name}, exported in {_seconds(time.perf_counter() - start)}", size


def _sizes(exported: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "package's folder", f"{_megabytes(exported['bytes'])}, {exported['files']} files"
    parts = {"its engines and tokenizer": "shared_assets/", "its program": "engines/"}
    for title, folder in parts.items():
        size = sum(one["bytes"] for one in exported["contents"] if one["path"].startswith(folder))
        yield title, _megabytes(size)
    yield "package's archive", _megabytes(exported["zip_bytes"])


def received(archive: Path, room: Path) -> Iterator[tuple[str, str]]:
    """Verified, unpacked, installed, started: what the one who received it waits for."""
    start = time.perf_counter()
    verify(archive)
    yield "every byte of the archive verified", _seconds(time.perf_counter() - start)
    received = room / "received"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(received)
    package = next(received.iterdir())
    start = time.perf_counter()
    environment = make_environment(package / REQUIREMENTS, room, lambda _doing: None)
    how = (
        "environment of its wheels made"
        if environment.fresh
        else "installed wheels lent, no environment made"
    )
    yield how, _seconds(time.perf_counter() - start)
    if environment.fresh:
        yield "environment's folder", _megabytes(_size(room / "env"))
    program = [*environment.command, str(package / "run.py")]
    before = os.times()
    first, later = _starts(program, room)
    after = os.times()
    work = after.children_user + after.children_system - before.children_user - before.children_system
    yield "first start (`run.py --info`)", _seconds(first)
    yield f"later starts, median of {STARTS - 1}", _promise(later)
    yield "processor time of a start, whatever else runs", _seconds(work / STARTS)
    yield "then every byte checked, before the model's load", _digests(package)
    timed = json.loads(_run([*program, "--benchmark", "--json"], room).splitlines()[-1])
    yield "engines loaded and the first picture made", _seconds(timed["load_seconds"])
    yield f"a picture, warm, median of {timed['pictures']}", _seconds(timed["seconds"]["median"])
    if timed["memory"] is not None:
        yield "memory at most", f"{timed['memory']:.0f} MiB"
    start = time.perf_counter()
    _run([*program, "--self-test"], room)
    yield "`run.py --self-test`, from start to end", _seconds(time.perf_counter() - start)


def started(named: str, exported: dict[str, Any], room: Path) -> Iterator[tuple[str, str]]:
    """Size and start of a further package, by the Python that runs here: it loads nothing."""
    size = f"{_megabytes(exported['bytes'])}, {exported['files']} files"
    yield f"{named}: its folder", f"{size}; archive {_megabytes(exported['zip_bytes'])}"
    package = Path(exported["package"])
    _, later = _starts([sys.executable, "-I", str(package / "run.py")], room)
    yield f"{named}: its start (`run.py --info`)", _promise(later)
    yield f"{named}: then every byte checked", _digests(package)


def padded(package: Path, gigabytes: float, room: Path) -> Iterator[tuple[str, str]]:
    """The same package with a file of zeros beside; the disk need not hold it."""
    large = room / "large"
    shutil.copytree(package, large)
    with (large / "padding.bin").open("wb") as file:
        file.truncate(int(gigabytes * 1e9))
    sums.write(large)
    named = f"with {gigabytes:g} GB beside"
    _, later = _starts([sys.executable, "-I", str(large / "run.py")], room)
    yield f"{named}: its start (`run.py --info`)", _promise(later)
    yield f"{named}: then every byte checked", _digests(large)
    shutil.rmtree(large)


def _starts(program: Sequence[str], room: Path) -> tuple[float, float]:
    """Seconds of the first `run.py --info`, and the median of the later ones."""
    found = []
    for _ in range(STARTS):
        start = time.perf_counter()
        _run([*program, "--info"], room)
        found.append(time.perf_counter() - start)
    return found[0], statistics.median(found[1:])


def _promise(seconds: float) -> str:
    kept = "kept" if seconds < PROMISED else "missed"
    return f"{_seconds(seconds)}; promised {PROMISED:.0f} s: {kept}"


def _digests(package: Path) -> str:
    """What checking every byte takes."""
    seal = Seal(package)
    seal.check()
    rate = seal.seconds / (seal.bytes / 1e9)
    return f"{_seconds(seal.seconds)}; {rate:.2f} s per GB, largest file first on {cores()} processors"


def _run(command: list[str], room: Path) -> str:
    done = call(command, RUN_SECONDS, room)
    if done is None or done.returncode:
        raise StudioError(f"The package does not run ({last_words(done)}).")
    return done.stdout


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def main() -> int:
    """The command above; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m studio.work.package_benchmark", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("candidate", nargs="?", default="winner")
    parser.add_argument(
        "--layout", action="append", choices=tuple(LAYOUTS), help="only these of the other runtimes' folders"
    )
    parser.add_argument(
        "--cascade", nargs=2, default=(), metavar=("LIGHT", "HEAVY"), help="their package too; trained first"
    )
    parser.add_argument(
        "--also", action="append", default=[], metavar="DEVICE", help="a package with variants for it too"
    )
    parser.add_argument(
        "--padded", type=float, default=4.0, metavar="GB", help="beside the package: a large one's start"
    )
    given = parser.parse_args()
    load = f", load {os.getloadavg()[0]:.0f} from other work" if hasattr(os, "getloadavg") else ""
    print("# Packages: sizes and times\n")
    print(f"Made by `python -m studio.work.package_benchmark` on {datetime.now(UTC):%Y-%m-%d};")
    print(f"{processor_name()}, {os.cpu_count()} cores{load}, Python {sys.version.split()[0]}.")
    print(f"The {given.candidate} of the run {given.run.name}.\n")
    print("| What | How much |\n|---|---|")
    try:
        with tempfile.TemporaryDirectory(prefix="pareto-packages-") as room:
            layouts = given.layout if given.layout is not None else list(LAYOUTS)
            asked = Asked(layouts, given.cascade, given.also, given.padded)
            for what, much in rows(given.run, given.candidate, asked, Path(room)):
                print(f"| {what} | {much} |", flush=True)
    except (StudioError, EngineError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
