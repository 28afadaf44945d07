"""Collect a wheelhouse for another machine, of another system if need be: what `--make --from` takes there.

uv says which entries of the lock that machine needs, pip fetches them (uv keeps no wheels), a few at a time:
those that are there stay, so that it goes on where it stopped.  The list of hashes is written last.  Python
itself is not collected.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from studio.errors import RunLocked, SetupError
from studio.record.lock import RunLock
from studio.record.settings import write_atomically
from studio.setup import environment, wheelhouse
from studio.setup import lock as locks
from studio.setup.bundle import Bundle
from studio.setup.make import FROM_WHEELS, OnProgress
from studio.setup.uv import Child, UvFailed
from studio.setup.uv import environment as uv_environment

WORK: Final = ".collecting"
"""Below the wheelhouse while it is made: uv's files, and the Python that runs pip."""
AT_ONCE: Final = 12
"""Wheels that one run of pip fetches; those of the torch family come alone, they are large."""
INDEX: Final = "https://download.pytorch.org/whl"
SYSTEMS: Final = ("linux", "windows", "macos")
PYTHONS: Final = ("3.11", "3.12", "3.13")

_ADDED: Final = re.compile(r"^ \+ (?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)")
_CUT: Final = re.compile(
    r"name resolution|name or service not known|newconnectionerror|retrying \(retry", re.IGNORECASE
)


def here() -> str:
    """This machine's system by the name that `Request` takes."""
    return {"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux")


@dataclass(frozen=True, slots=True)
class Request:
    """For which machine."""

    folder: Path
    system: str
    python: str = ""
    """As `3.12`; empty: that of this machine."""
    torch: str = "auto"
    """`auto` is the general build; another comes from PyTorch's own index."""
    proxy: str = ""

    @property
    def uv_platform(self) -> str:
        if self.system == "linux":
            return f"{self._processor}-unknown-linux-gnu"
        return {"windows": "x86_64-pc-windows-msvc", "macos": "aarch64-apple-darwin"}[self.system]

    @property
    def tags(self) -> tuple[str, ...]:
        """Of the platform, as pip takes them."""
        if self.system == "windows":
            return ("win_amd64",)
        if self.system == "macos":
            return ("macosx_14_0_arm64", "macosx_14_0_universal2")
        many = tuple(f"manylinux_2_{minor}" for minor in range(35, 4, -1))
        older = ("manylinux2014", "manylinux2010", "manylinux1", "linux")
        return tuple(f"{tag}_{self._processor}" for tag in (*many, *older))

    @property
    def _processor(self) -> str:
        # Of a Linux elsewhere the processor is not known: nearly all have this one.
        return platform.machine() if here() == "linux" else "x86_64"


