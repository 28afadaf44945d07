"""Whatever is thrown at the server gets one clear answer, and the server stays up."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import pytest

from engines.package.serving import http
from engines.package.serving.server import Server
from engines.package.serving.values import Settings, Tuning
from tests.engines.serving_client import Reply, ask, close, raw, read, send, serving, stub

PATH = "/v1/images/generations"


def answered(*bodies: bytes) -> list[Reply]:
    """The answers to these bodies; afterwards the server must still draw."""

    async def main() -> list[Reply]:
        async with serving(stub(score=True), stub()) as server:
            found = [await send(server, "POST", PATH, body) for body in bodies]
            assert (await ask(server)).status == 200
            return found

    return asyncio.run(main())


NO_JSON: list[bytes] = [
    b"",
    b"nonsense",
    b"\xff\xfe",
    b'{"prompt": ',
    b"[" * 100_000,
    b"[1]",
    b'"text"',
    b"1" * 9999,
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "prompt must be"),
    ({"prompt": 7}, "prompt must be"),
    ({"prompt": " "}, "prompt must be"),
    ({"prompt": "x" * 4001}, "4001 characters"),
    ({"prompt": "\ud800"}, "half a character"),
    ({"prompt": "x", "n": 0}, "n must be"),
    ({"prompt": "x", "n": 17}, "n must be"),
    ({"prompt": "x", "n": True}, "n must be"),
    ({"prompt": "x", "seed": -1}, "seed must be"),
    ({"prompt": "x", "seed": 1.5}, "seed must be"),
    ({"prompt": "x", "seed": 2**64}, "seed must be"),
    ({"prompt": "x", "size": "512x512"}, "size must be 16x16"),
    ({"prompt": "x", "size": 16}, "size must be"),
    ({"prompt": "x", "response_format": "url"}, "response_format must be b64_json"),
    ({"prompt": "x", "quality": "best"}, "quality must be"),
    ({"prompt": "x", "route": ["light"]}, "route must be"),
    ({"prompt": "x", "deadline_ms": "soon"}, "deadline_ms must be"),
    ({"prompt": "x", "deadline_ms": 0}, "deadline_ms must be"),
    ({"prompt": "x", "deadline_ms": float("nan")}, "deadline_ms must be"),
    ({"prompt": "x", "deadline_ms": float("inf")}, "deadline_ms must be"),
    ({"prompt": "x", "steps": 4}, "steps is not known"),
]


def test_a_body_that_is_no_json_object_is_refused_with_an_example() -> None:
    for reply in answered(*NO_JSON):
        assert reply.status == 400
        assert '{"prompt": "a red house"}' in reply.sentence
        assert reply.json["error"]["type"] == "invalid_request_error"


def test_each_wrong_value_is_named() -> None:
    replies = answered(*(json.dumps(body).encode() for body, _ in WRONG))
    for reply, (body, said) in zip(replies, WRONG, strict=True):
        assert reply.status == 400, body
        assert said in reply.sentence
        assert reply.sentence.endswith(".")
        assert "Traceback" not in reply.sentence


def test_unknown_places_methods_and_models_are_refused() -> None:
    async def main() -> None:
        async with serving(stub(score=True), stub()) as server:
            assert (await send(server, "GET", "/nowhere")).status == 404
            wrong = await send(server, "GET", PATH)
            assert wrong.status == 405
            assert "takes POST" in wrong.sentence
            other = await ask(server, model="dall-e-3")
            assert other.status == 404
            assert "stub" in other.sentence
            assert (await ask(server, model="stub")).status == 200
            assert (await send(server, "GET", "/v1/models")).json["data"][0]["id"] == "stub"
            for bad in (b'{"threshold": "high"}', b'{"threshold": -1}', b"{}", b'{"threshold": 1, "x": 2}'):
                assert (await send(server, "PUT", "/v1/threshold", bad)).status == 400
            for bad in (
                b'{"heavy": {"workers": 0}}',
                b'{"heavy": {"batch": 1.5}}',
                b'{"heavy": 3}',
                b'{"x": 1}',
            ):
                refused = await send(server, "PUT", "/v1/plan", bad)
                assert refused.status == 400
            assert server.router.settings == Settings(0.5)
        async with serving(None, stub()) as server:
            alone = await send(server, "PUT", "/v1/threshold", b'{"threshold": 0.5}')
            assert alone.status == 404
            assert "only cascades" in alone.sentence

    asyncio.run(main())


def test_ten_megabytes_are_refused_and_the_client_reads_why() -> None:
    big = b'{"prompt": "' + b"x" * (10 << 20) + b'"}'

    async def main() -> None:
        async with serving(None, stub()) as server:
            declared = await send(server, "POST", PATH, big)
            assert declared.status == 413
            assert "larger than 1 MiB" in declared.sentence
            head = b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            assert (await raw(server, head + chunk * 40)).status == 413
            assert (await raw(server, head.replace(b"chunked", b"gzip") + b"x")).status in (400, 501)
            waiting = b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n"
            assert (await raw(server, waiting + b"Expect: 100-continue\r\n\r\n")).status == 413
            assert (await ask(server)).status == 200

    asyncio.run(main())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_not_http_is_refused(data: bytes, status: int) -> None:
    async def main() -> None:
        async with serving(None, stub()) as server:
            reply = await raw(server, data)
            assert reply.status == status
            assert reply.json["error"]["code"] == "protocol"
            assert (await send(server, "GET", "/health")).status == 200

    asyncio.run(main())


def test_a_slow_client_is_answered_and_an_idle_one_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.2)
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.2)

    async def main() -> None:
        async with serving(None, stub()) as server:
            slow = await raw(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
            assert slow.status == 408
            assert "in time" in slow.sentence
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for _ in range(2):
                writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await read(reader)).status == 200
            assert await reader.read() == b""
            await close(writer)

    asyncio.run(main())


def test_pipelined_requests_are_answered_in_turn_and_head_has_no_body() -> None:
    async def main() -> None:
        async with serving(None, stub(base=0.02)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            body = b'{"prompt": "x", "seed": 5}'
            one = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            writer.write(one + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + one)
            first, second, third = [await read(reader) for _ in range(3)]
            assert first.said["seed"] == third.said["seed"] == 5
            assert second.json["status"] == "ok"
            writer.write(b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            told = await reader.read()
            assert told.startswith(b"HTTP/1.1 200")
            assert told.endswith(b"\r\n\r\n")
            await close(writer)

    asyncio.run(main())


def test_a_flood_is_held_back_and_then_the_server_goes_on() -> None:
    async def main() -> None:
        async with serving(
            stub(base=0.01, score=True), stub(base=0.01), light_tuning=Tuning(batch=4, wait=0), queue=8
        ) as server:
            found = await asyncio.gather(*(ask(server, str(at % 10 / 10)) for at in range(300)))
            statuses = [one.status for one in found]
            assert set(statuses) == {200, 429}
            assert statuses.count(200) >= 8
            await _abandon(server, 100)
            await asyncio.sleep(0.2)
            assert (await ask(server)).status == 200
            assert server.router.heavy.waiting == 0
            text = (await send(server, "GET", "/metrics")).body.decode()
            assert "pareto_requests_in_flight 1" in text

    asyncio.run(main())


async def _abandon(server: Server, count: int) -> None:
    """Clients that send half a request, or a whole one, and reset the connection."""
    whole = b'POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"prompt": "x"}'
    for at in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(whole if at % 2 else whole[:40])
        writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: reset
        writer.transport.abort()


def test_too_many_connections_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECTIONS", 3)

    async def main() -> None:
        async with serving(None, stub()) as server:
            open_ones = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
            await asyncio.sleep(0.05)
            refused = await send(server, "GET", "/health")
            assert refused.status == 503
            assert "too many connections" in refused.sentence
            for _, writer in open_ones:
                await close(writer)
            await asyncio.sleep(0.05)
            assert (await send(server, "GET", "/health")).status == 200

    asyncio.run(main())
