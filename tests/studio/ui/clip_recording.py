"""Runs of a video model and of one that enlarges: drawn here, measured by the real metrics."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Sample
from agent.evaluate import reference
from agent.evaluate.prompts import Asked
from engines.measure import enlargement, images, video
from studio.record import events as ev
from studio.record import verdict as record
from studio.record.data import Interval
from studio.record.described import Metric
from studio.record.journal import Journal
from tests.studio.ui.window_recording import CARD

Pixels = NDArray[np.uint8]
PROMPTS = ("a red ball crosses a meadow", "a blue boat at night", "a green tree in the wind")
FRAMES, SIDE = 16, 96


def write_clips(base: Path, kind: Literal["video", "enlarged"]) -> Path:
    """A finished run with a baseline and one candidate."""
    folder = base / "runs" / f"20261120-101500-{kind}"
    folder.mkdir(parents=True)
    asked = Asked(PROMPTS, tuple(range(len(PROMPTS))))
    given: list[str] = []
    if kind == "video":
        theirs = np.stack([_clip(seed) for seed in asked.seeds])
        ours = np.clip(
            theirs.astype(np.int16) + np.array([0, 3] * (FRAMES // 2))[None, :, None, None, None], 0, 255
        )
        ours = ours.astype(np.uint8)
        ours[0, 10] = np.roll(ours[0, 10], 9, axis=1)
        curves = video.per_frame(ours, theirs)
        values = video.summary(curves) | video.temporal(ours, theirs)
    else:
        theirs = np.stack([_clip(seed)[0] for seed in asked.seeds])
        small = theirs.reshape(len(theirs), SIDE // 4, 4, SIDE // 4, 4, 3).mean(axis=(2, 4)).astype(np.uint8)
        ours = np.clip(theirs.astype(np.int16) + 2, 0, 255).astype(np.uint8)
        curves = {}
        values = {
            "psnr": images.psnr(ours, theirs),
            "consistency": enlargement.consistency(ours, small),
        }
        given = reference.save_pictures(folder, "given", small)
    frames = reference.count_frames(theirs)
    with Journal.create(folder) as journal:
        journal.append(
            ev.RunStarted(
                model=CARD,
                target="cpu",
                workload={},
                preset="quick",
                generations=1,
                population=1,
                budget=None,
                seed=0,
                reference=(4.0, 0.5),
                folder=str(folder),
                metric=Metric(name="haarpsi", title="HaarPSI loss", unit=""),
            )
        )
        for name, drawn, seconds, metrics in (("c000", theirs, 2.0, {}), ("c001", ours, 1.0, values)):
            names = reference.save_pictures(folder, name, drawn)
            made = reference.samples(
                asked, names, metrics, frames=frames, curves=curves if metrics else {}, given=given
            )
            origin: Literal["baseline", "new"] = "new" if metrics else "baseline"
            title = "fused qkv" if metrics else "as shipped"
            journal.append(
                ev.CandidateProposed(
                    id=name,
                    generation=int(bool(metrics)),
                    origin=origin,
                    parents=(),
                    recipe=(),
                    title=title,
                    why="",
                    script=f"candidates/{name}.py",
                )
            )
            journal.append(
                ev.CandidateJudged(id=name, verdict=_verdict(seconds, 0.05 if metrics else 0.0, made))
            )
        journal.append(ev.RunFinished(reason="done", text="All generations are done.", winner="c001"))
    return folder


def _verdict(seconds: float, loss: float, made: tuple[Sample, ...]) -> record.Verdict:
    def around(value: float) -> Interval:
        return Interval(value=value, low=0.95 * value, high=1.05 * value)

    samples = tuple(record.Sample.model_validate(asdict(one)) for one in made)
    return record.Verdict(
        state="passed",
        stage="gate",
        latency=around(seconds),
        speedup=around(2.0 / seconds),
        loss=around(loss),
        samples=samples,
    )


def _clip(seed: int) -> Pixels:
    """A ball that crosses a ramp of colour, (F, H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    ground = np.stack([x, y, (x + y) / 2], axis=-1) * rng.uniform(0.6, 1.4, 3)
    colour, found = rng.uniform(60, 255, 3), []
    for number in range(FRAMES):
        picture = ground.copy()
        picture[(x - 10 - 5 * number) ** 2 + (y - 40 - 8 * seed) ** 2 < 150] = colour
        found.append(picture)
    return np.clip(np.stack(found), 0, 255).astype(np.uint8)
