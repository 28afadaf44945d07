"""A real HTTP server on loopback that speaks the Messages protocol, for tests.

What it answers is given by the test: an answer that streams, a status, a
stream from a file, or one that breaks off.  Every request is kept.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

MODEL = "claude-opus-5-5"


def event(kind: str, data: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


@dataclass(frozen=True)
class Streamed:
    """An answer: blocks are ("text" | "thinking", text) or (tool's name, its input as JSON text or value)."""

    blocks: Sequence[tuple[str, Any]]
    stop: str = ""
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 1000})
    output: int = 200
    cut_after: int | None = None
    """Events after which the connection ends."""
    garbage_after: int | None = None
    """Events after which a line comes that is no JSON."""
    pause: float = 0.0
    """Seconds between two events."""
    endless: bool = False
    """Text goes on until the client hangs up."""
    details: dict[str, Any] | None = None

    def events(self) -> list[bytes]:
        message: dict[str, Any] = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": {**self.usage, "output_tokens": 1},
        }  # fmt: skip
        found = [event("message_start", {"message": message}), event("ping", {})]
        uses_tool = False
        for index, (kind, content) in enumerate(self.blocks):
            if kind == "text":
                start: dict[str, Any] = {"type": "text", "text": ""}
                key, delta = "text", "text_delta"
            elif kind == "thinking":
                start = {"type": "thinking", "thinking": "", "signature": ""}
                key, delta = "thinking", "thinking_delta"
            else:
                uses_tool = True
                start = {"type": "tool_use", "id": f"toolu_{index}", "name": kind, "input": {}}
                key, delta = "partial_json", "input_json_delta"
                content = content if isinstance(content, str) else json.dumps(content)
            found.append(event("content_block_start", {"index": index, "content_block": start}))
            for at in range(0, len(content), 400):
                piece = {"type": delta, key: content[at : at + 400]}
                found.append(event("content_block_delta", {"index": index, "delta": piece}))
            found.append(event("content_block_stop", {"index": index}))
        stop = self.stop or ("tool_use" if uses_tool else "end_turn")
        ending: dict[str, Any] = {"stop_reason": stop, "stop_sequence": None}
        if self.details is not None:
            ending["stop_details"] = self.details
        found.append(event("message_delta", {"delta": ending, "usage": {"output_tokens": self.output}}))
        found.append(event("message_stop", {}))
        return found


@dataclass(frozen=True)
class Status:
    """An answer that is a failure."""

    code: int
    kind: str = "api_error"
    message: str = "It went wrong."
    headers: dict[str, str] = field(default_factory=dict)
    echo_key: bool = False


@dataclass(frozen=True)
class InStream:
    """A failure that the service tells in the middle of a stream."""

    kind: str = "overloaded_error"


@dataclass(frozen=True)
class Written:
    """A stream from a file of `tests/data/llm`: written by hand after the published protocol.

    None was recorded from a live service.
    """

    path: Path


Given = Streamed | Status | InStream | Written


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes
    time: float

    @property
    def key(self) -> str:
        """As the SDK sends it, or as it did before version 2."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class MessagesService:
    """`answers`: what to answer in turn (the last one on and on), or a function of the request's body."""

    def __init__(
        self,
        answers: Sequence[Given] | Callable[[dict[str, Any]], Given],
        models: Sequence[dict[str, Any]] | None = None,
        key: str = "",
    ) -> None:
        self.asked: list[Asked] = []
        self._answers = answers
        self._models = [model()] if models is None else list(models)
        self._key = key
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments: Any) -> None:
                return

            def do_GET(self) -> None:
                service._models_page(self)

            def do_POST(self) -> None:
                service._message(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Bodies of the questions, without those of the list of models."""
        return [one.body for one in self.asked if one.path.startswith("/v1/messages")]

    def __enter__(self) -> MessagesService:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _keep(self, handler: BaseHTTPRequestHandler) -> Asked:
        raw = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        kept = Asked(handler.path, headers, json.loads(raw) if raw else {}, raw, time.monotonic())
        with self._lock:
            self.asked.append(kept)
        return kept

    def _refused(self, handler: BaseHTTPRequestHandler, asked: Asked) -> bool:
        if self._key and asked.key != self._key:
            self._fail(handler, Status(401, "authentication_error", "invalid x-api-key"), asked)
            return True
        return False

    def _models_page(self, handler: BaseHTTPRequestHandler) -> None:
        asked = self._keep(handler)
        if self._refused(handler, asked):
            return
        if not self._models:
            self._fail(handler, Status(404, "not_found_error", "Not found"), asked)
            return
        self._json(
            handler,
            200,
            {
                "data": self._models,
                "has_more": False,
                "first_id": self._models[0]["id"],
                "last_id": self._models[-1]["id"],
            },
        )

    def _message(self, handler: BaseHTTPRequestHandler) -> None:
        asked = self._keep(handler)
        if self._refused(handler, asked):
            return
        if callable(self._answers):
            answer = self._answers(asked.body)
        else:
            answer = self._answers[min(len(self.bodies), len(self._answers)) - 1]
        if isinstance(answer, Status):
            self._fail(handler, answer, asked)
            return
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.close_connection = True
        try:
            self._stream(handler, answer)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _stream(self, handler: BaseHTTPRequestHandler, answer: Streamed | InStream | Written) -> None:
        if isinstance(answer, Written):
            handler.wfile.write(answer.path.read_bytes())
            return
        if isinstance(answer, InStream):
            handler.wfile.write(Streamed([]).events()[0])
            error = {"error": {"type": answer.kind, "message": "Overloaded"}}
            handler.wfile.write(event("error", error))
            return
        events = answer.events()
        for number, one in enumerate(events):
            if number == answer.cut_after:
                return
            if number == answer.garbage_after:
                handler.wfile.write(b"event: content_block_delta\ndata: {not json\n\n")
            handler.wfile.write(one)
            handler.wfile.flush()
            if answer.pause:
                time.sleep(answer.pause)
            if answer.endless and b"content_block_start" in one:
                piece = {"index": 0, "delta": {"type": "text_delta", "text": "and so on " * 400}}
                while True:
                    handler.wfile.write(event("content_block_delta", piece))

    def _fail(self, handler: BaseHTTPRequestHandler, status: Status, asked: Asked) -> None:
        message = status.message
        if status.echo_key:
            message += f" Your key is {asked.key}."
        body = {"type": "error", "error": {"type": status.kind, "message": message}}
        self._json(handler, status.code, body, status.headers)

    def _json(
        self, handler: BaseHTTPRequestHandler, code: int, value: Any, headers: dict[str, str] | None = None
    ) -> None:
        raw = json.dumps(value).encode()
        handler.send_response(code)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(raw)))
        for name, text in (headers or {}).items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(raw)


def model(name: str = MODEL, thinking: str = "adaptive", lifecycle: str = "active") -> dict[str, Any]:
    """An entry of the list of models."""
    kinds = {kind: {"supported": kind == thinking} for kind in ("adaptive", "enabled", "disabled")}
    return {
        "type": "model",
        "id": name,
        "display_name": name.replace("-", " ").title(),
        "created_at": "2026-09-01T00:00:00Z",
        "lifecycle": lifecycle,
        "max_tokens": 128_000,
        "max_input_tokens": 1_000_000,
        "capabilities": {"thinking": {"supported": thinking != "none", "types": kinds}},
    }
