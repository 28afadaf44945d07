"""The kinds of components that look at a picture: what a model starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from engines.models.model import Model

VISION: Final = ("CLIPVisionModelWithProjection",)
SIDE: Final = 224
MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
SPREAD: Final = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's own, where the model's feature extractor does not say."""


def vision(network: Any, picture: torch.Tensor, mean: Any, spread: Any, side: int) -> torch.Tensor:
    """Embeddings (B, 1, D) of a picture (B, 3, H, W) in [-1, 1], smoothed and brought to CLIP's size."""
    import torch

    small = resized(picture, side)
    numbers = [torch.tensor(list(one), dtype=small.dtype, device=small.device) for one in (mean, spread)]
    centred = ((small + 1.0) / 2.0 - numbers[0].view(1, 3, 1, 1)) / numbers[1].view(1, 3, 1, 1)
    found: torch.Tensor = network(centred, return_dict=True).image_embeds
    return found.unsqueeze(1)


def resized(picture: torch.Tensor, side: int) -> torch.Tensor:
    """Bicubic after a Gaussian blur as wide as the shrinking, as Stable Video Diffusion's pipeline does."""
    import torch

    height, width = picture.shape[-2:]
    for axis, size in ((-2, height), (-1, width)):
        sigma = max((size / side - 1.0) / 2.0, 0.001)
        taps = int(max(2.0 * 2 * sigma, 3))
        taps += 1 - taps % 2
        place = torch.arange(taps, dtype=picture.dtype, device=picture.device) - taps // 2
        weights = torch.exp(-place.pow(2.0) / (2 * sigma**2))
        weights = (weights / weights.sum()).view((taps, 1) if axis == -2 else (1, taps))
        before = (taps - 1) // 2
        after = taps - 1 - before
        padding = (0, 0, before, after) if axis == -2 else (before, after, 0, 0)
        padded = torch.nn.functional.pad(picture, padding, mode="reflect")
        picture = torch.nn.functional.conv2d(padded, weights.expand(3, 1, *weights.shape), groups=3)
    return torch.nn.functional.interpolate(picture, size=(side, side), mode="bicubic", align_corners=True)


def encoded(network: Any, picture: torch.Tensor) -> torch.Tensor:
    """The latent (B, C, h, w) that the autoencoder makes of a picture: its distribution's mode, unscaled."""
    found: torch.Tensor = network.encode(picture).latent_dist.mode()
    return found


def width(model: Model) -> int:
    """Of the vision encoder's embeddings."""
    return int(model.layout.parts["image_encoder"].config["projection_dim"])
