"""A cascade's package answers light or heavy, in its own process and over HTTP, and says which."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.errors import PackageError
from engines.package import sums
from engines.package.cascade import Member
from engines.package.runner import Package, read_picture
from engines.package.verify import verify
from engines.package.write import pack, write
from tests.engines.cascade_parts import FEWER, GOOD, POOR, THRESHOLD, cascade_contents, draw
from tests.engines.package_parts import SETTINGS
from tests.engines.serving_client import ask, send


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("cascade")
    contents = cascade_contents(folder)
    write(contents, folder / "package")
    return SimpleNamespace(folder=folder / "package", contents=contents)


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-W", "error", str(package / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=package.parent, timeout=120)


def test_a_prompt_is_answered_light_or_heavy_and_it_is_said_which_and_why(made: Any) -> None:
    done = run(made.folder, "--prompt", GOOD, "--prompt", POOR, "--seed", "3", "--out", "x.png", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [one["decision"] for one in said["answers"]] == ["light", "heavy"]
    assert said["answers"][0]["score"] > THRESHOLD > said["answers"][1]["score"]
    light, heavy = (read_picture(made.folder.parent / f"x-{at}.png") for at in (1, 2))
    np.testing.assert_array_equal(light, draw(made.contents, FEWER, GOOD, 3))
    np.testing.assert_array_equal(heavy, draw(made.contents, SETTINGS, POOR, 4))
    for_people = run(made.folder, "--prompt", POOR, "--out", "x.png").stdout
    assert "heavy (score 0.0" in for_people
    assert "below the threshold 0.50" in for_people
    assert "light (asked" not in for_people
    assert "light (score" in run(made.folder, "--prompt", POOR, "--threshold", "0", "--out", "x.png").stdout
    verify(made.folder)  # running it left nothing behind


def test_the_self_test_checks_both_pictures_and_the_score(made: Any, tmp_path: Path) -> None:
    assert run(made.folder, "--self-test").stdout.startswith("passed: 100.0 dB")
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["additional_metadata"]["cascade"]["discriminator"]["golden_score"] += 0.2
    (copy / "manifest.json").write_text(json.dumps(manifest))
    sums.write(copy)
    done = run(copy, "--self-test", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["light"]["passed"]
    assert found["heavy"]["passed"]
    assert not found["passed"]


def test_files_that_are_equal_are_there_once_and_an_old_reader_sees_the_heavy_model(made: Any) -> None:
    found = verify(made.folder)
    components = found.manifest.components
    assert {name for name in components if name.startswith("light.")} == {
        "light.text_encoder", "light.denoiser", "light.decoder"
    }  # fmt: skip
    for name in ("text_encoder", "denoiser", "decoder"):
        first, second = components[name], components[f"light.{name}"]
        assert {one.variant_directory for one in first.variants.values()} == {
            one.variant_directory for one in second.variants.values()
        }
    package = Package(made.folder)
    picture = package.loop().generate([POOR], [4]).images[0]
    np.testing.assert_array_equal(picture, draw(made.contents, SETTINGS, POOR, 4))
    with pytest.raises(PackageError, match="has no judge model"):
        Member(package, "judge")


def _copy(values: Any) -> Any:
    return json.loads(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts, _: facts["cascade"].pop("threshold"), "threshold"),
        (lambda facts, _: facts["cascade"].update(threshold="high"), "threshold"),
        (lambda facts, _: facts["cascade"].update(more=1), "more"),
        (lambda facts, _: facts["cascade"]["light"].update(cascade=_copy(facts["cascade"])), "cascade"),
        (lambda facts, _: facts["cascade"]["light"]["host_loop"].update(steps="many", extra=1), "host loop"),
        (lambda facts, _: facts["cascade"]["light"]["golden"].update(image="../x.png"), "outside"),
        (lambda facts, _: facts["cascade"]["light"]["golden"].update(image="absent.png"), "absent.png"),
        (lambda _, parts: parts.pop("discriminator"), "no discriminator"),
        (lambda facts, _: facts["cascade"]["discriminator"].pop("side"), "side"),
    ],
)
def test_a_cascade_whose_manifest_does_not_fit_is_refused(
    made: Any, tmp_path: Path, change: Any, said: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    manifest = json.loads((copy / "manifest.json").read_bytes())
    facts = manifest["additional_metadata"]
    change(facts, manifest["components"])
    (copy / "manifest.json").write_text(json.dumps(manifest))
    sums.write(copy)
    with pytest.raises(PackageError, match=said):
        verify(copy)


def test_wrong_wishes_get_a_sentence(made: Any) -> None:
    for arguments, said in (
        (("--prompt", "x", "--steps", "3"), "leave them out"),
        (("--prompt", "x", "--route", "middle"), "invalid choice"),
        (("--serve", "--port", "99999"), "must be a whole number"),
        (("--serve", "--threshold", "nan"), "must be a number"),
    ):
        done = run(made.folder, *arguments)
        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_the_same_cascade_gives_the_same_zip(made: Any, tmp_path: Path) -> None:
    copies = [tmp_path / name / "package" for name in ("a", "b")]
    for copy in copies:
        copy.parent.mkdir()
        write(made.contents, copy)
    first, second = (pack(copy).read_bytes() for copy in copies)
    assert first == second


def test_a_served_cascade_answers_two_hundred_requests_though_its_engines_are_killed(made: Any) -> None:
    asyncio.run(_serve(made))


async def _serve(made: Any) -> None:
    command = [sys.executable, "-I", str(made.folder / "run.py"), "--serve", "--port", "0", "--json"]
    server = await asyncio.create_subprocess_exec(*command, "--queue", "400", stdout=PIPE, stderr=DEVNULL)
    assert server.stdout is not None
    try:
        async with asyncio.timeout(120):
            told = json.loads(await server.stdout.readline())
        place = SimpleNamespace(port=int(told["url"].rpartition(":")[2]))
        assert told["model"] == "tiny-cascade"

        async def kill() -> list[int]:
            await asyncio.sleep(0.4)
            pids = engines(made.folder)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            return pids

        async def one(number: int) -> tuple[str, bytes]:
            await asyncio.sleep(number * 0.005)
            found = await ask(place, (GOOD, POOR)[number % 2], seed=number, deadline_ms=60_000)
            assert found.status == 200, found.body
            return found.said["decision"], found.picture

        killing = asyncio.create_task(kill())
        answers = await asyncio.gather(*(one(number) for number in range(200)))
        assert len(await killing) == 2
        assert Counter(decision for decision, _ in answers) == {"light": 100, "heavy": 100}
        for number in (0, 1, 150, 199):
            settings = FEWER if number % 2 == 0 else SETTINGS
            shown = np.asarray(Image.open(io.BytesIO(answers[number][1])).convert("RGB"))
            expected = draw(made.contents, settings, (GOOD, POOR)[number % 2], number)
            # In a batch sums are taken in another order: a grey level may fall the other way.
            assert np.abs(shown.astype(int) - expected.astype(int)).max() <= 1
        metrics = (await send(place, "GET", "/metrics")).body.decode()
        assert 'pareto_restarts_total{engine="light"} 1' in metrics
        assert 'pareto_restarts_total{engine="heavy"} 1' in metrics
        put = await send(place, "PUT", "/v1/threshold", b'{"threshold": 0}')
        assert put.json["held"]
        assert (await ask(place, POOR, deadline_ms=60_000)).said["decision"] == "light"
        other = await asyncio.create_subprocess_exec(
            *command[:-3], "--port", str(place.port), stdout=DEVNULL, stderr=PIPE
        )
        assert other.stderr is not None
        assert b"in use; choose another port" in await other.stderr.read()
        assert await other.wait() == 1
    finally:
        server.terminate()
        async with asyncio.timeout(60):
            assert await server.wait() == 0
    assert engines(made.folder) == []
    verify(made.folder)


def engines(package: Path) -> list[int]:
    """The engine processes of a package that are alive."""
    import psutil

    return [
        int(process.info["pid"])
        for process in psutil.process_iter(["pid", "cmdline"])
        if str(package / "run.py") in (line := process.info["cmdline"] or []) and "--engine" in line
    ]
