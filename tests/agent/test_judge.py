"""The judge on the bundled model: honest scripts pass, cheats are failed or exposed.

Two steps and eight gate pictures keep it short; everything is real: processes,
pipelines, pictures, clock.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agent.candidate import Candidate, Origin, Proposal, Recipe, Step, Verdict
from agent.errors import JudgeError
from agent.evaluate import given
from agent.evaluate.allowances import builders, candidates
from agent.evaluate.judge import Judge
from agent.sandbox import Answer, CandidateFailure, landlock
from agent.sandbox.limits import CONSENT
from engines.backends.base import READ_ONLY
from engines.paths import cache_folder
from engines.workload import Workload
from tests.agent.targets import Targets, planted

RECIPE: Recipe = (Step("prompt-cache", {}),)
HONEST = """
import numpy as np
from engines.pipeline import build, plan
from engines.techniques import PromptCache

RECIPE = (
    PromptCache(),
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
"""


def cheat(body: str, before: str = "") -> str:
    head, _ = HONEST.split("def generate")
    return f"{head}{before}\ndef generate(pipeline, prompts, seeds):\n{body}"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    folder = tmp_path_factory.mktemp("run")
    with Judge("tiny-scenes", "cpu", Workload(steps=2), folder, gate=8) as made:
        first = made.baseline()
        assert first.state == "passed", first.reason + first.evidence
        yield made


def verdict(
    judge: Judge, source: str, recipe: Recipe = RECIPE, name: str = "c001", origin: Origin = "new"
) -> Verdict:
    stages: list[str] = []
    found = judge.judge(
        Candidate(name, 1, Proposal(recipe, "a test", origin), source), lambda stage, _: stages.append(stage)
    )
    if found.state != "passed":
        assert found.reason.endswith("."), found
        assert "\n" not in found.reason
    assert stages[-1] == found.stage
    return found


@pytest.mark.parametrize(("call", "stage"), [(1, "smoke"), (2, "gate")])
def test_a_picture_that_breaks_in_a_corner_is_refused_where_it_is_drawn(
    judge: Judge, call: int, stage: str
) -> None:
    """A decoder that leaves fp16's range in one corner; the rest of the picture is right."""
    before = f"""
CALLS = []


def decoder(real):
    def component(inputs):
        found = {{name: value.copy() for name, value in real(inputs).items()}}
        CALLS.append(1)
        if len(CALLS) >= {call}:
            found["image"][-1, :, :4, :4] = np.inf
        return found

    return component


def broken(pipeline):
    parts = pipeline.loop._components
    if not CALLS:
        parts["decoder"] = decoder(parts["decoder"])
    return pipeline
"""
    body = "    return broken(pipeline).generate(prompts, seeds).images\n"
    found = verdict(judge, cheat(body, before), name="c009")
    assert (found.state, found.stage) == ("failed", stage)
    assert "1 of 4 pictures hold values that are not finite" in found.reason


def test_a_candidate_for_which_memory_runs_out_is_refused_in_one_sentence(judge: Judge) -> None:
    """By torch's own exception, with the words of its allocator on a card."""
    said = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1.02"
        " GiB is free. Including non-PyTorch memory, this process has 6.76 GiB memory in use."
    )
    body = f"    import torch\n    raise torch.OutOfMemoryError({said!r})\n"
    found = verdict(judge, cheat(body), name="c008")
    assert (found.state, found.stage) == ("failed", "smoke")
    assert "ran out of memory: 2.00 GiB more were wanted and 1.02 GiB of 7.79 GiB were free" in found.reason
    assert "OutOfMemoryError" in found.evidence


def test_a_large_model_may_take_what_its_weights_need_and_never_the_whole_machine() -> None:
    small, sdxl, gib = 60_000_000, 14 * 2**30, 2**30
    assert candidates(small, total=24 * gib).memory == 8192 + 85
    assert candidates(sdxl, total=64 * gib).memory == (8 + 21) * 1024
    assert candidates(sdxl, total=24 * gib).memory == int(0.7 * 24 * 1024)
    assert candidates(sdxl, total=24 * gib).memory < builders(sdxl, 24 * gib).memory < 24 * 1024
    assert builders(small).load_seconds == 1800
    assert builders(sdxl).load_seconds == 14 * 1800
    assert min(builders(sdxl).file, builders(sdxl).disk) > 10 * 1024  # one file holds a denoiser's weights


