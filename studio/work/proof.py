"""Proof of a package: it makes its golden picture in an environment of its own.

The environment is made from the package's `requirements.txt` by `uv`, or by
`venv` and `pip` where there is no `uv`; wheels come from the user's own cache
or index.  Where neither has them, the installed wheels are lent to an isolated
process, and the evidence says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from engines import installing
from engines.errors import PackageError
from engines.package.likeness import Pixels
from engines.package.runner import read_picture
from engines.package.runtimes import REQUIREMENTS
from engines.package.seal import check_folder
from engines.package.wheels import installed
from studio.errors import ExportError

INSTALL_SECONDS: Final = 600
RUN_SECONDS: Final = 600

_SECRET: Final = (
    "ANTHROPIC_",
    "PARETO_STUDIO_LLM_",
    "PARETO_STUDIO_KEY_",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)
"""Beginnings of variables that hold keys of the user's, which neither a package nor an installer needs."""
_LENT: Final = (
    "import runpy, sys; sys.path.append(sys.argv[1]); sys.argv = sys.argv[2:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python that sees a package's wheels and nothing else of the Studio's."""

    command: tuple[str, ...]
    """To which the path of `run.py` and its arguments are added."""
    fresh: bool
    note: str


@dataclass(frozen=True, eq=False)
class Proof:
    picture: Pixels
    seconds: float
    """For the picture, as the package says; loading aside."""
    whole_seconds: float
    """From the start of the process to its end."""
    fallbacks: tuple[str, ...]
    environment: Environment
    variants: Mapping[str, str] = field(default_factory=dict)
    """By component, the one that ran."""
    others: Mapping[str, SelfTest] = field(default_factory=dict)
    """By variant, how those did that were tried too."""


def prove(
    package: Path,
    prompt: str,
    seed: int,
    tell: Callable[[str], None] = lambda _doing: None,
    *,
    native: bool = False,
    others: Sequence[str] = (),
) -> Proof:
    """Let the package make a picture on its own, then its golden one by each of the other variants.

    Args:
        native: it may load machine code, for that was built here.
        others: variants that are tried too, by name or engine.

    Raises:
        ExportError: it cannot, with its own words; or a variant's picture is another one.
    """
    package = package.absolute()  # what is run next runs elsewhere
    with tempfile.TemporaryDirectory(prefix="pareto-proof-") as name:
        room = Path(name)
        environment = make_environment(package / REQUIREMENTS, room, tell)
        tell("Making a picture in the new environment" if environment.fresh else "Making a picture, isolated")
        out = room / "picture.png"
        command = [*environment.command, str(package / "run.py"), "--prompt", prompt, "--seed", str(seed)]
        command += ["--allow-native"] if native else []
        start = time.perf_counter()
        done = call([*command, "--out", str(out), "--json"], RUN_SECONDS, room)
        whole = time.perf_counter() - start
        if done is None or done.returncode != 0 or not out.is_file():
            raise ExportError(f"The package cannot make a picture on its own ({last_words(done)}).")
        said = json.loads(done.stdout.splitlines()[-1])
        tests = {}
        for variant in others:
            tell(f"Trying {variant} too")
            tests[variant] = _self_test(environment, package, variant, room, native=native)
        # Windows keeps files open that are being read; the picture is in memory before the room goes.
        return Proof(
            others=tests,
            picture=read_picture(out),
            seconds=float(sum(said["seconds"].values())),
            whole_seconds=whole,
            fallbacks=tuple(line for line in done.stderr.splitlines() if line.startswith("Fell back")),
            environment=environment,
            variants=_variants(said),
        )


def _variants(said: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(choice["variant"]) for name, choice in said.get("variants", {}).items()}


def make_environment(requirements: Path, room: Path, tell: Callable[[str], None]) -> Environment:
    """A fresh environment, or a lent one where no wheels can be had."""
    tell("Making a fresh environment")
    python = room / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    isolated = (str(python), "-I")
    reason = "there is neither uv nor venv here"
    for tool, steps in _recipes(requirements, room / "env", python):
        shutil.rmtree(room / "env", ignore_errors=True)
        for step in steps:
            done = call(step, INSTALL_SECONDS, room)
            if done is None or done.returncode != 0:
                reason = last_words(done)
                break
        else:
            return Environment(
                isolated, fresh=True, note=f"Fresh environment, made by {tool} of {requirements.name}."
            )
    tell("No wheels to be had; borrowing the installed ones")
    lent = room / "wheels"
    _lend(requirements, lent)
    note = (
        "Not verified in a fresh environment: its wheels could not be installed "
        f"({reason}), so the installed ones were lent to an isolated process."
    )
    return Environment((sys.executable, "-I", "-S", "-c", _LENT, str(lent)), fresh=False, note=note)


def _recipes(requirements: Path, env: Path, python: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Ways to make the environment, best first; without a network the caches alone are asked."""
    wanted = ["-r", str(requirements)]
    if uv := installing.find_uv():
        make = [uv, "venv", "--python", sys.executable, str(env)]
        install = [uv, "pip", "install", "--python", str(python)]
        yield "uv", [make, [*install, *wanted]]
        # Some networks answer with certificates of their own, which the system knows and uv does not.
        yield "uv, by the system's certificates", [make, [*install, "--system-certs", *wanted]]
        yield "uv, from its cache", [make, [*install, "--offline", *wanted]]
        return
    make = [sys.executable, "-m", "venv", str(env)]
    quiet = ["--disable-pip-version-check", "--no-input", "--quiet"]
    yield "venv and pip", [make, [str(python), "-m", "pip", "install", *quiet, *wanted]]


def _lend(requirements: Path, folder: Path) -> None:
    """Link the installed files of the required wheels, and no others, into a folder."""
    folder.mkdir()
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    wheels: dict[str, metadata.Distribution] = {}
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        try:
            wheels |= installed([line.partition("==")[0]])
        except PackageError:
            continue  # another system's, or the runner says what is missing
    for wheel in wheels.values():
        base = Path(str(wheel.locate_file(""))).resolve()
        if base not in places:
            continue
        tops = {file.parts[0] for file in wheel.files or ()} - {"..", "__pycache__"}
        for top in sorted(tops):
            if (base / top).exists() and not (folder / top).exists():
                _link(base / top, folder / top)


def _link(there: Path, here: Path) -> None:
    try:
        here.symlink_to(there)
    except OSError:  # Windows lets few users make links.
        if there.is_dir():
            shutil.copytree(there, here)
        else:
            shutil.copyfile(there, here)


def call(command: list[str], seconds: float, room: Path) -> subprocess.CompletedProcess[str] | None:
    """Run to the end in a clean surrounding; `None` where it did not end in time or could not start."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "CONDA", *_SECRET))
    }
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            cwd=room,
            env=kept,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError):
        return None


