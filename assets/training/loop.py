"""A resumable training loop for two slow cores.

A run writes its checkpoint, its log and its figures under
`~/.cache/pareto-studio/training/NAME`; started again, it goes on from the
last checkpoint.  Stop it at any time.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

ROOT = Path(os.environ.get("PARETO_TRAINING", Path.home() / ".cache/pareto-studio/training"))
LOGS = Path(__file__).parent / "logs"


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> contextlib.AbstractContextManager[None]:
    """bf16 where the processor multiplies it faster (AMX, tensor cores)."""
    return torch.autocast(device().type, torch.bfloat16)


def learning_rate(step: int, share: float, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, then cosine to a fiftieth of the peak; `share` of the run is done."""
    return (
        peak * min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))
    )


M = TypeVar("M", bound=nn.Module)


def averaged(name: str, module: nn.Module) -> bool:
    """Load a run's averaged weights into `module`; False where it has not been trained."""
    path = ROOT / name / "checkpoint.pt"
    if not path.exists():
        return False
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    return True


class Run(Generic[M]):
    """One training run: parameters, their moving average, optimiser, log."""

    def __init__(
        self,
        name: str,
        module: M,
        *,
        steps: int,
        peak: float,
        ema: float = 0.999,
        weight_decay: float = 0.01,
        save_every: int = 200,
        budget: float | None = None,
    ) -> None:
        """`budget`: seconds of training after which the run counts as done, whatever its steps."""
        self.name, self.steps, self.peak, self.ema_decay = name, steps, peak, ema
        self.module = module
        module.to(device())
        self.average = copy.deepcopy(module).requires_grad_(False).eval()
        trained = [p for p in module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            trained, lr=peak, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True
        )
        self.folder = ROOT / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.save_every = save_every
        self.step = 0
        self.seconds = 0.0
        self.budget = budget or math.inf
        self._resume()

    @property
    def done(self) -> float:
        """Share of the run that is done, by steps or by time, whichever is further."""
        return max(self.step / self.steps, self.seconds / self.budget)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=device(), weights_only=True)
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        print(f"{self.name}: goes on from step {self.step}", flush=True)

    def save(self) -> None:
        state = {
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _average(self) -> None:
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            mine: list[torch.Tensor] = list(self.average.parameters())
            theirs: list[torch.Tensor] = list(self.module.parameters())
            torch._foreach_lerp_(mine, theirs, 1 - decay)
            for a, b in zip(self.average.buffers(), self.module.buffers(), strict=True):
                a.copy_(b)

    def train(
        self,
        loss: Callable[[], tuple[torch.Tensor, dict[str, float]]],
        evaluate: Callable[[], dict[str, float]] | None = None,
        every: int = 500,
    ) -> None:
        """Take the remaining steps; `loss` draws its own batch."""
        self.module.train()
        started, since, shown = time.monotonic(), self.seconds, time.monotonic()
        LOGS.mkdir(exist_ok=True)
        while self.done < 1:
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(self.step, self.done, self.peak)
            value, numbers = loss()
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            norm = nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            if bool(torch.isfinite(norm)):
                self.optimiser.step()
            self.step += 1
            self._average()
            self.seconds = since + time.monotonic() - started
            if self.step % 20 == 0:
                numbers = {"loss": float(value.detach()), **numbers}
                if evaluate is not None and (self.step % every == 0 or self.done >= 1):
                    self.module.eval()
                    numbers |= evaluate()
                    self.module.train()
                self._log(numbers)
                if time.monotonic() - shown > 20 or self.done >= 1:
                    shown = time.monotonic()
                    text = " ".join(f"{key} {number:.4g}" for key, number in numbers.items())
                    print(f"{self.name} {self.step}/{self.steps} {self.seconds:.0f} s {text}", flush=True)
            if self.step % self.save_every == 0 or self.done >= 1:
                self.save()

    def _log(self, numbers: dict[str, float]) -> None:
        path = LOGS / f"{self.name}.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "seconds", "name", "value"])
            for key, number in numbers.items():
                writer.writerow([self.step, round(self.seconds, 1), key, f"{number:.5g}"])


def batches(count: int, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless shuffled index batches over `count` samples."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]