def test_the_baseline_leaves_its_pictures_and_is_not_drawn_twice(judge: Judge) -> None:
    pictures = sorted((judge.folder / "images" / "c000").glob("*.png"))
    assert len(pictures) == 8
    stamps = [path.stat().st_mtime_ns for path in pictures]
    with Judge("tiny-scenes", "cpu", Workload(steps=2), judge.folder, gate=8) as again:
        found = again.baseline()
    assert found.state == "passed"
    assert [path.stat().st_mtime_ns for path in pictures] == stamps
    assert found.latency is not None
    assert found.latency.value > 0
    assert found.loss is not None
    assert found.loss.value == 0
    assert [sample.image for sample in found.samples] == [f"images/c000/{i:02}.png" for i in range(8)]


def test_an_honest_script_passes_with_everything_measured(judge: Judge) -> None:
    found = verdict(judge, HONEST, name="c007")
    assert found.state == "passed", found
    assert found.stage == "gate"
    assert found.latency is not None
    assert found.latency.low <= found.latency.value <= found.latency.high
    assert found.speedup is not None
    assert found.warm_up > len(found.samples) / 4  # the gate's pictures by fours, and the robustness calls
    assert found.pairs >= 3
    assert 0.2 < found.speedup.value < 5
    assert set(found.throughput) == {1, 4}
    assert set(found.stages) == {"encode", "denoise", "scheduler", "decode"}
    assert found.memory is not None
    assert found.memory > 100
    assert found.loss is not None
    assert abs(found.loss.value) < 0.05
    assert found.metrics["psnr"].value > 30
    assert set(found.robustness.values()) == {"ok"}
    assert len(found.samples) == 8
    with Image.open(judge.folder / found.samples[3].image) as picture:
        assert picture.size == (64, 64)
    assert found.samples[3].metrics["psnr"] > 30
    assert {one.component for one in found.engines} == {"text_encoder", "denoiser", "decoder"}
    assert {(one.built_for, one.verified_on, one.psnr) for one in found.engines} == {
        ("the CPU", "the CPU", 200.0)
    }


def test_pictures_kept_by_prompt_fail_because_another_seed_changes_nothing(judge: Judge) -> None:
    body = """    for at, (prompt, seed) in enumerate(zip(prompts, seeds)):
        if prompt not in KEPT:
            KEPT[prompt] = pipeline.generate([prompt], [seed]).images[0]
    return np.stack([KEPT[prompt] for prompt in prompts])
"""
    found = verdict(judge, cheat(body, "KEPT = {}\n"))
    assert found.state == "failed"
    assert "Another seed gives the same picture" in found.reason


def test_one_picture_for_everything_fails(judge: Judge) -> None:
    body = """    if not KEPT:
        KEPT.append(pipeline.generate(prompts[:1], seeds[:1]).images[0])
    return np.stack([KEPT[0]] * len(prompts))
"""
    found = verdict(judge, cheat(body, "KEPT = []\n"))
    assert found.state == "failed"
    assert found.robustness["prompts"] != "ok"


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        ("np.random.default_rng(0).integers(0, 256, (len(prompts), 64, 64, 3), dtype=np.uint8)", "noise"),
        ("np.zeros((len(prompts), 64, 64, 3), np.uint8)", "black"),
        ("np.full((len(prompts), 64, 64, 3), 90, np.uint8)", "one solid colour"),
        ("np.zeros((len(prompts), 32, 32, 3), np.uint8)", "32x32 px"),
    ],
)
def test_no_picture_at_all_ends_at_the_smoke_stage(judge: Judge, picture: str, said: str) -> None:
    found = verdict(judge, cheat(f"    return {picture}\n"))
    assert (found.state, found.stage) == ("failed", "smoke")
    assert said in found.reason