class Collect:
    """One request being carried out; `cancel` may be called from another thread."""

    def __init__(
        self, bundle: Bundle, request: Request, progress: OnProgress, log: Callable[[str], None]
    ) -> None:
        self._bundle, self._request, self._tell, self._say = bundle, request, progress, log
        self._work = request.folder / WORK
        surroundings = uv_environment(self._work, proxy=request.proxy)
        surroundings |= {"MACOSX_DEPLOYMENT_TARGET": "14.0", "PIP_NO_INPUT": "1"}
        self._child = Child(surroundings, self._on_line, lambda: None)
        self._done, self._all = 0, 1
        self._pip: list[str | Path] = []

    def cancel(self) -> None:
        self._child.cancelled.set()

    def run(self) -> str:
        """Carry it out; what was collected, as a sentence.

        Raises:
            SetupError: one sentence; what was fetched is kept.
            Cancelled: `cancel` was called; what was fetched is kept.
        """
        request = self._request
        self._check()
        folder = request.folder
        try:
            self._begin()
            with RunLock(self._work):
                names = self._collect()
            shutil.rmtree(self._work, ignore_errors=True)
        except RunLocked as error:
            raise SetupError(f"Another window collects into {folder}; wait until it has finished.") from error
        except UvFailed as error:
            raise self._sentence(error) from error
        except OSError as error:
            raise SetupError(
                f"{error.filename or folder} cannot be written ({error.strerror or error}); "
                "choose another folder, or free some space."
            ) from error
        self._tell(1000, 1000, "Ready")
        size = sum((folder / name).stat().st_size for name in names)
        return (
            f"{len(names)} wheels, {size / 1e9:.1f} GB, are in {folder}, for {request.system} with Python "
            f"{wheelhouse.python_of(names) or request.python}. Take the folder to that machine and choose "
            "Install from a folder."
        )

    def _check(self) -> None:
        request = self._request
        if not request.folder.is_absolute():
            raise SetupError(f"The folder {request.folder} must be given with its whole path.", again=False)
        if request.system not in SYSTEMS or request.python not in ("", *PYTHONS):
            raise SetupError(
                f"Wheels are collected for {', '.join(SYSTEMS)} and Python {', '.join(PYTHONS)}.", again=False
            )
        builds = {"linux": ("auto", "cpu"), "macos": ("auto",)}.get(request.system)
        if builds is not None and request.torch not in builds:
            raise SetupError(
                f"For {request.system} PyTorch is collected as {' or '.join(builds)}; another build "
                "is fetched where it is installed.",
                again=False,
            )
        needed = self._bundle.contents.space
        if request.system == "linux" and request.torch == "auto":
            needed = self._bundle.contents.space_cuda
        free = environment.free(request.folder)
        there = wheelhouse.size(request.folder)
        if free + there < needed / FROM_WHEELS:
            raise SetupError(
                f"The wheels take about {needed / FROM_WHEELS / 1e9:.1f} GB and {request.folder} has "
                f"{free / 1e9:.1f} GB free; free some space or choose a folder on another disk."
            )

    def _begin(self) -> None:
        """Make the folder, or go on in one that was begun for the same machine; never among other wheels."""
        request = self._request
        mark = self._work / "for.txt"
        asked = f"{self._bundle.identity} {request.system} {request.python} {request.torch}\n"
        begun = mark.is_file() and mark.read_text(encoding="utf-8") == asked
        if not begun and any(request.folder.glob("*.whl")):
            raise SetupError(
                f"{request.folder} holds wheels of another machine or version; choose an empty folder."
            )
        self._work.mkdir(parents=True, exist_ok=True)
        mark.write_text(asked, encoding="utf-8")

    # -- the steps ------------------------------------------------------------------------------

    def _collect(self) -> dict[str, str]:
        """The wheels of this request by name, with their hashes."""
        request, folder = self._request, self._request.folder
        self._tell(0, 1000, "Looking for a Python and pip")
        version = self._make_pip()
        pins = locks.pins(self._bundle.lock.read_text(encoding="utf-8"))
        self._tell(10, 1000, f"Asking what {request.system} needs")
        wanted = self._wanted(pins, version)
        sums = {path.name: _digest(path) for path in sorted(folder.glob("*.whl"))}
        own = request.torch != "auto"
        hashed = [pin for pin in pins if (pin.name, pin.version) in wanted and not (own and pin.torch_family)]
        missing = [pin for pin in hashed if not set(pin.hashes).intersection(sums.values())]
        builds = locks.torch_by_version(pins) if own else ()
        family = [one for one in builds if not any(_is(name, one, request.torch) for name in sums)]
        self._all = max(len(missing) + len(family), 1)
        small = [pin for pin in missing if not pin.torch_family]
        for first in range(0, len(small), AT_ONCE):
            self._fetch(small[first : first + AT_ONCE], version)
        for pin in (one for one in missing if one.torch_family):
            self._fetch([pin], version)
        if family:
            self._download(version, "--index-url", f"{INDEX}/{request.torch}", *family)
        hashes = {digest for pin in hashed for digest in pin.hashes}
        found = {path.name: _digest(path) for path in sorted(folder.glob("*.whl"))}
        names = {
            name: digest
            for name, digest in found.items()
            if digest in hashes or any(_is(name, one, request.torch) for one in builds)
        }
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(names.items()))
        write_atomically(folder / wheelhouse.SUMS, lines)
        return names

    def _make_pip(self) -> str:
        """An environment with pip; the Python that is collected for, as `3.12`."""
        made = self._work / "env"
        python = environment.python_of(made)
        if not python.exists():
            wanted = self._bundle.contents.python
            self._child.run(self._bundle.uv, "venv", "--no-project", "--clear", "--python", wanted, made)
        self._child.run(self._bundle.uv, "pip", "install", "--python", python, "--no-deps", "pip")
        self._pip = [python, "-m", "pip", "--disable-pip-version-check"]
        said = self._child.run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
        return self._request.python or said[-1].strip()

    def _wanted(self, pins: tuple[locks.Pin, ...], version: str) -> set[tuple[str, str]]:
        """Names and versions that the machine needs of the lock: uv knows its markers and its wheels."""
        listed = self._work / "lock.txt"
        listed.write_text(locks.written(pins), encoding="utf-8")
        said = self._child.run(
            self._bundle.uv, "pip", "install", "--dry-run", "--target", self._work / "nothing",
            "--python", environment.python_of(self._work / "env"), "--only-binary", ":all:", "--no-deps",
            "--python-platform", self._request.uv_platform, "--python-version", version, "-r", listed,
        )  # fmt: skip
        return {(match["name"].lower(), match["version"]) for match in map(_ADDED.match, said) if match}

    def _fetch(self, pins: list[locks.Pin], version: str) -> None:
        listed = self._work / "some.txt"
        # Without their markers: pip would ask them of this machine.
        texts = [re.sub(r" *;[^\\\n]*", " ", pin.text, count=1) for pin in pins]
        listed.write_text("".join(texts), encoding="utf-8")
        self._download(version, "--require-hashes", "-r", listed)

    def _download(self, version: str, *what: str | Path) -> None:
        platforms = [part for tag in self._request.tags for part in ("--platform", tag)]
        tag = f"cp{version.replace('.', '')}"
        abis = [part for abi in (tag, "abi3", "none") for part in ("--abi", abi)]
        self._child.run(
            *self._pip, "download", "--progress-bar", "off", "--no-cache-dir", "--no-deps",
            "--only-binary", ":all:", "--python-version", version, "--implementation", "cp",
            *platforms, *abis, "--dest", self._request.folder, *what,
        )  # fmt: skip

    def _on_line(self, line: str) -> None:
        self._say(line)
        if line.startswith("Collecting "):
            name = line.split()[1].partition("==")[0]
            self._tell(20 + 970 * self._done // self._all, 1000, f"Fetching {name}")
            self._done += 1

    def _sentence(self, error: UvFailed) -> SetupError:
        said = "\n".join(error.lines)
        cause = "network" if error.cause == "other" and _CUT.search(said) else error.cause
        match cause:
            case "space":
                return SetupError(
                    f"The disk of {self._request.folder} is full; free some space and try again: "
                    "what was fetched is kept."
                )
            case "proxy":
                return SetupError("The proxy did not let the download through; check its address.")
            case "network" | "certificate":
                return SetupError(
                    "The package index cannot be reached; check the network and the proxy, and try again: "
                    "it goes on where it stopped."
                )
            case "python":
                return SetupError(
                    "No Python 3.11 to 3.13 was found here to run pip, and none could be fetched; install "
                    "Python and try again."
                )
            case "hash":
                return SetupError(f"A wheel is not the one of the lock ({error.last}); try again.")
        return SetupError(f"The wheels could not be collected ({error.last}); the log has the rest.")


def _is(wheel: str, requirement: str, build: str) -> bool:
    """Whether a wheel is this build of `torch==2.15.0`."""
    name, _, version = requirement.partition("==")
    return wheel.startswith(f"{name}-{version}+{build}-")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
