"""Reading safetensors without loading them: the header, checked against the file's size.

Format: 8 bytes little-endian header length, JSON header, data
(https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from engines.errors import ModelError

BYTES: Final = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
LARGEST_HEADER: Final = 100 * 2**20


@dataclass(frozen=True, slots=True)
class Tensor:
    """Name in the header to type and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)


def metadata(path: Path) -> Mapping[str, str]:
    """What a safetensors file says of itself; empty where it says nothing.

    Raises:
        ModelError: as `header`.
    """
    header(path)
    with path.open("rb") as file:
        entries = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    found = entries.get("__metadata__")
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def header(path: Path) -> Mapping[str, Tensor]:
    """The tensors that a safetensors file declares, without reading them.

    Raises:
        ModelError: the file is cut off, longer than declared or not safetensors.
    """
    advice = "copy or download the file again"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, LARGEST_HEADER):
                raise ModelError(
                    f"{path} is not a whole safetensors file (its header does not fit); {advice}."
                )
            entries = json.loads(file.read(length))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); {advice}.") from error
    except ValueError as error:
        raise ModelError(f"{path} is not a safetensors file (its header is not JSON); {advice}.") from error
    try:
        entries.pop("__metadata__", None)
        tensors = {name: Tensor(entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
        raise ModelError(
            f"{path} is not a safetensors file (its header names no tensors); {advice}."
        ) from error
    if size != 8 + length + end:
        missing = 8 + length + end - size
        what = f"{missing} bytes are missing" if missing > 0 else f"{-missing} bytes too many"
        raise ModelError(f"{path} is damaged: {what}; {advice}.")
    return tensors