def test_a_script_that_cheats_only_while_it_is_timed_is_quarantined(judge: Judge) -> None:
    body = """    CALLS.append(1)
    if len(CALLS) < 10:
        return pipeline.generate(prompts, seeds).images
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    return np.broadcast_to(ramp[:, None, None], (len(prompts), 64, 64, 3))
"""
    found = verdict(judge, cheat(body, "CALLS = []\n"))
    assert found.state == "quarantined"
    assert "timed" in found.reason


def test_pictures_kept_for_identical_requests_are_quarantined_with_the_evidence(judge: Judge) -> None:
    body = """    key = (tuple(prompts), tuple(seeds))
    if key not in KEPT:
        KEPT[key] = pipeline.generate(prompts, seeds).images
    return KEPT[key]
"""
    found = verdict(judge, cheat(body, "KEPT = {}\n"))
    assert found.state == "quarantined"
    assert "An identical request takes" in found.robustness["repeat"]
    assert found.robustness["repeat"] in found.evidence
    assert found.latency is not None


def test_another_recipe_than_the_declared_one_ends_at_the_static_stage(judge: Judge) -> None:
    found = verdict(judge, HONEST, recipe=(Step("fused-qkv", {}),))
    assert (found.state, found.stage) == ("failed", "static")
    assert "does not carry out its recipe" in found.reason


@pytest.mark.skipif(landlock.version() < 4, reason="this kernel cannot wall off files")
def test_the_reference_pictures_are_out_of_reach(judge: Judge) -> None:
    folder = judge.folder / "images" / "c000"
    body = (
        f"    files = [{str(folder)!r} + f'/{{i:02}}.png' for i in range(len(seeds))]\n"
        "    return np.stack([np.asarray(Image.open(file)) for file in files])\n"
    )
    found = verdict(judge, cheat(body, "from PIL import Image\n"))
    assert found.state == "failed"
    assert "PermissionError" in found.reason


def test_a_crash_costs_the_candidate_only_and_its_words_are_kept(judge: Judge) -> None:
    found = verdict(judge, cheat("    print('last words')\n    raise RuntimeError('gone wrong')\n"))
    assert (found.state, found.stage) == ("failed", "smoke")
    assert "gone wrong" in found.reason
    assert "last words" in found.evidence
    assert verdict(judge, HONEST).state == "passed"


