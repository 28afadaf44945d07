"""The discriminator: is the light picture good enough for this prompt?

A small EfficientNetV2 (`timm`, a B0 of reduced width and depth) looks at the
light picture, with a hashed bag of the prompt's words and word pairs beside it;
ridge logistic regression reads the words alone.  The score weighs the two.
DiffServe (arXiv 2411.15381) uses EfficientNetV2-S on the picture alone with
"real photograph" as its target; here the target is what the cascade needs to
know: whether the heavy model would be better by more than the margin.

Every prompt's score comes from a network that never saw that prompt
(cross-fitting over groups of prompts), so all pairs serve the deferral curve.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from studio.plan.learning import Epoch

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = tuple[Tensor, Tensor, Tensor]
"""Pictures, words and targets."""
OnEpoch = Callable[[int, int, Epoch | None], None]
"""Epochs done, epochs in all, and the last one; `None` where it was left out by an early stop."""

SIDE: Final = 64
WORDS: Final = 256
FOLDS: Final = 4
EPOCHS: Final = 14
TUNED: Final = 5
"""Epochs on the pairs after practice on light pictures."""
BATCH: Final = 32
RATE: Final = 2e-3
HELD: Final = 8
"""Every eighth picture is held out to say when to stop, where that makes at least `HELD_LEAST`."""
HELD_LEAST: Final = 60
PATIENCE: Final = 4
"""Epochs without a better loss on the held-out pictures after which training stops."""
SHIFT: Final = 3
"""Pixels by which pictures are moved while training; never mirrored, because prompts say left and right."""


class Network(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1] and words (B, `WORDS`) to logits (B,) of "defer".

    `taken`: the epoch of training whose weights were kept; 0 where it was not trained.
    """

    taken: int = 0

    def __init__(self) -> None:
        super().__init__()
        import timm

        self.eye = timm.create_model(
            "tf_efficientnetv2_b0",
            num_classes=0,
            channel_multiplier=0.5,
            depth_multiplier=0.5,
            drop_path_rate=0.1,
        )
        self.seen = nn.Sequential(nn.Dropout(0.2), nn.Linear(self.eye.num_features, 64))
        self.read = nn.Sequential(nn.Dropout(0.1), nn.Linear(WORDS, 64), nn.GELU())
        self.judge = nn.Sequential(nn.Linear(3 * 64, 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 1))

    def forward(self, pixels: Tensor, words: Tensor) -> Tensor:
        seen, read = self.seen(self.eye(pixels)), self.read(words)
        logits: Tensor = self.judge(torch.cat([seen, read, seen * read], 1))[:, 0]
        return logits


@dataclass(frozen=True, eq=False)
class Practice:
    """Light pictures without their heavy ones: cheap, and of prompts that no pair has.

    `defer` (N,) is a guess: the light picture's own quality is known, of the heavy one only the mean.
    """

    images: Pixels
    prompts: tuple[str, ...]
    defer: Bools


@dataclass(frozen=True, eq=False)
class Trained:
    """Scores of all prompts and the network to use for new ones."""

    scores: Floats
    """(N,) probability that the light picture is good enough, out of fold, calibrated."""
    words: Floats
    """(N,) the same from the words alone."""
    network: Network
    regression: Floats
    """(`WORDS` + 1,) weights of the words and their constant."""
    weights: Floats
    """(2,) of network and regression: probability of deferring = sigmoid(weights @ logits + shift)."""
    shift: float
    seconds: float
    """Of one score at batch 1."""
    practised: tuple[int, int] | None = None
    """The epoch whose weights were kept of the practice, and how many it might have taken."""
    history: tuple[Epoch, ...] = ()


