"""`compare` on sets, and on what is no single picture: clips, and pictures made from smaller ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.metrics_pack import encoders, place
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.compare import compare, of_sets
from studio.work.job import Job
from studio.work.runs import evaluate
from tests.engines import pack_stand_ins as stand_ins

torch = pytest.importorskip("torch")

SCRIPT = """
from engines.pipeline import build, plan
from engines.techniques import GuidanceCutoff

RECIPE = (GuidanceCutoff(until=0.5),)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
"""


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_sets_are_compared_by_what_the_pack_has_and_fid_is_refused_with_the_reason(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ours = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    without = of_sets(ours, ours, pairs=True)
    assert without["sets"] == []
    assert "metrics get clip" in without["sets_note"]
    place.use("clip", stand_ins.clip(tmp_path / "clip"), encoders.check)
    place.use("dino", stand_ins.dino(tmp_path / "dino"), encoders.check)
    same = of_sets(ours, ours, pairs=True)
    assert [one["name"] for one in same["sets"]] == ["cmmd", "kid"]
    assert all(abs(one["value"]) < 1e-6 for one in same["sets"])
    assert "below 2,049" in same["sets_note"]
    dark = of_sets(ours // 8, ours, pairs=True)
    assert all(one["low"] > 0 for one in dark["sets"])
    clips = of_sets(np.stack([ours] * 3, axis=1), np.stack([ours // 8] * 3, axis=1), pairs=False)
    assert all(one["low"] > 0 for one in clips["sets"])


@pytest.mark.slow
def test_a_run_of_a_video_model_is_compared_frame_by_frame(tmp_path: Path) -> None:
    from engines.models.small.families import write
    from engines.models.small.workloads import workload_of

    source = str(write("modelscope", tmp_path / "model"))
    (tmp_path / "mine.py").write_text(SCRIPT)
    workload = workload_of("modelscope").model_dump(mode="json")
    workload["prompts"] = ["a red house", "a blue bird"]
    job = Job(tmp_path / "home")
    run = evaluate(job, source, str(tmp_path / "mine.py"), workload=workload)
    assert run["reason"] == "done", run
    found = compare(job, run["run"], "baseline", "c001", count=2)
    row = found["rows"][0]
    assert row["frames"] == 3
    assert len(row["curves"]["psnr"]) == 3
    assert {"psnr", "psnr_worst", "change", "flicker"} <= set(row["metrics"])
    folder = Path(found["folder"])
    first = folder / row["a"]
    assert first.name == "000.png"
    assert sorted(path.name for path in first.parent.iterdir()) == ["000.png", "001.png", "002.png"]
    assert compare(job, run["run"], "baseline", "c001", count=2)["rows"] == found["rows"]


@pytest.mark.slow
def test_a_clip_of_sixteen_frames_goes_from_the_windows_workload_through_judge_and_compare(
    tmp_path: Path,
) -> None:
    from engines.models.small.families import write
    from studio.record.settings import SavedWorkload

    source = str(write("animatediff", tmp_path / "model"))
    (tmp_path / "mine.py").write_text(SCRIPT)
    asked = SavedWorkload(prompts=("a red house", "a blue bird"), steps=2, guidance=4.0, frames=16)
    job = Job(tmp_path / "home")
    run = evaluate(job, source, str(tmp_path / "mine.py"), workload=asked.model_dump(mode="json"))
    assert run["reason"] == "done", run
    state = RunState.replay(Journal.read(job.run_folder(run["run"])))
    verdict = state.candidate("c001").verdict
    assert verdict is not None
    assert {"psnr", "psnr_worst", "change", "flicker"} <= set(verdict.metrics)
    assert {sample.frames for sample in verdict.samples} == {16}
    row = compare(job, run["run"], "baseline", "c001", count=2)["rows"][0]
    assert (row["frames"], len(row["curves"]["psnr"])) == (16, 16)
