"""A first variant that cannot load is never passed over in silence, whichever way a package is run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines.errors import FallbackWarning
from engines.package.extend import extend, parts_of
from engines.package.runner import Package, read_picture
from engines.package.serving.cluster import Replicas, open_engine
from engines.package.serving.metrics import Metrics
from engines.package.serving.running import Running
from engines.package.serving.values import Drawing, Tuning
from engines.package.variants import Choice, facts_of
from engines.package.write import write
from tests.engines.cascade_parts import GOOD, POOR, cascade_contents
from tests.engines.package_parts import PROMPT, SEED, contents
from tests.engines.serving_client import ask, send
from tests.engines.test_package_variants import for_device, spoiled

ABSENT, HERE = "onnxruntime-directml-fp32", "onnxruntime-cpu-fp32"
SAID = f"Fell back: denoiser: {ABSENT}: The ONNX Runtime that is installed has no DmlExecutionProvider"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of one model whose first variants are for a device that no Linux has."""
    folder = tmp_path_factory.mktemp("one")
    write(contents(folder), folder / "tiny")
    extend(folder / "tiny", [for_device(part, "directml") for part in parts_of(folder / "tiny")], first=True)
    return folder / "tiny"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade of the same kind."""
    folder = tmp_path_factory.mktemp("two")
    write(cascade_contents(folder), folder / "package")
    place = folder / "package"
    extend(place, [for_device(part, "directml") for part in parts_of(place)], first=True)
    return place


def command(package: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-W", "error", str(package / "run.py"), *arguments]


def lines(package: Path, *requests: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The heads of the answers, and what was said on standard error."""
    asked = "".join(json.dumps(request) + "\n" for request in requests).encode()
    done = subprocess.run(command(package, "--lines"), input=asked, capture_output=True, check=True)
    heads, rest = [], done.stdout
    while rest:
        head, _, rest = rest.partition(b"\n")
        heads.append(json.loads(head))
        rest = rest[heads[-1].get("bytes", 0) :]
    return heads, done.stderr.decode()


