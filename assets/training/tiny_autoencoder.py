"""Train the tiny autoencoder (TAESD's architecture) for the published latents.

Run: python -m assets.training.tiny_autoencoder [--seconds N]
"""

from __future__ import annotations

import argparse

import torch
from diffusers import AutoencoderTiny

from assets.training import loop
from assets.training.autoencoder import as_tensor, psnr, reconstruction
from assets.training.data import scenes

BATCH = 16


def new_tiny_autoencoder() -> AutoencoderTiny:
    return AutoencoderTiny(
        latent_channels=8, scaling_factor=1.0,
        encoder_block_out_channels=(24,) * 4,
        decoder_block_out_channels=(24,) * 4,
        num_encoder_blocks=(1, 1, 1, 2),
        num_decoder_blocks=(2, 2, 2, 1),
    )  # fmt: skip


def main() -> None:
    from assets.training.publish import published_autoencoder

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=None)
    arguments.add_argument("--steps", type=int, default=6000)
    options = arguments.parse_args()
    torch.manual_seed(3)
    images, _ = scenes(60_000, split="train")
    pictures = torch.from_numpy(images)
    held_out = as_tensor(torch.from_numpy(scenes(256, split="held_out", seed=9)[0]))
    teacher = published_autoencoder().to(loop.device())
    model = new_tiny_autoencoder()
    run = loop.Run(
        "tiny_autoencoder", model, steps=options.steps, peak=2e-3, weight_decay=1e-4, budget=options.seconds
    )
    order = loop.batches(len(pictures), BATCH, seed=run.step)

    def loss() -> tuple[torch.Tensor, dict[str, float]]:
        target = as_tensor(pictures[next(order)])
        with loop.autocast():
            with torch.no_grad():
                latent = teacher.encode(target).latent_dist.mode()
            decoded = model.decode(latent + 0.05 * torch.randn_like(latent)).sample
            encoded = model.encode(target).latents
        decoded = decoded.float()
        matching = (encoded.float() - latent.float()).abs().mean()
        return reconstruction(decoded, target) + 0.2 * matching, {"psnr": psnr(decoded.detach(), target)}

    def evaluate() -> dict[str, float]:
        with torch.no_grad(), loop.autocast():
            decoded = run.average.decode(teacher.encode(held_out).latent_dist.mode()).sample.float()
        return {"held_out_psnr": psnr(decoded, held_out)}

    run.train(loss, evaluate)


if __name__ == "__main__":
    main()
