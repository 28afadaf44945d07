"""How far a flow-matching schedule is moved towards noise for a picture's size."""

from __future__ import annotations

from typing import Any

from engines.models.kinds.base import Config


def dynamic_shift(
    config: Config, tokens: int, *, lowest: float = 0.5, highest: float = 1.15
) -> dict[str, Any]:
    """`mu` for a number of tokens, on the line that FLUX's pipeline draws; nothing where it is fixed."""
    if not config.get("use_dynamic_shifting"):
        return {}
    first = int(config.get("base_image_seq_len") or 256)
    last = int(config.get("max_image_seq_len") or 4096)
    low = float(config.get("base_shift") or lowest)
    high = float(config.get("max_shift") or highest)
    slope = (high - low) / (last - first)
    return {"mu": tokens * slope + low - slope * first}
