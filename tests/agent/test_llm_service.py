"""The real SDK against a real HTTP server on loopback that speaks the protocol, well and badly."""

import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.llm.errors import LlmBroken, LlmBusy, LlmCancelled, LlmError, LlmKeyError, LlmUnusable
from agent.llm.key import Secret
from agent.llm.service import Answer, Question, Service, Tool
from agent.llm.spending import Usage
from tests.messages_service import InStream, MessagesService, Status, Streamed, Written, model

KEY = "sk-test-0123456789-canary"
WRITTEN = Path(__file__).parents[1] / "data" / "llm"
TOOL = Tool("propose_plans", "Hand in plans.", {"type": "object", "properties": {"plans": {"type": "array"}}})
ASKED = Question(("rules", "the model"), "Plan.", (TOOL,), 4000)


def ask(service: MessagesService, question: Question = ASKED, **rest: Any) -> Answer:
    opened = Service(service.url, Secret(KEY), "claude-opus-5-5", first_wait=0.01)
    return opened.ask(question, **rest)


def test_an_answer_streams_in_and_its_tool_is_read() -> None:
    plans = {"plans": [{"why": "x" * 2000}]}
    pieces: list[tuple[str, str]] = []
    usage = {"input_tokens": 11, "cache_creation_input_tokens": 500, "cache_read_input_tokens": 70}
    answer = Streamed(
        [("thinking", "Where does the time go?"), ("text", "So:"), ("propose_plans", plans)],
        usage=usage,
        output=321,
    )
    with MessagesService([answer]) as service:
        found = ask(service, on_delta=lambda kind, text: pieces.append((kind, text)))
    block = found.tool("propose_plans")
    assert block is not None
    assert block.input == plans
    assert (found.thinking, found.text, found.stop) == ("Where does the time go?", "So:", "tool_use")
    assert (found.usage.input, found.usage.write, found.usage.read, found.usage.output) == (11, 500, 70, 321)
    assert not found.usage.estimated
    assert len([text for kind, text in pieces if kind == "tool"]) > 3
    assert "".join(text for kind, text in pieces if kind == "thinking") == "Where does the time go?"


def test_what_stays_the_same_is_marked_for_the_cache_and_no_tool_is_forced() -> None:
    with MessagesService([Streamed([("text", "yes")])]) as service:
        opened = Service(service.url, Secret(KEY))
        opened.choose()
        opened.ask(ASKED)
        (body,) = service.bodies
    assert [block["cache_control"] for block in body["system"]] == [{"type": "ephemeral"}] * 2
    assert body["tool_choice"] == {"type": "auto"}
    assert body["tools"][0]["input_schema"]["type"] == "object"
    assert body["thinking"]["type"] == "adaptive"
    assert body["stream"] is True
    assert "temperature" not in body


@pytest.mark.parametrize(
    ("kind", "thinking"),
    [("enabled", {"type": "enabled", "budget_tokens": 2000}), ("none", None)],
)
def test_thinking_is_asked_for_as_the_model_has_it(kind: str, thinking: Any) -> None:
    with MessagesService([Streamed([("text", "yes")])], [model("m", kind)]) as service:
        opened = Service(service.url, Secret(KEY))
        assert opened.choose("m").thinking == kind
        opened.ask(ASKED)
        assert service.bodies[0].get("thinking") == thinking


def test_the_model_is_chosen_from_the_services_own_list() -> None:
    listed = [model("new"), model("old"), model("gone", lifecycle="retired")]
    with MessagesService([], listed) as service:
        opened = Service(service.url, Secret(KEY))
        assert [one.id for one in opened.models()] == ["new", "old"]
        assert opened.choose().id == "new"
        assert opened.choose("old").id == "old"
        with pytest.raises(LlmUnusable, match="no model gone; it offers: new, old"):
            opened.choose("gone")


def test_a_server_without_a_list_is_believed_once_a_model_is_named() -> None:
    with MessagesService([Streamed([("text", "yes")])], []) as service:
        opened = Service(service.url, Secret(""))
        assert opened.choose("local-coder").id == "local-coder"
        assert opened.ask(ASKED).text == "yes"
        with pytest.raises(LlmUnusable, match="--llm-model"):
            opened.choose()


