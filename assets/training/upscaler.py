"""Train the x4 super-resolution network (Real-ESRGAN's compact SRVGG) on renders.

It serves for looking at pictures only; no measurement uses it.

Run: python -m assets.training.upscaler [--seconds N]
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from spandrel.architectures.Compact import Compact

from assets.training import loop
from assets.training.autoencoder import as_tensor, psnr
from assets.training.data import scenes

BATCH, CROP = 16, 24


def new_upscaler() -> Compact:
    """Pictures in [0, 1] (B, 3, H, W) to (B, 3, 4H, 4W)."""
    return Compact(num_in_ch=3, num_out_ch=3, num_feat=32, num_conv=8, upscale=4, act_type="prelu")


def soften(pictures: torch.Tensor) -> torch.Tensor:
    """Blur and a little noise, as a generator's pictures have; colours stay, for they are to be kept."""
    pooled = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    share = torch.rand(len(pictures), 1, 1, 1, device=pictures.device)
    return pictures + (pooled - pictures) * share * 0.6 + 0.02 * torch.randn_like(pictures)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=None)
    arguments.add_argument("--steps", type=int, default=4000)
    options = arguments.parse_args()
    torch.manual_seed(4)
    large = torch.from_numpy(scenes(3000, split="train", size=256, seed=5)[0])
    held_out = as_tensor(torch.from_numpy(scenes(16, split="held_out", size=256, seed=6)[0])) / 2 + 0.5
    network = new_upscaler()
    run = loop.Run(
        "upscaler", network, steps=options.steps, peak=2e-3, weight_decay=0.0, budget=options.seconds
    )
    order = loop.batches(len(large), BATCH, seed=run.step)

    def crops() -> torch.Tensor:
        batch = large[next(order)]
        size = CROP * 4
        top, left = (4 * int(torch.randint(0, (256 - size) // 4 + 1, ())) for _ in range(2))
        return as_tensor(batch[:, top : top + size, left : left + size])

    def loss() -> tuple[torch.Tensor, dict[str, float]]:
        target = crops()
        small = F.avg_pool2d(target, 4)
        kept = BATCH * 3 // 4
        small = torch.cat([small[:kept], soften(small[kept:])]) / 2 + 0.5
        target = target / 2 + 0.5
        with loop.autocast():
            large_again = network(small)
        error = (large_again.float() - target).abs().mean()
        return error, {"psnr": psnr(large_again.detach().float() * 2 - 1, target * 2 - 1)}

    def evaluate() -> dict[str, float]:
        with torch.no_grad(), loop.autocast():
            again = run.average(F.avg_pool2d(held_out, 4)).float()
        return {"held_out_psnr": psnr(again * 2 - 1, held_out * 2 - 1)}

    run.train(loss, evaluate)


if __name__ == "__main__":
    main()
