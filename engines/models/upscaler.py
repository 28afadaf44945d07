"""Super-resolution for looking at pictures; no measurement uses it.

A model folder may hold `upscaler.safetensors`, any network that `spandrel` knows
(Real-ESRGAN's compact SRVGG, RRDB and others).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

FILE = "upscaler.safetensors"


def descriptor(path: Path) -> Any:
    """What `spandrel` makes of a file: the network and its facts.

    Raises:
        ModelError: no such file, or no network that enlarges pictures.
    """
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    try:
        found = ModelLoader(device="cpu").load_from_file(path)
    except FileNotFoundError:
        raise ModelError(f"There is no super-resolution network {path}; pictures stay as they are.") from None
    except (UnsupportedModelError, ValueError, OSError) as error:
        raise ModelError(f"{path} holds no super-resolution network that can be read ({error}).") from error
    if not isinstance(found, ImageModelDescriptor):
        raise ModelError(f"{path} is not a network that enlarges one picture.")
    return found.eval().float()


@lru_cache(maxsize=2)
def _network(path: Path) -> Any:
    return descriptor(path)


def network(path: Path) -> torch.nn.Module:
    """The bare network of a file, fp32 eval: pictures (B, 3, H, W) in [0, 1] to larger ones.

    Raises:
        ModelError: as `descriptor`.
    """
    found: torch.nn.Module = descriptor(path).model
    return found.float().eval().requires_grad_(False)


def run(network: Any, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The larger picture, (B, 3, H * scale, W * scale), of `picture`; both in [-1, 1]."""
    found: torch.Tensor = network(given["picture"] * 0.5 + 0.5)
    return found.clamp(0.0, 1.0) * 2.0 - 1.0


def enlarge(path: Path, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (N, H, W, 3) to (N, H * scale, W * scale, 3), by the network in `path`.

    Raises:
        ModelError: no such file, or no network that enlarges pictures.
    """
    import numpy as np
    import torch

    enlarged = _network(path)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        large = enlarged(pixels).clamp(0, 1).mul(255).round().byte()
    found: NDArray[np.uint8] = large.permute(0, 2, 3, 1).numpy()
    return found
