"""A whole run with a language model behind a server on loopback: real judge, real scripts, real SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.llm.errors import LlmKeyError, LlmUnusable
from studio.errors import RunError
from studio.record.events import Event, LlmAnswered, LlmAsked
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.job import Job
from studio.work.llm import cost, models, prompts, store_key
from studio.work.runs import resume, start
from tests.language_agent import Answers, plan
from tests.messages_service import MODEL, MessagesService, Status, Streamed, model

KEY = "sk-canary-7f3a9c51e2d84b06"

_HEAD = """import numpy as np
import torch
from engines.pipeline import build, plan
from engines.techniques import FewerSteps

RECIPE = (FewerSteps(steps=4),)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    images = pipeline.generate(prompts, seeds).images
"""
BROKEN = (
    _HEAD
    + """    environment = getattr(torch, "os").environ
    raise ValueError(f"the pictures are {images.shape} of {prompts[0]} in {dict(environment)}")
"""
)
"""Fails at smoke, and puts its environment into the evidence."""
MENDED = _HEAD + "    return np.ascontiguousarray(images)\n"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PARETO_STUDIO_LLM_KEY", KEY)
    return KEY


@pytest.fixture(scope="module")
def told() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("llm-home")


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[MessagesService, Answers]]:
    answers = Answers(
        [[plan(("fewer-steps", {"steps": 4}), code=f"Return pictures contiguous; my key is {KEY}.")]],
        [BROKEN],
        [MENDED],
    )
    with MessagesService(answers, key=KEY) as running:
        yield running, answers


@pytest.fixture(scope="module")
def ran(home: Path, service: tuple[MessagesService, Answers], told: list[Event]) -> dict[str, Any]:
    """A run of one plan whose script fails and is repaired."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PARETO_STUDIO_LLM_KEY", KEY)
    try:
        return start(
            Job(home, emit=told.append),
            model="tiny-scenes",
            workload={"steps": 6, "prompts": ["a red house under a secret moon"] * 3},
            generations=1,
            population=1,
            certify=False,
            out=str(home / "runs" / "talk"),
            agent="llm",
            llm_url=service[0].url,
            llm_budget="200k tokens",
            wishes=("try without int8",),
        )
    finally:
        patch.undo()


@pytest.mark.slow
def test_a_script_that_fails_on_the_real_evaluator_is_repaired_end_to_end(
    ran: dict[str, Any], home: Path, service: tuple[MessagesService, Answers]
) -> None:
    state = RunState.replay(Journal.read(home / "runs" / "talk"))
    verdicts = {name: one.verdict for name, one in state.candidates.items()}
    assert verdicts["c001"] is not None
    assert (verdicts["c001"].state, verdicts["c001"].stage) == ("failed", "smoke")
    assert verdicts["c002"] is not None
    assert verdicts["c002"].state == "passed", verdicts["c002"].reason
    assert state.candidates["c002"].proposal.parents == ("c001",)
    assert ran["reason"] == "done"
    assert ran["winner"] == "c002"
    assert service[1].asked == ["plan", "code", "repair"]
    assert state.started is not None
    assert state.started.agent is not None
    assert state.started.agent.model == MODEL
    repair = service[0].bodies[2]["messages"][0]["content"]
    assert "the pictures are (" in repair
    assert "try without int8" in service[0].bodies[0]["messages"][0]["content"]


@pytest.mark.slow
def test_every_call_is_in_the_journal_with_its_cost_and_in_a_file_with_its_words(
    ran: dict[str, Any], home: Path, told: list[Event]
) -> None:
    folder = home / "runs" / "talk"
    state = RunState.replay(Journal.read(folder))
    assert [one.purpose for one in state.asked.values()] == ["plan", "code", "repair"]
    assert [one.candidate for one in state.asked.values()] == ["", "c001", "c002"]
    answer = state.answered[3]
    assert (answer.input, answer.read, answer.output) == (900, 5000, 200)
    # The price of a model is known for the service's own address only.
    assert answer.usd is None
    assert answer.spent_tokens == 3 * 6100
    assert answer.summary == "The pictures come channels first. They are turned."
    kept = json.loads((folder / answer.file).read_text())
    assert kept["prompt"].startswith("c001 did not pass.")
    assert kept["answer"]["tools"][0]["input"]["script"] == MENDED
    assert kept["prompts"] == ["system/1", "repair/2"]
    for name in kept["system"]:
        assert (folder / name).is_file()
    deltas = [item for item in told if item.type == "llm.delta"]
    assert {item.data["kind"] for item in deltas} >= {"thinking", "tool"}
    assert all(item.seq == 0 and item.run == "talk" for item in deltas)
    notices = " ".join(one.text for one in state.notices)
    assert "Never: pictures" in notices
    assert "Estimate for the language model" in notices


