"""Train the attribute reader on renders (never on generated pictures).

Half of each batch is roughened (blur, noise, colour shift) so that a slightly
soft picture is still read; nothing that the generator makes is shown.

Run: python -m assets.training.reader [--seconds N]
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F

from assets.training import loop
from assets.training.autoencoder import as_tensor
from assets.training.data import scenes
from engines.scenes.grammar import parse
from engines.scenes.reader import HEADS, ReaderNetwork, targets

BATCH = 64


def labels(captions: list[str]) -> dict[str, torch.Tensor]:
    encoded = [targets(parse(caption)) for caption in captions]
    return {name: torch.tensor([row[name] for row in encoded], device=loop.device()) for name in HEADS}


def roughen(pictures: torch.Tensor) -> torch.Tensor:
    """Soften, shift and add noise to pictures (B, 3, H, W) in [-1, 1]."""
    count = len(pictures)
    pooled = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    share = torch.rand(count, 1, 1, 1, device=pictures.device)
    soft = pictures + (pooled - pictures) * share * 0.9
    soft = soft * (1 + 0.1 * torch.randn(count, 1, 1, 1, device=pictures.device))
    soft = soft + 0.06 * torch.randn(count, 3, 1, 1, device=pictures.device)
    return (soft + 0.08 * torch.rand(count, 1, 1, 1, device=pictures.device) * torch.randn_like(soft)).clamp(
        -1, 1
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=None)
    arguments.add_argument("--steps", type=int, default=3000)
    options = arguments.parse_args()
    torch.manual_seed(2)
    images, captions = scenes(60_000, split="train")
    pictures, truth = torch.from_numpy(images), labels(captions)
    unseen_images, unseen_captions = scenes(1000, split="held_out", seed=8)
    unseen, unseen_truth = as_tensor(torch.from_numpy(unseen_images)), labels(unseen_captions)
    network = ReaderNetwork()
    run = loop.Run(
        "reader", network, steps=options.steps, peak=2e-3, weight_decay=0.02, budget=options.seconds
    )
    order = loop.batches(len(pictures), BATCH, seed=run.step)

    def loss() -> tuple[torch.Tensor, dict[str, float]]:
        index = next(order)
        batch = as_tensor(pictures[index])
        half = BATCH // 2
        batch = torch.cat([batch[:half], roughen(batch[half:])])
        with loop.autocast():
            logits = network(batch)
        error = torch.stack([F.cross_entropy(logits[name].float(), truth[name][index]) for name in HEADS])
        return error.sum(), {}

    def evaluate() -> dict[str, float]:
        with torch.no_grad():
            logits = run.average(unseen)
        right = torch.stack([(logits[name].argmax(1) == unseen_truth[name]).float() for name in HEADS])
        worst = min(zip(right.mean(1).tolist(), HEADS, strict=True))
        print(f"reader: {right.mean():.4f} of all attributes, worst {worst[1]} {worst[0]:.4f}", flush=True)
        return {"held_out_accuracy": float(right.mean())}

    run.train(loss, evaluate)


if __name__ == "__main__":
    main()