def tensors(images: Pixels) -> Tensor:
    """Pictures (N, H, W, 3) as the network wants them."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    if pixels.shape[2:] != (SIDE, SIDE):
        pixels = nn.functional.interpolate(pixels, (SIDE, SIDE), mode="area")
    return pixels


def bag(prompts: Sequence[str]) -> Tensor:
    """Hashed counts (N, `WORDS`) of words and neighbouring pairs, each row of length 1."""
    rows = np.zeros((len(prompts), WORDS), np.float32)
    for row, prompt in zip(rows, prompts, strict=True):
        words = re.findall(r"\w+", prompt.lower())
        for token in (*words, *(f"{a} {b}" for a, b in pairwise(words))):
            row[zlib.crc32(token.encode()) % WORDS] += 1
        row /= max(float(np.linalg.norm(row)), 1e-6)
    return torch.from_numpy(rows)


def folds(prompts: Sequence[str], defer: Bools, seed: int) -> NDArray[np.int64]:
    """A fold (N,) for each prompt; equal prompts share one, both labels are spread evenly."""
    generator = np.random.default_rng(seed)
    first = {prompt: bool(label) for prompt, label in zip(reversed(prompts), defer[::-1], strict=True)}
    place: dict[str, int] = {}
    for label in (False, True):
        members = sorted(prompt for prompt, own in first.items() if own == label)
        for at, which in enumerate(generator.permutation(len(members))):
            place[members[which]] = (at + label) % FOLDS
    return np.array([place[prompt] for prompt in prompts], dtype=np.int64)


def train(
    images: Pixels,
    prompts: Sequence[str],
    defer: Bools,
    *,
    seed: int,
    practice: Practice | None = None,
    epochs: int | None = None,
    on_epoch: OnEpoch = lambda _done, _total, _epoch: None,
) -> Trained:
    """Train by cross-fitting, calibrate, then train once more on all pairs; deterministic by seed.

    With `practice` one network learns from it first, and each fold's goes on from there.

    Args:
        images: light pictures (N, H, W, 3).
        defer: (N,) whether the heavy picture is better by more than the margin; both values must occur.
        on_epoch: hears of every epoch; those of a fold are judged on the pairs outside it.
    """
    pixels, words = tensors(images), bag(prompts)
    target = torch.from_numpy(defer.astype(np.float32))
    fold = folds(prompts, defer, seed)
    first = EPOCHS if epochs is None else epochs
    epochs = first if practice is None else min(first, TUNED)
    total, done = epochs * (FOLDS + 1) + (0 if practice is None else first), 0

    history: list[Epoch] = []

    def tell(epoch: Epoch | None) -> None:
        nonlocal done
        done += 1
        if epoch is not None:
            history.append(epoch)
        on_epoch(done, total, epoch)

    def rows(chosen: Tensor) -> Rows:
        return pixels[chosen], words[chosen], target[chosen]

    logits = np.zeros((len(prompts), 2))
    # One thread: these layers are too small to share, and threads that wait for each other lose all
    # their time on a busy machine.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed * (FOLDS + 1) - 1)
            begun = None if practice is None else _practise(practice, first, tell)
            for which in range(FOLDS):
                inside, outside = (
                    torch.from_numpy(np.flatnonzero(own)) for own in (fold != which, fold == which)
                )
                torch.manual_seed(seed * (FOLDS + 1) + which)
                stage = f"fold {which + 1}"
                network = fit(*rows(inside), epochs, tell, begun, stage=stage, watched=rows(outside))
                logits[outside, 0] = logits_of(network, pixels[outside], words[outside])
                regression = _regress(*_with(practice, words[inside], target[inside]))
                logits[outside, 1] = _read(regression, words[outside])
            weights, shift = calibrate(logits, defer)
            torch.manual_seed(seed * (FOLDS + 1) + FOLDS)
            network = fit(pixels, words, target, epochs, tell, begun, stage="all pairs")
            seconds = _seconds(network, pixels, words)
    finally:
        torch.set_num_threads(threads)
    return Trained(
        scores=1 - _sigmoid(logits @ weights + shift),
        words=1 - _sigmoid(logits[:, 1]),
        network=network,
        regression=_regress(*_with(practice, words, target)),
        weights=weights,
        shift=shift,
        seconds=seconds,
        practised=None if begun is None else (begun.taken, first),
        history=tuple(history),
    )


def _practise(practice: Practice, epochs: int, tell: Callable[[Epoch | None], None]) -> Network:
    target = torch.from_numpy(practice.defer.astype(np.float32))
    return fit(tensors(practice.images), bag(practice.prompts), target, epochs, tell, stage="practice")


def _with(practice: Practice | None, words: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Words and targets of the pairs, after those of the practice."""
    if practice is None:
        return words, target
    more = torch.from_numpy(practice.defer.astype(np.float32))
    return torch.cat([bag(practice.prompts), words]), torch.cat([more, target])


