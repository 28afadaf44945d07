"""Measure the published model and write its card: numbers, loss curves, sample sheets.

Adherence is measured on held-out captions that training never saw, half easy
and half hard, with a bootstrap interval over captions.

Run: python -m assets.training.model_card
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from assets.training import loop
from assets.training.autoencoder import as_tensor, psnr
from assets.training.data import scenes
from assets.training.publish import FOLDER
from engines.pipeline import build, plan
from engines.scenes import grammar
from engines.scenes.reader import Reader, load_reader
from engines.techniques import Student, TinyDecoder
from engines.techniques.base import Technique
from engines.workload import Workload

COUNT, SHEET = 200, 24


@dataclass(frozen=True)
class Share:
    """A mean share in percent with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1f} % ({self.low:.1f} to {self.high:.1f})"


def share(values: NDArray[np.float64]) -> Share:
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(1) * 100
    low, high = np.quantile(means, [0.025, 0.975])
    return Share(float(values.mean() * 100), float(low), float(high))


def sheet(pictures: NDArray[np.uint8], columns: int = 8, scale: int = 2) -> Image.Image:
    rows = [np.concatenate(list(pictures[i : i + columns]), axis=1) for i in range(0, len(pictures), columns)]
    image = Image.fromarray(np.concatenate(rows))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def curve(names: Sequence[str], path: Path) -> None:
    """The loss of each training run against its steps, smoothed, one panel each."""
    width, height = 300, 170
    image = Image.new("RGB", (width * len(names), height), "white")
    draw = ImageDraw.Draw(image)
    for panel, name in enumerate(names):
        log = loop.LOGS / f"{name}.csv"
        if not log.exists():
            continue
        rows = [row for row in csv.DictReader(log.open()) if row["name"] == "loss"]
        steps = np.array([float(row["step"]) for row in rows])
        values = np.log(np.array([float(row["value"]) for row in rows]))
        window = max(1, len(values) // 60)
        smooth = np.convolve(values, np.ones(window) / window, "valid")
        steps = steps[: len(smooth)]
        x = panel * width + 40 + (width - 60) * (steps - steps[0]) / max(1.0, float(np.ptp(steps)))
        y = 30 + (height - 60) * (smooth.max() - smooth) / max(1e-9, float(np.ptp(smooth)))
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=(29, 95, 208), width=2)
        draw.text((panel * width + 40, 8), f"{name}: loss (log)", fill="black")
        draw.text((panel * width + 4, 24), f"{np.exp(smooth.max()):.3g}", fill="gray")
        draw.text((panel * width + 4, height - 36), f"{np.exp(smooth.min()):.3g}", fill="gray")
        draw.text((panel * width + width - 70, height - 24), f"{int(steps[-1])} steps", fill="gray")
    image.save(path)


def pictures(techniques: Sequence[Technique], captions: list[str]) -> NDArray[np.uint8]:
    pipeline = build(plan(str(FOLDER), "cpu", Workload(batch=16), techniques))
    return pipeline.generate(captions, list(range(10_000, 10_000 + len(captions)))).images


def round_trip(reader: Reader) -> tuple[float, Share, float]:
    """The autoencoder's PSNR and adherence, and the tiny autoencoder's PSNR, on 400 unseen renders."""
    images, captions = scenes(400, split="held_out", seed=11)
    target = as_tensor(torch.from_numpy(images))
    full = AutoencoderKL.from_pretrained(FOLDER / "vae").float().eval()
    tiny = AutoencoderTiny.from_pretrained(FOLDER / "tiny_vae").float().eval()
    with torch.no_grad():
        latent = full.encode(target).latent_dist.mode()
        decoded, small = full.decode(latent).sample, tiny.decode(latent).sample
    seen = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return psnr(decoded, target), share(reader.adherence(seen, captions)), psnr(small, target)


