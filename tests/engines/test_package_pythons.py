"""A package draws under every Python that it promises, with the wheels that it names and no others."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from engines.package.sign import new_key, sign
from engines.package.signature import Trust
from engines.package.verify import verify
from engines.package.write import write
from tests.engines.package_parts import contents

VERSIONS = ("3.11", "3.12", "3.13")

pytestmark = pytest.mark.slow


def python(version: str) -> Path:
    """One of this version: on the path, or among those that pyenv keeps."""
    found = shutil.which(f"python{version}")
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))
    for place in [*([Path(found)] if found else []), *kept]:
        said = subprocess.run([place, "--version"], capture_output=True, text=True, check=False).stdout
        if said.startswith(f"Python {version}."):
            return place
    pytest.skip(f"There is no Python {version} here.")


def said(*command: str | Path, room: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=room
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_package_draws_signed_and_unsigned_under_every_python(
    tmp_path: Path, version: str, engine: str
) -> None:
    base = python(version)
    (tmp_path / "parts").mkdir()
    package = tmp_path / "tiny"
    write(contents(tmp_path / "parts", engine), package)
    key, public = new_key(tmp_path / "key.pem")
    sign(package, key)
    assert verify(package, Trust(key=public)).signature

    said(base, "-m", "venv", "env", room=tmp_path)
    run: list[str | Path] = [tmp_path / "env" / "bin" / "python", "-W", "error", package / "run.py"]
    pip: list[str | Path] = [run[0], "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    made = subprocess.run(
        [*pip, "-r", package / "requirements.txt"], capture_output=True, text=True, check=False
    )
    if "Could not find a version" in made.stderr and "from versions: none" in made.stderr:
        pytest.skip("No wheels can be had here.")
    assert made.returncode == 0, made.stderr
    assert "passed" in said(*run, "--self-test", room=tmp_path).lower()
    said(*run, "--prompt", "a red house", "--seed", "3", "--out", "x.png", room=tmp_path)
    assert (tmp_path / "x.png").stat().st_size > 50
    said(*pip, "model-signing", "pyopenssl", room=tmp_path)
    assert said(*run[:1], package / "run.py", "--key", public, "--self-test", room=tmp_path)
