"""`pareto-studio serve` checks a package, then lets its own program answer; wrong wishes get a sentence."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.package.serving.options import add_arguments
from engines.package.sign import new_key
from engines.package.write import pack, write
from studio.cli.serve_arguments import OPTIONS
from tests.engines.cascade_parts import GOOD, cascade_contents
from tests.engines.serving_client import ask

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    write(cascade_contents(folder), folder / "package")
    return folder / "package"


def studio(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "studio", *arguments, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_a_served_package_answers_and_ends_in_order(package: Path, tmp_path: Path) -> None:
    async def main() -> None:
        command = [sys.executable, "-m", "studio", "serve", str(package), "--port", "0", "--json"]
        server = await asyncio.create_subprocess_exec(
            *command, "--home", str(tmp_path), "--heavy-batch", "1", stdout=PIPE, stderr=PIPE, cwd=ROOT
        )
        assert server.stdout is not None
        assert server.stderr is not None
        async with asyncio.timeout(120):
            place = SimpleNamespace(
                port=int(json.loads(await server.stdout.readline())["url"].rpartition(":")[2])
            )
            assert (await ask(place, GOOD)).said["decision"] == "light"
            server.terminate()
            assert await server.wait() == 0
            assert b"Stopping" in await server.stderr.read()

    asyncio.run(main())


def test_what_cannot_be_served_is_refused_in_a_sentence(package: Path, tmp_path: Path) -> None:
    assert "There is no package" in studio(tmp_path, "serve", str(tmp_path / "none")).stderr
    assert "unpack it" in studio(tmp_path, "serve", str(pack(package))).stderr
    (package / "LICENSE").write_text("mine now")
    try:
        done = studio(tmp_path, "serve", str(package), "--port", "0")
    finally:
        (package / "LICENSE").write_text("Apache-2.0\n")
    assert done.returncode == 1
    assert "LICENSE was changed" in done.stderr
    assert "Traceback" not in done.stderr
    _, public = new_key(tmp_path / "key.pem")
    done = studio(tmp_path, "serve", str(package), "--port", "0", "--key", str(public))
    assert (done.returncode, "is not signed" in done.stderr) == (1, True)


def test_the_command_knows_every_option_of_the_packages_server(package: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    known = {action.option_strings[0].removeprefix("--") for action in parser._actions} - {"-h"}
    assert set(OPTIONS) == known
    done = studio(tmp_path, "serve", str(package), "--port", "70000")
    assert done.returncode == 2
    assert "whole number from 0 to 65535" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("r", "--out", "x"), "Say what to export"),
        (("r", "c001", "--cascade", "a", "b", "--out", "x"), "not both"),
        (("r", "c001", "--threshold", "0.5", "--out", "x"), "Only a cascade has a threshold"),
    ],
)
def test_an_export_that_is_not_clear_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = studio(tmp_path, "export", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
