"""What is advised where a wheel is missing can be run, in an environment with pip and in one of uv's."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import ClusterError
from engines import installing
from tests.packaging.tiny_bundle import find_uv, wheel


@pytest.mark.skipif(sys.platform == "win32", reason="the line is for this system's shell")
def test_the_advised_line_installs_into_an_environment_without_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "my engines' 機器"
    room.mkdir()
    wheel(room, "helper", "1.2", {"helper.py": "said = 'here'\n"})
    alone = ["--quiet", "--offline", "--no-project", "--python", sys.executable]
    subprocess.run([find_uv(), "venv", *alone, room / "env"], check=True)
    python = str(room / "env" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setattr(installing, "has_pip", lambda: False)
    around = {**os.environ, "UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": room.as_uri()}
    subprocess.run(installing.line("helper==1.2"), shell=True, check=True, env=around)
    assert subprocess.check_output([python, "-c", "import helper; print(helper.said)"]) == b"here\n"
    wheel(room, "other", "1.0", {"other.py": ""})
    subprocess.run(installing.exchange(["helper"], "other"), shell=True, check=True, env=around)
    assert subprocess.run([python, "-c", "import helper"], capture_output=True, check=False).returncode


def test_where_there_is_pip_the_line_is_pips_for_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "has_pip", lambda: True)
    words = shlex.split(installing.line("mlx[cpu]"))
    assert words == [sys.executable, "-m", "pip", "install", "mlx[cpu]"]


def test_an_extra_is_named_by_the_wheels_it_stands_for() -> None:
    """An index that has no `pareto-studio`, or another one, is never asked for it."""
    assert installing.requirements("cluster") == ("ray[serve]>=2.50",)
    assert installing.requirements("genai") == ("openvino-genai", "openvino-tokenizers")


def test_an_installed_program_completes_what_it_brings_and_installs_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from agent.evaluate import ray_pool
    from engines.backends import backend

    monkeypatch.setenv(installing.SETUP, "/opt/pareto-studio/window/pareto-studio setup")
    monkeypatch.setattr(type(backend("openvino")), "packages", ("no_such_package",))
    found = backend("openvino").probe("cpu")
    assert found.install == "/opt/pareto-studio/window/pareto-studio setup --make"
    monkeypatch.setattr(ray_pool, "find_spec", lambda _: None)
    with pytest.raises(ClusterError, match=r"pip install .*'ray\[serve\]"):
        ray_pool.check("local:2")
