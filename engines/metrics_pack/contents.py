"""What the metrics pack holds: which networks, from where, how large, under which licence.

Weights are pinned by commit and SHA-256; nothing here is ever fetched unasked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Name = Literal["lpips", "clip", "dino"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the pack."""

    name: Name
    title: str
    gives: str
    """What can be measured with it, as words."""
    source: str
    """A hub id, or the address of the one file."""
    revision: str
    """The hub's commit; empty for an address."""
    weights: str
    """Name of the file with the weights."""
    size: int
    """Bytes of the weights."""
    sha256: str
    """Of the weights as they were published."""
    licence: str
    settings: tuple[str, ...] = ()
    """Small files that go with the weights."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of files, as transformers reads it; else one file."""
        return bool(self.settings)


ENTRIES: Final[dict[Name, Entry]] = {
    "lpips": Entry(
        "lpips",
        "AlexNet, the backbone of LPIPS",
        "LPIPS, the perceptual distance to the baseline's picture",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "",
        "alexnet-owt-7be5be79.pth",
        244_408_911,
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "BSD-3-Clause",
    ),
    "clip": Entry(
        "clip",
        "CLIP ViT-L/14, image and text towers",
        "CLIP score (does the picture show its prompt) and CMMD (do two sets look alike)",
        "openai/clip-vit-large-patch14",
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        "model.safetensors",
        1_710_540_580,
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        "MIT",
        ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"),
    ),
    "dino": Entry(
        "dino",
        "DINOv2 ViT-L/14",
        "DINO distance (to the baseline's picture), KID and the Fréchet distance of sets",
        "facebook/dinov2-large",
        "47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
        "model.safetensors",
        1_217_522_888,
        "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
        "Apache-2.0",
        ("config.json", "preprocessor_config.json"),
    ),
}
