"""A recorded run for the window: real events in a real journal, with pictures drawn here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

from studio.record import events as ev
from studio.record.data import Interval
from studio.record.described import Component, Metric, ModelCard, TargetState
from studio.record.journal import Journal
from studio.record.protocol import decode_event
from studio.record.verdict import Sample, Step, Verdict
from studio.ui.window import Window

PROMPTS = (
    "a red house under a cloudy sky",
    "two blue boats at night",
    "a green tree on a hill at sunset",
    "a yellow car and a white house",
    "three birds over the sea",
    "a snowy mountain with a moon",
    "a purple balloon above a meadow",
    "an orange boat in the rain",
)
TECHNIQUES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("fewer-steps", {"steps": 12}, "12 steps"),
    ("scheduler", {"name": "dpm++2m"}, "DPM++ 2M"),
    ("engine", {"backend": "openvino"}, "OpenVINO"),
    ("guidance-cutoff", {"until": 0.6}, "guidance to 60 %"),
    ("feature-cache", {"interval": 3}, "cache 3"),
    ("student", {"steps": 4}, "student 4"),
    ("int8", {}, "int8"),
    ("tiny-decoder", {}, "tiny decoder"),
)
CARD = ModelCard(
    name="Tiny Scenes",
    source="tiny-scenes",
    family="Stable Diffusion",
    task="text to image",
    size=64,
    steps=30,
    guidance=4.0,
    licence="Apache-2.0",
    components=(
        Component(
            name="text_encoder",
            kind="CLIPTextModel",
            parameters=3_400_000,
            dtype="fp16",
            bytes=6_800_000,
            share=0.02,
        ),
        Component(
            name="denoiser",
            kind="UNet2DConditionModel",
            parameters=13_900_000,
            dtype="fp16",
            bytes=27_800_000,
            share=0.93,
        ),
        Component(
            name="decoder",
            kind="AutoencoderKL",
            parameters=2_300_000,
            dtype="fp16",
            bytes=4_600_000,
            share=0.05,
        ),
        Component(name="scheduler", kind="DDIMScheduler", parameters=0, dtype="–", bytes=0),
    ),
    hash="5f1c0a9be27d4416",
    memory=78_400_000,
    notes=("Trained for this program on rendered scenes; 64 px, made larger only for looking.",),
)
TARGETS = (
    TargetState(
        id="cpu",
        name="CPU",
        engine="OpenVINO, ONNX Runtime, PyTorch",
        state="ready",
        reason="All engines ran a test.",
        gflops=96.0,
        gbytes=21.0,
    ),
    TargetState(
        id="coreml",
        name="Apple Core ML",
        engine="Core ML",
        state="build_only",
        reason="Packages can be built here and run on a Mac.",
        install="uv pip install coremltools",
    ),
    TargetState(
        id="windowsml",
        name="Windows ML",
        engine="ONNX Runtime",
        state="build_only",
        reason="Windows ML exists under Windows only.",
        packable=False,
    ),
    TargetState(
        id="cuda",
        name="NVIDIA GPU",
        engine="TensorRT, torch.compile",
        state="missing",
        reason="No NVIDIA driver was found.",
    ),
    TargetState(
        id="directml", name="DirectML", engine="ONNX Runtime", state="missing", reason="Windows only."
    ),
    TargetState(
        id="mlx",
        name="Apple MLX",
        engine="MLX",
        state="missing",
        reason="Needs a Mac with an M chip.",
        install="uv pip install mlx",
    ),
)
MACHINE = {"processor": "Test processor", "cores": 2, "memory": 24 * 2**30, "system": "Linux"}
SCRIPT = '''"""{title}."""

from engines.pipeline import build, plan
from engines.techniques import {names}

RECIPE = ({recipe},)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
'''


def scene(prompt: int, drift: float) -> NDArray[np.uint8]:
    """A little landscape (64, 64, 3); `drift` (0 to 1) says how far it is from the reference."""
    draw = np.random.Generator(np.random.Philox(prompt))
    y, x = np.mgrid[0:64, 0:64] / 64.0
    sky = np.array([[90, 140, 210], [20, 24, 60], [230, 150, 90], [120, 170, 220]][prompt % 4], float)
    land = np.array([[70, 130, 60], [40, 60, 50], [110, 90, 60], [200, 205, 215]][prompt % 4], float)
    horizon = 0.55 + 0.08 * np.sin(6 * x + prompt) + 0.03 * drift
    picture = np.where(
        (y < horizon)[..., None], sky * (1.15 - 0.4 * y[..., None]), land * (0.7 + 0.4 * y[..., None])
    )
    for _ in range(1 + prompt % 3):
        cx, cy, r = draw.uniform(0.2, 0.8), draw.uniform(0.35, 0.75), draw.uniform(0.08, 0.15)
        colour = draw.uniform(60, 255, 3)
        inside = (x - cx - 0.03 * drift) ** 2 + (y - cy) ** 2 < (r * (1 - 0.25 * drift)) ** 2
        picture = np.where(inside[..., None], colour, picture)
    noise = np.random.Generator(np.random.Philox(prompt + 1000)).normal(0, 4 + 26 * drift, (64, 64, 3))
    made: NDArray[np.uint8] = np.clip(picture + noise * (0.25 + drift), 0, 255).astype(np.uint8)
    return made


def save_png(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, _ = picture.shape
    body = np.ascontiguousarray(picture).tobytes()
    assert QImage(body, width, height, width * 3, QImage.Format.Format_RGB888).save(str(path))


def interval(value: float, spread: float) -> Interval:
    return Interval(value=value, low=value - spread, high=value + spread)


def recipe(draw: np.random.Generator) -> tuple[tuple[Step, ...], str]:
    chosen = sorted(draw.choice(len(TECHNIQUES), size=int(draw.integers(1, 5)), replace=False))
    steps = tuple(Step(technique=TECHNIQUES[at][0], parameters=TECHNIQUES[at][1]) for at in chosen)
    return steps, " + ".join(TECHNIQUES[at][2] for at in chosen)


def write_run(base: Path, generations: int = 4, *, finished: bool = True, pictures: bool = True) -> Path:
    """A run folder with journal, scripts and pictures; the same for the same arguments."""
    folder = base / "runs" / "20261120-101500-tiny-scenes"
    folder.mkdir(parents=True)
    draw = np.random.Generator(np.random.Philox(7))
    metric = Metric(name="adherence", title="Adherence loss", unit="points")
    latencies: dict[str, float] = {}
    losses: dict[str, float] = {}
    with Journal.create(folder) as journal:
        put = journal.append
        put(
            ev.RunStarted(
                model=CARD,
                target="cpu",
                workload={},
                metric=metric,
                preset="quick",
                generations=generations,
                population=7,
                budget=None,
                seed=0,
                reference=(4.0, 40.0),
                folder=str(folder),
            )
        )
        total, done, number = 7 * generations, 0, 0

        def judge(
            name: str,
            generation: int,
            origin: Any,
            parents: tuple[str, ...],
            latency: float,
            loss: float,
            drift: float,
            title: str,
            steps: tuple[Step, ...],
            fate: str,
        ) -> None:
            script = f"candidates/{name}.py"
            (folder / "candidates").mkdir(exist_ok=True)
            names = ", ".join(sorted({one.technique.title().replace("-", "") for one in steps})) or "Engine"
            body = ", ".join(
                f"{one.technique.title().replace('-', '')}"
                f"({', '.join(f'{k}={v!r}' for k, v in one.parameters.items())})"
                for one in steps
            )
            (folder / script).write_text(
                SCRIPT.format(title=title, names=names, recipe=body), encoding="utf-8"
            )
            put(
                ev.CandidateProposed(
                    id=name,
                    generation=generation,
                    origin=origin,
                    parents=parents,
                    recipe=steps,
                    title=title,
                    why="Steps dominate the time; the scheduler keeps quality."
                    if origin != "baseline"
                    else "The model as its authors ship it.",
                    script=script,
                )
            )
            for stage in ("static", "build", "smoke"):
                put(
                    ev.CandidateStage(
                        id=name, stage=stage, message="" if stage != "build" else "building the denoiser"
                    )
                )
            if fate == "failed":
                put(
                    ev.CandidateJudged(
                        id=name,
                        verdict=Verdict(
                            state="failed",
                            stage="build",
                            reason="The engine differs from eager by 0.31 (0.05 is allowed).",
                            evidence="Traceback:\n  BuildError: denoiser differs from eager",
                            seconds=3.0,
                        ),
                    )
                )
                return
            put(ev.CandidateStage(id=name, stage="gate", message="16 prompts"))
            samples = []
            for at, prompt in enumerate(PROMPTS):
                image = f"images/{name}/{at:02d}.png"
                if pictures:
                    save_png(folder / image, scene(at, drift))
                samples.append(
                    Sample(
                        prompt=prompt,
                        seed=100 + at,
                        image=image,
                        metrics={
                            "psnr": 40 - 26 * drift - at * 0.4,
                            "ssim": 0.99 - 0.3 * drift,
                            "haarpsi": 0.98 - 0.4 * drift,
                        }
                        if name != "c000"
                        else {},
                    )
                )
            put(
                ev.CandidateJudged(
                    id=name,
                    verdict=Verdict(
                        state="quarantined" if fate == "quarantined" else "passed",
                        stage="gate",
                        reason="Faster than this machine can do the declared work (floor 61 ms); look at it."
                        if fate == "quarantined"
                        else "",
                        latency=interval(latency, latency * 0.02),
                        latency_p90=latency * 1.06,
                        speedup=interval(1.9 / latency, 0.04 / latency),
                        stages={"encode": 0.004, "denoise": latency * 0.9, "decode": latency * 0.08},
                        throughput={1: 1 / latency, 2: 1.3 / latency, 4: 1.5 / latency},
                        memory=600 + 500 * drift + 60 * len(steps),
                        loss=interval(loss, 1.2),
                        metrics={
                            "psnr": interval(40 - 26 * drift, 1.5),
                            "ssim": interval(0.99 - 0.3 * drift, 0.01),
                            "adherence": interval(0.91 - loss / 100, 0.015),
                        }
                        if name != "c000"
                        else {"adherence": interval(0.91, 0.015)},
                        robustness={"seeds": "ok", "batch": "ok", "prompts": "ok", "repeat": "ok"},
                        floor=0.061,
                        samples=tuple(samples),
                        seconds=7.0,
                    ),
                )
            )
            if fate == "passed":
                latencies[name], losses[name] = latency, loss

        def front(generation: int) -> tuple[str, ...]:
            best: list[str] = []
            for name in sorted(latencies, key=lambda one: (latencies[one], losses[one])):
                if not best or losses[name] < losses[best[-1]]:
                    best.append(name)
            right, volume = np.log(4.0), 0.0
            for name in reversed(best):
                volume += (right - np.log(latencies[name])) * (40 - losses[name])
                right = np.log(latencies[name])
            put(
                ev.FrontUpdated(
                    generation=generation,
                    front=tuple(best),
                    knee=best[len(best) // 2],
                    hypervolume=float(round(volume, 3)),
                )
            )
            return tuple(best)

        judge("c000", 0, "baseline", (), 1.9, 0.0, 0.0, "Baseline", (), "passed")
        best = front(0)
        for generation in range(1, generations + 1):
            put(ev.GenerationStarted(generation=generation, planned=7))
            for _ in range(7):
                number += 1
                steps, title = recipe(draw)
                push = generation / generations
                drift = float(np.clip(draw.beta(1.6, 4.0), 0.02, 0.95))
                latency = float(
                    1.9 * (0.09 + 0.55 * (1 - drift) ** 1.6 * draw.uniform(0.5, 1.3) / (1 + 1.2 * push))
                )
                loss = float(np.round(34 * drift**1.7 * draw.uniform(0.5, 1.1), 2))
                fate = "failed" if number % 6 == 4 else "quarantined" if number == 17 else "passed"
                put(
                    ev.Progress(
                        done=done,
                        total=total,
                        doing="evaluating",
                        seconds_low=6.0 * (total - done),
                        seconds_high=9.0 * (total - done),
                    )
                )
                judge(
                    f"c{number:03d}",
                    generation,
                    "new" if number % 2 else "refined",
                    (best[number % len(best)],),
                    0.041 if fate == "quarantined" else latency,
                    loss,
                    drift,
                    title,
                    steps,
                    fate,
                )
                done += 1
                best = front(generation)
        put(ev.Progress(done=done, total=total, doing="evaluating", seconds_low=0.0, seconds_high=0.0))
        winner = best[len(best) // 2]
        if finished:
            put(
                ev.Certified(
                    id=winner,
                    claim="adherence loss under 2 points",
                    held=True,
                    prompts=200,
                    loss=interval(0.9, 0.8),
                    speedup=interval(5.4, 0.1),
                )
            )
            put(
                ev.RunFinished(
                    reason="done",
                    text=f"{winner} is {1.9 / latencies[winner]:.1f} times as fast as the baseline.",
                    winner=winner,
                    seconds=240.0,
                )
            )
        else:
            put(
                ev.CandidateProposed(
                    id="c900",
                    generation=generations,
                    origin="refined",
                    parents=(winner,),
                    recipe=(),
                    title="in flight",
                    why="",
                    script="candidates/c000.py",
                )
            )
            put(ev.CandidateStage(id="c900", stage="smoke", message="loading"))
    return folder


def restored(base: Path, recording: Path) -> Path:
    """A run folder made again from events, scripts and pictures kept as test data."""
    folder = base / "runs" / "20261120-090000-tiny-scenes"
    shutil.copytree(recording, folder)
    with Journal.create(folder) as journal:
        for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
            data = decode_event(line).payload()
            if isinstance(data, ev.RunStarted):
                data = data.model_copy(update={"folder": str(folder)})
            journal.append(data)
    return folder


def cascade_result(folder: Path, light: str, heavy: str) -> dict[str, Any]:
    """What the worker's `discriminator` answers, from a drawn pair."""
    from studio.plan.cascade import Cascade, Sample, Scorer
    from studio.plan.deferral import Interval, Pairs, curve
    from studio.plan.discrimination import reliability

    draw = np.random.Generator(np.random.Philox(3))
    count = 120
    hard = draw.uniform(size=count) < 0.5
    light_quality = np.clip(draw.normal(np.where(hard, 0.62, 0.9), 0.12), 0, 1)
    heavy_quality = np.clip(draw.normal(np.where(hard, 0.86, 0.92), 0.06), 0, 1)
    scores = np.clip(0.9 - 0.9 * (heavy_quality - light_quality) + draw.normal(0, 0.12, count), 0.01, 0.99)
    pairs = Pairs(scores, light_quality, heavy_quality, np.full(count, 0.12), np.full(count, 1.1), 0.002)
    good = heavy_quality - light_quality < 0.1
    samples = tuple(
        Sample(
            prompt=PROMPTS[at % 8],
            seed=at,
            score=float(scores[at]),
            defer=bool(not good[at]),
            light_quality=float(light_quality[at]),
            heavy_quality=float(heavy_quality[at]),
            light_image=f"images/{light}/{at % 8:02d}.png",
            heavy_image=f"images/{heavy}/{at % 8:02d}.png",
            light_seconds=0.12,
            heavy_seconds=1.1,
            hard=bool(hard[at]),
        )
        for at in range(count)
    )
    found = Cascade(
        light=light,
        heavy=heavy,
        light_title="student 4",
        heavy_title="Baseline",
        metric="adherence",
        margin=0.1,
        samples=samples,
        curve=curve(pairs),
        scorers=(
            Scorer("discriminator", Interval(0.86, 0.79, 0.92)),
            Scorer("caption length", Interval(0.71, 0.62, 0.79)),
            Scorer("chance", Interval(0.5, 0.5, 0.5)),
        ),
        reliability=reliability(good, scores),
        brier=0.14,
        discriminator_seconds=0.002,
        guarded=None,
        guarded_rate=0.1,
        seed=0,
        trained_seconds=41.0,
        folder="cascade",
        notes=("120 prompts give wide intervals.",),
    )
    return {"run": folder.name, "network": "", "cascade": found.to_json()}


def open_run(window: Window, folder: Path) -> None:
    """Show a recorded run with card and devices."""
    window.desk.card = CARD
    window.desk.card_changed.emit()
    window.desk._on_devices({"targets": [one.model_dump() for one in TARGETS], "machine": MACHINE})
    assert window.desk.open_run(folder)