@pytest.mark.parametrize(
    "first",
    [
        Status(429, "rate_limit_error", headers={"retry-after": "0.05"}),
        Status(529, "overloaded_error"),
        Status(500),
        InStream(),
        Streamed([("text", "half an answer")], cut_after=4),
        Streamed([("text", "half an answer")], garbage_after=3),
    ],
    ids=["429", "529", "500", "overloaded in the stream", "cut", "no JSON"],
)
def test_a_passing_fault_is_tried_again_and_told(first: Any) -> None:
    told: list[str] = []
    with MessagesService([first, Streamed([("text", "whole")])]) as service:
        answer = ask(service, on_delta=lambda kind, text: told.append(text) if kind == "wait" else None)
        assert len(service.bodies) == 2
    assert answer.text == "whole"
    assert answer.attempts == 2
    assert len(told) == 1
    assert "trying again in" in told[0]


def test_the_services_own_waiting_time_is_kept() -> None:
    busy = Status(429, "rate_limit_error", headers={"retry-after": "0.4"})
    with MessagesService([busy, Streamed([("text", "yes")])]) as service:
        ask(service)
        first, second = service.asked
    assert second.time - first.time >= 0.4


def test_tokens_of_an_attempt_that_broke_off_are_counted() -> None:
    cut = Streamed([("text", "x" * 3500)], usage={"input_tokens": 900}, cut_after=8)
    with MessagesService(
        [cut, Streamed([("text", "whole")], usage={"input_tokens": 900}, output=5)]
    ) as service:
        answer = ask(service)
    assert answer.usage.input == 1800
    assert answer.usage.output >= 5 + 300
    assert answer.usage.estimated


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Status(529, "overloaded_error"), LlmBusy, "is overloaded"),
        (Status(429, "rate_limit_error"), LlmBusy, "no more requests"),
        (Streamed([("text", "half")], cut_after=3), LlmBroken, "ended in the middle"),
        (Streamed([("text", "half")], garbage_after=3), LlmBroken, "no JSON"),
    ],
)
def test_a_fault_that_does_not_pass_is_one_sentence(answer: Any, error: type[LlmError], words: str) -> None:
    with MessagesService([answer]) as service:
        opened = Service(service.url, Secret(KEY), "m", retries=2, first_wait=0.01)
        with pytest.raises(error, match=words) as found:
            opened.ask(ASKED)
        assert len(service.bodies) == 3
    assert "(3 attempts)" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Status(401, "authentication_error", "invalid x-api-key"), LlmKeyError, "refuses the key"),
        (Status(403, "permission_error", "not allowed"), LlmKeyError, "refuses the key"),
        (Status(404, "not_found_error", "model: nothing"), LlmUnusable, "no such address or model"),
        (Status(400, "invalid_request_error", "too long"), LlmUnusable, "400: too long"),
        (Status(307, "moved", headers={"location": "http://127.0.0.1:9/"}), LlmUnusable, "not followed"),
    ],
)
def test_what_will_never_be_answered_is_not_asked_twice(
    answer: Any, error: type[LlmError], words: str
) -> None:
    with MessagesService([answer]) as service:
        with pytest.raises(error, match=words):
            ask(service)
        assert len(service.bodies) == 1


def test_nobody_at_the_address_is_said() -> None:
    with MessagesService([]) as service:
        url = service.url
    with pytest.raises(LlmBusy, match="cannot be reached"):
        Service(url, Secret(KEY), "m", retries=1, first_wait=0.01).ask(ASKED)


def test_an_answer_without_an_end_is_cut_and_its_tokens_are_counted() -> None:
    with MessagesService([Streamed([("text", "")], endless=True)]) as service:
        opened = Service(service.url, Secret(KEY), "m", retries=0)
        with pytest.raises(LlmBroken, match="has no end") as found:
            opened.ask(ASKED)
    assert found.value.usage is not None
    assert found.value.usage.output > 4000


