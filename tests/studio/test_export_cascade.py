"""A trained pair becomes one package that decides, serves and plans as the Studio does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.package.cascade import bag, pixels
from engines.package.likeness import psnr
from engines.package.runner import read_picture
from engines.package.verify import verify
from studio.errors import CascadeError, ExportError
from studio.work.add_variant import add_variant
from studio.work.cascade import network
from studio.work.cascade.engine import build
from studio.work.cascade.travel import ROOT, planner_files
from studio.work.export_cascade import export_pair
from studio.work.job import Job
from tests.engines.serving_client import Reply, close, read
from tests.studio.cascade_run import PROMPTS, run_with_pair, trained
from tests.studio.recorded_run import add, begin


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = run_with_pair(tmp_path_factory.mktemp("runs") / "r")
    trained(folder)
    return folder


@pytest.fixture(scope="module")
def result(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return export_pair(run, "c001", "c002", 0.5, tmp_path_factory.mktemp("out") / "package")


def program(result: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(Path(result["package"]) / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("size", [32, 64, 96, 100])
def test_pictures_and_words_reach_the_engine_as_they_reached_the_network(size: int) -> None:
    pictures = np.random.default_rng(size).integers(0, 255, (2, size, size, 3), dtype=np.uint8)
    np.testing.assert_allclose(pixels(pictures, 64), network.tensors(pictures).numpy(), atol=1e-6)
    np.testing.assert_array_equal(bag(PROMPTS, network.WORDS), network.bag(PROMPTS).numpy())


@pytest.mark.slow
def test_the_discriminators_engine_gives_the_networks_scores_in_every_batch(
    run: Path, tmp_path: Path
) -> None:
    pictures = np.random.default_rng(1).integers(0, 255, (5, 64, 64, 3), dtype=np.uint8)
    saved = run / "cascade" / "c001-c002" / "discriminator.safetensors"
    made = build(saved, "openvino", tmp_path, pictures, PROMPTS[:5])
    expected = network.load(saved)(pictures, PROMPTS[:5])
    np.testing.assert_allclose(made.scores, expected, atol=1e-4)
    assert np.ptp(expected) > 0.01


def test_the_planner_that_travels_is_whole_and_stands_alone(tmp_path: Path) -> None:
    files = planner_files()
    assert {"studio/__init__.py", "studio/errors.py", "studio/plan/planner.py"} <= set(files)
    for name, content in files.items():
        assert content == (ROOT / name).read_bytes()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from studio.plan import replan, mixed, nearest\n"
        "print(replan.__file__, sorted({'torch', 'scipy', 'engines'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{tmp_path / 'studio/plan/replan.py'} []"


def test_a_pair_that_cannot_be_exported_is_refused_before_any_work(tmp_path: Path, run: Path) -> None:
    with pytest.raises(CascadeError, match="same candidate"):
        export_pair(run, "c001", "c001")
    with pytest.raises(ExportError, match=r"threshold nan"):
        export_pair(run, "c001", "c002", float("nan"))
    with pytest.raises(ExportError, match=r"holds no engines of torch; leave --also eager out"):
        export_pair(run, "c001", "c002", also=["directml", "eager"])
    folder = tmp_path / "r"
    with begin(folder) as journal:
        add(journal, folder, "c001", (), seconds=0.02)
        add(journal, folder, "c002", (), seconds=0.06)
    with pytest.raises(ExportError, match="for exploring only"):
        export_pair(folder, "c001", "c002")
    assert not (folder / "package").exists()


@pytest.mark.slow
def test_both_models_and_the_discriminator_get_variants_for_a_further_device(
    run: Path, tmp_path: Path
) -> None:
    made = export_pair(run, "c001", "c002", 0.5, tmp_path / "package", also=["directml"])
    found = verify(Path(made["package"])).manifest
    for name, body in found.components.items():
        *_, last = body.additional_metadata.order
        device = "cpu" if name == "discriminator" else "directml"
        assert len(body.variants) == 2
        assert last.startswith(f"onnxruntime-{device}-")
    assert (tmp_path / "package" / "requirements-onnxruntime-directml.txt").is_file()
    asked = ("--prompt", PROMPTS[0], "--device", "directml", "--out", str(tmp_path / "x.png"), "--json")
    done = program(made, *asked)
    assert done.returncode == 0, done.stderr
    assert "Fell back: light.denoiser: onnxruntime-directml-" in done.stderr
    assert json.loads(done.stdout)["variants"]["light.decoder"]["variant"] == "openvino-cpu-fp32"
    asked = ("--prompt", PROMPTS[0], "--device", "onnxruntime", "--out", str(tmp_path / "x.png"), "--json")
    said = json.loads(program(made, *asked).stdout)
    assert said["variants"]["discriminator"]["variant"] == "onnxruntime-cpu-fp32"
    with pytest.raises(ExportError, match="export it again with --also DEVICE"):
        add_variant(Job(home=tmp_path), made["package"], "onnxruntime")


@pytest.mark.slow
def test_the_package_draws_and_decides_as_the_studio_does(result: dict[str, Any], run: Path) -> None:
    found = verify(Path(result["zip"]))
    facts = found.manifest.additional_metadata
    assert facts.cascade is not None
    assert facts.cascade.threshold == result["threshold"] == 0.5
    assert facts.verified_on
    assert facts.cascade.light.verified_on
    assert result["proof"]["light"]["psnr"] >= 40
    assert result["proof"]["heavy"]["psnr"] >= 40
    assert {name.partition(".")[0] for name in found.manifest.components} >= {
        "light",
        "discriminator",
        "denoiser",
    }
    assert "torch" not in (Path(result["package"]) / "requirements.txt").read_text()
    assert str(run) not in (Path(result["package"]) / "manifest.json").read_text()

    out = Path(result["package"]).parent / "x.png"
    prompt = PROMPTS[1]
    made = {}
    for route in ("auto", "light", "heavy"):
        done = program(
            result, "--prompt", prompt, "--seed", "5", "--route", route, "--out", str(out), "--json"
        )
        assert done.returncode == 0, done.stderr
        made[route] = (json.loads(done.stdout)["answers"][0], read_picture(out))
    decided = made["auto"][0]
    assert decided["decision"] == ("light" if decided["score"] >= 0.5 else "heavy")
    np.testing.assert_array_equal(made["auto"][1], made[decided["decision"]][1])
    assert psnr(made["light"][1], made["heavy"][1]) < 60
    everything = program(result, "--prompt", prompt, "--threshold", "2", "--out", str(out))
    assert "heavy (score" in everything.stdout
    assert program(result, "--self-test").stdout.startswith("passed")
    wrong = program(result, "--prompt", prompt, "--steps", "3")
    assert wrong.returncode == 1
    assert "leave them out" in wrong.stderr


@pytest.mark.slow
def test_the_package_serves_plans_and_survives_a_killed_engine(result: dict[str, Any]) -> None:
    asyncio.run(_serve(Path(result["package"])))


async def _serve(package: Path) -> None:
    from asyncio.subprocess import PIPE

    command = [sys.executable, "-m", "studio", "serve", str(package), "--port", "0", "--json"]
    server = await asyncio.create_subprocess_exec(
        *command, "--objective", "60", "--light-batch", "2", "--heavy-batch", "2", stdout=PIPE, cwd=ROOT
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(500):
            port = int(json.loads(await server.stdout.readline())["url"].rpartition(":")[2])
        answers = await asyncio.gather(*(_ask(port, prompt, seed) for seed, prompt in enumerate(PROMPTS[:6])))
        assert [one.status for one in answers] == [200] * 6
        for seed, one in enumerate(answers):
            assert one.picture.startswith(b"\x89PNG")
            assert one.said["seed"] == seed
            expected = "light" if one.said["score"] >= one.said["threshold"] else "heavy"
            assert one.said["decision"] == expected
        alone = package.parent / "alone.png"
        alone.write_bytes(answers[0].picture)
        in_batch = read_picture(alone)
        route = answers[0].said["decision"]
        done = await asyncio.to_thread(
            program,
            {"package": str(package)},
            "--prompt", PROMPTS[0], "--seed", "0", "--route", route, "--out", str(alone),
        )  # fmt: skip
        assert done.returncode == 0
        assert psnr(in_batch, read_picture(alone)) > 40  # served, in a batch, is what `run.py` draws

        asking = [asyncio.create_task(_ask(port, prompt, 9)) for prompt in PROMPTS[6:10]]
        await asyncio.sleep(0.3)
        for pid in _engines(package):
            os.kill(pid, signal.SIGKILL)
        again = await asyncio.gather(*asking)
        assert [one.status for one in again] == [200] * 4
        await asyncio.sleep(5.5)
        plan = (await _request(port, "GET", "/v1/plan", b"")).json
        assert "pictures/s" in plan["note"] or "Nothing" in plan["note"]
    finally:
        server.terminate()
        async with asyncio.timeout(60):
            assert await server.wait() == 0
    assert _engines(package) == []


def _engines(package: Path) -> list[int]:
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = process.info["cmdline"] or []
        if str(package / "run.py") in line and "--engine" in line:
            found.append(int(process.info["pid"]))
    return found


async def _ask(port: int, prompt: str, seed: int) -> Reply:
    body = {"prompt": prompt, "seed": seed, "deadline_ms": 250_000}
    return await _request(port, "POST", "/v1/images/generations", json.dumps(body).encode())


async def _request(port: int, method: str, path: str, body: bytes) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        return await read(reader, seconds=280)
    finally:
        await close(writer)
