"""Draw the training scenes once and keep them as arrays on disk.

Run: python -m assets.training.data
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assets.training.loop import ROOT
from engines.scenes import grammar, render

CHUNK = 2000


def _chunk(seed: int, split: grammar.Split, size: int, count: int) -> tuple[NDArray[np.uint8], list[str]]:
    rng = np.random.default_rng(seed)
    scenes = [grammar.sample(rng, split=split) for _ in range(count)]
    return np.stack([render.draw(scene, rng, size) for scene in scenes]), [s.caption for s in scenes]


def scenes(
    count: int, *, split: grammar.Split, size: int = 64, seed: int = 0
) -> tuple[NDArray[np.uint8], list[str]]:
    """`count` pictures (N, size, size, 3) with captions, drawn or read from the cache."""
    folder = ROOT / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{split}-{size}-{count}-{seed}"
    pictures, texts = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if not texts.exists():
        parts = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
        with ProcessPoolExecutor() as pool:
            drawn = list(
                pool.map(
                    _chunk,
                    [seed * 10_000 + i for i in range(len(parts))],
                    [split] * len(parts),
                    [size] * len(parts),
                    parts,
                )
            )
        np.save(pictures, np.concatenate([images for images, _ in drawn]))
        texts.write_text(json.dumps([text for _, chunk in drawn for text in chunk]))
    return np.load(pictures, mmap_mode=None), json.loads(Path(texts).read_text())


if __name__ == "__main__":
    images, texts = scenes(60_000, split="train")
    print(images.shape, len(set(texts)), "captions")
