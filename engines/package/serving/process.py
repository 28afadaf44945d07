"""An engine process, seen from the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from engines.package.variants import Choice

_CLOSING: Final = 5.0
"""Seconds for a process whose input was closed."""
_LARGEST: Final = 1 << 28
"""Bytes of one picture that are believed."""


class EngineDied(Exception):
    """The process ended, hangs or answers nonsense; what it had is to be asked of another."""


class EngineRefused(Exception):
    """The process lives and says why it cannot draw this batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What came back for a batch."""

    pngs: Sequence[bytes]
    scores: Sequence[float] | None
    draw: float
    score: float


def _choices(variants: Any) -> tuple[Choice, ...]:
    return tuple(Choice.read(str(name), facts) for name, facts in variants.items())


class EngineProcess:
    """A child that draws; `exited` is done once it has ended."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.measured: dict[int, float] = {}
        """Seconds by batch size, from its warming up."""
        self.start_seconds = 0.0
        self.choices: tuple[Choice, ...] = ()
        """The variants that it runs."""
        self._process = process
        self._said: deque[str] = deque(maxlen=20)
        self._number = 0
        self.exited = asyncio.create_task(process.wait())
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], limit: float, greeting: bytes = b""
    ) -> EngineProcess:
        """Start it, tell it `greeting`, and wait until it is warm.

        Raises:
            EngineDied: it does not start, or not within `limit` seconds; with its last words.
        """
        begun = time.monotonic()
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        # A group of its own: Ctrl-C in a terminal is the server's business.
        own: dict[str, Any] = {"creationflags": 0x200} if sys.platform == "win32" else {"process_group": 0}
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=1 << 20, env=environment, **own
            )
        except OSError as error:
            raise EngineDied(f"{command[0]} cannot be started ({error.strerror or error})") from None
        engine = cls(name, process)
        try:
            async with asyncio.timeout(limit):
                await engine._tell(greeting)
                head = await engine._head()
            if head.get("ready") is not True:
                raise EngineDied("it did not say that it is ready")
            engine.measured = {int(size): float(value) for size, value in dict(head["seconds"]).items()}
            engine.choices = _choices(head["variants"])
        except (TimeoutError, KeyError, TypeError, ValueError, AttributeError):
            await engine.close(patience=0)
            raise EngineDied(f"it was not ready within {limit:.0f} s") from None
        except BaseException:
            await asyncio.shield(engine.close(patience=0))
            raise
        engine.start_seconds = time.monotonic() - begun
        return engine

    @property
    def pid(self) -> int:
        return self._process.pid

    async def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Batch:
        """One batch; never two at once.

        Raises:
            EngineDied, EngineRefused: see there.
        """
        self._number += 1
        line = json.dumps({"id": self._number, "prompts": prompts, "seeds": seeds}).encode() + b"\n"
        assert self._process.stdout is not None
        await self._tell(line)
        head = await self._head()
        try:
            if head["id"] != self._number:
                raise EngineDied("it answered another batch")
            if not head["ok"]:
                raise EngineRefused(str(head["error"]))
            if "variants" in head:
                self.choices = _choices(head["variants"])
            lengths, scores = [int(one) for one in head["bytes"]], head["scores"]
            fits = len(lengths) == len(prompts) and all(0 < one <= _LARGEST for one in lengths)
            if not fits or (scores is not None and len(scores) != len(prompts)):
                raise EngineDied("it answered another number of pictures")
            pngs = [await self._process.stdout.readexactly(length) for length in lengths]
            return Batch(pngs, scores, float(head["draw"]), float(head["score"]))
        except asyncio.IncompleteReadError:
            raise await self._death() from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EngineDied(f"it answered nonsense ({error!r})") from None

    async def close(self, patience: float = _CLOSING) -> None:
        """Close its input, wait, then end it; returns when it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if not self.exited.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await asyncio.shield(self.exited)
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self.exited
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            await self._process.stdin.drain()
        except (ConnectionError, RuntimeError):
            raise await self._death() from None

    async def _head(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
        except (ValueError, ConnectionError):
            raise EngineDied("it answered nonsense") from None
        if not line.endswith(b"\n"):
            raise await self._death()
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise EngineDied("it answered nonsense")
        return found

    async def _death(self) -> EngineDied:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await asyncio.shield(self.exited)
                await asyncio.shield(self._listening)
        words = self._said[-1] if self._said else ""
        status = self._process.returncode
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        return EngineDied(f"it ended with {how}{': ' + words if words else ''}")

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # a line longer than the limit
                continue
            if not line:
                return
            if words := line.decode(errors="replace").strip():
                self._said.append(words[:300])
