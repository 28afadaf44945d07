"""The report: claims, plots and notes derived from a recorded run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from studio.errors import ReportError, RunError
from studio.record import events
from studio.record.data import Interval
from studio.record.described import Metric, ModelCard
from studio.record.journal import Journal
from studio.record.protocol import decode_event
from studio.record.state import RunState
from studio.record.verdict import Sample, Step, Verdict
from studio.work.job import Job
from studio.work.report import claims, notes, render, report
from studio.work.report_plot import Point, pareto, steps, time

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63f8cfc0500f"
    "0004850180848ea7f40000000049454e44ae426082"
)


def around(value: float, share: float = 0.05) -> Interval:
    return Interval(value=value, low=value * (1 - share), high=value * (1 + share))


def verdict(name: str, seconds: float, loss: float, psnr: float) -> Verdict:
    return Verdict(
        state="passed",
        stage="gate",
        latency=around(seconds),
        speedup=around(2 / seconds),
        loss=Interval(value=loss, low=loss - 0.005, high=loss + 0.005),
        metrics={"psnr": around(psnr)},
        memory=500,
        isolation="none" if name == "c003" else "isolated",
        stages={"encode": 0.1, "denoise": 0.2, "decode": 0.1},
        throughput={1: 1.0, 4: 2.0},
        samples=(
            Sample(
                prompt="a <red> house & more", seed=3, image=f"images/{name}/00.png", metrics={"psnr": psnr}
            ),
        ),
    )


def write_run(home: Path, *, certified: bool = True, finished: bool = True) -> Path:
    folder = home / "runs" / "r1"
    (folder / "images").mkdir(parents=True)
    steps_of = {
        "c000": [],
        "c001": [Step(technique="fewer-steps", parameters={"steps": 12})],
        "c002": [Step(technique="engine", parameters={"backend": "openvino"})],
        "c003": [
            Step(technique="fewer-steps", parameters={"steps": 8}),
            Step(technique="bf16"),
        ],
        "c004": [Step(technique="token-merging", parameters={"ratio": 0.5})],
    }
    verdicts = {
        "c000": verdict("c000", 2.0, 0.0, 100),
        "c001": verdict("c001", 0.8, 0.01, 24),
        "c002": verdict("c002", 0.9, 0.0, 45),
        "c003": verdict("c003", 0.3, 0.012, 22),
        "c004": Verdict(state="failed", stage="smoke", reason="The picture is <black>."),
    }
    with Journal.create(folder) as journal:
        journal.append(
            events.RunStarted(
                model=ModelCard(
                    name="Tiny Scenes",
                    source="tiny-scenes",
                    family="sd",
                    task="text-to-image",
                    size=64,
                    steps=30,
                    guidance=4,
                    licence="Apache-2.0",
                    components=(),
                    hash="ab" * 32,
                    memory=1,
                ),
                target="cpu",
                workload={},
                metric=Metric(name="adherence", title="Adherence loss", unit="share", note="A note."),
                preset="quick",
                generations=1,
                population=4,
                budget=None,
                seed=0,
                folder=str(folder),
                machine={"processor": "A processor", "memory": 2**34, "versions": {"torch": "2"}},
            )
        )
        for number, (name, recipe) in enumerate(steps_of.items()):
            journal.append(
                events.CandidateProposed(
                    id=name,
                    generation=1,
                    origin="seed",
                    parents=(),
                    recipe=tuple(recipe),
                    title=" + ".join(step.technique for step in recipe) or "baseline",
                    why="because",
                    script=f"candidates/{name}.py",
                )
            )
            picture = folder / "images" / name / "00.png"
            picture.parent.mkdir()
            picture.write_bytes(PIXEL)
            journal.append(events.CandidateJudged(id=name, verdict=verdicts[name]))
            journal.append(
                events.FrontUpdated(
                    generation=1,
                    front=("c003", "c002") if number >= 3 else ("c000",),
                    knee="c003",
                    hypervolume=0.1 * number,
                    reference=(2.2, 0.5),
                )
            )
        if certified:
            journal.append(
                events.Certified(
                    id="c003",
                    claim="adherence loss under 2 points",
                    held=True,
                    prompts=200,
                    loss=Interval(value=0.01, low=0.004, high=0.018),
                    speedup=around(6.5),
                )
            )
            journal.append(
                events.Certified(
                    id="c002",
                    claim="PSNR of 30 dB or more",
                    held=False,
                    prompts=0,
                    loss=None,
                    note="It crashed.",
                )
            )
        if finished:
            journal.append(events.RunFinished(reason="done", text="All done.", winner="c003"))
    return folder


def test_the_headline_says_what_was_certified_and_what_was_not(tmp_path: Path) -> None:
    state = RunState.replay(Journal.read(write_run(tmp_path)))
    found = {claim.standing: claim for claim in claims(state)}
    assert "6.5× as fast" in found["certified"].text
    assert "0.40 to 1.80 points" in found["certified"].detail
    assert "not proven: PSNR" in found["refuted"].text
    assert "It crashed" in found["refuted"].detail
    # 6.67x against 2.5x, each with 5 %: the ratio is surely above 1.
    assert "2.67× as fast as the best single technique (c001" in found["measured"].text
    assert "1 is excluded" in found["measured"].detail


def test_the_level_of_isolation_stands_beside_every_result(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    page = render(folder, RunState.replay(Journal.read(folder)))
    assert page.count("<td><span>isolated</span></td>") == 3
    assert page.count('<td><span class="warn">none</span></td>') == 1
    assert "<dd>none: nothing would have stopped it</dd>" in page  # the winner


def test_an_uncertified_or_unfinished_run_is_called_so(tmp_path: Path) -> None:
    state = RunState.replay(Journal.read(write_run(tmp_path, certified=False, finished=False)))
    text = " ".join(notes(state))
    assert "not certified on fresh ones" in text
    assert "has not finished" in text
    assert "1 of 5 candidates failed" in text


def test_the_page_is_one_file_that_asks_the_network_for_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    path = Path(report(Job(tmp_path), "r1")["path"])
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"'](?!data:)", text)
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("data:image/png;base64,") >= 2
    assert "a &lt;red&gt; house &amp; more" in text
    assert "The picture is &lt;black&gt;." in text
    assert "prefers-color-scheme: dark" in text
    for name in ("c000", "c001", "c002", "c003", "c004"):
        assert name in text
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(drawing)


def test_a_missing_picture_leaves_a_gap_and_not_a_failure(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    (folder / "images" / "c003" / "00.png").unlink()
    assert "no picture" in render(folder, RunState.replay(Journal.read(folder)))


def test_a_run_that_holds_nothing_gives_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r2"
    folder.mkdir(parents=True)
    Journal.create(folder).close()
    with pytest.raises(ReportError, match="holds no result yet"):
        report(Job(tmp_path), "r2")
    with pytest.raises(RunError, match="no run r3"):
        report(Job(tmp_path), "r3")


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReportError, match="cannot be written"):
        report(Job(tmp_path), "r1", str(tmp_path / "file" / "report.html"))


def test_the_plot_puts_faster_to_the_left_and_worse_to_the_top() -> None:
    fast = Point("a", "a", (0.1, 0.1, 0.1), (5, 5, 5), None, "dominated")
    slow = Point("b", "b", (1.0, 1.0, 1.0), (0, 0, 0), None, "dominated", "slow one")
    drawn = ET.fromstring(pareto([fast, slow], "Loss"))
    first, second = (
        (float(circle.attrib["cx"]), float(circle.attrib["cy"])) for circle in drawn.iter("circle")
    )
    assert first[0] < second[0]
    assert first[1] < second[1]
    assert "slow one" in "".join(drawn.itertext())


def test_plots_of_nothing_and_of_one_point_are_drawn() -> None:
    assert "No candidate" in pareto([], "Loss")
    ET.fromstring(pareto([Point("a", "a", (1, 1, 1), (0, 0, 0), 9e9, "baseline", "baseline")], "Loss"))
    assert steps([(1, 0.5)], "x", "y") == ""
    ET.fromstring(steps([(1, 0.0), (2, 0.0)], "x", "y"))


def test_times_are_written_with_three_digits() -> None:
    assert [time(value) for value in (0.0123, 0.34, 0.9999, 1.234, 12.3)] == [
        "12.3 ms",
        "340 ms",
        "1 s",
        "1.23 s",
        "12.3 s",
    ]


def test_the_recorded_run_is_understood_and_its_report_shows_pictures() -> None:
    folder = Path(__file__).parents[1] / "data" / "recorded-run"
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    state = RunState.replay(decode_event(line) for line in lines)
    assert state.phase in ("done", "budget")
    assert state.judged == len(state.candidates)
    assert set(state.front) <= set(state.candidates)
    assert state.baseline is not None
    assert state.baseline.verdict is not None
    assert render(folder, state).count("data:image/png;base64,") >= 8
    for candidate in state.candidates.values():
        assert (folder / candidate.proposal.script).is_file()
        assert candidate.verdict is not None
        assert candidate.verdict.isolation == candidate.verdict.walls == ""  # of before it was kept
