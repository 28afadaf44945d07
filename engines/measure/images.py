"""Paired metrics of pictures against the reference, and what is no picture at all."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]

PSNR_CAP: Final = 60.0
"""dB; pictures that differ less, or not at all, count as this, so that means stay finite."""
_LPIPS_WEIGHTS: Final = "alexnet-owt-7be5be79.pth"
_BLACK: Final = 8
_SOLID: Final = 2.0
_NOISE: Final = 0.2


def psnr(images: Pixels, references: Pixels) -> Values:
    """Peak signal-to-noise ratio in dB (N,) of pictures (N, H, W, 3), at most `PSNR_CAP`."""
    error = ((images.astype(np.float64) - references) ** 2).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(10 * np.log10(255**2 / error), PSNR_CAP), dtype=np.float64)


def ssim(images: Pixels, references: Pixels) -> Values:
    """Structural similarity (N,), 1 for the same picture; NaN below 16 px."""
    import piq

    return _by_piq(piq.ssim, images, references)


def haarpsi(images: Pixels, references: Pixels) -> Values:
    """HaarPSI (N,) (Reisenhofer et al. 2018), 1 for the same picture; NaN below 16 px."""
    import piq

    return _by_piq(piq.haarpsi, images, references)


def lpips_available() -> tuple[bool, str]:
    """Whether LPIPS can be computed here, and a sentence that names the file it needs.

    The `lpips` package never ships the weights of its backbone; nothing is
    downloaded for it here.
    """
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / _LPIPS_WEIGHTS
    if path.is_file():
        return True, f"LPIPS uses the AlexNet weights in {path}."
    return (
        False,
        f"LPIPS needs torchvision's AlexNet weights; put the file {_LPIPS_WEIGHTS} into {path.parent}.",
    )


def lpips(images: Pixels, references: Pixels) -> Values:
    """LPIPS distance (N,) (Zhang et al. 2018, AlexNet), 0 for the same picture; NaN without weights."""
    if not lpips_available()[0]:
        return np.full(len(images), math.nan)
    import torch

    network = _lpips_network()
    with torch.inference_mode():
        found = network(_tensor(images) * 2 - 1, _tensor(references) * 2 - 1)
    return np.asarray(found.flatten().double().numpy())


@lru_cache(maxsize=1)
def _lpips_network() -> Any:
    import lpips as package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return package.LPIPS(net="alex", verbose=False).eval()


def _tensor(images: Pixels) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255


def _by_piq(metric: Any, images: Pixels, references: Pixels) -> Values:
    if min(images.shape[1:3]) < 16:
        return np.full(len(images), math.nan)
    import torch

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = metric(_tensor(images), _tensor(references), data_range=1.0, reduction="none")
    return np.asarray(found.flatten().double().numpy())


def blank(image: Pixels) -> str | None:
    """What a picture (H, W, 3) shows that shows nothing, as the end of a sentence; `None` if it is fine.

    Black, one solid colour, or noise: neighbouring pixels of a picture are
    alike, those of noise are not.  Values that are not numbers come out black.
    """
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