@asynccontextmanager
async def served(package: Path) -> AsyncIterator[SimpleNamespace]:
    """A package's own server, what it said first, and what it had said on standard error by then."""
    started = command(package, "--serve", "--port", "0", "--json")
    process = await asyncio.create_subprocess_exec(*started, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(120):
            told = json.loads(await process.stdout.readline())
        yield SimpleNamespace(port=int(told["url"].rpartition(":")[2]), told=told, process=process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def test_a_program_that_imports_the_package_is_warned(one: Path) -> None:
    package = Package(one)
    with pytest.warns(FallbackWarning) as caught:
        picture = package.generate([PROMPT], [SEED])[0]
    assert [str(warning.message) for warning in caught] == package.fallbacks
    assert len(package.fallbacks) == 3
    assert f"Fell back: {package.fallbacks[1]}".startswith(SAID)
    np.testing.assert_array_equal(picture, read_picture(one / "golden.png"))


@pytest.mark.parametrize(
    "arguments", [("--prompt", PROMPT, "--out", "x.png"), ("--self-test",), ("--benchmark", "1")]
)
def test_the_command_line_says_it_in_a_sentence(
    one: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(command(one, *arguments), capture_output=True, text=True, cwd=tmp_path, check=True)
    assert f"Runs {HERE}." in done.stderr
    assert SAID in done.stderr
    assert "Warning" not in done.stderr


def test_every_answered_line_says_it(one: Path) -> None:
    request = {"prompts": [PROMPT], "seeds": [SEED]}
    answers, said = lines(one, request, {"prompts": 3}, request)
    assert [answer["ok"] for answer in answers] == [True, False, True]
    for answer in (answers[0], answers[2]):
        assert answer["variants"]["decoder"]["variant"] == HERE
        assert answer["variants"]["decoder"]["passed_over"][0]["variant"] == ABSENT
        assert f"Fell back: {answer['fallbacks'][1]}" == next(
            line for line in said.splitlines() if line.startswith("Fell back: denoiser")
        )
    assert said.count(SAID) == 1


def test_a_cascade_answers_lines_light_or_heavy_and_says_its_fallbacks_of_both(two: Path) -> None:
    (first, second), said = lines(
        two, {"prompts": [GOOD], "seeds": [3]}, {"prompts": [GOOD, POOR], "seeds": [3, 4]}
    )
    assert [one["decision"] for one in second["answers"]] == ["light", "heavy"]
    assert second["shape"] == [2, 16, 16, 3]
    assert {"light.decoder", "discriminator"} <= first["variants"].keys()
    assert "decoder" not in first["variants"]  # heavy was not needed yet
    assert f"decoder: {ABSENT}" in " ".join(second["fallbacks"])
    for component in ("light.decoder", "decoder", "discriminator"):
        assert f"Fell back: {component}: {ABSENT}: " in said


def test_a_cascades_self_test_says_the_fallbacks_of_both_models(two: Path) -> None:
    done = subprocess.run(command(two, "--self-test"), capture_output=True, text=True, check=True)
    for component in ("light.denoiser", "denoiser", "discriminator"):
        assert f"Fell back: {component}: {ABSENT}: " in done.stderr


def test_a_server_says_it_at_its_start_and_shows_it_at_every_place(two: Path) -> None:
    async def main() -> bytes:
        async with served(two) as server:
            engines = server.told["engines"]
            assert set(engines) == {"light", "heavy"}
            (light,) = engines["light"]
            assert light["processes"] == 1
            assert light["variants"]["discriminator"]["variant"] == HERE
            assert light["variants"]["decoder"]["passed_over"][0]["variant"] == ABSENT
            assert any(text.startswith(f"denoiser: {ABSENT}: The ONNX") for text in light["fallbacks"])
            for path in ("/health", "/v1/plan"):
                assert (await send(server, "GET", path)).json["engines"] == engines
            assert (await send(server, "GET", "/v1/models")).json["data"][0]["engines"] == engines
            metrics = (await send(server, "GET", "/metrics")).body.decode().splitlines()
            labels = f'component="decoder",engine="heavy",instead="{HERE}",variant="{ABSENT}"'
            assert f"pareto_fallbacks_total{{{labels}}} 1" in metrics
            labels = f'component="decoder",engine="heavy",variant="{HERE}"'
            assert f"pareto_variant_processes{{{labels}}} 1" in metrics
            assert (await ask(server, POOR, deadline_ms=60_000)).status == 200
            server.process.terminate()
            stderr: bytes = await server.process.stderr.read()
            return stderr

    said = asyncio.run(main()).decode()
    for name in ("light", "heavy"):
        assert f"{name}: {SAID}" in said
        assert f"{name}: Runs {HERE}." in said


def test_a_decoder_that_gives_way_while_it_serves_is_said_then(tmp_path: Path) -> None:
    """Warming up, its first picture is not finite."""
    write(contents(tmp_path), tmp_path / "tiny")
    place = tmp_path / "tiny"
    extend(place, [spoiled(part, tmp_path / "half") for part in parts_of(place)], first=True)

    async def main() -> None:
        async with served(place) as server:
            (found,) = (await send(server, "GET", "/health")).json["engines"]["heavy"]
            assert found["variants"]["decoder"]["variant"] == HERE
            assert "holds values that are not finite" in found["fallbacks"][0]

    asyncio.run(main())


def test_an_engine_of_a_cluster_has_its_fallbacks_and_a_replicas_are_shown(one: Path) -> None:
    """What a replica does, without Ray: opens an engine, and tells the front with each drawing."""
    with pytest.warns(FallbackWarning):
        engine = open_engine(str(one), "heavy", 1)
    choices = tuple(engine.choices)
    assert {choice.variant for choice in choices} == {HERE}
    replicas = Replicas("heavy", None, Tuning(), 4, Metrics())
    replicas._note(Drawing(b"", None, 0, 0.1, 0, 1, 1, "node:7", choices))
    assert replicas.running.to_json()[0]["variants"] == facts_of(choices)
    assert any(f"heavy: {SAID}" in text for text in replicas.said)


def test_processes_that_differ_are_shown_apart_and_a_fallback_is_counted_for_each() -> None:
    whole = Choice("decoder", "a", (), 2)
    fallen = Choice("decoder", "b", (("a", "no room"),), 2)
    metrics, said = Metrics(), list[str]()
    running = Running("heavy", metrics, said.append)
    for process, choice in ((1, whole), (2, fallen), (3, fallen), (3, fallen)):
        running.note(process, [choice])
    assert [(group["processes"], group["fallbacks"]) for group in running.to_json()] == [
        (1, []),
        (2, ["decoder: a: no room"]),
    ]
    labels = {"engine": "heavy", "component": "decoder", "variant": "a", "instead": "b"}
    assert metrics.value("fallbacks_total", **labels) == 2
    running.note(1, [fallen])  # it gave way later
    assert metrics.value("fallbacks_total", **labels) == 3
    running.clear()  # some replica died; those that live tell again, and are not counted again
    for process in (1, 2, 3):
        running.note(process, [fallen])
    assert metrics.value("fallbacks_total", **labels) == 3
    running.gone(2)
    assert 'variant_processes{component="decoder",engine="heavy",variant="b"} 2' in metrics.text()
    assert said == ["heavy: Runs a.", "heavy: Runs b.", "heavy: Fell back: decoder: a: no room"]
