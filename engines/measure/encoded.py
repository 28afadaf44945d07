"""Metrics by the pack's encoders: CLIP score, DINO distance, CMMD; of clips by a few of their frames."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.hostloop import pictures
from engines.measure import sets
from engines.metrics_pack import encoders

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
Features = NDArray[np.float64]

FRAMES: Final = 8
"""Of a clip, spread evenly: an encoder sees what is shown, not how it moves."""


def said(prompts: Sequence[str]) -> tuple[str, ...]:
    """What prompts say in words; empty where one only names a picture."""
    return tuple(pictures.split(prompt)[1] for prompt in prompts)


def clip_score(images: Pixels, prompts: Sequence[str]) -> Values:
    """Cosine (N,) between CLIP's embeddings of picture and prompt (Hessel et al. 2021, unscaled)."""
    encoder = encoders.clip()
    texts = encoder.texts(said(prompts))
    found = features(encoder.images, images)
    return np.asarray((found * texts).sum(axis=1) / np.linalg.norm(found, axis=1))


def dino_distance(images: Pixels, references: Pixels) -> Values:
    """1 - cosine (N,) between DINOv2's embeddings of picture and reference, 0 for the same picture."""
    encode = encoders.dino().images
    ours, theirs = features(encode, images), features(encode, references)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return np.asarray(1 - (ours * theirs).sum(axis=1) / lengths)


def measure(
    names: Collection[str], images: Pixels, references: Pixels, prompts: Sequence[str]
) -> dict[str, Values]:
    """By picture (N,): `clip` and `clip_loss` (share of the references' mean), `dino`, `cmmd`.

    Raises:
        MetricsError: an encoder is not on this machine.
    """
    found: dict[str, Values] = {}
    if "clip" in names:
        found["clip"] = clip_score(images, prompts)
        usual = clip_score(references, prompts)
        found["clip_loss"] = (usual - found["clip"]) / max(abs(float(usual.mean())), 1e-9)
    if "dino" in names:
        found["dino"] = dino_distance(images, references)
    if "cmmd" in names:
        encode = encoders.clip().images
        found["cmmd"] = sets.paired(sets.gaussian, features(encode, images), features(encode, references))
    return found


def features(encode: Callable[[Pixels], Features], images: Pixels) -> Features:
    """Of pictures (N, H, W, 3), or of clips (N, F, H, W, 3) their frames' mean: (N, D)."""
    if images.ndim == 4:
        return encode(images)
    count = images.shape[1]
    chosen = np.unique(np.linspace(0, count - 1, min(count, FRAMES)).round().astype(int))
    found = encode(images[:, chosen].reshape(-1, *images.shape[2:]))
    return np.asarray(found.reshape(len(images), len(chosen), -1).mean(axis=1))
