"""Which operators the unchanged denoiser spends its time in, for the planner.

    python -m agent.llm.operators MODEL DEVICE WORKLOAD      one JSON line: [[operator, share], ...]

A process of its own: the profiler slows what it watches, and nothing that is
measured later may feel it.  Kept in the cache by the model's digest.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

from engines.errors import EngineError
from engines.paths import cache_folder, digest, read_json, write_json
from engines.workload import Workload

Operators = tuple[tuple[str, float], ...]

COUNT: Final = 10
_PATIENCE: Final = 300.0
_FORMAT: Final = 1


def profile(model: str, device: str, workload: Workload) -> list[list[Any]]:
    """Operators of one denoiser call with their share of its time, largest first; runs it here and now.

    Raises:
        EngineError: the model cannot be opened or built.
    """
    import torch

    from engines.backends import backend
    from engines.capture.capture import Capture
    from engines.models.load import open_model
    from engines.pipeline import artifact, engines, plan

    opened = open_model(model)
    wanted = plan(opened, device, workload)
    request = next(one for one in engines(wanted) if one.structure.component.startswith("denoiser"))
    loaded = backend(request.backend).load(artifact(wanted, request, opened))
    inputs = Capture(opened, request.structure).example(2 if wanted.loop.guidance > 1 else 1)
    loaded.component(inputs)
    # On a graphics card the processor only hands work on; the card's own time is not verified on device.
    card = device.startswith("cuda")
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA] if card else [kinds.CPU]) as watched:
        for _ in range(3):
            loaded.component(inputs)
    name = "self_device_time_total" if card else "self_cpu_time_total"
    found = [(str(one.key), float(getattr(one, name))) for one in watched.key_averages()]
    total = sum(time for _, time in found) or 1.0
    largest = sorted(found, key=lambda one: -one[1])[:COUNT]
    return [[name, round(time / total, 4)] for name, time in largest if time > 0]


def operators(model: str, content: str, device: str, workload: Workload) -> Operators:
    """As `profile`, in a process of its own, from the cache where it was done before.

    `content` is the model's digest.  Empty where it cannot be done: then the planner knows the stages only.
    """
    path = cache_folder("operators") / f"{digest(_FORMAT, content, device, workload.size)}.json"
    kept = read_json(path)
    if isinstance(kept, list):
        return _read(kept)
    command = [sys.executable, "-m", "agent.llm.operators", model, device, workload.model_dump_json()]
    try:
        done = subprocess.run(
            command, env=_environment(), capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return ()
    write_json(path, found)
    return _read(found)


def _read(found: list[Any]) -> Operators:
    return tuple((str(name), float(share)) for name, share in found)


def _environment() -> dict[str, str]:
    """This process's environment without anything that looks like a key."""
    import os

    words = ("KEY", "TOKEN", "SECRET", "PASSWORD")
    return {
        name: value for name, value in os.environ.items() if not any(word in name.upper() for word in words)
    }


def main() -> int:
    """0 with one line of JSON, 1 with one sentence."""
    model, device, workload = sys.argv[1:4]
    try:
        print(json.dumps(profile(model, device, Workload.model_validate_json(workload))))
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
