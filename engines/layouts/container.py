"""A container context: `docker build` (or another builder) makes a serving image of it without a network.

    Dockerfile         from a Python image that the builder has; wheels come from the context, not an index
    package/           the package as it is
    wheels/            the wheels that it needs, their hashes in requirements.txt; where none could be
                       had here wheels-to-collect.txt names those to put there

A base image is named without a registry; `--build-arg BASE=...` names another one.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from engines import installing
from engines.errors import PackageError
from engines.layouts.base import Drawn, Layout, Spoken, Subject, register
from engines.layouts.hub import draw_by_package
from engines.layouts.script import run_quietly
from engines.package import sums
from engines.package.place import is_full

if TYPE_CHECKING:
    from engines.models.model import Model
    from engines.plan import Plan

PORT: Final = 8000
WHEELS_MISSING: Final = "wheels-to-collect.txt"
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
"""Linux's names of what Windows and macOS call otherwise."""
_GLIBC: Final = range(36, 4, -1)
"""Minor versions that a wheel may ask for: none newer than that of Debian 12, of which bases are made."""
# A virtual environment: the Python of a distribution lets nobody install into it.  It alone goes on to
# the image, without the wheels.  The self-test is done by the user that serves.  A container is killed
# ten seconds after it was told to stop.
_DOCKERFILE: Final = """\
# Builds without a network: docker build --network none -t {name} .
# The base image must be on the builder already; another one: --build-arg BASE=...
ARG BASE=python:{python}-slim
FROM ${{BASE}} AS wheels
{check}COPY wheels /wheels
COPY requirements.txt /requirements.txt
RUN python3 -m venv /environment \\
    && /environment/bin/python -m pip install --no-cache-dir --no-index --find-links /wheels{hashes} \\
       -r /requirements.txt

FROM ${{BASE}}
COPY --from=wheels /environment /environment
COPY package /package
ENV PATH=/environment/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
RUN python /package/run.py --self-test
EXPOSE {port}
ENTRYPOINT ["python", "/package/run.py"]
CMD ["--serve", "--host", "0.0.0.0", "--port", "{port}", "--grace", "8"]
"""
_CHECK: Final = """\
RUN python3 -c "import platform, sys; \
here = f'Python {{sys.version_info[0]}}.{{sys.version_info[1]}} on {{platform.machine()}}'; \
here == '{wanted}' or sys.exit(\
f'The wheels are for {wanted}, and the base image has {{here}}; name another one by --build-arg BASE=...')"
"""


@register
class Container(Layout):
    name = "container"
    title = "Container"
    summary = "A Dockerfile with package and wheels, which builds a serving image without a network."
    usage = """\
    docker build --network none -t {name} .
    docker run --rm -p 8000:8000 {name}          # serves over HTTP, as OpenAI's image generation
    docker run --rm -v "$PWD:/out" -u "$(id -u)" {name} --prompt "{prompt}" --seed {seed} --out /out/x.png

The build makes the golden picture inside the image and stops where it is another one. The base image must
be on the builder already; another one than Python's: `--build-arg BASE=...`, with the same Python."""
    absent = "the wheels are a Linux machine's or still to be collected"
    takes_engines = False
    takes_package = True

    def spoken(self, plan: Plan, model: Model) -> Spoken:  # noqa: ARG002
        if plan.device != "cpu":
            reason = f"A container is built and proved without a GPU, and this candidate is for {plan.device}"
            return Spoken(plan, refused=(f"{reason}; choose one for cpu, or export the package as it is.",))
        return Spoken(plan)

    def write(self, subject: Subject, folder: Path) -> None:
        assert subject.package is not None
        shutil.copytree(subject.package, folder / "package")
        _let_read(folder / "package")
        wheels = folder / "wheels"
        wheels.mkdir()
        wanted = folder / "package" / "requirements.txt"
        reason = collect(wanted, wheels)
        if reason:
            pins = [line for line in wanted.read_text(encoding="utf-8").splitlines() if "==" in line]
            text = f"# Put these wheels into wheels/ before building; {reason}.\n"
            (folder / WHEELS_MISSING).write_text(text + "\n".join([*pins, ""]), encoding="utf-8")
            (wheels / ".keep").touch()
            (folder / "requirements.txt").write_text("\n".join([*pins, ""]), encoding="utf-8")
        else:
            (folder / "requirements.txt").write_text(hashed(wheels), encoding="utf-8")
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        text = _DOCKERFILE.format(
            name=subject.name,
            python=python,
            check="" if reason else _CHECK.format(wanted=f"Python {python} on {machine()}"),
            hashes="" if reason else " --require-hashes",
            port=PORT,
        )
        (folder / "Dockerfile").write_text(text, encoding="utf-8")
        (folder / ".dockerignore").write_text(
            f"{sums.SUMS}\nREADME.md\npareto-studio.json\n", encoding="utf-8"
        )

    def draw(self, folder: Path, prompt: str, seed: int) -> Drawn | None:
        """What the image's build does, in an environment that has this context's wheels and nothing else."""
        if (folder / WHEELS_MISSING).is_file() or sys.platform != "linux":
            return None
        with tempfile.TemporaryDirectory(prefix="pareto-container-") as name:
            room = Path(name)
            python, install = fresh(room / "env", room)
            given = ["--no-index", "--require-hashes", "--find-links", str(folder / "wheels")]
            given += ["-r", str(folder / "requirements.txt")]
            run_quietly([*install, *given], room, "The context's wheels cannot be installed")
            drawn = draw_by_package(folder / "package", prompt, seed, [str(python), "-I"])
        return Drawn(
            drawn.picture,
            "a fresh environment made of the context's wheels",
            "Not verified as an image: nothing here builds one; what its build installs and runs was done in"
            " an environment of its own.",
        )


