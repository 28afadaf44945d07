"""An answer while it streams in: blocks by index, usage so far, and where it breaks off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from agent.llm.errors import LlmBroken, LlmEndless
from agent.llm.spending import CHARACTERS, Usage, tokens_of

_SLACK: Final = 3.0
"""How many times the characters that the asked tokens should have may come before the answer is cut."""

BlockKind = Literal["text", "thinking", "tool", "other"]
DeltaKind = Literal["text", "thinking", "tool"]


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of an answer.  For a tool `text` is its input as it came and `input` what it says."""

    kind: BlockKind
    text: str = ""
    name: str = ""
    input: dict[str, Any] | None = None

    def without(self, hide: Callable[[str], str]) -> Block:
        """With every text passed through `hide`."""
        if self.kind == "tool":
            text = hide(self.text)
            return replace(self, text=text, input=_parse(text))
        return replace(self, text=hide(self.text))


def _parse(text: str) -> dict[str, Any] | None:
    """A tool's input; None where it is no JSON object."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@dataclass(slots=True)
class Partial:
    """State of one attempt."""

    prompt_tokens: int = 0
    """A guess at the prompt, for an attempt that breaks off before the service counted."""
    most_characters: float = float("inf")
    failed: Usage = field(default_factory=Usage)
    """What attempts before this one have cost."""
    blocks: dict[int, Block] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    stop: str = ""
    explanation: str = ""
    begun: bool = False
    ended: bool = False
    _characters: int = 0

    @classmethod
    def of(cls, question: Any) -> Partial:
        """For a question (`agent.llm.service.Question`), or for a call without one."""
        if question is None:
            return cls()
        return cls(tokens_of(" " * question.characters), _SLACK * CHARACTERS * question.most)

    def take(self, event: Any) -> Iterator[tuple[DeltaKind, str]]:
        """One event of the stream; yields what is worth showing.

        Raises:
            LlmBroken: an event that the protocol does not know in this place, or an answer without an end.
        """
        try:
            yield from self._take(event)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LlmBroken(
                f"The service sent an event that the protocol does not allow ({error!r})"
            ) from error

    def _take(self, event: Any) -> Iterator[tuple[DeltaKind, str]]:
        match event.type:
            case "message_start":
                self.begun = True
                self.model = str(event.message.model or "")
                self._count(event.message.usage)
            case "content_block_start":
                self.blocks[int(event.index)] = _started(event.content_block)
            case "content_block_delta":
                yield from self._delta(int(event.index), event.delta)
            case "message_delta":
                self.stop = str(event.delta.stop_reason or self.stop)
                details = getattr(event.delta, "stop_details", None)
                self.explanation = str(getattr(details, "explanation", None) or "")
                self._count(event.usage)
            case "message_stop":
                self.ended = True

    def _delta(self, index: int, delta: Any) -> Iterator[tuple[DeltaKind, str]]:
        block = self.blocks[index]
        match delta.type:
            case "text_delta":
                kind, text = "text", str(delta.text)
            case "thinking_delta":
                kind, text = "thinking", str(delta.thinking)
            case "input_json_delta":
                kind, text = "tool", str(delta.partial_json)
            case _:
                return
        self.blocks[index] = replace(block, text=block.text + text)
        self._characters += len(text)
        if self._characters > self.most_characters:
            raise LlmEndless(f"The service's answer has no end ({self._characters:,} characters); it was cut")
        yield kind, text  # type: ignore[misc]

    def _count(self, usage: Any) -> None:
        """Counts of the protocol are totals so far: they replace, where given."""

        def given(name: str, before: int) -> int:
            value = getattr(usage, name, None)
            return before if value is None else int(value)

        self.usage = Usage(
            given("input_tokens", self.usage.input),
            given("output_tokens", self.usage.output),
            given("cache_creation_input_tokens", self.usage.write),
            given("cache_read_input_tokens", self.usage.read),
        )

    def usage_so_far(self) -> Usage:
        """What an attempt that failed has cost: nothing before it began, then a guess at its output."""
        if not self.begun:
            return Usage()
        if self.ended:
            return self.usage
        output = max(self.usage.output, round(self._characters / CHARACTERS))
        prompt = self.usage.input or (0 if self.usage.read or self.usage.write else self.prompt_tokens)
        return replace(self.usage, input=prompt, output=output, estimated=True)

    def finish(self) -> tuple[Block, ...]:
        """The blocks in order, inputs of tools parsed.

        Raises:
            LlmBroken: the stream ended before the answer did.
        """
        if not self.ended:
            raise LlmBroken("The connection ended in the middle of the service's answer")
        self.stop = self.stop or "end_turn"
        if not self.usage.total:
            # A server that counts nothing: the characters are all there is.
            output = round(self._characters / CHARACTERS)
            self.usage = Usage(input=self.prompt_tokens, output=output, estimated=True)
        return tuple(self.blocks[index] for index in sorted(self.blocks))


def _started(block: Any) -> Block:
    match block.type:
        case "text":
            return Block("text", str(getattr(block, "text", "") or ""))
        case "thinking":
            return Block("thinking", str(getattr(block, "thinking", "") or ""))
        case "tool_use":
            return Block("tool", name=str(block.name))
    return Block("other")
