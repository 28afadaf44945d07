"""A real run on the bundled model, small: evolve, compare, play, report, resume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.measure.images import PSNR_CAP
from studio.errors import Cancelled, RunError, RunLocked
from studio.record import library
from studio.record.events import Event
from studio.record.journal import Journal
from studio.record.lock import RunLock
from studio.record.state import RunState
from studio.work.compare import compare
from studio.work.job import Job
from studio.work.playground import _warm, generate
from studio.work.report import report
from studio.work.runs import evaluate, resume, start

GIVEN = """
from engines.pipeline import build, plan
from engines.techniques import FewerSteps

RECIPE = (FewerSteps(steps=4),)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def events(home: Path) -> list[Event]:
    """Everything that a run of one candidate told."""
    told: list[Event] = []
    job = Job(home, emit=told.append)
    result = start(
        job,
        model="tiny-scenes",
        workload={"steps": 4},
        generations=1,
        population=1,
        certify=False,
        out=str(home / "runs" / "small"),
    )
    assert result == {
        "run": "small",
        "folder": str(home / "runs" / "small"),
        "reason": "done",
        "winner": result["winner"],
    }
    return told


@pytest.fixture
def small(home: Path, events: list[Event]) -> Iterator[tuple[Path, RunState]]:
    folder = home / "runs" / "small"
    assert Journal.read(folder)[: len(events)] == events
    yield folder, RunState.replay(Journal.read(folder))
    _warm.close()


def test_a_real_run_leaves_scripts_pictures_and_a_front(small: tuple[Path, RunState]) -> None:
    folder, state = small
    assert state.phase == "done"
    assert state.baseline is not None
    assert state.baseline.passed
    assert state.started is not None
    assert state.started.metric.name == "adherence"
    assert state.started.machine["cores"] >= 1
    assert len(state.candidates) >= 2
    for candidate in state.candidates.values():
        assert candidate.verdict is not None
        compile((folder / candidate.proposal.script).read_text(), candidate.id, "exec")
        for sample in candidate.verdict.samples:
            assert (folder / sample.image).read_bytes().startswith(b"\x89PNG")
    assert any("processes of their own" in notice.text for notice in state.notices)
    assert library.entry(folder).state == "done"


def test_comparing_uses_the_same_prompts_and_seeds_and_is_remembered(
    small: tuple[Path, RunState], home: Path
) -> None:
    folder, state = small
    doing: list[str] = []
    other = next(name for name, one in state.candidates.items() if name != "c000" and one.passed)
    first = compare(
        Job(home, on_progress=lambda *told: doing.append(told[2])),
        run="small",
        a="baseline",
        b=other,
        count=18,
    )
    assert len(first["rows"]) == 18
    assert len({(row["prompt"], row["seed"]) for row in first["rows"]}) == 18
    likeness = [row["metrics"]["haarpsi"] for row in first["rows"]]
    assert likeness == sorted(likeness)
    assert {"psnr", "ssim", "adherence_a", "adherence_b"} <= set(first["mean"])
    for row in first["rows"]:
        assert (folder / row["a"]).is_file()
        assert (folder / row["b"]).is_file()
    # Sixteen are the gate's, two had to be drawn by each.
    assert len(list((folder / "compare" / "c000").iterdir())) == 2
    assert any("drawing" in words for words in doing)
    doing.clear()
    assert (
        compare(Job(home, on_progress=lambda *told: doing.append(told[2])), "small", "c000", other, 18)
        == first
    )
    assert doing == []
    itself = compare(Job(home), "small", "c000", "c000", 4)
    assert all(row["metrics"]["psnr"] == PSNR_CAP for row in itself["rows"])
    with pytest.raises(RunError, match="no candidate c777"):
        compare(Job(home), "small", "c777", "c000")


def test_the_playground_draws_a_prompt_with_both_and_keeps_what_was_drawn(
    small: tuple[Path, RunState], home: Path
) -> None:
    folder, _ = small
    first = generate(Job(home), run="small", prompt=" a red house\non the left ", seed=5)
    assert first["prompt"] == "a red house on the left"
    assert first["pictures"][0]["candidate"] == "c000"
    again = generate(Job(home), run="small", prompt="a red house on the left", candidate="c000", seed=5)
    assert len(again["pictures"]) == 1
    pictures = [first["pictures"][0]["image"], again["pictures"][0]["image"]]
    assert pictures[0] != pictures[1]
    assert (folder / pictures[0]).read_bytes() == (folder / pictures[1]).read_bytes()
    for prompt in ("", " \n ", "x" * 2001):
        with pytest.raises(RunError, match="characters"):
            generate(Job(home), run="small", prompt=prompt)


def test_a_cancelled_job_ends_before_it_draws(small: tuple[Path, RunState], home: Path) -> None:
    job = Job(home)
    job.cancelled.set()
    with pytest.raises(Cancelled):
        compare(job, "small", "c000", "c000", 20)


def test_the_report_of_a_real_run_shows_its_pictures(small: tuple[Path, RunState], home: Path) -> None:
    text = Path(report(Job(home), "small")["path"]).read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") >= 8
    assert "Tiny Scenes" in text


def test_a_finished_run_is_continued_only_with_more_to_do(small: tuple[Path, RunState], home: Path) -> None:
    folder, _ = small
    with pytest.raises(RunError, match="has finished"):
        resume(Job(home), run="small")
    with RunLock(folder), pytest.raises(RunLocked):
        resume(Job(home), run="small", generations=2)


def test_a_script_whose_recipe_does_not_fit_is_refused_before_anything_is_drawn(
    home: Path, tmp_path: Path
) -> None:
    script = tmp_path / "unfit.py"
    script.write_text(GIVEN.replace("FewerSteps(steps=4)", "FewerSteps(steps=49)"))
    told: list[Event] = []
    result = evaluate(Job(home, emit=told.append), model="tiny-scenes", script=str(script))
    assert result["reason"] == "failed"
    assert "not fewer" in next(item.data["text"] for item in told if item.type == "run.finished")
    assert not any(item.type.startswith("candidate") for item in told)


def test_a_script_of_the_users_own_is_judged(home: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    good = tmp_path / "good.py"
    good.write_text(GIVEN)
    result = evaluate(
        Job(home, emit=told.append), model="tiny-scenes", script=str(good), workload={"steps": 6}
    )
    assert result["reason"] == "done", [item.data for item in told if item.type == "run.finished"]
    assert result["winner"] == "c001"