def machine() -> str:
    """This machine's processor, as Linux names it: what the image is for."""
    name = platform.machine().lower()
    return _MACHINES.get(name, name)


def collect(requirements: Path, wheels: Path) -> str:
    """Get the pinned wheels for Linux and this Python; the reason where that fails, else empty.

    From the wheelhouse that this Studio was installed from, where there is one, else from an index by pip.
    """
    platforms = [f"manylinux_2_{minor}_{machine()}" for minor in _GLIBC]
    platforms += [f"{name}_{machine()}" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    lines = requirements.read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if "==" in line]
    if kept := in_wheelhouse(pins, platforms):
        for path in kept:
            shutil.copyfile(path, wheels / path.name)
        return ""
    with tempfile.TemporaryDirectory(prefix="pareto-container-") as name:
        room, failed = Path(name), "they could not be collected here"
        try:
            python, install = fresh(room / "env", room)
            if install[0] != str(python):  # uv's environments have no pip, and uv itself downloads nothing
                run_quietly([*install, "pip"], room, failed)
            command = [str(python), "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--no-deps"]
            for one in platforms:
                command += ["--platform", one]
            run_quietly([*command, "--dest", str(wheels), "-r", str(requirements)], room, failed)
        except PackageError as error:
            if is_full(error):  # of this folder, or of where pip unpacks: no reason to go without wheels
                raise
            for path in wheels.iterdir():
                path.unlink()
            return str(error).rstrip(".")
    return ""


def in_wheelhouse(pins: Sequence[Requirement], platforms: Sequence[str]) -> tuple[Path, ...]:
    """The wheels of all pins in the folder that uv is told to look in; nothing where one is missing.

    An installed Studio names there the wheelhouse of its first run (`studio.setup.environment`); a wheel
    that is not as the wheelhouse's own list says is none.
    """
    address = urlsplit(os.environ.get("UV_FIND_LINKS", ""))
    folder = Path(url2pathname(address.path)) if address.scheme == "file" else None
    if folder is None or not folder.is_dir():
        return ()
    version = sys.version_info[:2]
    tags = {*cpython_tags(version, platforms=platforms), *compatible_tags(version, platforms=platforms)}
    listed = _listed(folder)
    found = []
    for pin in pins:
        if pin.marker is not None and not pin.marker.evaluate({"sys_platform": "linux"}):
            continue
        fitting = [path for path in sorted(folder.glob("*.whl")) if _fits(path, pin, tags)]
        if not fitting or listed.get(fitting[-1].name) != sums.digest_file(fitting[-1]):
            return ()
        found.append(fitting[-1])
    return tuple(found)


def _fits(path: Path, pin: Requirement, tags: set[Tag]) -> bool:
    name, version, _, its = parse_wheel_filename(path.name)
    return name == canonicalize_name(pin.name) and version in pin.specifier and not tags.isdisjoint(its)


def _listed(folder: Path) -> dict[str, str]:
    """Digests by name, as `sha256sum` writes them."""
    try:
        lines = (folder / sums.SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name.lstrip(" *"): digest for digest, _, name in (line.partition(" ") for line in lines)}


def _let_read(folder: Path) -> None:
    """Let everybody read what a strict umask kept to its maker: the image's user is another one."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def fresh(folder: Path, room: Path) -> tuple[Path, list[str]]:
    """A new environment: its Python, and the beginning of the command that installs into it.

    By `venv`, which a distribution's Python may lack, then by uv.
    """
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    failed = "no environment could be made here"
    try:
        run_quietly([sys.executable, "-m", "venv", str(folder)], room, failed)
    except PackageError:
        uv = installing.find_uv()
        if uv is None:
            raise
        shutil.rmtree(folder, ignore_errors=True)
        run_quietly([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], room, failed)
        return python, [uv, "pip", "install", "--quiet", "--python", str(python)]
    return python, [str(python), "-m", "pip", "install", "--quiet"]


def hashed(wheels: Path) -> str:
    """`requirements.txt` of what lies in a folder, each with its SHA-256."""
    lines = []
    for path in sorted(wheels.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        lines.append(f"{name}=={version} --hash=sha256:{sums.digest_file(path)}")
    return "\n".join([*lines, ""])
