"""Decode large pictures in tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.hostloop.tiles import LEAST, tile_side
from engines.plan import Plan
from engines.techniques.base import Card, Parameter, Technique, register


@register
@dataclass(frozen=True)
class VaeTiling(Technique):
    """The decoder is built for a tile of the latent; the host loop blends what it makes (diffusers)."""

    tiles: int = 2

    name = "vae-tiling"
    title = "VAE tiling"
    summary = "Decode overlapping tiles one after the other, in the memory that one tile takes."
    order = 72
    export = "host-loop"
    parameters = (Parameter("tiles", "int", 2, "Tiles along each side.", low=2, high=8),)

    @classmethod
    def parameters_for(cls, card: Card) -> tuple[Parameter, ...]:
        """No more tiles than a latent of the model's size has."""
        (tiles,) = cls.parameters
        fitting = [count for count in range(2, 9) if tile_side(max(1, card.size // 8), count) >= LEAST]
        return (replace(tiles, high=max(fitting, default=2)),)

    def explain(self) -> str:
        return (
            f"The decoder is called for {self.tiles} x {self.tiles} tiles that overlap by a quarter and are "
            "blended: less memory for large pictures, more arithmetic, and tones may differ between tiles."
        )

    def label(self) -> str:
        return f"tiles {self.tiles} x {self.tiles}"

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, loop=replace(plan.loop, decode_tiles=self.tiles))

    def objection(self, plan: Plan) -> str | None:
        loop = plan.loop
        if len(loop.latent_shape) == 4 and not loop.decode_frames:
            return "A video decoder mixes frames and is not tiled in this version; leave vae-tiling out."
        shape = loop.latent_shape if loop.diffusion_decoder is None else loop.diffusion_decoder.latent_shape
        side = min(tile_side(one, self.tiles) for one in shape[-2:])
        if side < LEAST:
            return (
                f"A latent of {shape[-2]} x {shape[-1]} has no {self.tiles} x {self.tiles} tiles of at least "
                f"{LEAST} x {LEAST}; choose fewer tiles or a larger picture."
            )
        return super().objection(plan)
