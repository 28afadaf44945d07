"""How a wheel that is missing gets into this program's environment, as a line for a terminal.

The environments of `./start` and of the installed program are made by uv and
hold no pip; what the installed program brings itself, it completes itself.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

SETUP: Final = "PARETO_STUDIO_SETUP"
"""Set by the installed program: the command that makes or completes this environment."""


def line(*wanted: str) -> str:
    """What installs these requirements."""
    return _pip("install", *wanted)


def lacking(*modules: str, extra: str = "") -> str:
    """What brings modules that pareto-studio needs, or those for which it has an extra."""
    if extra:
        return line(*(requirements(extra) or modules))
    setup = os.environ.get(SETUP)
    return f"{setup} --make" if setup else line(*(module.replace("_", "-") for module in modules))


def exchange(present: list[str], *wanted: str) -> str:
    """What removes these distributions and installs others."""
    yes = ("-y",) if has_pip() else ()
    removed = f"{_pip('uninstall', *yes, *present)} && " if present else ""
    return removed + _pip("install", *wanted)


def torch_for_card() -> str:
    """What puts torch's build for this machine's card in place of the one for CPUs; empty without uv, which
    finds the build by the driver."""
    if has_pip():
        return ""
    version = metadata.version("torch").partition("+")[0]
    anew = [f"--reinstall-package={name}" for name in ("torch", "torchvision")]
    return _pip("install", "--torch-backend=auto", *anew, f"torch=={version}", "torchvision")


def requirements(extra: str) -> tuple[str, ...]:
    """What an extra of pareto-studio stands for on this system."""
    from packaging.requirements import Requirement

    found = []
    for text in metadata.requires("pareto-studio") or ():
        one = Requirement(text)
        if one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""}):
            one.marker = None
            found.append(str(one))
    return tuple(found)


def has_pip() -> bool:
    """Whether this environment has pip; looked up without the import hooks that setuptools puts before it."""
    try:
        metadata.distribution("pip")
    except metadata.PackageNotFoundError:
        return False
    return True


def find_uv() -> str | None:
    """The system's uv, else the one that `./start` keeps beside this environment; None without either.

    The installed program puts its own one on the path.
    """
    inside = ("Scripts", "uv.exe") if sys.platform == "win32" else ("bin", "uv")
    beside = Path(sys.prefix).parent.joinpath(".uv", *inside)
    return shutil.which("uv") or (str(beside) if beside.is_file() else None)


def _pip(verb: str, *rest: str) -> str:
    if has_pip():
        return _words(sys.executable, "-m", "pip", verb, *rest)
    return _words(find_uv() or "uv", "pip", verb, "--python", sys.executable, *rest)


def _words(*words: str) -> str:
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
