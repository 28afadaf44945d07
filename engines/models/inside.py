"""What is inside a denoiser that techniques change, from its settings and the headers of its weights.

A technique is refused before anything is captured where there is nothing of it to change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engines.models import safetensors_file
from engines.models.layout import Part

_RESIDUAL: Final = re.compile(r"\.conv2\.weight$")
_FEED_FORWARD: Final = re.compile(r"\.net\.2\.weight$")
_GROUPS: Final = 32
"""What diffusers' U-Nets normalise by where their settings say nothing."""
_JOINT: Final = "SD3Transformer2DModel"
_UNFUSED: Final = ("dual_attention_layers", "qk_norm")
"""Settings of it that diffusers' `FusedJointAttnProcessor2_0` does not know: with the first it fails, and the
norms of the second it leaves out without a word."""
_VECTOR: Final = 8
"""A feed-forward loses channels by so many at a time: matrix products stay on whole vectors."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Zero and False where a network has nothing of the kind."""

    groups: int = 0
    """Norm groups inside its residual blocks."""
    inner: int = 0
    """Channels inside its widest feed-forward."""
    fusible: bool = True
    """Diffusers' fused attention computes what the network's own does."""


def inside(part: Part) -> Inside:
    """Of a denoiser; reads no tensor."""
    shapes: Mapping[str, tuple[int, ...]] = {
        name: tensor.shape for path in part.weights for name, tensor in safetensors_file.header(path).items()
    }
    residual = any(_RESIDUAL.search(name) and len(shape) == 4 for name, shape in shapes.items())
    inner = [shape[1] for name, shape in shapes.items() if _FEED_FORWARD.search(name) and len(shape) == 2]
    return Inside(
        groups=int(part.config.get("norm_num_groups") or _GROUPS) if residual else 0,
        inner=max(inner, default=0),
        fusible=not (part.kind == _JOINT and any(map(part.config.get, _UNFUSED))),
    )


def groups_going(groups: int, share: float) -> int:
    """Norm groups that a share of a residual block's inner channels comes to."""
    return round(groups * share)


def channels_going(inner: int, share: float) -> int:
    """Channels that a share of a feed-forward's comes to."""
    return round(inner * share) // _VECTOR * _VECTOR


def in_a_block(name: str) -> bool:
    """Whether a layer of that path does a repeated block's work: no norm's or embedding's, and none of those
    before and behind all blocks, whose paths hold no number."""
    parts = name.split(".")
    apart = any("emb" in part or part.startswith("norm") for part in parts)
    return not apart and any(part.isdigit() for part in parts)
