"""What a received package is good for here: which variants this machine can run, and by what line."""

from __future__ import annotations

import shlex
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from engines.backends import NAMES, backend
from engines.package.manifest import Manifest

_PROGRAM: Final = "run.py"


def obstacles(manifest: Manifest) -> dict[str, str]:
    """By variant, why this machine cannot run it; empty where nothing is known against it.

    Looks at runtimes and drivers, and opens nothing of the package: what the engine itself refuses
    only its runner finds out.
    """
    found: dict[str, list[str]] = {}
    for component in manifest.components.values():
        for name in component.additional_metadata.order:
            engine = component.variants[name].executor_info.studio
            reasons = found.setdefault(name, [])
            reason = _absent(engine.engine, engine.device)
            if reason and reason not in reasons:
                reasons.append(reason)
    return {name: "; ".join(reasons) for name, reasons in found.items()}


def _absent(engine: str, device: str) -> str:
    if engine not in NAMES:
        return f"this Studio does not know the engine {engine}"
    found = backend(engine).probe(device)
    # "X can build for it, not run on it: reason": who received a package builds nothing.
    return "" if found.state == "ready" else found.reason.partition(": ")[2] or found.reason


def command(place: Path, manifest: Manifest, key: str = "", certificates: Sequence[str] = ()) -> str:
    """Lines for a terminal that make the golden picture with a verified package's folder or archive.

    An archive is unpacked beside itself first. `key` and `certificates` are asked of the maker then too.
    """
    place = place.absolute()
    golden = manifest.additional_metadata.golden
    lines = []
    folder = place
    if place.is_file():
        into, folder = _unpacked(place)
        lines.append(["python", "-m", "zipfile", "-e", str(place), str(into)])
    trust = ["--key", str(Path(key).absolute())] if key else []
    for one in certificates:
        trust += ["--certificate", str(Path(one).absolute())]
    program = ["python", str(folder / _PROGRAM), "--prompt", golden.prompt, "--seed", str(golden.seed)]
    lines.append([*program, "--out", "picture.png", *trust])
    quoted = subprocess.list2cmdline if sys.platform == "win32" else shlex.join
    return "\n".join(quoted(line) for line in lines)


def _unpacked(archive: Path) -> tuple[Path, Path]:
    """Where to unpack an archive, and where the package lies then: most have one folder at the top."""
    with zipfile.ZipFile(archive) as opened:
        programs = [PurePosixPath(name) for name in opened.namelist()]
    own = min((one for one in programs if one.name == _PROGRAM), key=lambda one: len(one.parts))
    if len(own.parts) == 1:
        return archive.with_suffix(""), archive.with_suffix("")
    return archive.parent, archive.parent / own.parts[0]
