"""The talk with the language model, as events and files of its run.

Each call is `RUN/llm/NNN.json`: the whole question, then the whole answer.
What stays the same through a run, rules and model, is kept once beside it.
Every text goes through `hide` first, so that no key is ever written.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from agent.llm.conversation import Call, DeltaKind, Hearer, Reply
from agent.llm.service import Answer
from agent.llm.spending import Usage
from agent.llm.tools import PLANS, SCRIPT
from studio.record import events
from studio.record.data import Data
from studio.record.settings import write_atomically

FOLDER: Final = "llm"
_BATCH: Final = 0.15
"""Seconds between two pieces of an answer that are told."""
_LONGEST_SUMMARY: Final = 400


class ConversationRecord(Hearer):
    """`record` commits an event and tells it; `tell` only tells."""

    def __init__(
        self,
        folder: Path,
        record: Callable[[Data], Any],
        tell: Callable[[Data], Any],
        hide: Callable[[str], str],
        model: str,
    ) -> None:
        self._folder, self._record, self._tell, self._hide, self._model = folder, record, tell, hide, model
        self._waiting: list[tuple[DeltaKind, str]] = []
        self._told = 0.0
        self._cost: tuple[int, float | None] = (0, None)

    def asked(self, call: Call) -> None:
        self._cost = (0, None)
        file = f"{FOLDER}/{call.number:03}.json"
        self._write(file, self._question(call))
        self._record(
            events.LlmAsked(
                call=call.number,
                purpose=call.purpose,
                generation=call.generation,
                candidate=call.candidate,
                model=self._model,
                prompts=call.prompts,
                file=file,
            )
        )

    def delta(self, call: Call, kind: DeltaKind, text: str) -> None:
        self._waiting.append((kind, text))
        if kind == "wait" or time.monotonic() - self._told >= _BATCH:
            self._flush(call)

    def counted(self, call: Call, usage: Usage, usd: float | None) -> None:
        del call
        self._cost = (usage.total, usd)

    def replied(self, call: Call, reply: Reply) -> None:
        self._flush(call)
        file = f"{FOLDER}/{call.number:03}.json"
        usage, answer = reply.usage, reply.answer
        said = {
            "error": reply.error,
            "answer": None if answer is None else _answer(answer),
            "usage": {
                "input": usage.input,
                "output": usage.output,
                "write": usage.write,
                "read": usage.read,
                "estimated": usage.estimated,
                "usd": reply.usd,
            },
            "seconds": round(reply.seconds, 3),
        }
        self._write(file, {**self._question(call), **said})
        self._record(
            events.LlmAnswered(
                call=call.number,
                purpose=call.purpose,
                candidate=call.candidate,
                error=self._hide(reply.error),
                summary="" if answer is None else self._hide(summary(answer)),
                stop="" if answer is None else answer.stop,
                input=usage.input,
                output=usage.output,
                write=usage.write,
                read=usage.read,
                estimated=usage.estimated,
                usd=reply.usd,
                seconds=reply.seconds,
                attempts=1 if answer is None else answer.attempts,
                spent_usd=reply.spent_usd,
                spent_tokens=reply.spent_tokens,
                file=file,
            )
        )

    def notice(self, level: Literal["info", "warning", "error"], text: str) -> None:
        self._record(events.Notice(level=level, text=self._hide(text)))

    def _flush(self, call: Call) -> None:
        while self._waiting:
            kind = self._waiting[0][0]
            text = ""
            while self._waiting and self._waiting[0][0] == kind:
                text += self._waiting.pop(0)[1]
            tokens, usd = self._cost
            self._tell(
                events.LlmDelta(call=call.number, kind=kind, text=self._hide(text), tokens=tokens, usd=usd)
            )
        self._told = time.monotonic()

    def _question(self, call: Call) -> dict[str, Any]:
        return {
            "call": call.number,
            "purpose": call.purpose,
            "generation": call.generation,
            "candidate": call.candidate,
            "model": self._model,
            "prompts": list(call.prompts),
            "system": [self._fixed(text) for text in call.question.system],
            "prompt": call.question.prompt,
            "tools": [tool.name for tool in call.question.tools],
            "most": call.question.most,
        }

    def _fixed(self, text: str) -> str:
        """The name of a file that holds a text which many questions share."""
        name = f"{FOLDER}/system-{hashlib.sha256(text.encode()).hexdigest()[:12]}.md"
        if not (self._folder / name).exists():
            write_atomically(self._folder / name, self._hide(text))
        return name

    def _write(self, file: str, value: dict[str, Any]) -> None:
        write_atomically(
            self._folder / file, self._hide(json.dumps(value, indent=1, ensure_ascii=False)) + "\n"
        )


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "model": answer.model,
        "stop": answer.stop,
        "thinking": answer.thinking,
        "text": answer.text,
        "tools": [
            {"name": block.name, "input": block.text if block.input is None else block.input}
            for block in answer.blocks
            if block.kind == "tool"
        ],
    }


def summary(answer: Answer) -> str:
    """What an answer comes to, in a line."""
    plans, script = answer.tool(PLANS), answer.tool(SCRIPT)
    text = ""
    if plans is not None and plans.input is not None and isinstance(plans.input.get("plans"), list):
        text = f"{len(plans.input['plans'])} plans"
    elif script is not None and script.input is not None:
        parts = (script.input.get("cause"), script.input.get("change"))
        text = " ".join(part for part in parts if isinstance(part, str) and part)
    if not text:
        text = answer.text
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_SUMMARY else f"{line[: _LONGEST_SUMMARY - 1]}…"
