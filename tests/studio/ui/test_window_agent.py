"""The agent in the window: consent before the first call, conversation, lineage, steering, approval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtWidgets import QApplication, QDialog, QPlainTextEdit
from pytestqt.qtbot import QtBot

from studio.record import events as ev
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.ui.pages.agent import AgentDialog, ConsentDialog, PromptsDialog
from studio.ui.pages.evolve import EvolvePage
from studio.ui.pages.lineage import layout
from studio.ui.window import Window
from tests.studio.ui.window_recording import CARD

ABOUT = {
    "url": "http://127.0.0.1:8080",
    "local": True,
    "key": "none",
    "needs_key": False,
    "prices": {"as_of": "2026-10-24", "source": "the price list"},
    "leaves": ["the model card", "code"],
    "stays": ["pictures", "weights"],
}
MODEL = "claude-opus-5-5"


def talk_events(folder: Path) -> list[ev.Data]:
    """A run in which c001 failed, c002 repaired it and c003 came from c002."""
    choice = ev.LlmChoice(model=MODEL, url="http://127.0.0.1:8080", approve=True)
    found: list[ev.Data] = [
        ev.RunStarted(
            model=CARD, target="cpu", workload={}, metric=ev.Metric(name="adherence", title="A", unit=""),
            preset="hybrid", generations=2, population=2, budget=None, seed=0, folder=str(folder),
            agent=choice,
        ),
        proposed("c000", 0, "baseline"),
        ev.CandidateJudged(id="c000", verdict=verdict("passed")),
        *called(1, "plan", "", "2 plans", 1),
        *called(2, "code", "c001", "", 1, error="The service is overloaded."),
        proposed("c001", 1, "seed"),
        ev.CandidateJudged(id="c001", verdict=verdict("failed")),
        *called(3, "repair", "c002", "The axis was wrong.", 1),
        proposed("c002", 1, "refined", "c001"),
        ev.CandidateJudged(id="c002", verdict=verdict("passed")),
        ev.RunSteered(text="try without int8"),
        *called(4, "plan", "", "1 plans", 2),
        proposed("c003", 2, "refined", "c002"),
    ]  # fmt: skip
    return found


def proposed(name: str, generation: int, origin: Any, *parents: str) -> ev.CandidateProposed:
    return ev.CandidateProposed(
        id=name, generation=generation, origin=origin, parents=parents, recipe=(), title=f"title of {name}",
        why="Because.", script=f"candidates/{name}.py", code="" if origin == "baseline" else "A kernel.",
    )  # fmt: skip


def verdict(state: Any) -> ev.Verdict:
    passed = state == "passed"
    one = ev.Interval(value=0.5, low=0.4, high=0.6)
    return ev.Verdict(
        state=state, stage="gate" if passed else "smoke", reason="" if passed else "It broke.",
        latency=one if passed else None, speedup=one if passed else None, loss=one if passed else None,
    )  # fmt: skip


def called(
    number: int, purpose: Any, candidate: str, summary: str, generation: int, error: str = ""
) -> list[ev.Data]:
    file = f"llm/{number:03}.json"
    return [
        ev.LlmAsked(
            call=number, purpose=purpose, generation=generation, candidate=candidate, model=MODEL,
            prompts=("system/1", f"{purpose}/1"), file=file,
        ),
        ev.LlmAnswered(
            call=number, purpose=purpose, candidate=candidate, error=error, summary=summary, input=1000,
            output=500, usd=0.014, seconds=3.2, file=file,
        ),
    ]  # fmt: skip


def write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "llm").mkdir()
    (folder / "llm" / "system-1.md").write_text("Rules and knowledge.")
    for number in range(1, 5):
        tools = [{"name": "submit_script", "input": {"cause": "The axis.", "script": f"# script {number}"}}]
        kept = {
            "prompt": f"question {number}",
            "system": ["llm/system-1.md", "../../outside.md"],
            "answer": {"thinking": "Hm.", "text": "", "tools": tools},
        }
        (folder / "llm" / f"{number:03}.json").write_text(json.dumps(kept))
    (folder.parents[1] / "outside.md").write_text("outside")
    with Journal.create(folder) as journal:
        for data in talk_events(folder):
            journal.append(data)
    return folder


@pytest.fixture
def talked(tmp_path: Path) -> Path:
    return write(tmp_path / "runs" / "talk")


@pytest.fixture
def evolve(window: Window, talked: Path) -> EvolvePage:
    window.go("evolve")
    window.desk.open_run(talked)
    page = window.page("evolve")
    assert isinstance(page, EvolvePage)
    return page


def requests(window: Window) -> list[tuple[str, dict[str, Any]]]:
    """What the worker was asked, in order."""
    lines = [json.loads(line) for line in window.worker._waiting]
    return [(line["command"], line["arguments"]) for line in lines]


def answer(window: Window, command: str, result: dict[str, Any]) -> None:
    for job in list(window.worker._jobs.values()):
        if job.command == command:
            job.done.emit(result)


def test_every_call_is_listed_with_its_cost_and_shows_its_words(evolve: EvolvePage) -> None:
    talk = evolve.talk
    evolve.views.setCurrentWidget(talk)
    assert [talk.calls.item(at).text() for at in range(talk.calls.count())] == [
        "1  Plan (generation 1) · 1,500 tokens · $0.014",
        "2  Code c001 · 1,500 tokens · $0.014 · failed",
        "3  Repair c002 · 1,500 tokens · $0.014",
        "4  Plan (generation 2) · 1,500 tokens · $0.014",
    ]
    talk.calls.setCurrentRow(2)
    assert talk.question.toPlainText() == "question 3"
    assert "The axis." in talk.answer.toPlainText()
    assert "# script 3" in talk.answer.toPlainText()
    assert "prompts system/1, repair/1" in talk.about.text()
    talk.tabs.setCurrentWidget(talk.fixed)
    assert talk.fixed.toPlainText().startswith("Rules and knowledge.")
    # A name that leads out of the run's folder is not read.
    assert "outside" not in talk.fixed.toPlainText()


def test_the_selected_candidate_shows_its_plan_its_script_and_its_repair(
    window: Window, evolve: EvolvePage
) -> None:
    window.desk.select("c002")
    evolve.talk.only.setChecked(True)
    numbers = [evolve.talk.calls.item(at).text()[0] for at in range(evolve.talk.calls.count())]
    assert numbers == ["1", "3"]
    window.desk.select("c003")
    assert [evolve.talk.calls.item(at).text()[0] for at in range(evolve.talk.calls.count())] == ["4"]


def test_an_answer_is_seen_as_it_streams_in(window: Window, evolve: EvolvePage) -> None:
    run = window.desk.run
    asked = called(5, "plan", "", "", 2)[0]
    run.feed([ev.event(asked, run=run.id, seq=run.state.seq + 1)])
    for kind, words in (("thinking", "Let me "), ("thinking", "see."), ("wait", "busy"), ("tool", '{"plans')):
        window.worker.heard.emit(ev.LlmDelta(call=5, kind=kind, text=words))  # type: ignore[arg-type]
    shown = evolve.talk.answer.toPlainText()
    assert shown.startswith("Let me see.")
    assert "[busy]" in shown
    assert shown.endswith('{"plans')
    assert "answering" in evolve.talk.about.text()


def test_the_lineage_has_a_column_a_generation_and_a_lane_for_the_failed(talked: Path) -> None:
    state = RunState.replay(Journal.read(talked))
    nodes, _ = layout(state.candidates)
    places = {node.name: (node.column, node.row, node.failed) for node in nodes}
    assert places == {
        "c000": (0, 0, False),
        "c001": (1, 0, True),
        "c002": (1, 0, False),
        "c003": (2, 0, False),
    }


def test_no_two_candidates_of_a_long_run_share_a_place(recorded_run: Path) -> None:
    nodes, _ = layout(RunState.replay(Journal.read(recorded_run)).candidates)
    assert len({(node.column, node.row, node.failed) for node in nodes}) == len(nodes)


def test_a_click_and_an_arrow_key_choose_in_the_lineage(
    qtbot: QtBot, window: Window, evolve: EvolvePage
) -> None:
    evolve.views.setCurrentWidget(evolve.lineage)
    tree = evolve.lineage.tree
    place = tree.place("c002")
    assert place is not None
    qtbot.mouseClick(tree, Qt.MouseButton.LeftButton, pos=QPoint(round(place.x()), round(place.y())))
    assert window.desk.selected == "c002"
    qtbot.keyClick(tree, Qt.Key.Key_Right)
    assert window.desk.selected == "c003"
    assert not tree.grab().isNull()


def _in_dialog(kind: type[QDialog], act: Any) -> None:
    """Do something in the dialog that will be open in a moment."""

    def soon() -> None:
        found = QApplication.activeModalWidget()
        assert isinstance(found, kind)
        act(found)

    QTimer.singleShot(50, soon)


def test_nothing_is_asked_before_somebody_agreed_to_what_leaves(window: Window) -> None:
    window.go("evolve")
    window.sitting.change(agent="llm", llm_model=MODEL, llm_url="http://127.0.0.1:8080", llm_budget="2.50")

    def refuse(dialog: ConsentDialog) -> None:
        assert not dialog.agree.isEnabled()
        answer(window, "llm_about", ABOUT)
        assert "the model card" in dialog.leaves.text()
        assert "weights" in dialog.stays.text()
        dialog.reject()

    _in_dialog(ConsentDialog, refuse)
    assert window.desk.start_run() is None
    assert "start" not in [command for command, _ in requests(window)]

    def accept(dialog: ConsentDialog) -> None:
        answer(window, "llm_about", ABOUT)
        answer(window, "llm_estimate", {"text": "Estimate: 4 calls."})
        assert dialog.guess.text() == "Estimate: 4 calls."
        dialog.agree.click()

    _in_dialog(ConsentDialog, accept)
    window.desk.start_run()
    starts = [arguments for command, arguments in requests(window) if command == "start"]
    assert [(one["agent"], one["llm_model"], one["llm_budget"]) for one in starts] == [("llm", MODEL, "2.50")]
    assert starts[0]["preset"] == "hybrid"
    # Another address is another question.
    window.sitting.change(llm_url="http://127.0.0.1:9090")
    _in_dialog(ConsentDialog, lambda dialog: dialog.reject())
    assert window.desk.start_run() is None


def test_the_built_in_agent_starts_without_a_question(window: Window) -> None:
    window.go("evolve")
    window.desk.start_run()
    ((_, arguments),) = [one for one in requests(window) if one[0] == "start"]
    assert "agent" not in arguments
    assert "llm_model" not in arguments


def test_a_sentence_steers_and_a_waiting_candidate_is_decided(
    qtbot: QtBot, window: Window, evolve: EvolvePage
) -> None:
    run = window.desk.run
    run.feed([ev.event(ev.RunResumed(), run=run.id, seq=run.state.seq + 1)])
    bar = evolve.agent
    assert bar.sentence.isVisible()
    window.activateWindow()
    bar.sentence.setFocus()
    qtbot.keyClicks(bar.sentence, "try without int8")
    qtbot.keyClick(bar.sentence, Qt.Key.Key_Return)
    assert ("steer", {"text": "try without int8"}) in requests(window)
    assert bar.sentence.text() == ""
    assert not bar.run.isVisible()
    run.feed([ev.event(ev.CandidateWaiting(id="c003"), run=run.id, seq=run.state.seq + 1)])
    assert bar.waiting.text() == "c003 waits for you: title of c003"
    qtbot.mouseClick(bar.skip, Qt.MouseButton.LeftButton)
    assert ("decide", {"candidate": "c003", "run": False}) in requests(window)
    run.feed([ev.event(ev.CandidateDecided(id="c003", run=False), run=run.id, seq=run.state.seq + 1)])
    assert not bar.skip.isVisible()
    assert "4 calls, 6,000 tokens, $0.06" in bar.cost.text()


def test_a_key_typed_in_goes_to_the_worker_and_stays_in_no_field_and_no_setting(
    qtbot: QtBot, window: Window
) -> None:
    window.sitting.change(agent="llm")
    dialog = AgentDialog(window.desk, window)
    qtbot.addWidget(dialog)
    dialog.key.setText("sk-canary-1234567890")
    dialog._on_key()
    assert ("llm_key", {"key": "sk-canary-1234567890", "url": ""}) in requests(window)
    assert dialog.key.text() == ""
    window.sitting.save()
    home = window.sitting.home
    for path in home.rglob("*"):
        if path.is_file():
            assert b"sk-canary" not in path.read_bytes()


def test_the_services_list_fills_the_choice_with_prices(qtbot: QtBot, window: Window) -> None:
    window.sitting.change(agent="llm", llm_model="second")
    dialog = AgentDialog(window.desk, window)
    qtbot.addWidget(dialog)
    dialog._list.click()
    models = [
        {"id": "first", "name": "First", "thinking": "none", "input": 4.0, "output": 20.0},
        {"id": "second", "name": "Second", "thinking": "none", "input": None, "output": None},
    ]
    answer(window, "llm_models", {**ABOUT, "models": models})
    assert dialog.model.itemText(0) == "First  $4 / $20 a million tokens"
    assert dialog.model.currentData() == "second"
    dialog.model.setCurrentIndex(0)
    assert window.sitting.settings.llm_model == "first"


def test_the_prompts_are_shown_as_they_ship(qtbot: QtBot, window: Window) -> None:
    dialog = AgentDialog(window.desk, window)
    qtbot.addWidget(dialog)
    dialog._ask_prompts()
    answer(window, "llm_prompts", {"prompts": [{"name": "plan", "version": 1, "text": "Plan ${count}."}]})
    (shown,) = dialog.findChildren(PromptsDialog)
    assert shown.tabs.tabText(0) == "plan 1"
    page = shown.tabs.widget(0)
    assert isinstance(page, QPlainTextEdit)
    assert page.toPlainText() == "Plan ${count}."
    shown.close()
