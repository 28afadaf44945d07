"""Whether sums of 8-bit products overflow on this processor, and half the range of the weights is left free.

Where x86 has no VNNI, ONNX Runtime and OpenVINO multiply unsigned activations by signed weights with
`vpmaddubsw`, which adds two products in 16 bits and saturates.  Weights in seven bits never do.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Final

from engines.backends.base import Options

NOTE: Final = "weights in half the range of int8: this processor's sums of products would overflow"
"""What an engine says of itself."""


@functools.cache
def has_vnni() -> bool:
    """Whether this processor adds 8-bit products in 32 bits; any but x86 does."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return True
    flags = Path("/proc/cpuinfo")
    if flags.is_file():
        return "vnni" in flags.read_text(encoding="utf-8", errors="replace")  # avx512_vnni, avx_vnni
    import torch

    return bool(torch.cpu._is_vnni_supported())  # noqa: SLF001 - it has no public name


def needed(options: Options) -> bool:
    """Whether weights are to leave half their range free for these options."""
    return options.precision == "int8" and options.device == "cpu" and not has_vnni()