def test_a_tools_input_that_is_no_json_is_kept_as_text() -> None:
    with MessagesService(
        [Streamed([("propose_plans", '{"plans": [{"why": "cut')], stop="max_tokens")]
    ) as service:
        block = ask(service).tool("propose_plans")
    assert block is not None
    assert block.input is None
    assert block.text.endswith("cut")


def test_a_refusal_is_an_answer_with_its_reason() -> None:
    details = {"type": "refusal", "category": "frontier_llm", "explanation": "Not this."}
    with MessagesService([Streamed([("text", "")], stop="refusal", details=details)]) as service:
        answer = ask(service)
    assert (answer.stop, answer.explanation) == ("refusal", "Not this.")


def _cancel_when(ready: Callable[[], bool]) -> tuple[threading.Event, threading.Thread]:
    cancelled = threading.Event()

    def wait() -> None:
        until = time.monotonic() + 5
        while not ready() and time.monotonic() < until:
            time.sleep(0.01)
        cancelled.set()

    thread = threading.Thread(target=wait)
    thread.start()
    return cancelled, thread


@pytest.mark.parametrize(
    "answer",
    [
        Streamed([("text", "x" * 40_000)], pause=0.2),
        Status(429, "rate_limit_error", headers={"retry-after": "30"}),
    ],
    ids=["in the middle of an answer", "while waiting to try again"],
)
def test_giving_up_takes_less_than_a_second(answer: Any) -> None:
    with MessagesService([answer]) as service:
        cancelled, thread = _cancel_when(lambda: bool(service.bodies))
        began = time.monotonic()
        with pytest.raises(LlmCancelled):
            ask(service, cancelled=cancelled.is_set)
        thread.join()
        assert time.monotonic() - began < 1.5


def test_a_key_that_the_service_sends_back_is_hidden_everywhere() -> None:
    told = Status(401, "authentication_error", "no", echo_key=True)
    with MessagesService([told]) as service, pytest.raises(LlmKeyError) as found:
        ask(service)
    assert KEY not in str(found.value)
    assert KEY not in "".join(traceback.format_exception(found.value))
    assert KEY not in repr(Secret(KEY))
    said: list[str] = []
    echo = Streamed([("text", f"key {KEY}"), ("submit_script", {"script": f"# {KEY}"})])
    with MessagesService([echo]) as service:
        answer = ask(service, on_delta=lambda _kind, text: said.append(text))
        assert service.asked[0].key == KEY
        assert service.asked[0].headers["x-api-key"] == KEY
    assert KEY not in repr(answer)
    block = answer.tool("submit_script")
    assert block is not None
    assert block.input == {"script": "# [key]"}
    assert KEY not in "".join(said)


@pytest.mark.parametrize(
    ("name", "stop", "tool", "usage"),
    [
        ("plan.sse", "tool_use", "propose_plans", (42, 1830, 0, 611)),
        ("repair.sse", "tool_use", "submit_script", (2210, 0, 1830, 402)),
        ("refusal.sse", "refusal", "", (2210, 0, 1830, 12)),
    ],
)
def test_streams_written_by_hand_after_the_protocol_are_read_as_they_stand(
    name: str, stop: str, tool: str, usage: tuple[int, ...]
) -> None:
    """Written by hand after the protocol's published event streams: no service was there to record."""
    with MessagesService([Written(WRITTEN / name)]) as service:
        answer = ask(service)
    assert answer.stop == stop
    counted = answer.usage
    assert (counted.input, counted.write, counted.read, counted.output) == usage
    if tool:
        block = answer.tool(tool)
        assert block is not None
        assert block.input


def test_what_an_answer_costs_is_told_while_it_comes_with_what_failed_before_it() -> None:
    told: list[Usage] = []
    whole = Streamed([("text", "x" * 3500)], usage={"input_tokens": 40}, output=1100)
    with MessagesService([Status(529, "overloaded_error"), whole]) as service:
        found = ask(service, on_usage=told.append)
    totals = [one.total for one in told]
    assert totals == sorted(totals)
    assert totals[0] == 41
    # Between the service's two counts the characters say how far it is.
    assert any(one.estimated and 41 < one.total < 1140 for one in told[1:])
    assert told[-1] == found.usage
    assert found.usage.total == 1140
