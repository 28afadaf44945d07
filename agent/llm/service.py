"""One question to a service that speaks the Messages protocol, and its answer, as it streams in.

The official `anthropic` SDK carries every request; retries are counted here and
not by the SDK, so that a wait can be cancelled and a stream that breaks in the
middle is asked again too.  Only `question`, `stream` and `faults` of this
package touch the SDK, and none before the first call.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol, TypeVar

from agent.llm.errors import LlmCancelled, LlmError, LlmKeyError, LlmUnusable
from agent.llm.faults import Fault, fault_of
from agent.llm.key import Secret, address, is_official
from agent.llm.spending import Usage
from agent.llm.stream import Block, Partial

ANSWER: Final = 16_000
"""Most tokens of one answer, thinking included."""
THINKING: Final = 6_000
"""Tokens of thinking where a model wants to be told a number."""
RETRIES: Final = 4
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 60.0
_LOOK: Final = 0.1
"""Seconds between two looks at whether the user gave up."""
_SILENCE: Final = 180.0
"""Seconds without a byte after which a stream counts as cut."""

Kind = Literal["text", "thinking", "tool", "wait"]
OnDelta = Callable[[Kind, str], None]
OnUsage = Callable[[Usage], None]
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may answer with; `schema` is JSON schema of an object."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """`system`: blocks that stay the same through a run, each a mark of the service's prompt cache."""

    system: tuple[str, ...]
    prompt: str
    tools: tuple[Tool, ...] = ()
    most: int = ANSWER
    """Most tokens of the answer."""

    @property
    def characters(self) -> int:
        tools = sum(len(tool.description) + len(str(tool.schema)) for tool in self.tools)
        return sum(map(len, self.system)) + len(self.prompt) + tools


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.  `blocks` are in order; a tool's input is None where it was no JSON."""

    blocks: tuple[Block, ...]
    stop: str
    """Why it ended: `tool_use`, `end_turn`, `max_tokens`, `refusal` and so on."""
    usage: Usage
    model: str
    seconds: float
    attempts: int = 1
    explanation: str = ""
    """What the service says of a refusal."""

    @property
    def text(self) -> str:
        return "".join(block.text for block in self.blocks if block.kind == "text")

    @property
    def thinking(self) -> str:
        return "".join(block.text for block in self.blocks if block.kind == "thinking")

    def tool(self, name: str) -> Block | None:
        """The last use of a tool."""
        return next((one for one in reversed(self.blocks) if one.kind == "tool" and one.name == name), None)


@dataclass(frozen=True, slots=True)
class Offered:
    """A model of the service's own list."""

    id: str
    name: str
    thinking: Literal["adaptive", "enabled", "none", "unknown"] = "unknown"
    most: int | None = None
    """Most tokens of an answer."""
    context: int | None = None
    """Most tokens of a prompt."""
    retired: bool = False


class LanguageModel(Protocol):
    """What a conversation needs; `Service` is the real one."""

    @property
    def url(self) -> str: ...
    @property
    def model(self) -> str: ...
    def hide(self, text: str) -> str:
        """The text without the key."""
        ...

    def ask(
        self,
        question: Question,
        on_delta: OnDelta = ...,
        cancelled: Callable[[], bool] = ...,
        affordable: Callable[[Usage], bool] = ...,
        on_usage: OnUsage = ...,
    ) -> Answer: ...


def _uncounted(_usage: Usage) -> None:
    return


def _unheard(_kind: Kind, _text: str) -> None:
    return


