"""A run on the bundled model with a light and a heavy candidate, and a discriminator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from agent.candidate import Step
from studio.plan.cascade import Cascade, Sample, Scorer
from studio.plan.deferral import Pairs, curve
from studio.plan.discrimination import brier, reliability, roc_auc
from studio.record.sides import pair_of
from studio.work.cascade.files import NETWORK, RESULT
from studio.work.cascade.network import WORDS, Network, Trained, save
from tests.studio.recorded_run import add, begin

LIGHT = (Step("fewer-steps", {"steps": 4}), Step("engine", {"backend": "openvino"}))
HEAVY = (Step("fewer-steps", {"steps": 8}), Step("engine", {"backend": "openvino"}))
COLOURS = ("red", "blue", "green", "white")
PROMPTS = [f"a {colour} {thing}" for colour in COLOURS for thing in ("house", "tree", "boat")] * 4


def run_with_pair(folder: Path) -> Path:
    with begin(folder) as journal:
        add(journal, folder, "c001", LIGHT, seconds=0.02)
        add(journal, folder, "c002", HEAVY, seconds=0.06)
    return folder


def trained(
    folder: Path, light_name: str = "c001", heavy_name: str = "c002", prompts: list[str] = PROMPTS
) -> Cascade:
    """A discriminator of the real shape that has learned nothing: what it knows is not the point here."""
    pair = pair_of(folder, light_name, heavy_name)
    generator = np.random.default_rng(0)
    defer = np.array(["red" in prompt for prompt in prompts])
    torch.manual_seed(0)
    found = Trained(
        scores=generator.random(len(prompts)),
        words=generator.random(len(prompts)),
        network=Network().eval(),
        regression=generator.normal(0, 2, WORDS + 1),
        weights=np.array([1.0, 1.5]),
        shift=-0.2,
        seconds=0.004,
    )
    place = pair.place
    place.mkdir(parents=True)
    save(found, place / NETWORK)
    light = np.where(defer, 0.6, 0.95)
    samples = tuple(
        Sample(prompt, at, float(score), bool(bad), float(quality), 0.97, "none.png", "none.png", 0.02, 0.06)
        for at, (prompt, score, bad, quality) in enumerate(
            zip(prompts, found.scores, defer, light, strict=True)
        )
    )
    pairs = Pairs(
        found.scores, light, np.full(len(defer), 0.97), np.full(len(defer), 0.02), np.full(len(defer), 0.06)
    )
    cascade = Cascade(
        light=pair.light.name,
        heavy=pair.heavy.name,
        light_title="four steps",
        heavy_title="eight steps",
        metric="adherence",
        margin=0.05,
        samples=samples,
        curve=curve(pairs, resamples=50),
        scorers=(Scorer("discriminator", roc_auc(~defer, found.scores, resamples=50)),),
        reliability=reliability(~defer, found.scores),
        brier=brier(~defer, found.scores),
        discriminator_seconds=found.seconds,
        guarded=None,
        guarded_rate=0.1,
        seed=0,
        trained_seconds=1.0,
        folder=place.relative_to(folder).as_posix(),
        models=pair.models,
    )
    (place / RESULT).write_text(json.dumps({"key": "made by a test", "cascade": cascade.to_json()}))
    return cascade
