"""A transformer's blocks as data: what its split has to know (`engines.capture.staging`).

A new family of transformers is split by one line in its adapter, `blocks = Blocks(...)`.  It fits where the
blocks run one after the other, each giving its answer to the next, whatever comes before and after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from engines.errors import CaptureError
from engines.plan import DenoiserStructure

PLAIN: Final = DenoiserStructure()
Modulation = Literal["table", "norm", "joint"]
"""How the timestep changes what a block's first attention sees: by a table of shifts and scales, by a norm
that is told it, or by a norm that also answers gates."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Shapes, without the batch, of what a denoiser's stages hand on (`engines.capture.staging`)."""

    state: Mapping[str, tuple[int, ...]]
    probe: tuple[int, ...]
    feature: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of one kind of transformer."""

    lists: tuple[str, ...] = ("transformer_blocks",)
    """The network's attributes that hold them, in turn."""
    counts: tuple[str, ...] = ("num_layers",)
    """Its settings that say how many each holds."""
    modulation: Modulation = "table"
    timestep: str = "temb"
    """What a block calls the timestep's embedding that it is given."""
    joint: bool = False
    """They also change the text's tokens: answers are (text, picture), and the names of both are given."""
    skips: bool = False
    """Long skips: the last block is also given what the first answers, the one before it the second's, and so
    on inwards.  As many blocks run behind as in front, then: what they are given is of this step."""
    crossed: bool = False
    """Cross-attention is a layer of its own, `attn2`, in each."""

    def count(self, config: Mapping[str, Any]) -> int:
        return sum(int(config[name]) for name in self.counts)

    def width(self, config: Mapping[str, Any]) -> int:
        return int(config["num_attention_heads"]) * int(config["attention_head_dim"])

    def stages(
        self, config: Mapping[str, Any], patches: int, text: int, wanted: DenoiserStructure = PLAIN
    ) -> Stages:
        """Over `patches` tokens of the picture, and `text` tokens where blocks change them."""
        width = self.width(config)
        tokens = text + patches
        if self.skips:
            front, _ = borders(self.count(config), wanted, skips=True)
            tokens = patches * max(1, front)
        # blocks behind the rest want all tokens, the end the picture's alone
        feature = text + patches if self.joint and wanted.back else patches
        return Stages({"state": (tokens, width)}, (patches, width), (feature, width))


def borders(blocks: int, wanted: DenoiserStructure, *, skips: bool = False) -> tuple[int, int]:
    """The block that `rest` begins with, and the one that `last` begins with; at least one lies between.

    With long skips `last` has as many blocks as `first`, whose answers they are given.

    Raises:
        CaptureError: there is one block only, or no skip where there should be some.
    """
    front = 0 if wanted.modulated else max(1, round(wanted.front * blocks))
    if skips and front:
        front = min(front, blocks // 2 - 1)
        if front < 1:
            raise CaptureError("The denoiser has no long skip around a block between; leave the cache out.")
        return front, blocks - front
    if front >= blocks:
        raise CaptureError("The denoiser has no block behind those in front; leave the cache out.")
    back = max(1, round(wanted.back * blocks)) if wanted.back and not skips else 0
    return front, max(front + 1, blocks - back)


def unet_stages(config: Mapping[str, Any], latent: tuple[int, ...]) -> Stages | None:
    """Of a U-Net, whose first block is its first level; `None` where it has no other."""
    widths, layers = config["block_out_channels"], config.get("layers_per_block", 2)
    if len(widths) < 2:
        return None
    count = int(layers if isinstance(layers, int) else layers[0])
    frames, (height, width) = latent[1:-2], latent[-2:]
    narrow = int(widths[0])
    return Stages(
        {
            "skips": (*frames, narrow * (count + 1), height, width),
            "state": (*frames, narrow, height // 2, width // 2),
        },
        probe=(*frames, narrow, height, width),
        feature=(*frames, int(widths[1]), height, width),
    )
