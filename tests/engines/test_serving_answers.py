"""The server answers every request once, light or heavy by score, in time, whatever its engines do."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engines.errors import PackageError
from engines.package.serving.controller import Controller
from engines.package.serving.metrics import Metrics
from engines.package.serving.server import Commands, Options, Server
from engines.package.serving.values import Settings, Tuning
from tests.engines.serving_client import MODEL, ask, close, read, send, serving, stub


def test_a_good_light_picture_is_kept_and_a_poor_one_deferred() -> None:
    async def main() -> None:
        async with serving(stub(score=True), stub(each=0.02), threshold=0.5) as server:
            kept, deferred = await asyncio.gather(ask(server, "0.9 a", seed=3), ask(server, "0.2 b", seed=4))
            assert (kept.status, deferred.status) == (200, 200)
            assert kept.said["decision"] == "light"
            assert kept.said["score"] == 0.9
            assert deferred.said["decision"] == "heavy"
            assert deferred.said["score"] == 0.2
            assert deferred.said["threshold"] == 0.5
            assert deferred.said["seconds"]["heavy"] >= 0.02
            assert deferred.said["seconds"]["total"] >= deferred.said["seconds"]["heavy"]
            assert kept.picture.endswith(b" 3")
            assert deferred.picture.endswith(b" 4")
            assert kept.picture.split()[1] != deferred.picture.split()[1]  # two processes

            for wanted, decision in (({"quality": "high"}, "heavy"), ({"route": "light"}, "light")):
                found = await ask(server, "0.2", **wanted)
                assert (found.said["decision"], found.said["reason"]) == (decision, "asked")
            several = await ask(server, "0.9", n=3, seed=7)
            assert [one["pareto"]["seed"] for one in several.json["data"]] == [7, 8, 9]

    asyncio.run(main())


def test_the_light_picture_is_handed_back_when_heavy_would_be_late() -> None:
    async def main() -> None:
        async with serving(stub(score=True), stub(base=0.4), heavy_tuning=Tuning(batch=1)) as server:
            at_once = await ask(server, "0.1", deadline_ms=350)
            assert (at_once.said["decision"], at_once.said["reason"]) == ("light", "late")
            assert at_once.said["seconds"]["total"] < 0.35  # known in advance: nobody waits for it
            assert (await ask(server, "0.1", deadline_ms=2000)).said["decision"] == "heavy"
            # Expected in time, but then it was not: the estimate is that of an empty queue.
            server.router.heavy.seconds = {1: 0.1}
            begun = asyncio.get_running_loop().time()
            waited = await ask(server, "0.1", deadline_ms=250)
            assert (waited.said["decision"], waited.said["reason"]) == ("light", "late")
            assert 0.2 < asyncio.get_running_loop().time() - begun < 0.4  # heavy takes that long
            nothing = await ask(server, "0.1", deadline_ms=100, route="heavy")
            assert nothing.status == 504
            assert "deadline_ms" in nothing.sentence

    asyncio.run(main())


def test_two_hundred_requests_survive_two_killed_processes_and_each_is_answered_once(tmp_path: Path) -> None:
    log = tmp_path / "drawn"

    async def main() -> None:
        async with serving(
            stub(base=0.004, each=0.002, score=True, log=log),
            stub(base=0.01, each=0.004),
            light_tuning=Tuning(batch=4, wait=0.005, workers=2),
            heavy_tuning=Tuning(batch=4, wait=0.005, workers=2),
            queue=400,
        ) as server:
            killed: list[int] = []

            async def kill() -> None:
                for pool in server.pools:
                    await asyncio.sleep(0.08)
                    victim = next(slot.engine for slot in pool._slots if slot.engine is not None)
                    os.kill(victim.pid, signal.SIGKILL)
                    killed.append(victim.pid)

            async def one(number: int) -> tuple[int, bytes, str]:
                await asyncio.sleep(number * 0.002)
                found = await ask(server, f"{number % 10 / 10} x", seed=number)
                assert found.status == 200, found.body
                return number, found.picture, found.said["decision"]

            killing = asyncio.create_task(kill())
            answers = await asyncio.gather(*(one(number) for number in range(200)))
            await killing
            assert len(killed) == 2
            seeds = [int(picture.split()[2]) for _, picture, _ in answers]
            assert seeds == list(range(200))  # everyone got the picture that was asked for
            decided = Counter(decision for _, _, decision in answers)
            assert decided == {"light": 100, "heavy": 100}
            metrics = server.metrics
            assert metrics.value("restarts_total", engine="light") == 1
            assert metrics.value("restarts_total", engine="heavy") == 1
            assert metrics.value("requests_total", path="/v1/images/generations", status="200") == 200
            for _ in range(600):
                if all(pool.up == 2 for pool in server.pools):
                    break
                await asyncio.sleep(0.05)
            assert [pool.up for pool in server.pools] == [2, 2]  # started again
            assert (await send(server, "GET", "/health")).status == 200

    asyncio.run(main())


def test_a_request_that_kills_its_engine_is_given_up_and_the_others_are_not() -> None:
    async def main() -> None:
        async with serving(stub(score=True), stub(), light_tuning=Tuning(batch=1, workers=2)) as server:
            bad = asyncio.create_task(ask(server, "die"))
            good = [asyncio.create_task(ask(server, "0.9", seed=at)) for at in range(5)]
            assert {(await one).status for one in good} == {200}
            found = await bad
            # No light picture is to be had; the heavy engine is asked, and dies of it too.
            assert found.status == 500
            assert "signal" in found.sentence or "status 9" in found.sentence
            assert (await ask(server, "0.9")).status == 200

    asyncio.run(main())


def test_one_refused_prompt_does_not_spoil_its_batch() -> None:
    async def main() -> None:
        async with serving(None, stub(), heavy_tuning=Tuning(batch=4, wait=0.05)) as server:
            found = await asyncio.gather(
                ask(server, "refuse"), *(ask(server, "fine", seed=at) for at in range(3))
            )
            assert [one.status for one in found] == [500, 200, 200, 200]
            assert "cannot be drawn" in found[0].sentence
            assert found[1].said["reason"] == "only"
            assert server.metrics.value("restarts_total", engine="heavy") == 0

    asyncio.run(main())


def test_a_process_that_hangs_is_replaced() -> None:
    async def main() -> None:
        async with serving(None, stub(), heavy_tuning=Tuning(batch=1), patience=0.3) as server:
            hanging = asyncio.create_task(ask(server, "hang", deadline_ms=500))
            await asyncio.sleep(0.1)
            assert (await ask(server, "fine")).status == 200
            assert (await hanging).status == 504
            assert server.metrics.value("restarts_total", engine="heavy") >= 1

    asyncio.run(main())


def test_requests_that_come_together_share_a_batch() -> None:
    async def main() -> None:
        async with serving(
            None, stub(base=0.05), heavy_tuning=Tuning(batch=8, wait=0.02), queue=64
        ) as server:
            begun = asyncio.get_running_loop().time()
            found = await asyncio.gather(*(ask(server, seed=at) for at in range(16)))
            assert {one.status for one in found} == {200}
            assert asyncio.get_running_loop().time() - begun < 16 * 0.05 / 2
            text = (await send(server, "GET", "/metrics")).body.decode()
            assert 'pareto_batch_size_count{engine="heavy"} 2' in text

    asyncio.run(main())


def test_a_client_that_goes_away_costs_no_engine_time(tmp_path: Path) -> None:
    log = tmp_path / "drawn"

    async def main() -> None:
        async with serving(None, stub(base=0.2, log=log), heavy_tuning=Tuning(batch=1, wait=0)) as server:
            first = asyncio.create_task(ask(server, "fine", seed=1))
            await asyncio.sleep(0.05)
            body = b'{"prompt": "nobody reads this", "seed": 99}'
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 43\r\n\r\n" + body
            )
            await writer.drain()
            await asyncio.sleep(0.05)
            assert server.router.heavy.waiting == 1
            await close(writer)
            await asyncio.sleep(0.05)
            assert server.router.heavy.waiting == 0
            assert (await first).status == 200
            assert (await ask(server, "fine", seed=2)).status == 200
            assert [line.split()[0] for line in log.read_text().splitlines()] == ["1", "2"]
            assert server.metrics.value("requests_total", path="/v1/images/generations", status="499") == 1

    asyncio.run(main())


def test_a_full_queue_is_refused_with_the_time_to_come_back() -> None:
    async def main() -> None:
        async with serving(None, stub(base=0.3), heavy_tuning=Tuning(batch=1, wait=0), queue=2) as server:
            first = asyncio.create_task(ask(server))
            await asyncio.sleep(0.1)
            found = [*await asyncio.gather(*(ask(server, seed=at) for at in range(7))), await first]
            counted = Counter(one.status for one in found)
            assert counted == {200: 3, 429: 5}
            refused = next(one for one in found if one.status == 429)
            assert int(refused.headers["retry-after"]) >= 1
            assert "ask again" in refused.sentence
            assert (await ask(server)).status == 200

    asyncio.run(main())


def test_stopping_finishes_what_was_begun_and_takes_nothing_new() -> None:
    async def main() -> None:
        async with serving(None, stub(base=0.3), heavy_tuning=Tuning(batch=1)) as server:
            pids = [slot.engine.pid for slot in server.pools[-1]._slots if slot.engine is not None]
            asked = asyncio.create_task(ask(server, seed=5))
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read(reader)).status == 200
            await asyncio.sleep(0.1)
            await server.stop(5.0)
            assert (await asked).picture.endswith(b" 5")
            assert await reader.read() == b""  # the idle connection was ended
            await close(writer)
            with pytest.raises(OSError, match=r"(?i)refused|failed|errno"):
                await ask(server)
            for pid in pids:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)

    asyncio.run(main())


def test_a_threshold_is_pushed_live_and_held_against_the_plan() -> None:
    seen: list[dict[str, Any]] = []

    def planner(situation: Any) -> dict[str, Any]:
        seen.append(situation)
        return {"threshold": 0.8, "light": {"batch": 2}, "note": "as planned"}

    async def main() -> None:
        async with serving(stub(score=True), stub(), threshold=0.1, every=60.0, planner=planner) as server:
            assert (await ask(server, "0.3")).said["decision"] == "light"
            put = await send(server, "PUT", "/v1/threshold", b'{"threshold": 0.4}')
            assert put.json == {"threshold": 0.4, "held": True}
            assert (await ask(server, "0.3")).said["decision"] == "heavy"

            controller = Controller(server.api, planner, Metrics())
            controller.step()
            assert server.router.settings.threshold == 0.4
            assert server.router.settings.light.batch == 2
            await send(server, "PUT", "/v1/threshold", b'{"threshold": null}')
            controller.step()
            plan = (await send(server, "GET", "/v1/plan")).json
            assert plan["settings"]["threshold"] == 0.8
            assert plan["note"] == "as planned"
            assert plan["load"]["deferred"] == 0.5
            assert seen[-1]["load"]["demand"] > 0
            assert set(seen[-1]["load"]["light_seconds"]) == {1, 2, 4}

            more = await send(server, "PUT", "/v1/plan", b'{"heavy": {"workers": 2}}')
            assert more.json["settings"]["heavy"]["workers"] == 2
            for _ in range(100):
                if server.router.heavy.up == 2:
                    break
                await asyncio.sleep(0.05)
            assert server.router.heavy.up == 2
            await send(server, "PUT", "/v1/plan", b'{"heavy": {"workers": 1}}')
            await asyncio.sleep(0.1)
            assert server.router.heavy.up == 1
            assert (await ask(server, "0.3")).status == 200

    asyncio.run(main())


def test_a_plan_that_fails_leaves_the_server_as_it_is() -> None:
    def planner(_situation: Any) -> dict[str, Any]:
        raise ValueError("no plan meets 1 ms")

    async def main() -> None:
        async with serving(stub(score=True), stub(), threshold=0.3, every=0.05, planner=planner) as server:
            await asyncio.sleep(0.2)
            plan = (await send(server, "GET", "/v1/plan")).json
            assert "no plan meets 1 ms" in plan["note"]
            assert plan["settings"]["threshold"] == 0.3
            assert server.metrics.value("plans_total", outcome="failed") >= 2

    asyncio.run(main())


def test_a_port_in_use_and_an_engine_that_does_not_start_are_said_in_a_sentence() -> None:
    async def main() -> None:
        async with serving(None, stub()) as server:
            second = Server(MODEL, Commands(stub()), Options(Settings(0.0), port=server.port))
            with pytest.raises(PackageError, match=r"is in use; choose another port with --port"):
                await second.start()
            assert (await ask(server)).status == 200
        with pytest.raises(PackageError, match=r"heavy engine does not start: .*No module named"):
            async with serving(None, lambda _batch: [sys.executable, "-c", "import nothing"]):
                raise AssertionError

    asyncio.run(main())