def main() -> None:
    loop.device()
    reader = load_reader(FOLDER / "reader.safetensors")
    easy = grammar.captions(COUNT // 2, 501, split="held_out", hard=False)
    hard = grammar.captions(COUNT // 2, 502, split="held_out", hard=True)
    captions = easy + hard
    models: dict[str, tuple[Technique, ...]] = {
        "heavy (30 steps, guidance 4)": (),
        "light (student, 4 steps)": (Student(steps=4),),
        "light (student, 2 steps)": (Student(steps=2),),
        "light (student, 1 step)": (Student(steps=1),),
        "heavy, tiny decoder": (TinyDecoder(),),
    }
    rows, shuffled = [], ""
    for index, (name, techniques) in enumerate(models.items()):
        drawn = pictures(techniques, captions)
        scores = reader.adherence(drawn, captions)
        half = COUNT // 2
        rows.append(f"| {name} | {share(scores)} | {share(scores[:half])} | {share(scores[half:])} |")
        print(rows[-1], flush=True)
        if index == 0:
            shuffled = str(share(reader.adherence(drawn, captions[1:] + captions[:1])))
        if index in (0, 1):
            for kind, start in (("easy", 0), ("hard", half)):
                stem = ("heavy", "light")[index]
                sheet(drawn[start : start + SHEET]).save(FOLDER / f"samples-{stem}-{kind}.png")
    unseen, texts = scenes(1000, split="held_out", seed=8)
    reading = share(reader.adherence(unseen, texts))
    quality, kept, tiny = round_trip(reader)
    curve(
        ["autoencoder", "denoiser", "student", "reader", "tiny_autoencoder", "upscaler"],
        FOLDER / "training.png",
    )
    sizes = sum(p.stat().st_size for p in FOLDER.rglob("*.safetensors")) / 2**20
    (FOLDER / "README.md").write_text(
        CARD.format(
            rows="\n".join(rows),
            shuffled=shuffled,
            reading=reading,
            quality=f"{quality:.1f}",
            kept=kept,
            tiny=f"{tiny:.1f}",
            sizes=f"{sizes:.0f}",
            count=COUNT,
        )
    )


CARD = """# Tiny Scenes

A small latent diffusion model that ships with Pareto Studio, so that the first minute needs no download.
It draws 64 px scenes from captions of a fixed grammar (`engines/scenes/grammar.py`), for example
*two red houses on the left and a blue tree on the right, grass, sunset, rainy, ink drawing*.
Everything was trained from nothing on procedurally drawn pictures by the scripts in
`assets/training`; no outside data or weights. Licence: Apache-2.0. Weights: {sizes} MiB in fp16.

| Part | What |
|---|---|
| `text_encoder`, `tokenizer` | CLIP architecture, 3 layers of 128, one token per word of the grammar |
| `unet` | 13.7 M parameters, two levels (8x8, 4x4), v-prediction, trained with 10 % caption dropout |
| `vae` | KL autoencoder, factor 8, 8 latent channels, latents normalised by channel |
| `tiny_vae` | the same latents, TAESD architecture |
| `student_lora` | few-step student by latent consistency distillation, as a LoRA |
| `upscaler.safetensors` | x4 super-resolution (SRVGG-compact), for looking only |
| `reader.safetensors` | the attribute reader behind *adherence*; trained on renders only |

## Measured

Adherence: the share of a caption's attributes that the reader finds in the picture, on {count}
held-out captions (half easy: one object; half hard: several objects, bound colours, counts), 95 %
bootstrap interval over captions.

| Model | all | easy | hard |
|---|---|---|---|
{rows}

Adherence of the heavy model's pictures to *shuffled* captions (what chance gives): {shuffled}.
The reader on 1,000 unseen renders: {reading}; after the autoencoder's round trip: {kept}.
Autoencoder PSNR on unseen renders: {quality} dB; tiny autoencoder from the same latents: {tiny} dB.

Made by `python -m assets.training.model_card`.

## Samples (held-out captions)

Heavy, easy and hard:

![](samples-heavy-easy.png)
![](samples-heavy-hard.png)

Light (4 steps), the same captions and seeds:

![](samples-light-easy.png)
![](samples-light-hard.png)

## Training

![](training.png)

Order: `data`, `autoencoder`, `reader`, `denoiser`, `student`, `tiny_autoencoder`, `upscaler`,
`publish`, `model_card`, each `python -m assets.training.NAME`; each resumes where it stopped.
Logs: `assets/training/logs`.
Seeds are fixed in the scripts; a budget in seconds (`--seconds`) ends the learning-rate schedule by time, so
a slower machine takes fewer steps and gets other weights.
"""


if __name__ == "__main__":
    main()
