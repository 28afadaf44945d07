"""Real against generated, DiffServe's target: a network that tells real pictures from the pair's.

DiffServe (arXiv 2411.15381) trains on photographs against pictures of both
models and takes P(real) as the score.  Its network sees the picture alone.
Real pictures come from the renderer where the model's prompts are scenes, else
from a folder of the user's; the generated ones are of prompts that no pair has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from studio.errors import CascadeError
from studio.plan.learning import Epoch
from studio.work.cascade.network import WORDS, Network, OnEpoch, Trained, fit, logits_of, tensors

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

MOST: Final = 480
"""Generated pictures of the light candidate, at most; as many real ones."""
HEAVY_SHARE: Final = 5
"""One heavy picture for so many pairs: they are dear."""
EPOCHS: Final = 10
LEAST: Final = 48
"""Real pictures without which nothing is learned."""
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def files(folder: str) -> list[Path]:
    """The pictures in a folder of the user's, sorted by name.

    Raises:
        CascadeError: no such folder, or too few pictures in it.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise CascadeError(f"{place} is no folder; give one with real pictures.")
    found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(found) < LEAST:
        raise CascadeError(
            f"{place} holds {len(found)} pictures; real against generated needs at least {LEAST}."
        )
    return found


def fingerprint(folder: str) -> str:
    """Of the user's folder: changes when pictures do."""
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files(folder)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read(folder: str, count: int, size: tuple[int, int], seed: int) -> Pixels:
    """Up to `count` of a folder's pictures, cropped to the middle and brought to `size`, (N, H, W, 3).

    Raises:
        CascadeError: no such folder, too few pictures, or one that cannot be read.
    """
    from PIL import Image, ImageOps

    found = files(folder)
    chosen = np.random.default_rng(seed).permutation(len(found))[:count]
    made = []
    for at in chosen:
        try:
            with Image.open(found[at]) as picture:
                fitted = ImageOps.fit(picture.convert("RGB"), (size[1], size[0]), Image.Resampling.LANCZOS)
        except OSError as error:
            raise CascadeError(f"{found[at]} cannot be read ({error}); take it out of the folder.") from None
        made.append(np.asarray(fitted))
    return np.stack(made)


def rendered(count: int, size: tuple[int, int], seed: int, without: Collection[str]) -> Pixels:
    """`count` pictures by the renderer of captions that are not among `without`, (N, H, W, 3)."""
    from engines.scenes.grammar import sample
    from engines.scenes.render import draw

    generator = np.random.default_rng(seed)
    made: list[Pixels] = []
    while len(made) < count:
        scene = sample(generator, split="any")
        if scene.caption not in without:
            made.append(draw(scene, generator, size[0]))
    return np.stack(made)


def learn(
    real: Pixels, generated: Pixels, seed: int, on_epoch: OnEpoch = lambda _done, _total, _epoch: None
) -> Network:
    """Train on real (N, H, W, 3) and generated pictures; logits are of "generated"; deterministic by seed."""
    pixels = torch.cat([tensors(real), tensors(generated)])
    target = torch.cat([torch.zeros(len(real)), torch.ones(len(generated))])
    words = torch.zeros(len(pixels), WORDS)
    done = 0

    def tell(epoch: Epoch | None) -> None:
        nonlocal done
        done += 1
        on_epoch(done, EPOCHS, epoch)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed + 77)
            network = fit(pixels, words, target, EPOCHS, tell, stage="real against generated")
    finally:
        torch.set_num_threads(threads)
    # It was shown no words, so what it would make of them is chance.
    with torch.no_grad():
        layer = network.read[1]
        assert isinstance(layer, torch.nn.Linear)
        layer.weight.zero_()
    return network


def probability(network: Network, images: Pixels) -> Floats:
    """P(real), (N,), of pictures (N, H, W, 3)."""
    logits = logits_of(network, tensors(images), torch.zeros(len(images), WORDS))
    found: Floats = 1 / (1 + np.exp(np.clip(logits, -60, 60)))
    return found


def as_decider(network: Network, scores: Floats, other: Trained) -> Trained:
    """Let P(real) decide: what is saved and shipped then is this network, without words or weighing."""
    return Trained(
        scores=scores,
        words=other.words,
        network=network,
        regression=np.zeros(WORDS + 1),
        weights=np.array([1.0, 0.0]),
        shift=0.0,
        seconds=other.seconds,
        practised=None,
    )