class Service:
    """A model at an address.

    Raises (every method):
        LlmKeyError: the key is refused.
        LlmUnusable: no such model, or a request that is never taken.
        LlmBusy, LlmBroken: no usable answer after all retries.
        LlmCancelled: `cancelled` said so.
    """

    def __init__(
        self,
        url: str,
        secret: Secret,
        model: str = "",
        *,
        retries: int = RETRIES,
        first_wait: float = _FIRST_WAIT,
    ) -> None:
        self.url = address(url)
        self.model = model
        self._secret = secret
        self._retries = retries
        self._first_wait = first_wait
        self._offered: Offered | None = None

    def hide(self, text: str) -> str:
        return self._secret.hide(text)

    # -- the service's own list -------------------------------------------------------------------

    def models(self, cancelled: Callable[[], bool] = lambda: False) -> list[Offered]:
        """What the service offers, in its own order (newest first), without what is retired."""

        async def listed(_partial: Partial) -> list[Offered]:
            async with self._client() as client:
                return [_offered(one) async for one in client.models.list(limit=100)]

        found, _ = self._run(listed, _unheard, cancelled)
        return [one for one in found if not one.retired]

    def choose(self, wanted: str = "", cancelled: Callable[[], bool] = lambda: False) -> Offered:
        """Settle on a model of the service's list: the wanted one, or else its first.

        A server without a list is believed: then the wanted model is used as it is.

        Raises:
            LlmUnusable: there is no such model, or none at all.
        """
        try:
            there = self.models(cancelled)
        except LlmUnusable:
            if not wanted:
                raise LlmUnusable(
                    f"The service at {self.url} has no list of models; say which one with --llm-model."
                ) from None
            there = [Offered(wanted, wanted)]
        if not there:
            raise LlmUnusable(f"The service at {self.url} offers no model; give another address or key.")
        found = next((one for one in there if wanted in ("", one.id, one.name)), None)
        if found is None:
            named = ", ".join(one.id for one in there[:12])
            raise LlmUnusable(f"The service at {self.url} offers no model {wanted}; it offers: {named}.")
        self._offered, self.model = found, found.id
        return found

    # -- asking -----------------------------------------------------------------------------------

    def ask(
        self,
        question: Question,
        on_delta: OnDelta = _unheard,
        cancelled: Callable[[], bool] = lambda: False,
        affordable: Callable[[Usage], bool] = lambda _usage: True,
        on_usage: OnUsage = _uncounted,
    ) -> Answer:
        """Ask, stream, and give back the whole answer without the key in it.

        `on_usage` hears what the question has cost so far while its answer comes: the service counts the
        prompt first and the answer last, what lies between is counted from the characters.
        `affordable` is asked before another attempt, with what the failed ones have cost.  An error
        carries what it cost as `usage` (`agent.llm.errors.LlmError.usage`).
        """
        began = time.monotonic()

        async def once(partial: Partial) -> Answer:
            async with self._client() as client:
                stream = await client.messages.create(**self._parameters(question), stream=True)
                try:
                    async for event in stream:
                        pieces = list(partial.take(event))
                        on_usage(partial.failed + partial.usage_so_far())
                        for kind, text in pieces:
                            on_delta(kind, self.hide(text))
                finally:
                    await stream.close()
            blocks = partial.finish()
            return Answer(
                tuple(block.without(self.hide) for block in blocks),
                partial.stop,
                partial.usage,
                partial.model or self.model,
                0.0,
                explanation=self.hide(partial.explanation),
            )

        answer, spent = self._run(once, on_delta, cancelled, question, affordable)
        return replace(
            answer,
            usage=answer.usage + spent.usage,
            seconds=time.monotonic() - began,
            attempts=spent.attempts + 1,
        )

    def _parameters(self, question: Question) -> dict[str, Any]:
        cached: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
        offered = self._offered or Offered(self.model, self.model)
        most = min(question.most, offered.most or question.most)
        found: dict[str, Any] = {
            "model": self.model,
            "max_tokens": most,
            "system": [{"type": "text", "text": text, **cached} for text in question.system],
            "messages": [{"role": "user", "content": question.prompt}],
        }
        if question.tools:
            found["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
                for tool in question.tools
            ]
            # Models whose thinking is always on refuse a forced tool; the prompt asks for it instead.
            found["tool_choice"] = {"type": "auto"}
        if offered.thinking == "adaptive":
            found["thinking"] = {"type": "adaptive", "display": "summarized"}
        elif offered.thinking == "enabled" and most > 2 * 1024:
            found["thinking"] = {"type": "enabled", "budget_tokens": min(THINKING, most // 2)}
        return found

    def _client(self) -> Any:
        import anthropic

        # The SDK sends a key as a bearer token since 2.0; other servers of the protocol know the older head.
        older = {} if is_official(self.url) or not self._secret else {"X-Api-Key": self._secret.value}
        # No redirects: a key must reach no other address than the one that was given.
        return anthropic.AsyncAnthropic(
            api_key=self._secret.value or "none",
            default_headers=older,
            base_url=self.url,
            max_retries=0,
            timeout=anthropic.Timeout(_SILENCE, connect=15.0),
            http_client=anthropic.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    # -- retries and cancellation -----------------------------------------------------------------

    def _run(
        self,
        once: Callable[[Partial], Coroutine[Any, Any, _Result]],
        on_delta: OnDelta,
        cancelled: Callable[[], bool],
        question: Question | None = None,
        affordable: Callable[[Usage], bool] = lambda _usage: True,
    ) -> tuple[_Result, _Spent]:
        spent = _Spent()

        async def persist() -> _Result:
            while True:
                partial = Partial.of(question)
                partial.failed = spent.usage
                try:
                    return await once(partial)
                except asyncio.CancelledError:
                    spent.usage += partial.usage_so_far()
                    raise
                except Exception as error:
                    spent.usage += partial.usage_so_far()
                    fault = fault_of(error, self.url, self.model)
                    if fault is None:
                        raise
                    if not affordable(spent.usage):
                        fault = replace(fault, again=False)
                    await self._wait(fault, spent, on_delta)
                spent.attempts += 1

        async def watch() -> _Result:
            task = asyncio.ensure_future(persist())
            while not task.done():
                await asyncio.wait({task}, timeout=_LOOK)
                if not task.done() and cancelled():
                    task.cancel()
                    await asyncio.wait({task})
                    raise LlmCancelled
            return task.result()

        if cancelled():
            raise LlmCancelled
        try:
            return asyncio.run(watch()), spent
        except LlmError as error:
            error.usage = spent.usage
            raise

    async def _wait(self, fault: Fault, spent: _Spent, on_delta: OnDelta) -> None:
        """Sleep before the next attempt; raises the fault's error when there is none."""
        if not fault.again or spent.attempts >= self._retries:
            if fault.again:
                fault = replace(fault, text=f"{fault.text} ({spent.attempts + 1} attempts)")
            # Without the SDK's own error behind it: that may repeat what was sent, the key included.
            raise fault.error(self.hide) from None
        usual = self._first_wait * 2**spent.attempts * random.uniform(0.75, 1.25)
        seconds = min(_LONGEST_WAIT, usual if fault.wait is None else fault.wait)
        on_delta("wait", self.hide(f"{fault.text}; trying again in {seconds:.1f} s"))
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class _Spent:
    attempts: int = 0
    usage: Usage = field(default_factory=Usage)


def _offered(one: Any) -> Offered:
    thinking: Literal["adaptive", "enabled", "none", "unknown"] = "unknown"
    capabilities = getattr(one, "capabilities", None)
    about = getattr(capabilities, "thinking", None)
    if about is not None:
        kinds = getattr(about, "types", None)
        thinking = "none"
        if _supported(getattr(kinds, "adaptive", None)):
            thinking = "adaptive"
        elif _supported(getattr(kinds, "enabled", None)):
            thinking = "enabled"
    return Offered(
        str(one.id),
        str(getattr(one, "display_name", None) or one.id),
        thinking,
        getattr(one, "max_tokens", None),
        getattr(one, "max_input_tokens", None),
        getattr(one, "lifecycle", "active") == "retired",
    )


def _supported(kind: Any) -> bool:
    return bool(getattr(kind, "supported", False))


__all__ = [
    "ANSWER",
    "Answer",
    "Block",
    "Kind",
    "LanguageModel",
    "LlmKeyError",
    "Offered",
    "Question",
    "Service",
    "Tool",
]