def last_words(done: subprocess.CompletedProcess[str] | None) -> str:
    if done is None:
        return "it did not end in time"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return (lines[-1] if lines else f"exit status {done.returncode}")[:300].rstrip(".")


@contextmanager
def unproved(folder: Path) -> Iterator[Path]:
    """A place beside `folder` for a package that has still to prove itself; gone afterwards."""
    place = folder.with_name(f".{folder.name}.{os.getpid()}.unproved")
    shutil.rmtree(place, ignore_errors=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def unchanged(package: Path, before: str) -> None:
    """Raises `ExportError` where running the package altered it."""
    try:
        after = check_folder(package)
    except PackageError as error:
        raise ExportError(f"The package does not stay as it is when it runs ({error}).") from error
    if after != before:
        raise ExportError("The package does not stay as it is when it runs; report this.")


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How one variant of a package did on this machine."""

    passed: bool
    text: str
    """What came of it, as a sentence."""
    psnr: float = 0.0
    max_abs: int = 255
    seconds: float = 0.0
    fresh: bool = False
    note: str = ""
    variants: Mapping[str, str] = field(default_factory=dict)
    """By component, the one that ran."""


def self_test(package: Path, variant: str, requirements: Path, *, native: bool = False) -> SelfTest:
    """Let one variant of a package make the golden picture in an environment of its own.

    Args:
        native: it may load machine code, because it was built here.

    Raises:
        ExportError: it runs here, and the picture is another one.
    """
    package, requirements = package.absolute(), requirements.absolute()
    with tempfile.TemporaryDirectory(prefix="pareto-proof-") as name:
        room = Path(name)
        environment = make_environment(requirements, room, lambda _doing: None)
        return _self_test(environment, package, variant, room, native=native)


def _self_test(
    environment: Environment, package: Path, variant: str, room: Path, *, native: bool
) -> SelfTest:
    command = [*environment.command, str(package / "run.py"), "--self-test", "--device", variant, "--json"]
    done = call([*command, *(["--allow-native"] if native else [])], RUN_SECONDS, room)
    try:
        said = json.loads(done.stdout.splitlines()[-1]) if done is not None else {}
    except (ValueError, IndexError):
        said = {}
    if not said:
        return SelfTest(passed=False, text=f"{variant} was built; it does not run here ({last_words(done)}).")
    missed = {
        reason
        for choice in said["variants"].values()
        for one in choice["passed_over"]
        for reason in [one["reason"]]
        if variant in (one["variant"], one["variant"].partition("-")[0])
    }
    if missed:
        return SelfTest(passed=False, text=f"{variant} was built, not verified on device. {min(missed)}")
    if not said["passed"]:
        raise ExportError(
            f"The picture of {variant} is not the golden one ({said['psnr']:.1f} dB); nothing was added."
        )
    return SelfTest(
        passed=True,
        text=f"{variant} made the golden picture here ({said['psnr']:.1f} dB).",
        psnr=float(said["psnr"]),
        max_abs=int(said["max_abs"]),
        seconds=float(said["seconds"]),
        fresh=environment.fresh,
        note=environment.note,
        variants=_variants(said),
    )