def fit(
    pixels: Tensor,
    words: Tensor,
    target: Tensor,
    epochs: int,
    tell: Callable[[Epoch | None], None],
    begun: Network | None = None,
    *,
    stage: str,
    watched: Rows | None = None,
) -> Network:
    """A network trained from scratch, or from where `begun` is, at a fourth of the rate.

    Early stop: with enough rows some are held out, and the weights of the epoch that judged them best
    are kept.  With few rows every one is needed to learn from and all epochs are taken; `watched` ones
    are then judged each epoch for the curve, and decide nothing.
    """
    held = torch.zeros(0, dtype=torch.long)
    judged = watched
    if len(target) // HELD >= HELD_LEAST:
        mixed = torch.randperm(len(target))
        held, kept = mixed[: len(target) // HELD], mixed[len(target) // HELD :]
        judged = pixels[held], words[held], target[held]
        pixels, words, target = pixels[kept], words[kept], target[kept]
    best, state = float("inf"), None
    network = Network().train()
    rate = RATE
    if begun is not None:
        network.load_state_dict(begun.state_dict())
        rate = RATE / 4
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.05)
    batches = max(1, round(len(target) / BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * batches)
    balance = (len(target) - target.sum()) / target.sum().clamp(min=1)
    loss_of = nn.BCEWithLogitsLoss(pos_weight=balance)
    for epoch in range(1, epochs + 1):
        losses = []
        for rows in torch.randperm(len(target)).chunk(batches):
            across, down = (int(torch.randint(-SHIFT, SHIFT + 1, ())) for _ in range(2))
            moved = torch.roll(pixels[rows], (across, down), (2, 3))
            loss = loss_of(network(moved, words[rows]), target[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        loss_held = None
        if judged is not None:
            found = torch.from_numpy(logits_of(network.eval(), *judged[:2]))
            loss_held = float(loss_of(found, judged[2].double()))
            network.train()
        tell(Epoch(stage, epoch, float(np.mean(losses)), loss_held))
        if not len(held) or loss_held is None:
            network.taken = epoch
        elif loss_held < best:
            best, network.taken = loss_held, epoch
            state = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - network.taken >= PATIENCE:
            for _ in range(epochs - epoch):
                tell(None)
            break
    if state is not None:
        network.load_state_dict(state)
    return network.eval()


def logits_of(network: Network, pixels: Tensor, words: Tensor) -> Floats:
    """Logits (B,) of pictures as `tensors` makes them and words as `bag` does."""
    with torch.inference_mode():
        parts = [network(pixels[at : at + 64], words[at : at + 64]) for at in range(0, len(pixels), 64)]
    return np.asarray(torch.cat(parts).double().numpy())


def _read(regression: Floats, words: Tensor) -> Floats:
    """Logits (N,) from the words alone."""
    found: Floats = words.numpy().astype(np.float64) @ regression[:-1] + regression[-1]
    return found


def _regress(words: Tensor, target: Tensor) -> Floats:
    """Ridge logistic regression, by Newton's method."""
    design = np.c_[words.numpy().astype(np.float64), np.ones(len(words))]
    wanted = target.numpy().astype(np.float64)
    ridge = np.diag([1.0] * (design.shape[1] - 1) + [1e-6])
    weights = np.zeros(design.shape[1])
    for _ in range(20):
        chance = _sigmoid(design @ weights)
        slope = design.T @ (chance - wanted) + ridge @ weights
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + ridge
        step = np.linalg.solve(bend, slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def calibrate(logits: Floats, defer: Bools) -> tuple[Floats, float]:
    """Weights (K,), none negative, and shift that make logits (N, K) a probability.

    Platt scaling with his smoothed targets (Platt 1999), for one or several scorers at once.
    """
    from scipy.optimize import minimize

    positive, negative = int(defer.sum()), int((~defer).sum())
    wanted = np.where(defer, (positive + 1) / (positive + 2), 1 / (negative + 2))
    count = logits.shape[1]

    def loss(values: Floats) -> float:
        moved = logits @ values[:count] + values[count]
        return float(np.mean(np.logaddexp(0, moved) - wanted * moved))

    start = np.r_[np.full(count, 1 / count), 0.0]
    limits = [(0.0, 50.0)] * count + [(-20.0, 20.0)]
    found = minimize(loss, start, bounds=limits, method="L-BFGS-B").x
    # With no weight at all every prompt would get the same score, and no threshold could split them.
    return np.maximum(np.asarray(found[:count]), 1e-3), float(found[count])


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -40, 40))))


def _seconds(network: Network, pixels: Tensor, words: Tensor, repeats: int = 15) -> float:
    taken = []
    with torch.inference_mode():
        for at in range(repeats + 3):
            one = at % len(pixels)
            start = time.perf_counter()
            network(pixels[one : one + 1], words[one : one + 1])
            taken.append(time.perf_counter() - start)
    return float(np.median(taken[3:]))


def save(trained: Trained, path: Path) -> None:
    """Write network, regression and calibration as safetensors, through a temporary name."""
    from safetensors.torch import save_file

    own = {"regression": trained.regression, "weights": np.r_[trained.weights, trained.shift]}
    tensors_of = {f"network.{name}": value for name, value in trained.network.state_dict().items()}
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors_of | {name: torch.from_numpy(value) for name, value in own.items()}, str(partial))
    partial.replace(path)


def load(path: Path) -> Callable[[Pixels, Sequence[str]], Floats]:
    """A scorer from a saved discriminator: light pictures and prompts to scores (N,)."""
    from safetensors.torch import load_file

    state = load_file(str(path))
    network = Network().eval()
    network.load_state_dict(
        {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    )
    regression, weights = state["regression"].numpy(), state["weights"].numpy()

    def score(images: Pixels, prompts: Sequence[str]) -> Floats:
        words = bag(prompts)
        logits = np.c_[logits_of(network, tensors(images), words), _read(regression, words)]
        return 1 - _sigmoid(logits @ weights[:-1] + weights[-1])

    return score
