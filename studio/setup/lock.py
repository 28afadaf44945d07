"""The lock in two parts: the torch family, whose build depends on the device, and everything else."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FAMILY = re.compile(r"(torch|torchvision|triton|nvidia-.+|cuda-.+)\Z")
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of a lock: name, version, and its whole text with marker and hashes."""

    name: str
    version: str
    text: str

    @property
    def torch_family(self) -> bool:
        return _FAMILY.match(self.name) is not None

    @property
    def conditional(self) -> bool:
        """Whether a marker leaves it to some systems or versions of Python."""
        return ";" in self.text

    @property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of its files."""
        return tuple(_HASH.findall(self.text))


def pins(text: str) -> tuple[Pin, ...]:
    """The entries of a requirements file made by `uv pip compile --generate-hashes`.

    Raises:
        ValueError: an entry without an exact version.
    """
    found = []
    for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        if not block or block.startswith("#"):
            continue
        match = _PIN.match(block)
        if match is None:
            raise ValueError(f"{block.splitlines()[0]!r} pins no version")
        found.append(Pin(match["name"].lower(), match["version"], block.rstrip() + "\n"))
    return tuple(found)


def written(of: tuple[Pin, ...]) -> str:
    """A requirements file of these entries."""
    return "".join(pin.text for pin in of)


def torch_by_version(of: tuple[Pin, ...]) -> tuple[str, ...]:
    """`torch==2.15.0`, `torchvision==0.29.2`: the index of the device's build has hashes of its own."""
    return tuple(f"{pin.name}=={pin.version}" for pin in of if pin.name in {"torch", "torchvision"})
