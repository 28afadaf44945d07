"""The agent in the window: consent before the first call, conversation, lineage, steering, approval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtWidgets import QApplication, QDialog, QLabel, QPlainTextEdit
from pytestqt.qtbot import QtBot

from studio.record import events as ev
from studio.record.data import Data, Interval
from studio.record.described import Metric
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.record.verdict import Verdict
from studio.ui.pages.agent import AgentDialog, ConsentDialog, PromptsDialog
from studio.ui.pages.certifying import CertifyDialog
from studio.ui.pages.evolve import EvolvePage
from studio.ui.pages.going_on import GoOnDialog
from studio.ui.pages.lineage import layout
from studio.ui.window import Window
from studio.work.report import render
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


def talk_events(folder: Path) -> list[Data]:
    """A run in which c001 failed, c002 repaired it and c003 came from c002."""
    choice = ev.LlmChoice(model=MODEL, url="http://127.0.0.1:8080", approve=True)
    found: list[Data] = [
        ev.RunStarted(
            model=CARD, target="cpu", workload={}, metric=Metric(name="adherence", title="A", unit=""),
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
        proposed("c003", 2, "refined", "c002").model_copy(update={"by": "mathematics"}),
    ]  # fmt: skip
    return found


def proposed(name: str, generation: int, origin: Any, *parents: str) -> ev.CandidateProposed:
    return ev.CandidateProposed(
        id=name, generation=generation, origin=origin, parents=parents, recipe=(), title=f"title of {name}",
        why="Because.", script=f"candidates/{name}.py", code="" if origin == "baseline" else "A kernel.",
    )  # fmt: skip


def verdict(state: Any) -> Verdict:
    passed = state == "passed"
    one = Interval(value=0.5, low=0.4, high=0.6)
    return Verdict(
        state=state, stage="gate" if passed else "smoke", reason="" if passed else "It broke.",
        latency=one if passed else None, speedup=one if passed else None, loss=one if passed else None,
    )  # fmt: skip


def called(
    number: int, purpose: Any, candidate: str, summary: str, generation: int, error: str = ""
) -> list[Data]:
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


def lines(evolve: EvolvePage) -> list[str]:
    """What the conversation lists."""
    calls = evolve.talk.calls
    return [calls.item(at).text() for at in range(calls.count())]


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
    assert lines(evolve) == [
        "1  Plan (generation 1) · 1,500 tokens · $0.014",
        "2  Code c001 · 1,500 tokens · $0.014 · failed",
        "Plan c001 · title of c001 · failed at smoke",
        "Evidence c001 · It broke.",
        "3  Repair c002 · 1,500 tokens · $0.014",
        "Repair c002 of c001 · title of c002 · passed, 0.500×",
        "You: try without int8",
        "4  Plan (generation 2) · 1,500 tokens · $0.014",
        "Numbers c003 · title of c003 · not judged yet",
    ]
    talk.calls.setCurrentRow(8)
    assert "refined, from c002, numbers by the Gaussian process: not judged yet" in talk.about.text()
    assert not talk.tabs.isTabVisible(1)
    talk.calls.setCurrentRow(4)
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
    assert [words.split()[0] for words in lines(evolve)] == ["1", "3", "Repair"]
    window.desk.select("c003")
    assert [words.split()[0] for words in lines(evolve)] == ["4", "Numbers"]


def test_what_a_candidate_cost_is_in_the_inspector_and_in_the_report(
    window: Window, evolve: EvolvePage, talked: Path
) -> None:
    window.desk.select("c002")
    shown = [one.text() for one in evolve.inspector.findChildren(QLabel)]
    assert "1 call, 1,500 tokens, $0.014; the plan of its generation is not counted" in shown
    page = render(talked, RunState.replay(Journal.read(talked)))
    assert page.count("asked: 1 call, 1,500 tokens, $0.014") == 2
    assert "4 calls, 6,000 tokens, $0.056 in all" in page


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
    dialog = AgentDialog(window.desk, window)
    assert dialog.preset.isEnabled()
    dialog.preset.setCurrentIndex(1)
    window.desk.start_run()
    ((_, arguments),) = [one for one in requests(window) if one[0] == "start"]
    assert arguments["preset"] == "paper"
    assert "agent" not in arguments
    assert "llm_model" not in arguments
    assert arguments["approve"] is False
    assert arguments["wishes"] == []


def built_in_run(folder: Path) -> list[Data]:
    """c001 fails and is repaired, a sentence, c003 waits; nobody asked a language model."""
    begun, *rest = talk_events(folder)
    assert isinstance(begun, ev.RunStarted)
    kept = [data for data in rest if isinstance(data, ev.CandidateProposed | ev.CandidateJudged)]
    return [
        begun.model_copy(update={"agent": None, "approve": True}),
        *(
            data.model_copy(update={"by": ""}) if isinstance(data, ev.CandidateProposed) else data
            for data in kept
        ),
        ev.RunSteered(text="try without int8", answer="int8 will not be tried any more."),
        ev.CandidateWaiting(id="c003"),
    ]


def test_without_a_language_model_the_conversation_tells_plans_failures_repairs_and_answers(
    window: Window, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "told"
    folder.mkdir(parents=True)
    with Journal.create(folder) as journal:
        for data in built_in_run(folder):
            journal.append(data)
    window.go("evolve")
    evolve = window.page("evolve")
    assert isinstance(evolve, EvolvePage)
    assert "No language model" not in evolve.talk.about.text()
    window.desk.open_run(folder)
    talk = evolve.talk
    evolve.views.setCurrentWidget(talk)
    assert lines(evolve) == [
        "Plan c001 · title of c001 · failed at smoke",
        "Evidence c001 · It broke.",
        "Repair c002 of c001 · title of c002 · passed, 0.500×",
        "Plan c003 · title of c003 · waits for you",
        "You: try without int8",
    ]
    assert "int8 will not be tried any more." in talk.answer.toPlainText()
    assert not talk.tabs.isTabVisible(1)
    talk.calls.setCurrentRow(0)
    assert talk.answer.toPlainText() == "Because.\n\nBeyond its recipe: A kernel."
    assert "Generation 1, seed" in talk.about.text()
    window.desk.select("c001")
    talk.only.setChecked(True)
    assert [words.split()[0] for words in lines(evolve)] == ["Plan", "Evidence"]
    talk.only.setChecked(False)
    run = window.desk.run
    run.feed([ev.event(ev.CandidateDecided(id="c003", run=False), run=run.id, seq=run.state.seq + 1)])
    assert lines(evolve)[3] == "Plan c003 · title of c003 · you left it out"
    assert run.standing("c003") == "declined"


def test_a_sentence_before_the_start_goes_with_it_and_approval_needs_no_language_model(
    qtbot: QtBot, window: Window
) -> None:
    window.go("evolve")
    evolve = window.page("evolve")
    assert isinstance(evolve, EvolvePage)
    bar = evolve.agent
    assert bar.sentence.isVisible()
    qtbot.keyClicks(bar.sentence, "only with OpenVINO")
    dialog = AgentDialog(window.desk, window)
    qtbot.addWidget(dialog)
    assert dialog.approve.isEnabled()
    dialog.approve.setChecked(True)
    window.desk.start_run()
    ((_, arguments),) = [one for one in requests(window) if one[0] == "start"]
    assert (arguments["approve"], arguments["wishes"]) == (True, ["only with OpenVINO"])
    # A start that fails keeps the words; one that begins takes them.
    assert bar.sentence.text() == "only with OpenVINO"
    begun = built_in_run(Path("nowhere"))
    window.desk.run.feed([ev.event(data, run="new", seq=at) for at, data in enumerate(begun[:2], 1)])
    assert bar.sentence.text() == ""
    assert window.desk.wish == ""
    window.desk.run.feed([ev.event(begun[-3], run="new", seq=3), ev.event(begun[-1], run="new", seq=4)])
    assert bar.run.isVisible()
    qtbot.mouseClick(bar.run, Qt.MouseButton.LeftButton)
    assert ("decide", {"candidate": "c003", "run": True}) in requests(window)


def ended(window: Window, evolve: EvolvePage, reason: Any, budget: float | None = None) -> None:
    """The recorded run ends."""
    run = window.desk.run
    resumed = ev.RunResumed(budget=budget)
    over = ev.RunFinished(reason=reason, text="That is all.", winner="c002")
    for data in (resumed, over):
        run.feed([ev.event(data, run=run.id, seq=run.state.seq + 1)])
    assert evolve.more.isVisible()
    assert evolve.start.text() == "Start anew"


def test_a_run_that_is_done_goes_on_with_more_generations(window: Window, evolve: EvolvePage) -> None:
    ended(window, evolve, "done")

    def more(dialog: GoOnDialog) -> None:
        assert dialog.about.text() == "That is all."
        assert (dialog.generations.value(), dialog.minutes.value()) == (2, 0)
        dialog.generations.setValue(0)
        assert not dialog.go.isEnabled()
        dialog.generations.setValue(3)
        assert "of 5" in dialog.said.text()
        dialog.money.setText("50k tokens")
        dialog.go.click()

    _in_dialog(GoOnDialog, more)
    evolve.more.click()
    ((_, arguments),) = [one for one in requests(window) if one[0] == "resume"]
    assert arguments == {
        "run": str(window.desk.run.folder), "generations": 5, "budget": None, "llm_budget": "50k tokens",
        "workers": "", "wishes": [],
    }  # fmt: skip


def test_a_run_that_was_stopped_goes_on_as_it_is_and_one_without_time_with_more(
    window: Window, evolve: EvolvePage
) -> None:
    ended(window, evolve, "stopped")

    def as_it_is(dialog: GoOnDialog) -> None:
        assert (dialog.generations.value(), dialog.minutes.value()) == (0, 0)
        dialog.go.click()

    _in_dialog(GoOnDialog, as_it_is)
    evolve.more.click()
    window.desk.run.state.searched = 240.0
    ended(window, evolve, "budget", budget=240.0)

    def longer(dialog: GoOnDialog) -> None:
        assert (dialog.generations.value(), dialog.minutes.value()) == (0, 4)
        dialog.go.click()

    _in_dialog(GoOnDialog, longer)
    evolve.more.click()
    asked = [arguments for command, arguments in requests(window) if command == "resume"]
    assert [(one["generations"], one["budget"]) for one in asked] == [(None, None), (None, 240.0)]


def test_a_claim_is_certified_on_as_many_prompts_as_asked(window: Window, evolve: EvolvePage) -> None:
    window.desk.select("c002")

    def wanted(dialog: CertifyDialog) -> None:
        assert dialog.prompts.value() == 200
        assert "pictures of each take about" in dialog.time.text() or not dialog.time.text()
        dialog.claim.setCurrentText("adherence loss under 1 point")
        dialog.prompts.setValue(1500)
        dialog.go.click()

    _in_dialog(CertifyDialog, wanted)
    evolve.inspector.certify.click()
    ((_, arguments),) = [one for one in requests(window) if one[0] == "certify"]
    assert arguments["candidate"] == "c002"
    assert (arguments["claim"], arguments["prompts"]) == ("adherence loss under 1 point", 1500)


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


def test_what_a_run_would_cost_stands_beside_the_agent_and_follows_the_settings(
    qtbot: QtBot, window: Window
) -> None:
    window.go("evolve")
    page = window.page("evolve")
    assert isinstance(page, EvolvePage)
    bar = page.agent
    window.sitting.change(agent="llm", llm_model="")
    qtbot.waitUntil(lambda: bar.cost.text() == "choose a model to see its cost")
    window.sitting.change(llm_model=MODEL)

    def estimates() -> list[dict[str, Any]]:
        return [arguments for command, arguments in requests(window) if command == "llm_estimate"]

    qtbot.waitUntil(lambda: len(estimates()) == 1)
    answer(window, "llm_estimate", {"tokens": [80_000, 200_000], "usd": [0.41, 1.2], "text": "Estimate: x."})
    assert bar.cost.text() == "a run: $0.41 to $1.20"
    assert bar.cost.toolTip() == "Estimate: x."
    window.sitting.change(generations=9, preset="paper")
    qtbot.waitUntil(lambda: len(estimates()) == 2)
    assert (estimates()[1]["generations"], estimates()[1]["preset"]) == (9, "paper")
    window.sitting.change(agent="built-in")
    qtbot.waitUntil(lambda: bar.cost.text() == "")


def test_an_answer_that_is_coming_in_is_counted(window: Window, evolve: EvolvePage) -> None:
    run = window.desk.run
    for data in (ev.RunResumed(), called(5, "plan", "", "", 2)[0]):
        run.feed([ev.event(data, run=run.id, seq=run.state.seq + 1)])
    window.worker.heard.emit(ev.LlmDelta(call=5, kind="text", text="So", tokens=2500, usd=0.04))
    assert evolve.agent.cost.text() == "5 calls, about 8,500 tokens, $0.10"
    assert "about 2,500 tokens · $0.040 so far" in evolve.talk.about.text()


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