@pytest.mark.slow
def test_the_key_is_nowhere_in_anything_that_a_run_leaves(
    ran: dict[str, Any], home: Path, told: list[Event], service: tuple[MessagesService, Answers]
) -> None:
    assert service[0].asked[0].key == KEY
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "journal.sqlite" for path in files)
    assert any(path.name == "c001.py" for path in files)
    assert any(path.parent.name == "llm" for path in files)
    spoken = KEY.encode()
    for path in files:
        content = path.read_bytes()
        assert spoken not in content, path
        assert spoken[::-1] not in content, path
    assert KEY not in "".join(item.model_dump_json() for item in told)
    for one in service[0].bodies:
        assert KEY not in json.dumps(one)


@pytest.mark.slow
def test_nothing_leaves_but_what_is_listed(
    ran: dict[str, Any], home: Path, service: tuple[MessagesService, Answers]
) -> None:
    sent = b"".join(one.raw for one in service[0].asked).decode()
    assert "secret moon" not in sent
    assert str(home) not in sent
    assert str(Path.home()) not in sent
    assert "image" not in {
        block.get("type")
        for body in service[0].bodies
        for block in body["messages"]
        if isinstance(block["content"], list)
        for block in block["content"]
    }
    assert len(sent) < 500_000


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_and_counts_on(
    ran: dict[str, Any], home: Path, service: tuple[MessagesService, Answers], key: str
) -> None:
    with pytest.raises(RunError, match="--llm-budget"):
        resume(Job(home), run="talk")
    before = len(service[0].bodies)
    result = resume(Job(home), run="talk", llm_budget="1k tokens", certify=False, generations=2)
    state = RunState.replay(Journal.read(home / "runs" / "talk"))
    # A thousand tokens hold no plan: the run ends by its budget without a question.
    assert result["reason"] == "budget"
    assert len(service[0].bodies) == before
    assert state.started is not None
    assert state.started.agent is not None
    assert state.started.agent.tokens == 3 * 6100 + 1000


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"llm_model": "nobody"}, LlmUnusable, f"offers no model nobody; it offers: {MODEL}"),
        ({"llm_budget": "$5"}, LlmUnusable, "price of this model at this address is not known"),
        ({"llm_budget": "a lot"}, RunError, "is no budget"),
        ({"llm_url": "ftp://x"}, LlmUnusable, "no address of a service"),
        ({"llm_url": "http://me:secret@127.0.0.1:1"}, LlmUnusable, "must not carry"),
        ({"preset": "fast"}, RunError, "no preset fast"),
        ({"agent": "robot"}, RunError, "no agent robot"),
        ({"agent": "built-in", "wishes": ("faster",)}, RunError, "did not understand that. Say for example"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    tmp_path: Path, key: str, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with MessagesService([]) as running, pytest.raises(error, match=words) as found:
        start(Job(tmp_path), model="tiny-scenes", **{"agent": "llm", "llm_url": running.url, **arguments})
    assert "secret" not in str(found.value)
    assert not (tmp_path / "runs").exists()


def test_a_key_that_is_refused_is_said_without_the_key(tmp_path: Path, key: str) -> None:
    with MessagesService([], key="another") as running, pytest.raises(LlmKeyError) as found:
        start(Job(tmp_path), model="tiny-scenes", agent="llm", llm_url=running.url)
    assert KEY not in str(found.value)


def test_front_ends_are_told_models_prices_and_what_leaves(tmp_path: Path, key: str) -> None:
    with MessagesService([], [model(MODEL), model("local")]) as running:
        found = models(Job(tmp_path), url=running.url)
    assert [one["id"] for one in found["models"]] == [MODEL, "local"]
    assert found["key"] == "environment"
    assert found["local"] is True
    assert found["models"][0]["input"] is None
    assert any("scripts" in line for line in found["leaves"])
    assert any("weights" in line for line in found["stays"])
    texts = prompts(Job(tmp_path))["prompts"]
    assert [one["name"] for one in texts] == ["system", "plan", "code", "repair", "bench"]


def test_an_estimate_comes_before_a_run_with_money_where_prices_are_known(tmp_path: Path) -> None:
    known = cost(Job(tmp_path), "tiny-scenes", MODEL, url="https://api.anthropic.com")
    assert known["calls"][0] == 4
    assert known["tokens"][0] < known["tokens"][1]
    assert 0.05 < known["usd"][0] < known["usd"][1] < 20
    paper = cost(Job(tmp_path), "tiny-scenes", MODEL, preset="paper", url="https://api.anthropic.com")
    assert paper["tokens"][0] > known["tokens"][0]
    assert cost(Job(tmp_path), "tiny-scenes", MODEL, url="http://127.0.0.1:9")["usd"] is None


@pytest.fixture
def no_keyring() -> Iterator[None]:
    """Whatever this machine has, and whatever another test has set."""
    import keyring
    from keyring.core import load_keyring

    before = keyring.get_keyring()
    keyring.set_keyring(load_keyring("keyring.backends.fail.Keyring"))
    yield
    keyring.set_keyring(before)


def test_without_a_keyring_a_key_is_kept_for_the_sitting_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_keyring: None
) -> None:
    monkeypatch.delenv("PARETO_STUDIO_LLM_KEY", raising=False)
    with MessagesService([], key=KEY) as running:
        with pytest.raises(LlmKeyError):
            models(Job(tmp_path), url=running.url)
        assert store_key(Job(tmp_path), KEY, running.url) == {"url": running.url, "kept": "sitting"}
        assert models(Job(tmp_path), url=running.url)["key"] == "sitting"
        store_key(Job(tmp_path), "", running.url)
        with pytest.raises(LlmKeyError):
            models(Job(tmp_path), url=running.url)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_the_command_does_the_same_and_prints_no_key(tmp_path: Path) -> None:
    answers = Answers([[plan(("student", {"steps": 4}))]], [BROKEN], [MENDED])
    environment = {**os.environ, "PARETO_STUDIO_LLM_KEY": KEY, "PARETO_STUDIO_HOME": str(tmp_path)}
    environment["ANTHROPIC_LOG"] = "debug"
    with MessagesService(answers, key=KEY) as running:
        done = subprocess.run(
            [
                sys.executable, "-m", "studio", "optimize", "tiny-scenes", "--agent", "llm",
                "--llm-url", running.url, "--llm-budget", "100k tokens", "--generations", "1",
                "--population", "1", "--steps", "6", "--no-certify",
            ],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "plan" in done.stdout
    assert "tokens" in done.stdout
    assert KEY not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_event_shapes_hold_no_place_for_a_key() -> None:
    fields = {*LlmAsked.model_fields, *LlmAnswered.model_fields}
    assert not {name for name in fields if "key" in name}
    assert Status(401).code == 401
    assert Streamed([]).stop == ""


@pytest.mark.slow
def test_a_run_is_steered_and_each_candidate_waits_for_the_users_word(tmp_path: Path, key: str) -> None:
    answers = Answers(
        [
            [plan(("fewer-steps", {"steps": 5})), plan(("fewer-steps", {"steps": 4}))],
            [plan(("student", {"steps": 4})), plan(("prompt-cache", {}))],
        ]
    )
    seen: list[Event] = []

    def heard(item: Event) -> None:
        seen.append(item)
        if item.type == "candidate.waiting":
            job.control.steer("try without int8")
            job.control.decide(item.data["id"], run=item.data["id"] == "c002")

    job = Job(tmp_path, emit=heard)
    with MessagesService(answers, key=KEY) as running:
        result = start(
            job,
            model="tiny-scenes",
            workload={"steps": 6},
            generations=2,
            population=2,
            certify=False,
            out=str(tmp_path / "runs" / "asked"),
            agent="llm",
            llm_url=running.url,
            approve=True,
        )
        second = running.bodies[1]["messages"][0]["content"]
    state = RunState.replay(Journal.read(tmp_path / "runs" / "asked"))
    decided = [(item.data["id"], item.data["run"]) for item in seen if item.type == "candidate.decided"]
    assert decided[:2] == [("c001", False), ("c002", True)]
    assert state.candidates["c001"].verdict is None
    assert state.candidates["c002"].passed
    assert result["winner"] == "c002"
    assert "try without int8" in state.steered
    assert "- try without int8" in second
    assert "I did not want c001" in second
