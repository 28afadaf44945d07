"""How many requests the server itself can take: stub engines that take no time, kept-alive connections.

python -m tests.engines.serving_load [--seconds 5] [--connections 64]
"""

from __future__ import annotations

import argparse
import asyncio
import json

import numpy as np

from engines.package.serving.values import Tuning
from tests.engines.serving_client import close, read, serving, stub


async def load(seconds: float, connections: int) -> dict[str, float]:
    """Closed loop: every connection asks again as soon as it is answered; half is deferred."""
    tuning = Tuning(batch=16, wait=0.002, workers=1)
    async with serving(
        stub(score=True), stub(), light_tuning=tuning, heavy_tuning=tuning, queue=10_000
    ) as server:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        taken: list[float] = []

        async def client(number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            asked = 0
            while loop.time() < end:
                asked += 1
                body = json.dumps({"prompt": "0.9" if (asked + number) % 2 else "0.1"}).encode()
                start = loop.time()
                writer.write(
                    b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\n"
                    + f"Content-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                assert (await read(reader)).status == 200
                taken.append(loop.time() - start)
            await close(writer)

        await asyncio.gather(*(client(number) for number in range(connections)))
    return {
        "requests_per_second": round(len(taken) / seconds, 1),
        "p50_ms": round(1000 * float(np.quantile(taken, 0.5)), 1),
        "p99_ms": round(1000 * float(np.quantile(taken, 0.99)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(load(given.seconds, given.connections))))


if __name__ == "__main__":
    main()
