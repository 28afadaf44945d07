"""What an installer is made from: the committed sources, their version and date, and the backend's folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = (
    "numpy",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "onnxruntime",
    "openvino",
    "nncf",
    "optuna",
    "engines.pipeline",
    "agent.evaluate",
    "studio.work.worker",
)
"""Imported at the end of the first run."""
SPACE = 3_500_000_000
SPACE_CUDA = 8_000_000_000
"""Bytes; docs/benchmarks/installers.md has the measured sizes, these are rounded up."""

FROM_WHEELS = 2.4
"""Bytes that the window's environment takes per byte of its wheels; as `studio.setup.make`."""
PYTHON_KIB = 120 << 10
"""What the Python takes that uv fetches where none is, rounded up."""


class BuildError(Exception):
    """One sentence: what is missing and what to do."""


@dataclass(frozen=True)
class Made:
    """What a build of one system says of its installers."""

    said: list[str]
    """Sentences, mostly about signatures."""
    needs: dict[str, str | list[str]] = field(default_factory=dict)
    """What a system must have, for `version.json`."""


@dataclass(frozen=True)
class Source:
    """The committed tree, unpacked below `build/`."""

    folder: Path
    version: str
    epoch: int
    """Seconds; date of the commit, and of every file in an installer."""
    commit: str


def unpack(build: Path) -> Source:
    """The committed sources; without git, the tree as it is."""
    folder = build / "source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if (ROOT / ".git").exists():
        packed = _output(
            "git",
            "-C",
            str(ROOT),
            # Windows' git would give every text other line ends, and so other bytes.
            "-c",
            "core.autocrlf=false",
            "archive",
            "HEAD",
            "studio",
            "engines",
            "agent",
            "assets",
            "packaging",
            "pyproject.toml",
            "README.md",
            "LICENSE",
        )
        # By tar: tarfile of Debian 12's own Python is older than its filter.
        subprocess.run(["tar", "-xf", "-", "-C", str(folder)], input=packed, check=True)
        commit = _output("git", "-C", str(ROOT), "rev-parse", "HEAD").decode().strip()
        epoch = int(_output("git", "-C", str(ROOT), "log", "-1", "--format=%ct").decode())
    else:
        for name in ("studio", "engines", "agent", "assets", "packaging"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(ROOT / name, folder / name)
        commit, epoch = "", int(os.environ.get("SOURCE_DATE_EPOCH", "1767225600"))
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", epoch))
    version = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return Source(folder, os.environ.get("PARETO_STUDIO_VERSION", version), epoch, commit)


def window_kib(wheels: Path) -> int:
    """KiB that the window's environment takes where the user's machine makes it from these wheels."""
    return round(FROM_WHEELS * sum(path.stat().st_size for path in wheels.glob("*.whl")) / 1024) + PYTHON_KIB


def template(source: Source, name: str) -> str:
    """A file of `packaging/templates`, with what they share in place of `@GUARD@`."""
    folder = source.folder / "packaging" / "templates"
    text = (folder / name).read_text(encoding="utf-8")
    return text.replace("@GUARD@", (folder / "guard.sh").read_text(encoding="utf-8").strip())


def build_environment(source: Source) -> dict[str, str]:
    """Of every tool that is run: dates and hashes that do not change."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GIT_"))}
    return {
        **kept,
        "SOURCE_DATE_EPOCH": str(source.epoch),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "QT_QPA_PLATFORM": "offscreen",
    }


def studio_wheel(source: Source, into: Path) -> Path:
    """The Studio's own wheel, the same bytes for the same sources."""
    if source.version != _declared(source):
        text = (source.folder / "pyproject.toml").read_text(encoding="utf-8")
        text = re.sub(r'^version = ".*"$', f'version = "{source.version}"', text, count=1, flags=re.MULTILINE)
        (source.folder / "pyproject.toml").write_text(text, encoding="utf-8")
        init = source.folder / "studio" / "__init__.py"
        init.write_text(
            re.sub(
                r'^__version__ = ".*"$',
                f'__version__ = "{source.version}"',
                init.read_text(encoding="utf-8"),
                flags=re.MULTILINE,
            ),
            encoding="utf-8",
        )
    into.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "uv",
            "build",
            "--quiet",
            "--wheel",
            "--no-build-isolation",
            "--python",
            sys.executable,
            "--out-dir",
            str(into),
            str(source.folder),
        ],
        check=True,
        env=build_environment(source),
    )
    (into / ".gitignore").unlink(missing_ok=True)
    return next(into.glob("pareto_studio-*.whl"))