def test_what_no_machine_can_do_in_that_time_is_quarantined_with_the_sum(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.measure.floor.least", lambda _: 60.0)
    monkeypatch.setattr("engines.measure.rates.remeasure", lambda _: None)
    found = verdict(judge, HONEST)
    assert found.state == "quarantined"
    assert "in less than 60000.00 ms" in found.reason
    lines = found.evidence.splitlines()
    assert {line.partition(":")[0] for line in lines} >= {"denoiser", "decoder", "together"}
    assert all("GFLOP" in line for line in lines)


def test_a_script_of_the_user_s_own_is_judged_without_a_recipe(judge: Judge) -> None:
    source = HONEST.replace("(\n    PromptCache(),\n)", "tuple([])")
    found = verdict(judge, source, recipe=(), origin="given")
    assert found.state == "passed"
    assert found.floor is None
    assert found.engines == ()


# -- a script of the user's own -------------------------------------------------------------------

HOSTILE = sorted((Path(__file__).parent / "hostile" / "given").glob("*.py"))


def unbuilt() -> str:
    """A script that says nothing of its engines and needs one that nobody has built."""
    ratio = round(random.uniform(0.2, 0.3), 6)
    head, _, rest = HONEST.partition("from engines.techniques")
    plan = f"replace(made, denoiser=replace(made.denoiser, merge_ratio={ratio}))"
    return (
        f"from dataclasses import replace\n{head}"
        f"\n\ndef load(model, device, workload):\n    made = plan(model, device, workload, ())\n"
        f"    return build({plan})\n\n\ndef generate{rest.partition('def generate')[2]}"
    )


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    with planted(tmp_path_factory.mktemp("model")) as made:
        yield made


@pytest.mark.skipif(not landlock.version(), reason="the walls of Linux")
@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_a_script_of_the_user_s_own_does_no_harm_either(judge: Judge, targets: Targets, path: Path) -> None:
    found = verdict(judge, targets.fill(path.read_text()), recipe=(), origin="given")
    assert (found.state, found.stage, found.isolation) == ("failed", "smoke", "isolated")
    assert "Permission" in found.reason + found.evidence
    assert "BREACH" not in found.reason
    assert targets.secret not in found.reason + found.evidence
    assert targets.touched() == ""
    assert not (cache_folder() / "planted").exists()
    unproven = judge.certify(
        Candidate("c009", 1, Proposal((), "a test", "given"), targets.fill(path.read_text())),
        "PSNR of 30 dB or more",
        8,
        lambda *_: None,
    )
    assert not unproven.held
    assert targets.secret not in unproven.note
    assert targets.touched() == ""


@pytest.mark.skipif(not landlock.version(), reason="the walls of Linux")
def test_a_script_that_builds_engines_itself_is_told_the_way_on(judge: Judge) -> None:
    found = verdict(judge, unbuilt(), recipe=(), origin="given")
    assert (found.state, found.isolation) == ("failed", "isolated")
    assert "declare a literal RECIPE" in found.reason
    assert "--without-walls" in found.reason
    assert READ_ONLY in found.evidence


@pytest.mark.slow
def test_with_the_user_s_word_it_builds_its_engine_and_the_level_says_what_it_was(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONSENT, "yes")
    found = verdict(judge, unbuilt(), recipe=(), origin="given")
    assert (found.state, found.isolation) == ("passed", "none"), found.reason


def test_only_a_script_that_builds_engines_itself_runs_without_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only with the user's word."""
    builds = Candidate("c001", 1, Proposal((), "", "given"), unbuilt())
    monkeypatch.setenv(CONSENT, "")
    assert not given.without_walls(builds)
    monkeypatch.setenv(CONSENT, "yes")
    assert given.without_walls(builds)
    declares = Candidate("c002", 1, Proposal((), "", "given"), HONEST)
    assert not given.without_walls(declares)  # its engines are built for it
    assert not given.without_walls(Candidate("c003", 1, Proposal((), "", "new"), unbuilt()))


def test_an_engine_that_stands_in_for_one_that_could_not_be_built_is_a_failure() -> None:
    drawn = Answer(np.zeros((1, 8, 8, 3), np.uint8), 1.0, fallbacks=(f"OpenVINO was not used: {READ_ONLY}.",))
    computed = HONEST.replace("(\n    PromptCache(),\n)", "tuple([])")
    with pytest.raises(CandidateFailure, match="declare a literal RECIPE"):
        given.check(Candidate("c001", 1, Proposal((), "", "given"), computed), drawn)
    assert given.check(Candidate("c001", 1, Proposal((), "", "given"), HONEST), drawn) is drawn
    assert given.check(Candidate("c001", 1, Proposal((), "", "new"), computed), drawn) is drawn


def test_a_claim_is_certified_on_sealed_prompts_with_one_sided_bounds(judge: Judge) -> None:
    seen: list[tuple[int, int]] = []
    candidate = Candidate("c001", 1, Proposal(RECIPE, "a test", "new"), HONEST)
    found = judge.certify(
        candidate, "PSNR of 30 dB or more", 8, lambda done, total, _: seen.append((done, total))
    )
    assert found.held
    assert found.prompts == 8
    assert found.loss.low <= found.loss.value
    assert found.speedup is not None
    assert found.isolation in ("isolated", "limited")
    assert seen[-1] == (8, 8)
    wrong = judge.certify(candidate, "PSNR of 90 dB or more", 8, lambda *_: None)
    assert not wrong.held


def test_a_stopped_evaluation_blames_nobody(tmp_path: Path) -> None:
    with Judge("tiny-scenes", "cpu", Workload(steps=2), tmp_path, gate=8) as judge:
        judge.abort()
        with pytest.raises(JudgeError, match="stopped"):
            judge.baseline()


@pytest.mark.slow
def test_a_device_that_torch_does_not_know_is_judged_against_its_plain_engine(tmp_path: Path) -> None:
    """DirectML, by the CPU provider that stands in for it here."""
    with Judge("tiny-scenes", "directml", Workload(steps=2), tmp_path, gate=8) as made:
        first = made.baseline()
        assert first.state == "passed", first.reason + first.evidence
        found = verdict(made, HONEST, name="c001")
        assert found.state == "passed", found.reason + found.evidence
        assert "in place of a DirectX 12 GPU" in " ".join(found.fallbacks)
        assert found.card_memory is None
        assert {one.built_for for one in found.engines} == {"a DirectX 12 GPU"}
        assert {(one.verified_on, one.stand_in) for one in found.engines} == {
            ("", "ONNX Runtime's CPU provider")
        }
        assert all(one.psnr is not None and 30 < one.psnr < 200 for one in found.engines)


def test_a_plain_script_s_calls_are_counted_by_the_program_and_put_in_its_verdict(judge: Judge) -> None:
    found = verdict(judge, HONEST.replace("import numpy as np\n", ""), name="c020")
    assert found.state == "passed", found.reason
    counted = found.census
    assert counted is not None
    assert (counted.by, counted.declared) == ("program", "torch fp32")
    calls = {one.component: (one.calls, one.shape, one.engine) for one in counted.counted}
    assert calls["denoiser"] == (2, "8x8", "torch fp32")
    assert calls["decoder"] == (1, "8x8", "torch fp32")
    assert set(found.spent) >= {"static", "smoke", "gate"}
    assert "honesty" not in found.spent
    kid = found.metrics["kid"]
    assert kid.low <= kid.value <= kid.high
    assert found.sets_note == ""


def test_a_script_with_code_of_its_own_is_counted_by_torch_s_observer(judge: Judge) -> None:
    found = verdict(
        judge, cheat("    return pipeline.generate(list(prompts), list(seeds)).images\n"), name="c021"
    )
    assert found.state == "passed", found.reason + found.evidence
    counted = found.census
    assert counted is not None
    assert counted.by == "trace"
    assert {one.component: one.calls for one in counted.counted}["denoiser"] == 2
    assert counted.flops > 1e9
    assert max(counted.sides) == 64
    assert set(counted.dtypes) == {"float32"}
    assert found.spent["honesty"] > 0


def test_a_hopeless_candidate_is_given_up_before_it_is_timed(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is moved to where four pictures can lie beyond it for sure: two steps lose much themselves."""
    monkeypatch.setattr(judge, "_line", -0.9)
    elsewhere = cheat("    return 255 - pipeline.generate(prompts, seeds).images[:, ::-1]\n")
    found = verdict(judge, elsewhere, name="c022")
    assert (found.state, found.stage, found.stopped) == ("failed", "smoke", True), found.reason
    assert "Stopped early, after 4 pictures" in found.reason
    assert "One-sided bound" in found.evidence
    assert found.latency is None
    assert found.loss is not None
    assert "gate" not in found.spent


@pytest.mark.slow
def test_a_user_s_own_script_is_measured_in_full_however_hopeless(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_line", -0.9)
    elsewhere = cheat("    return 255 - pipeline.generate(prompts, seeds).images[:, ::-1]\n")
    found = verdict(judge, elsewhere, name="c024", origin="given")
    assert not found.stopped
    assert found.latency is not None


def test_a_candidate_that_takes_far_longer_is_given_up(judge: Judge) -> None:
    body = "    import time\n    time.sleep(1.0 * len(prompts))\n"
    slow = cheat(f"{body}    return pipeline.generate(prompts, seeds).images\n")
    found = verdict(judge, slow, name="c023")
    assert (found.state, found.stage, found.stopped) == ("failed", "smoke", True), found.reason
    assert "times the baseline's time" in found.reason
    assert found.speedup is not None
    assert found.speedup.high < 0.5
    assert found.samples == ()
