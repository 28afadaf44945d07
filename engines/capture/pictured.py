"""What a decoder really receives: the latent of a picture, by the model's own encoder.

Latents at random have no shapes in them, and a decoder that overflows in fp16
on a picture may hold on noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engines.capture.capture import Capture

SIDE: Final = 256
"""Largest side of the picture that is encoded, px: a second's work for SD's encoder.  Its latent is repeated
to the size that is wanted."""
SEED: Final = 5


def pictured(capture: Capture) -> dict[str, NDArray[Any]] | None:
    """A decoder's input, batch 1, of a drawn scene; `None` for other components and other autoencoders.

    Only autoencoders of pictures (`AutoencoderKL`) are asked; the tiny decoder
    reads the same latents.
    """
    part = capture.model.layout.parts.get("vae")
    if capture.component != "decoder" or part is None or part.kind != "AutoencoderKL":
        return None
    if len(capture.structure.latent) != 3:
        return None
    import torch

    from engines.models.kinds import decoder_kind, picture
    from engines.scenes.grammar import sample
    from engines.scenes.render import draw

    kind, network = decoder_kind(part.kind), capture.model.part("vae")
    assert kind is not None
    channels, height, width = capture.structure.latent
    side = min(SIDE, kind.scale(part.config) * min(height, width))
    rng = np.random.default_rng(SEED)
    drawn = draw(sample(rng), rng, side).astype(np.float32) / 127.5 - 1.0
    with torch.inference_mode():
        found = picture.encoded(network, torch.from_numpy(drawn.transpose(2, 0, 1)[None].copy()))
        # what the decoder does to a latent first is linear in each channel: undo it
        nothing = kind.unscaled(network, torch.zeros_like(found))
        latent = ((found - nothing) / (kind.unscaled(network, torch.ones_like(found)) - nothing)).numpy()
    times = (1, 1, -(-height // latent.shape[2]), -(-width // latent.shape[3]))
    return {"latent": np.ascontiguousarray(np.tile(latent, times)[:, :channels, :height, :width])}