def _declared(source: Source) -> str:
    found = tomllib.loads((source.folder / "pyproject.toml").read_text(encoding="utf-8"))
    return str(found["project"]["version"])


def backend(source: Source, into: Path, *, uv: Path, uv_name: str) -> None:
    """The folder that the first run reads: lock, wheel, uv and `bundle.json`."""
    into.mkdir(parents=True, exist_ok=True)
    wheel = studio_wheel(source, into)
    shutil.copyfile(source.folder / "packaging" / "backend.lock", into / "backend.lock")
    shutil.copyfile(uv, into / uv_name)
    (into / uv_name).chmod(0o755)
    sys.path.insert(0, str(source.folder))
    from studio.record.protocol import PROTOCOL
    from studio.setup.bundle import Contents

    contents = Contents(
        version=source.version,
        protocol=PROTOCOL,
        lock_sha256=digest(into / "backend.lock"),
        wheel=wheel.name,
        wheel_sha256=digest(wheel),
        imports=IMPORTS,
        space=SPACE,
        space_cuda=SPACE_CUDA,
    )
    (into / "bundle.json").write_text(contents.model_dump_json(indent=2) + "\n", encoding="utf-8")


def uv_of_this_system() -> Path:
    """The uv of the build environment."""
    import uv

    return Path(uv.find_uv_bin())


def uv_from_wheel(platform: str, build: Path) -> Path:
    """uv for another system, out of its wheel: the version and hash of `packaging/installers.lock`."""
    sys.path.insert(0, str(ROOT))
    from studio.setup import lock

    pin = next(one for one in lock.pins((ROOT / "packaging/installers.lock").read_text()) if one.name == "uv")
    wheels = download(pin.text, platform, build / f"uv-{platform}")
    with zipfile.ZipFile(wheels[0]) as archive:
        name = next(one for one in archive.namelist() if one.endswith(("/scripts/uv.exe", "/scripts/uv")))
        target = build / f"uv-{platform}" / Path(name).name
        target.write_bytes(archive.read(name))
    return target


def download(requirements: str, platform: str, into: Path, python: str = "3.12") -> list[Path]:
    """Wheels of a hashed list for another system, by pip, which alone can fetch for one."""
    into.mkdir(parents=True, exist_ok=True)
    listed = into / "list.txt"
    listed.write_text(requirements, encoding="utf-8")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "uv",
            "tool",
            "run",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--platform",
            platform,
            "--python-version",
            python,
            "--implementation",
            "cp",
            "--abi",
            "cp312",
            "--abi",
            "abi3",
            "--abi",
            "none",
            "--dest",
            str(into),
            "-r",
            str(listed),
        ],
        check=True,
    )
    listed.unlink()
    return sorted(into.glob("*.whl"))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(out: Path, source: Source, needs: dict[str, str | list[str]]) -> None:
    """`SHA256SUMS` and `version.json` beside the installers."""
    made = sorted(
        path for path in out.iterdir() if path.is_file() and path.name not in {"SHA256SUMS", "version.json"}
    )
    (out / "SHA256SUMS").write_text(
        "".join(f"{digest(path)}  {path.name}\n" for path in made), encoding="utf-8"
    )
    version = {
        "version": source.version,
        "commit": source.commit,
        "epoch": source.epoch,
        "needs": needs,
        "files": {path.name: path.stat().st_size for path in made},
    }
    (out / "version.json").write_text(json.dumps(version, indent=2) + "\n", encoding="utf-8")


def _output(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout
