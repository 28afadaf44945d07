"""Super-resolution for looking at pictures; no measurement uses it.

A model folder may hold `upscaler.safetensors`, any network that `spandrel` knows
(Real-ESRGAN's compact SRVGG, RRDB and others).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "upscaler.safetensors"


@lru_cache(maxsize=2)
def _network(path: Path) -> Any:
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    try:
        network = ModelLoader(device="cpu").load_from_file(path)
    except FileNotFoundError:
        raise ModelError(f"There is no super-resolution network {path}; pictures stay as they are.") from None
    except (UnsupportedModelError, ValueError, OSError) as error:
        raise ModelError(f"{path} holds no super-resolution network that can be read ({error}).") from error
    if not isinstance(network, ImageModelDescriptor):
        raise ModelError(f"{path} is not a network that enlarges one picture.")
    return network.eval().float()


def enlarge(path: Path, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (N, H, W, 3) to (N, H * scale, W * scale, 3), by the network in `path`.

    Raises:
        ModelError: no such file, or no network that enlarges pictures.
    """
    import numpy as np
    import torch

    network = _network(path)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        large = network(pixels).clamp(0, 1).mul(255).round().byte()
    found: NDArray[np.uint8] = large.permute(0, 2, 3, 1).numpy()
    return found
