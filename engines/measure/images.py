"""Paired metrics of pictures against the reference, and what is no picture at all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]

PSNR_CAP: Final = 60.0
"""dB; pictures that differ less, or not at all, count as this, so that means stay finite."""
_AT_ONCE: Final = 32
"""Pictures that are compared at once."""
_BLACK: Final = 8
_SOLID: Final = 2.0
_NOISE: Final = 0.2


def psnr(images: Pixels, references: Pixels) -> Values:
    """Peak signal-to-noise ratio in dB (N,), at most `PSNR_CAP`.

    Of pictures (N, H, W, 3); of clips (N, F, H, W, 3), the error of all frames together.
    """
    pairs = zip(images, references, strict=True)
    error = np.array([((one.astype(np.float64) - other) ** 2).mean() for one, other in pairs])
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(10 * np.log10(255**2 / error), PSNR_CAP), dtype=np.float64)


def ssim(images: Pixels, references: Pixels) -> Values:
    """Structural similarity (N,), 1 for the same picture, of clips the frames' mean; NaN below 16 px."""
    import piq

    return _by_piq(piq.ssim, images, references)


def haarpsi(images: Pixels, references: Pixels) -> Values:
    """HaarPSI (N,) (Reisenhofer et al. 2018), 1 for the same picture, of clips the frames' mean.

    NaN below 16 px.
    """
    import piq

    return _by_piq(piq.haarpsi, images, references)


def lpips(images: Pixels, references: Pixels) -> Values:
    """LPIPS distance (N,) (Zhang et al. 2018, AlexNet), 0 for the same picture; NaN without its backbone.

    Of clips the frames' mean.
    """
    from engines.metrics_pack import encoders, place

    if place.find("lpips") is None:
        return np.full(len(images), math.nan)
    return _of_frames(encoders.lpips, images, references)


def frames(images: Pixels) -> Pixels:
    """Clips (N, F, H, W, 3) as pictures (N F, H, W, 3); pictures as they are."""
    return images.reshape(-1, *images.shape[-3:])


def _of_frames(metric: Callable[[Pixels, Pixels], Values], images: Pixels, references: Pixels) -> Values:
    """A metric of pictures; of clips its mean over the frames."""
    found = metric(frames(images), frames(references))
    return np.asarray(found.reshape(len(images), -1).mean(axis=1))


def _tensor(images: Pixels) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255


def _by_piq(metric: Any, images: Pixels, references: Pixels) -> Values:
    if min(images.shape[-3:-1]) < 16:
        return np.full(len(images), math.nan)
    import torch

    def of_pictures(ours: Pixels, theirs: Pixels) -> Values:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [
                metric(_tensor(ours[at : at + _AT_ONCE]), _tensor(theirs[at : at + _AT_ONCE]),
                       data_range=1.0, reduction="none").flatten().double().numpy()
                for at in range(0, len(ours), _AT_ONCE)
            ]  # fmt: skip
        return np.concatenate(found)

    return _of_frames(of_pictures, images, references)


def blank(image: Pixels) -> str | None:
    """What a picture (H, W, 3) shows that shows nothing, as the end of a sentence; `None` if it is fine.

    Black, one solid colour, or noise: neighbouring pixels of a picture are
    alike, those of noise are not.  Values that are not numbers come out black.
    A clip (F, H, W, 3) shows nothing where one of its frames does.
    """
    if image.ndim == 4:
        found = [(number, what) for number, frame in enumerate(image, 1) if (what := blank(frame))]
        return f"{found[0][1]} in frame {found[0][0]} of {len(image)}" if found else None
    values = image.astype(np.float64)
    if image.max() < _BLACK:
        return "black"
    if values.std(axis=(0, 1)).max() < _SOLID:
        return "one solid colour"
    centred = values - values.mean(axis=(0, 1))
    power = float((centred**2).mean())
    if power > 20**2:
        across = float((centred[:, 1:] * centred[:, :-1]).mean()) / power
        down = float((centred[1:] * centred[:-1]).mean()) / power
        if max(across, down) < _NOISE:
            return "noise"
    return None
