"""The built-in agent reads sentences: what it understands holds in every plan and repair that follows."""

from dataclasses import replace
from typing import Any

import pytest

from agent.candidate import Candidate
from agent.loop import Settings, evolve
from agent.planner.builtin import BuiltinPlanner
from agent.planner.wishes import Wishes, answer, lesson, of_all
from tests.agent.test_loop_closed import Writer, run

ONLY_OPENVINO = (
    "Every new candidate that can have OpenVINO will have it; no other engine will be tried any more."
)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("try without int8", "int8 will not be tried any more."),
        ("don't use int8 or bf16, please", "int8 and bf16 will not be tried any more."),
        ("int8 should not be used", "int8 will not be tried any more."),
        ("Avoid TAESD!", "The tiny decoder will not be tried any more."),
        ("never the dpm-solver", "DPM++ 2M will not be tried any more."),
        ("without the OpenVINO engine", "OpenVINO will not be tried any more."),
        ("no engine", "An engine will not be tried any more."),
        ("use deepcache", "Every new candidate that can have feature cache will have it."),
        (
            "instead of int8 use torch.compile",
            "int8 will not be tried any more. Every new candidate that can have torch.compile will have it.",
        ),
        ("only with OpenVINO", ONLY_OPENVINO),
        ("only int8 and OpenVINO", "Nothing but int8 and OpenVINO will be tried from now on."),
        ("not only int8", "Every new candidate that can have int8 will have it."),
        ("use int8 again", "int8 may be tried again."),
        ("without fp8", "fp8 cannot be used with this model on this device."),
        ("make it faster", ""),
        ("is int8 any good?", ""),
        ("with care", ""),
        ("", ""),
    ],
)
def test_a_sentence_is_answered_by_what_was_understood(world: Any, sentence: str, words: str) -> None:
    assert answer(sentence, world.space) == words


def test_what_is_not_understood_is_answered_by_the_words_that_are(world: Any) -> None:
    words = lesson(world.space)
    for name in ("without", "only", "int8", "OpenVINO", "DPM++ 2M", "the tiny decoder"):
        assert name in words


@pytest.mark.parametrize(
    ("sentences", "wishes"),
    [
        (["without int8", "with int8"], Wishes(wanted=("int8",))),
        (["with int8", "no int8"], Wishes(without=frozenset({"int8"}))),
        (["without engine", "use OpenVINO"], Wishes(wanted=("engine/openvino",))),
        (["use OpenVINO", "use ONNX Runtime"], Wishes(wanted=("engine/onnxruntime",))),
        (["only int8", "allow bf16"], Wishes(only=frozenset({"int8", "bf16"}))),
        (["without fp8", "nonsense"], Wishes()),
    ],
)
def test_later_sentences_count_more(world: Any, sentences: list[str], wishes: Wishes) -> None:
    assert of_all(sentences, world.space) == wishes


def recipes(outcome: Any, since: int = 0) -> list[set[str]]:
    """Techniques of each candidate, and each with its choices."""
    found = []
    for one in outcome.history[1 + since :]:
        steps = one.candidate.proposal.recipe
        found.append({step.technique for step in steps})
        found[-1] |= {f"{step.technique}/{value}" for step in steps for value in step.parameters.values()}
    return found


SETTINGS = Settings(generations=2, population=5)


def test_what_is_ruled_out_between_two_plans_is_in_no_later_candidate(world: Any) -> None:
    seen: list[Candidate] = []

    def approve(one: Candidate) -> Any:
        seen.append(one)
        return "run"

    outcome = run(
        world,
        BuiltinPlanner(),
        settings=SETTINGS,
        approve=approve,
        notes=lambda: ("without OpenVINO",) if len(seen) >= 5 else (),
    )
    found = recipes(outcome)
    assert len(found) == 10
    assert any("engine/openvino" in one for one in found[:5])
    assert not any("engine/openvino" in one for one in found[5:])
    assert any("engine" in one for one in found[5:])


def test_what_is_wished_for_is_in_every_candidate_also_where_it_needs_an_engine(world: Any) -> None:
    outcome = run(world, BuiltinPlanner(), settings=SETTINGS, notes=lambda: ("use int8",))
    found = recipes(outcome)
    assert len(found) == 10
    assert all("int8" in one for one in found)
    assert all("As you wished, with int8." in one.candidate.proposal.why for one in outcome.history[1:])


def test_wishes_that_do_not_go_together_leave_the_last_one(world: Any) -> None:
    outcome = run(world, BuiltinPlanner(), settings=Settings(1, 4), notes=lambda: ("use bf16", "use int8"))
    assert all("int8" in one and "bf16" not in one for one in recipes(outcome))


def test_where_nothing_else_is_allowed_the_search_ends_and_says_so(world: Any) -> None:
    outcome = run(
        world, BuiltinPlanner(), settings=SETTINGS, notes=lambda: ("only prompt cache and channels last",)
    )
    found = recipes(outcome)
    assert 1 <= len(found) <= 3
    assert all(one <= {"prompt-cache", "channels-last"} for one in found)


def test_a_declined_candidate_is_not_planned_again_also_when_the_run_goes_on(world: Any) -> None:
    declined: list[Candidate] = []

    def approve(one: Candidate) -> Any:
        if len(declined) < 3:
            declined.append(one)
            return "skip"
        return "run"

    outcome = run(world, BuiltinPlanner(), settings=Settings(1, 6), approve=approve)
    keys = [world.space.key(one.proposal.recipe) for one in declined]
    assert len(set(keys)) == 3
    assert [one.id for one in outcome.history] == ["c000", "c004", "c005", "c006"]
    again = evolve(
        replace(world.context, history=outcome.history[:1], declined=tuple(declined)),
        world.judge(),
        BuiltinPlanner(),
        Writer(),
        settings=Settings(1, 4),
    )
    assert [one.id for one in again.history[1:]] == ["c004", "c005", "c006", "c007"]
    assert not {world.space.key(one.candidate.proposal.recipe) for one in again.history} & set(keys)
