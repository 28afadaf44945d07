"""DiffBench itself: real models, real evaluator, a real service on loopback; stopped, gone on with, read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.models.small.__main__ import make
from studio.errors import RunError
from studio.record.events import Event
from studio.work.bench import bench
from studio.work.job import Job
from tests.messages_service import MODEL, MessagesService, Streamed

KEY = "sk-canary-51b0c2aa97"
FAMILIES = ("pixart-sigma", "sd3")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("models")
    return tuple(str(make(family, folder)) for family in FAMILIES)


@pytest.mark.slow
def test_a_benchmark_of_two_families_is_stopped_in_the_middle_and_goes_on(
    models: tuple[str, ...], tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "models": models, "levels": "L4-L5", "sample": 3, "search": 2, "generations": 1, "population": 2,
    }  # fmt: skip

    def stops(done: int, total: int, doing: str) -> None:
        if (done, total) == (1, 3):
            job.control.set("stop")

    job = Job(tmp_path, on_progress=stops)
    first = bench(job, **asked)
    results = Path(first["folder"]) / "results.jsonl"
    kept = results.read_text()
    assert (first["tasks"], first["of"], first["left"]) == (1, 3, 2)
    assert "run the same command again" in first["ended"]
    assert kept.count("\n") == 2, "whose they are, and the first"
    assert "Not finished: Stopped" in Path(first["report"]).read_text()
    results.write_text(kept + '{"task": "torn')

    told: list[tuple[int, int, str]] = []
    second = bench(Job(tmp_path, on_progress=lambda *said: told.append(said)), **asked)
    assert (second["tasks"], second["left"], second["ended"]) == (3, 0, "")
    assert not [doing for _, _, doing in told if "searching" in doing], "what can be asked for is known"
    assert min(done for done, total, _ in told if total == 3) == 1
    solved = [json.loads(line) for line in results.read_text().splitlines()[1:] if line.endswith("}")]
    assert [one["task"] for one in solved[:1]] == [json.loads(kept.splitlines()[1])["task"]]
    assert len({one["task"] for one in solved}) == 3
    assert {one["family"] for one in solved} == {"pix-art-sigma", "stable-diffusion3"}
    assert all(one["evaluations"] > 0 and one["speedup"] for one in solved)
    assert all("(haarpsi)" in one["text"] for one in solved)

    report = json.loads((Path(second["folder"]) / "report.json").read_text())
    assert report["rates"][-1]["tasks"] == 3
    assert sum(one["rates"][-1]["tasks"] for one in report["families"]) == 3
    words = (Path(second["folder"]) / "report.md").read_text()
    assert "3 of 3 tasks" in words
    assert "Not finished" not in words
    assert "| pix-art-sigma | Small pixart-sigma | haarpsi |" in words

    done = subprocess.run(
        [
            sys.executable, "-m", "studio", "bench", models[0], "--model", models[1], "--levels", "L4-L5",
            "--sample", "3", "--search", "2", "--generations", "1", "--population", "2", "--json",
        ],
        env={**os.environ, "PARETO_STUDIO_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"] == report["results"]


def asked_of_a_model(
    home: Path, model: str, service: MessagesService, sample: int
) -> tuple[dict[str, Any], list[Event], list[str]]:
    """A benchmark's result, its events and its lines of progress."""
    heard: list[Event] = []
    shown: list[str] = []
    job = Job(home, emit=heard.append, on_progress=lambda _done, _total, doing: shown.append(doing))
    found = bench(
        job, models=(model,), agent="llm", levels="L2", sample=sample, llm_url=service.url,
        llm_budget="300k tokens",
    )  # fmt: skip
    return found, heard, shown


SCRIPT = Streamed([("submit_script", {"change": "", "script": "import os\n"})])
REFUSED = Streamed([("text", "No.")], stop="refusal")


@pytest.mark.slow
def test_a_language_models_cost_is_estimated_counted_and_its_notices_passed_on(
    models: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_LLM_KEY", KEY)
    with MessagesService([SCRIPT, REFUSED], key=KEY) as service:
        found, heard, shown = asked_of_a_model(tmp_path, models[0], service, 1)
    notices = [item.data["text"] for item in heard if item.type == "notice"]
    answers = [item.data for item in heard if item.type == "llm.answered"]
    assert notices[0].startswith(f"The language model {MODEL} at {service.url}")
    assert notices[1].startswith("Estimate for the language model: 1 to ")
    asked = [item.type for item in heard].index("llm.asked")
    assert [item.type for item in heard[:asked]] == ["notice", "notice"], "before anything is asked"
    assert any("declined" in text for text in notices[2:]), notices
    assert [one["spent_tokens"] for one in answers] == [1200, 2400]
    assert any(text.startswith("2,400 tokens of 300,000 tokens · L2-pix-art-sigma-") for text in shown)
    said = found["language_model"]
    assert (said["calls"], said["tokens"], said["usd"]) == (2, 2400, None)
    assert said["estimate"]["calls"][0] == 1
    assert found["results"][0]["failure"] == "compile"
    words = Path(found["report"]).read_text()
    assert "Language model: 2 calls, 2,400 tokens of 300,000 tokens." in words
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_what_was_spent_before_counts_and_only_what_is_left_is_estimated(
    models: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_LLM_KEY", KEY)
    with MessagesService([SCRIPT, REFUSED, SCRIPT, REFUSED], key=KEY) as service:
        first, _, _ = asked_of_a_model(tmp_path, models[0], service, 1)
        # Asked in a task that was never finished.
        Path(first["folder"], "results.jsonl").unlink()
        more, _, shown = asked_of_a_model(tmp_path, models[0], service, 1)
    assert (more["tasks"], more["language_model"]["calls"]) == (1, 4)
    assert more["language_model"]["tokens"] == 4800
    assert more["language_model"]["estimate"]["calls"][0] == 1
    assert any(text.startswith("2,400 tokens of") for text in shown)


def test_two_models_of_one_name_are_refused(models: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Two of the models are called Small pixart-sigma"):
        bench(Job(tmp_path), models=(models[0], models[0]))
    assert not list(tmp_path.glob("bench/*/*"))
