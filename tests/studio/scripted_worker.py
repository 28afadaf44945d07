"""A worker whose judge is a script: the loop, the journal and the process are real, no model is run.

python tests/studio/scripted_worker.py --home DIR      seconds per stage in SCRIPTED_SECONDS
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.candidate import Candidate, Interval, Recipe, Sample, Stage, Verdict
from engines.models.card import Card, Component
from engines.workload import Workload
from studio.record.described import Metric, ModelCard
from studio.work import ready
from studio.work.loss import LOSSES
from studio.work.machine import fields_of

SECONDS = float(os.environ.get("SCRIPTED_SECONDS", "0.02"))

CARD = Card(
    name="scripted",
    source="scripted",
    family="stable-diffusion",
    task="text-to-image",
    size=64,
    steps=30,
    guidance=3.0,
    licence="Apache-2.0",
    components=(Component("denoiser", "UNet2DConditionModel", 10, "fp32", 40),),
    hash="0" * 64,
    memory=40,
)

FACTOR = {
    "fewer-steps": 0.5,
    "engine": 0.6,
    "bf16": 0.9,
    "int8": 0.8,
    "feature-cache": 0.6,
    "guidance-cutoff": 0.8,
}
LOSS = {"fewer-steps": 0.004, "bf16": 0.001, "int8": 0.01, "feature-cache": 0.008, "guidance-cutoff": 0.006}


def around(value: float) -> Interval:
    return Interval(value, value * 0.97, value * 1.03)


class ScriptedJudge:
    """Answers by a table, writes a real picture for each candidate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aborted = False

    def __enter__(self) -> ScriptedJudge:
        return self

    isolation = "Scripted candidates run nowhere."

    def __exit__(self, *_: object) -> None:
        return

    def abort(self) -> None:
        self._aborted = True

    def objection(self, script: str) -> str:
        del script
        return ""

    def _wait(self) -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and not self._aborted:
            time.sleep(min(0.01, SECONDS))

    def baseline(self) -> Verdict:
        print("a library prints to stdout while the protocol is spoken there")
        os.write(1, b"and another one writes to the descriptor itself\n")
        self._wait()
        return self._verdict("c000", ())

    def judge(self, candidate: Candidate, on_stage: Callable[..., None]) -> Verdict:
        stages: tuple[Stage, ...] = ("static", "build", "smoke", "gate")
        for stage in stages:
            on_stage(stage, f"{stage} of {candidate.id}")
            self._wait()
        if any(step.technique == "token-merging" for step in candidate.proposal.recipe):
            return Verdict("failed", "smoke", reason="The pictures are black.", evidence="Traceback ...")
        return self._verdict(candidate.id, candidate.proposal.recipe)

    def _verdict(self, name: str, recipe: Recipe) -> Verdict:
        from PIL import Image

        seconds = 2.0
        for step in recipe:
            seconds *= FACTOR.get(step.technique, 0.95)
        loss = sum(LOSS.get(step.technique, 0.002) for step in recipe)
        picture = self._folder / "images" / name / "00.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (int(255 * loss * 20) % 256, 90, 140)).save(picture)
        return Verdict(
            "passed",
            "gate",
            latency=around(seconds),
            latency_p90=seconds * 1.05,
            speedup=around(2.0 / seconds),
            stages={"encode": 0.1, "denoise": seconds - 0.2, "decode": 0.1},
            throughput={1: 1 / seconds, 2: 1.1 / seconds, 4: 1.2 / seconds},
            memory=500.0,
            loss=Interval(loss, loss - 0.01, loss + 0.01),
            metrics={"psnr": around(float("inf") if not recipe else 28.0 + 5 * (loss < 0.004))},
            samples=(Sample("a red house", 1, f"images/{name}/00.png", {"psnr": 30.0}),),
            seconds=SECONDS * 4,
            isolation="isolated",
        )

    def certify(
        self, candidate: Candidate, claim: str, prompts: int, on_progress: Callable[..., None]
    ) -> Any:
        for done in range(0, prompts, 50):
            on_progress(done, prompts)
            self._wait()

        class Found:
            held = True
            loss = Interval(0.01, 0.0, 0.019)
            speedup = None
            note = ""
            isolation = "limited"

        Found.prompts = prompts  # type: ignore[attr-defined]
        return Found


class Scripted(ready.Ready):
    def judge(  # type: ignore[override]  # the script in its place
        self, folder: Path, *, patient: bool = False
    ) -> ScriptedJudge:
        del patient
        return ScriptedJudge(folder)


def prepare(
    model: str,
    target: str,
    workload: dict[str, Any],
    metric: str | None,
    seed: int,
    memory: Path,
    gate: int = 16,
) -> ready.Ready:
    name = metric or "adherence"
    return Scripted(
        model=model,
        card=ModelCard.model_validate(fields_of(CARD)),
        described=CARD,
        target=target,
        workload=Workload.model_validate(workload),
        metric=Metric(name=name, title=LOSSES[name].title, unit=LOSSES[name].unit),
        tolerance=LOSSES[name].tolerance,
        claim=LOSSES[name].claim,
        machine={"processor": "a test"},
        seed=seed,
        memory=memory,
        gate=gate,
    )


def install() -> None:
    """Put the script in the place of the judge and the model."""
    ready.prepare = prepare


if __name__ == "__main__":
    from studio.work.worker import main

    install()
    sys.exit(main())
