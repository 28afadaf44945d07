"""HTTP/1.1 over asyncio: h11 reads and writes the protocol, this keeps connections honest.

One task answers one request; it is cancelled when the client goes away.
A request that is too large, too slow or not HTTP gets one answer, then the
connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import h11

from engines.package.serving.values import Refusal

HEAD_LIMIT: Final = 32 << 10
"""Bytes of a request's head."""
BODY_LIMIT: Final = 1 << 20
READ_SECONDS: Final = 20.0
"""For one request to arrive."""
IDLE_SECONDS: Final = 75.0
"""Between two requests of a connection."""
DRAIN_BYTES: Final = 64 << 20
"""Read and thrown away after a refusal, so that the client gets to read the answer."""
DRAIN_SECONDS: Final = 5.0
CONNECTIONS: Final = 1024


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """Without the query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False, slots=True)
class Door:
    """What all connections of a server share."""

    handler: Callable[[Request], Awaitable[Response]]
    """Answers everything; raises nothing but `CancelledError`."""
    refuse: Callable[[Refusal], Response]
    connections: set[Connection] = field(default_factory=set)
    open: bool = True
    """Closed while stopping: each connection ends after its answer."""

    def protocol(self) -> Connection:
        return Connection(self)

    async def shut(self, seconds: float) -> None:
        """End idle connections, wait for the answers in flight, then end the rest."""
        self.open = False
        for connection in list(self.connections):
            connection.close_if_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.connections:
                    await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._transport: asyncio.Transport | None = None
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drained: int | None = None

    # -- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._door.connections.add(self)
        if len(self._door.connections) > CONNECTIONS:
            self._refuse(Refusal(503, "connections", "There are too many connections; come back later."))
            return
        self._wait(READ_SECONDS)

    def data_received(self, data: bytes) -> None:
        if self._drained is not None:
            self._drained += len(data)
            if self._drained > DRAIN_BYTES:
                self.abort()
            return
        try:
            self._http.receive_data(data)
            self._advance()
        except h11.RemoteProtocolError as error:
            self._refuse(_no_http(error))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._door.connections.discard(self)
        self._stop_timer()
        if self._task is not None:
            self._task.cancel()

    # -- reading

    def _advance(self) -> None:
        while self._task is None and self._drained is None:
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                break
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_LIMIT:
                    self._too_large()
            elif isinstance(event, h11.EndOfMessage):
                self._stop_timer()
                self._task = asyncio.get_running_loop().create_task(self._answer())
            elif isinstance(event, h11.ConnectionClosed):
                self._close()
                break
        # What arrives while a request is answered is kept by h11 for the next one; not without end.
        if self._task is not None and len(self._http.trailing_data[0]) > BODY_LIMIT + HEAD_LIMIT:
            self.abort()

    def _begin(self, head: h11.Request) -> None:
        self._head, self._body = head, bytearray()
        self._wait(READ_SECONDS)
        if sum(len(name) + len(value) for name, value in head.headers) + len(head.target) > HEAD_LIMIT:
            self._refuse(_too_many_headers())
            return
        length = next((value for name, value in head.headers if name == b"content-length"), b"0")
        if int(length) > BODY_LIMIT:
            self._too_large()
        elif self._http.they_are_waiting_for_100_continue:
            self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))

    def _too_large(self) -> None:
        limit = BODY_LIMIT >> 20
        self._refuse(Refusal(413, "too_large", f"The request is larger than {limit} MiB; send less."))

    # -- answering

    async def _answer(self) -> None:
        head = self._head
        assert head is not None
        request = Request(
            head.method.decode("ascii"),
            head.target.decode("ascii", "replace").partition("?")[0],
            {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
            bytes(self._body),
        )
        self._body = bytearray()
        response = await self._door.handler(request)
        self._send(response, close=not self._door.open)
        self._task = None
        if self._transport is None or self._transport.is_closing():
            return
        if self._http.our_state is h11.MUST_CLOSE or not self._door.open:
            self._close()
            return
        self._http.start_next_cycle()
        self._wait(IDLE_SECONDS)
        try:
            self._advance()
        except h11.RemoteProtocolError as error:
            self._refuse(_no_http(error))

    def _send(self, response: Response, *, close: bool) -> None:
        headers = [
            ("Content-Type", response.type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
            *response.headers,
        ]
        if close:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(response.status).phrase.encode()
        is_head = self._head is not None and self._head.method == b"HEAD"
        with contextlib.suppress(h11.LocalProtocolError):  # the client is gone, or its request is no request
            out = self._http.send(h11.Response(status_code=response.status, headers=headers, reason=reason))
            if not is_head:
                out = (out or b"") + (self._http.send(h11.Data(data=response.body)) or b"")
            out = (out or b"") + (self._http.send(h11.EndOfMessage()) or b"")
            self._write(out)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer at once, then read and forget what still comes, then end."""
        if self._drained is not None or self._task is not None:
            self.abort()
            return
        self._send(self._door.refuse(refusal), close=True)
        self._drained = 0
        self._stop_timer()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
        self._timer = asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._close)

    def _write(self, data: bytes | None) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # -- ending

    def _wait(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        if self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
            self._close()
        else:
            self._refuse(Refusal(408, "slow", "The request did not arrive in time; send it faster."))

    def close_if_idle(self) -> None:
        """Without a request in hand."""
        if self._task is None and self._http.their_state is h11.IDLE:
            self._close()

    def _close(self) -> None:
        self._stop_timer()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()


def _no_http(error: h11.RemoteProtocolError) -> Refusal:
    if error.error_status_hint == 431:
        return _too_many_headers()
    return Refusal(error.error_status_hint, "protocol", f"This is not HTTP/1.1 ({error}); check the address.")


def _too_many_headers() -> Refusal:
    return Refusal(431, "protocol", "The head of the request is too large; send fewer headers.")
