"""Clips and enlarged pictures through the judge: built small with random weights, everything else real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agent.candidate import Candidate, Proposal, Recipe, Step, Verdict
from agent.evaluate.declared import CANONICAL, same_recipe
from agent.evaluate.judge import Judge
from agent.evaluate.reference import read_picture
from engines.models.small.families import write
from engines.models.small.workloads import workload_of
from engines.workload import Workload

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")


def judged(judge: Judge, recipe: Recipe) -> Verdict:
    first = judge.baseline()
    assert first.state == "passed", first.reason + first.evidence
    script = CANONICAL.format(recipe=same_recipe(recipe))
    found = judge.judge(Candidate("c001", 1, Proposal(recipe, "a test", "new"), script), lambda *_: None)
    assert found.state == "passed", found.reason + found.evidence
    return found


def test_a_video_is_judged_frame_by_frame_and_between_frames(tmp_path: Path) -> None:
    source = str(write("modelscope", tmp_path / "model"))
    prompts = ("a red house", "a blue bird", "the cat", "a small tree")
    workload = workload_of("modelscope").model_copy(update={"prompts": prompts})
    with Judge(source, "cpu", workload, tmp_path / "run", gate=8) as judge:
        found = judged(judge, (Step("guidance-cutoff", {"until": 0.5}),))
    assert {"psnr", "haarpsi", "psnr_worst", "change", "flicker"} <= set(found.metrics) | {"haarpsi"}
    assert found.metrics["psnr_worst"].value <= found.metrics["psnr"].value + 1e-6
    sample = found.samples[0]
    assert (sample.image, sample.frames) == ("images/c001/00/000.png", 3)
    assert len(sample.curves["psnr"]) == 3
    clip = read_picture(tmp_path / "run" / sample.image, sample.frames)
    assert clip.shape[0] == 3
    with Judge(source, "cpu", workload, tmp_path / "run", gate=8) as again:
        stamp = (tmp_path / "run" / "images" / "c000" / "00" / "000.png").stat().st_mtime_ns
        assert again.baseline().state == "passed"
    assert (tmp_path / "run" / "images" / "c000" / "00" / "000.png").stat().st_mtime_ns == stamp


def test_a_network_that_enlarges_is_judged_against_eager_and_against_what_it_was_given(
    tmp_path: Path,
) -> None:
    from safetensors.torch import save_file
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    source = tmp_path / "enlarge-x4.safetensors"
    save_file(ESRGAN(num_filters=8, num_blocks=1, scale=4).state_dict(), source)
    rng = np.random.default_rng(0)
    prompts = []
    for number in range(4):
        small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize((24, 24))
        small.save(tmp_path / f"given{number}.png")
        prompts.append(str(tmp_path / f"given{number}.png"))
    workload = Workload(prompts=tuple(prompts), size=96)
    with Judge(str(source), "cpu", workload, tmp_path / "run", gate=8) as judge:
        found = judged(judge, (Step("engine", {"backend": "openvino"}),))
        assert judge.quality.name == "haarpsi"
        baseline = judge.baseline()
    assert found.metrics["psnr"].value > 40
    assert found.metrics["consistency"].value == pytest.approx(baseline.metrics["consistency"].value, abs=0.5)
    with Image.open(tmp_path / "run" / found.samples[0].given) as given:
        assert given.size == (24, 24)
