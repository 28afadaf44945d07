"""Train the KL autoencoder: 64 px pictures to 8x8 latents of 8 channels.

Run: python -m assets.training.autoencoder
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from assets.training import loop
from assets.training.data import scenes

STEPS, BATCH = 3000, 16


def new_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 48, 96, 128),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=64,
        scaling_factor=1.0,
    )


def reconstruction(picture: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Absolute and squared error, and the error of the gradients, which keeps thin lines."""
    error = (picture - target).abs().mean() + 2 * F.mse_loss(picture, target)
    for axis in (2, 3):
        error = error + 0.5 * (picture.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
    return error


def psnr(picture: torch.Tensor, target: torch.Tensor) -> float:
    return float(10 * torch.log10(4 / F.mse_loss(picture.clamp(-1, 1), target)))


def as_tensor(images: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    return images.to(loop.device()).permute(0, 3, 1, 2).float() / 127.5 - 1


def main() -> None:
    torch.manual_seed(0)
    images, _ = scenes(60_000, split="train")
    pictures = torch.from_numpy(images)
    held_out = as_tensor(torch.from_numpy(scenes(256, split="held_out", seed=9)[0]))
    model = new_autoencoder()
    run = loop.Run("autoencoder", model, steps=STEPS, peak=1.5e-3, weight_decay=1e-4, save_every=250)
    order = loop.batches(len(pictures), BATCH, seed=run.step)

    def loss() -> tuple[torch.Tensor, dict[str, float]]:
        target = as_tensor(pictures[next(order)])
        with loop.autocast():
            posterior = model.encode(target).latent_dist
            decoded = model.decode(posterior.sample()).sample.float()
        divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
        return reconstruction(decoded, target) + 1e-4 * divergence, {
            "psnr": psnr(decoded.detach(), target),
            "kl": float(divergence.detach()),
        }

    def evaluate() -> dict[str, float]:
        with torch.no_grad(), loop.autocast():
            decoded = run.average.decode(run.average.encode(held_out).latent_dist.mode()).sample.float()
        return {"held_out_psnr": psnr(decoded, held_out)}

    run.train(loss, evaluate)


if __name__ == "__main__":
    main()
