"""`pareto-studio cascade` as people and machines use it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.package.serving.options import add_arguments
from studio.cli import main, parser
from studio.plan.benchmark import rows, side_by_side, three_traces
from studio.plan.service import Service
from studio.plan.tables import Tables, read_confidences, read_profiles, read_quality, write_tables
from tests.studio.cascade_tables import tables

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs/benchmarks/cascade-tiny-scenes"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    arguments = []
    for name, document in write_tables(tables(8)).items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        arguments += [f"--{name}", str(path)]
    return [*arguments, "--home", str(tmp_path / "home")]


def asked(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(["cascade", *arguments])
    out, err = capfd.readouterr()
    return status, out, err


def test_a_plan_is_told_to_people_and_machines(files: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    line = ["plan", *files, "--workers", "8", "--slo", "4000", "--rate", "6"]
    status, out, _ = asked(line, capfd)
    assert status == 0
    assert "of 8 workers draw light" in out
    status, out, _ = asked([*line, "--json"], capfd)
    found = json.loads(out)
    assert found["plan"]["allocations"][0]["device"] == "worker"
    assert 0 < found["plan"]["share"] <= 1
    assert found["seconds_computed"] < 1
    only = found["plan"]["allocations"][0]
    assert f"--heavy-workers {only['heavy_workers']} --heavy-batch {only['heavy_batch']}" in found["serve"]
    served = argparse.ArgumentParser()
    add_arguments(served)
    assert served.parse_args(found["serve"].split()).light_workers == only["light_workers"]
    fewest = json.loads(asked([*line, "--json", "--goal", "workers", "--max-loss", "0.05"], capfd)[1])
    assert (
        fewest["plan"]["allocations"][0]["heavy_workers"] < found["plan"]["allocations"][0]["heavy_workers"]
    )


def test_all_policies_are_simulated_side_by_side_in_one_document(
    files: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("\n".join(f"{at * 170 % 20_000},{at % 400}" for at in range(120)))
    line = ["simulate", *files, "--workers", "4", "--slo", "4000", "--trace", str(trace), "--policy", "all"]
    status, out, _ = asked([*line, "--json"], capfd)
    assert status == 0
    found = json.loads(out)
    assert found["trace"]["requests"] == 120
    assert {one["policy"] for one in found["policies"]} >= {
        "light",
        "heavy",
        "static",
        "blind",
        "diffserve",
        "ours",
    }
    for one in found["policies"]:
        assert one["light"] + one["heavy"] + one["fallback"] + one["dropped"] == 120
        assert len(one["timeline"]["late"]) == len(one["timeline"]["heavy_queue"])
    assert asked([*line, "--json"], capfd)[1] == out
    status, out, _ = asked(line, capfd)
    assert "DiffServe" in out
    assert "120 requests of trace" in out


def test_what_cannot_be_done_is_one_sentence_each(
    files: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("arrival_ms,prompt_id\n")
    common = ["--workers", "4", "--slo", "4000"]
    for line, words in (
        (["plan", *files, *common, "--rate", "90000"], "nearest load"),
        (["plan", *files, "--workers", "4", "--slo", "1", "--rate", "1"], "nearest objective"),
        (["plan", *files, *common, "--rate", "1", "--goal", "workers"], "largest quality loss"),
        (["plan", *common, "--rate", "1", "--home", str(tmp_path)], "Give --run"),
        (["plan", "--run", "none", *common, "--rate", "1", "--home", str(tmp_path)], "no run none"),
        (["plan", *files[2:], *common, "--rate", "1"], "--profiles is missing"),
        (["plan", *files, "--workers", "b=3", "--slo", "4000", "--rate", "1"], "no profile for b"),
        (["simulate", *files, *common, "--trace", str(empty)], "is empty"),
        (["simulate", *files, *common, "--trace", "poisson:x"], "is no trace"),
        (["simulate", *files, *common, "--trace", "poisson:5:10", "--policy", "magic"], "no policy magic"),
        (["simulate", *files, *common, "--trace", "poisson:5:10", "--lose", "3:9"], "no worker 9"),
        (["simulate", *files, *common, "--trace", "poisson:5:10", "--queue", "0"], "at least one request"),
        (["train", "none", "--home", str(tmp_path)], "no run none"),
        (["reuse", "none", "--home", str(tmp_path)], "no run none"),
    ):
        status, _, err = asked(line, capfd)
        assert status == 1, line
        assert words in err, err
        assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        ["cascade"],
        ["cascade", "plan", "--slo", "1"],
        ["cascade", "plan", "--slo", "0", "--rate", "1"],
        ["cascade", "plan", "--slo", "1", "--rate", "1", "--workers", "few"],
        ["cascade", "plan", "--slo", "1", "--rate", "1", "--tail", "2"],
        ["cascade", "simulate", "--slo", "1", "--trace", "t", "--lose", "x"],
        ["cascade", "train", "--guarantee", "0"],
    ],
)
def test_a_wrong_cascade_line_ends_with_2(line: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line)
    assert caught.value.code == 2


def test_help_of_the_cascade_needs_the_standard_library_only() -> None:
    code = (
        "import sys\nfrom studio.cli import main\n"
        "try:\n    main(['cascade', 'simulate', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'pydantic', 'scipy', 'rich'} & set(sys.modules)))\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - start < 3
    assert parser().parse_args(["cascade", "plan", "--slo", "5", "--rate", "1"]).goal == "loss"


def test_planning_and_simulating_never_load_torch_or_scipy(files: list[str]) -> None:
    line = ["cascade", "simulate", *files, "--slo", "4000", "--trace", "poisson:4:20", "--policy", "ours"]
    code = (
        "import sys\nfrom studio.cli import main\n"
        f"main({line!r})\n"
        "assert not {'torch', 'scipy', 'onnxruntime', 'PySide6'} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT, env={**os.environ}
    )


def test_the_published_rows_are_what_the_published_tables_give() -> None:
    confidences, ids = read_confidences(PUBLISHED / "confidences.json")
    found = Tables(
        read_profiles(PUBLISHED / "profiles.json"), confidences, read_quality(PUBLISHED / "quality.json"), ids
    )
    published = (ROOT / "docs/benchmarks/2026-11-28-cascade-policies.md").read_text(encoding="utf-8")
    trace = three_traces(115)[2]
    assert f"## {trace.name}" in published
    for row in rows(side_by_side(found, Service(latency=1.0), trace, ("ours", "diffserve-shortest")))[2:]:
        assert row in published
