"""The package's application on Ray Serve answers as the server does; a killed replica loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest

from tests.engines.serving_client import Reply, ask, send

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Cluster:
    """A local cluster with one light and two heavy replicas, in a process of its own."""

    port: int
    process: subprocess.Popen[str]

    def tell(self, line: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.said()

    def said(self) -> Any:
        """The next line that is JSON: Ray prints on standard output too."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                return json.loads(line)
            except ValueError:
                continue
        raise AssertionError("the cluster ended")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if find_spec("ray") is None:
        pytest.skip("the extra `cluster` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engines.cluster_driver", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    with process:
        made = Cluster(port, process)
        assert made.said() == "ready"
        yield made
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


def asked(cluster: Cluster, prompt: str, **more: Any) -> Reply:
    return asyncio.run(ask(cluster, prompt, **more))


def test_light_and_heavy_by_score_with_the_same_answers_as_the_server(cluster: Cluster) -> None:
    kept, deferred = asked(cluster, "0.9", seed=3), asked(cluster, "0.2", seed=4)
    assert (kept.said["decision"], deferred.said["decision"]) == ("light", "heavy")
    assert kept.picture.endswith(b" 3")
    assert deferred.said["score"] == 0.2
    assert asyncio.run(send(cluster, "GET", "/health")).status == 200
    assert asyncio.run(send(cluster, "POST", "/v1/images/generations", b"nonsense")).status == 400
    big = b'{"prompt": "' + b"x" * (2 << 20) + b'"}'
    assert asyncio.run(send(cluster, "POST", "/v1/images/generations", big)).status == 413
    assert endless(cluster) == 413


def endless(cluster: Cluster) -> int:
    """The status for a body that comes in pieces and never says how long it will be."""
    with socket.create_connection(("127.0.0.1", cluster.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        client.sendall(piece * 18 + b"0\r\n\r\n")
        return int(client.recv(4096).split()[1])


def test_the_threshold_is_pushed_by_a_method_call(cluster: Cluster) -> None:
    begun = time.perf_counter()
    assert cluster.tell("threshold 0.1") == 0.1
    assert time.perf_counter() - begun < 2
    assert asked(cluster, "0.2").said["decision"] == "light"
    assert cluster.tell("threshold 0.5") == 0.5
    assert asked(cluster, "0.2").said["decision"] == "heavy"
    assert cluster.tell("plan")["settings"]["heavy"]["workers"] == 2


def test_two_hundred_requests_survive_a_killed_replica_and_each_is_answered_once(cluster: Cluster) -> None:
    async def main() -> list[tuple[int, bytes, str]]:
        victim = int((await ask(cluster, "0.1")).picture.split()[1])  # a heavy replica's process

        async def kill() -> None:
            await asyncio.sleep(0.6)
            os.kill(victim, signal.SIGKILL)

        async def one(number: int) -> tuple[int, bytes, str]:
            await asyncio.sleep(number * 0.01)
            found = await ask(cluster, f"{number % 10 / 10}", seed=number)
            assert found.status == 200, found.body
            return number, found.picture, found.said["decision"]

        killing = asyncio.create_task(kill())
        answers = await asyncio.gather(*(one(number) for number in range(200)))
        await killing
        return answers

    answers = asyncio.run(main())
    assert [int(picture.split()[2]) for _, picture, _ in answers] == list(range(200))
    assert Counter(decision for *_, decision in answers) == {"light": 100, "heavy": 100}
    for _ in range(60):
        statuses = cluster.tell("replicas")
        if statuses.get("heavy") == 2:
            break
        time.sleep(0.5)
    assert statuses["heavy"] == 2  # Ray started it again
