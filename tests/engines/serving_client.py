"""A server of stub engines on loopback, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engines.package.serving.api import Model
from engines.package.serving.controller import Planner
from engines.package.serving.server import Commands, Options, Server
from engines.package.serving.values import Settings, Tuning

MODEL = Model("stub", "sha256:0", 0, 16, 16, cascade=True)


class Listening(Protocol):
    """Whatever has a port on loopback."""

    @property
    def port(self) -> int: ...


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def said(self) -> dict[str, Any]:
        """What the answer says about its first picture."""
        found: dict[str, Any] = self.json["data"][0]["pareto"]
        return found

    @property
    def picture(self) -> bytes:
        return base64.b64decode(self.json["data"][0]["b64_json"])

    @property
    def sentence(self) -> str:
        return str(self.json["error"]["message"])


def stub(
    *, base: float = 0.0, each: float = 0.0, score: bool = False, log: Path | None = None
) -> Callable[[int], Sequence[str]]:
    def command(batch: int) -> Sequence[str]:
        found = [sys.executable, "-m", "tests.engines.stub_engine", "--batch", str(batch)]
        found += ["--base", str(base), "--each", str(each)]
        return [*found, *(["--score"] if score else []), *(["--log", str(log)] if log else [])]

    return command


@contextlib.asynccontextmanager
async def serving(
    light: Callable[[int], Sequence[str]] | None,
    heavy: Callable[[int], Sequence[str]],
    *,
    threshold: float = 0.5,
    light_tuning: Tuning | None = None,
    heavy_tuning: Tuning | None = None,
    planner: Planner | None = None,
    **options: Any,
) -> AsyncIterator[Server]:
    settings = Settings(threshold, light_tuning or Tuning(), heavy_tuning or Tuning())
    model = MODEL if light is not None else Model("stub", "sha256:0", 0, 16, 16, cascade=False)
    server = Server(model, Commands(heavy, light), Options(settings, port=0, **options), planner=planner)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(1.0)


async def ask(server: Listening, prompt: str = "0.9", **more: Any) -> Reply:
    body = json.dumps({"prompt": prompt, **more}).encode()
    return await send(server, "POST", "/v1/images/generations", body)


async def send(
    server: Listening, method: str, path: str, body: bytes = b"", headers: Sequence[str] = ()
) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        head = [f"{method} {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
        return await read(reader)
    finally:
        await close(writer)


async def raw(server: Listening, data: bytes) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        return await read(reader)
    finally:
        await close(writer)


async def read(reader: asyncio.StreamReader, seconds: float = 30) -> Reply:
    async with asyncio.timeout(seconds):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(head[0].split()[1]), headers, body)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
