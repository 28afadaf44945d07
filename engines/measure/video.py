"""Metrics of clips against the reference's: frame by frame, and of what happens between frames.

Clips (N, F, H, W, 3), uint8.  A clip can match the reference in every frame on
average and still flicker or stand still, so change from frame to frame is
measured by itself, as frame differences (in the spirit of TecoGAN's temporal
metrics, Chu et al. 2020, and VBench's temporal flickering, Huang et al. 2024):
`change` is how far the changes are from the reference's, `flicker` how much
more changes than in the reference.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.measure import images

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
Curves = dict[str, NDArray[np.float64]]

PER_FRAME: Final = ("psnr", "ssim", "haarpsi", "lpips")


def is_clip(pictures: Pixels) -> bool:
    """Whether it is clips (N, F, H, W, 3) and not pictures."""
    return pictures.ndim == 5


def per_frame(clips: Pixels, references: Pixels) -> Curves:
    """`psnr` (dB), `ssim`, `haarpsi`, `lpips` of each frame, (N, F); what cannot be computed is left out."""
    ours, theirs = images.frames(clips), images.frames(references)
    found = {name: getattr(images, name)(ours, theirs).reshape(clips.shape[:2]) for name in PER_FRAME}
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def summary(curves: Curves) -> dict[str, Values]:
    """Of each clip (N,): the frames' mean of every metric, and the worst frame's PSNR, `psnr_worst` (dB)."""
    found = {name: values.mean(axis=1) for name, values in curves.items()}
    if "psnr" in curves:
        found["psnr_worst"] = curves["psnr"].min(axis=1)
    return found


def temporal(clips: Pixels, references: Pixels) -> dict[str, Values]:
    """Of each clip (N,), in levels of 255; nothing for clips of one frame.

    `change`: mean absolute difference between the clip's change from frame to
    frame and the reference's; 0 for the same motion.  `flicker`: mean absolute
    change of the clip less the reference's; above 0 it flickers more, below 0
    it moves less.
    """
    if clips.shape[1] < 2:
        return {}
    change, flicker = np.zeros(len(clips)), np.zeros(len(clips))
    for index, (ours, theirs) in enumerate(zip(clips, references, strict=True)):
        one, other = (np.diff(clip.astype(np.int16), axis=0) for clip in (ours, theirs))
        change[index] = np.abs(one - other).mean()
        flicker[index] = np.abs(one).mean() - np.abs(other).mean()
    return {"change": change, "flicker": flicker}
