"""A container context takes its wheels from the wheelhouse that this Studio was installed from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engines.errors import PackageError
from engines.layouts import container
from engines.layouts.container import collect, fresh, machine
from engines.layouts.script import run_quietly
from engines.package import sums

PYTHON = f"cp{sys.version_info[0]}{sys.version_info[1]}"
WHEELS = (
    f"numpy-2.4.6-{PYTHON}-{PYTHON}-manylinux_2_27_{machine()}.manylinux_2_28_{machine()}.whl",
    f"numpy-2.4.6-{PYTHON}-{PYTHON}-win_amd64.whl",
    f"numpy-2.4.5-{PYTHON}-{PYTHON}-manylinux_2_28_{machine()}.whl",
    f"tokenizers-0.23.3-cp39-abi3-manylinux_2_17_{machine()}.whl",
    "typing_extensions-4.16.0-py3-none-any.whl",
    f"openvino-2026.4.1-1-{PYTHON}-{PYTHON}-manylinux_2_28_{machine()}.whl",
)
PINS = """# What this package imports.
numpy==2.4.6
tokenizers==0.23.3
typing-extensions==4.16.0
colorama==0.4.6 ; sys_platform == 'win32'
"""


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheel house, für mich"
    folder.mkdir()
    for name in WHEELS:
        (folder / name).write_bytes(name.encode())
    lines = [f"{sums.digest_file(folder / name)}  {name}\n" for name in WHEELS]
    (folder / "SHA256SUMS").write_text("".join(lines))
    monkeypatch.setenv("UV_FIND_LINKS", folder.as_uri())
    return folder


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    (tmp_path / "requirements.txt").write_text(PINS)
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


def test_the_pinned_wheels_come_from_the_wheelhouse_without_a_network(
    wheelhouse: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "fresh", None)  # nothing is installed or asked for
    assert collect(tmp_path / "requirements.txt", wheels) == ""
    assert {path.name for path in wheels.iterdir()} == {WHEELS[0], WHEELS[3], WHEELS[4]}


@pytest.mark.parametrize("fault", ["a byte", "no list", "one missing"])
def test_a_wheelhouse_that_is_not_whole_gives_nothing(
    wheelhouse: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "a byte":
        (wheelhouse / WHEELS[0]).write_bytes(b"another")
    elif fault == "no list":
        (wheelhouse / "SHA256SUMS").unlink()
    else:
        (wheelhouse / WHEELS[3]).unlink()
    asked: list[str] = []

    def no_index(command: list[str], _room: Path, failed: str = "") -> str:
        asked.append(command[0])
        raise PackageError(f"{failed} (no network).")

    monkeypatch.setattr(container, "run_quietly", no_index)
    assert collect(tmp_path / "requirements.txt", wheels) == "no environment could be made here (no network)"
    assert asked
    assert not list(wheels.iterdir())


def test_where_python_makes_no_environments_uv_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_venv(command: list[str], room: Path, failed: str = "") -> str:
        if command[1:3] == ["-m", "venv"]:
            raise PackageError("ensurepip is not available.")
        return run_quietly(command, room, failed)

    monkeypatch.setattr(container, "run_quietly", without_venv)
    python, install = fresh(tmp_path / "env", tmp_path)
    assert python.is_file()
    assert install[1:3] == ["pip", "install"]
    assert run_quietly([str(python), "-c", "print(1)"], tmp_path) == "1\n"
