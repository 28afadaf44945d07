"""`packaging/build linux|windows|macos`."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import archive
from source import ROOT, BuildError, digest, unpack, write_sums


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="packaging/build", description=__doc__)
    parser.add_argument("system", choices=("linux", "windows", "macos"))
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where installers go (default: dist)")
    parser.add_argument("--twice", action="store_true", help="build again and name what differs")
    given = parser.parse_args()
    work = ROOT / "build" / "installers"
    work.mkdir(parents=True, exist_ok=True)
    try:
        began = time.perf_counter()
        out = given.out.absolute() / given.system
        shutil.rmtree(out, ignore_errors=True)
        source = unpack(work)
        build = importlib.import_module(given.system).build
        made = build(source, work, out)
        for sentence in made.said:
            print(sentence)
        write_sums(out, source, made.needs)
        for path in sorted(out.iterdir()):
            print(f"{path.stat().st_size:>12,}  {digest(path)[:16]}  {path.name}")
        print(f"{given.system} {source.version} in {time.perf_counter() - began:.0f} s, in {out}")
        if given.twice:
            first = work / "first"
            shutil.rmtree(first, ignore_errors=True)
            shutil.move(out, first)
            source = unpack(work)
            write_sums(out, source, build(source, work, out).needs)
            different = archive.differences(first, out)
            print(
                "The second build has the same bytes." if not different else f"Differ: {', '.join(different)}"
            )
            return 1 if different else 0
    except (BuildError, subprocess.CalledProcessError, OSError) as error:
        print(f"The {given.system} installer was not built: {error}", file=sys.stderr)
        if os.environ.get("PARETO_STUDIO_TRACE"):
            raise
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
