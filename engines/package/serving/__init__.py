"""The package's server: one process per engine, dynamic batches, light or heavy by score.

    http        HTTP/1.1 connections (h11): limits, time-outs, clients that go away
    api         paths and bodies: OpenAI's image generation, health, metrics, threshold, plan
    router      one request: light first, its score, heavy where it is needed and in time
    pool        the processes of one model: queue, batches, deadlines, restarts
    process     one engine process, seen from the server
    engine      one engine process, seen from inside
    controller  re-plans from measured load; the planner is given from outside
    server      all of it together

Travels inside packages; standard library and h11, numpy and Pillow in the engine processes only.
"""
