"""From a picture back to a latent: what a pair with different autoencoders needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from studio.errors import CascadeError

if TYPE_CHECKING:
    from engines.models.model import Model


def encoded(model: Model, pictures: NDArray[np.uint8], latent_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Latents (N, C, h, w), scaled as the decoder takes them, of pictures (N, H, W, 3).

    Raises:
        CascadeError: the model's autoencoder cannot encode pictures of this size.
    """
    vae: Any = model.part("vae")
    if getattr(vae, "encoder", None) is None or len(latent_shape) != 3:
        raise CascadeError(
            f"The autoencoder of {model.name} cannot encode pictures, so there is nothing to start from."
        )
    pixels = torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    wanted = (latent_shape[1] * model.scale, latent_shape[2] * model.scale)
    if tuple(pixels.shape[2:]) != wanted:
        pixels = torch.nn.functional.interpolate(pixels, wanted, mode="bilinear", antialias=True)
    with torch.inference_mode():
        found = vae.encode(pixels)
        latent = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
    config = vae.config
    scale, shift = (getattr(config, name, None) for name in ("scaling_factor", "shift_factor"))
    result: NDArray[np.float32] = ((latent - (shift or 0.0)) * (scale or 1.0)).numpy().astype(np.float32)
    if result.shape[1:] != tuple(latent_shape):
        raise CascadeError(
            f"The autoencoder of {model.name} makes latents of the shape {result.shape[1:]} where the heavy "
            f"model takes {tuple(latent_shape)}; choose another pair."
        )
    return result
