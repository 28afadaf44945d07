"""Cross-attention that answers from memory (Zhang et al., "T-GATE", arXiv 2404.02747).

Late steps hardly look at the prompt: what cross-attention answered at the gate
stands in for it.  All layers' answers travel as one row, (B, sum of tokens x
channels), in the order in which the network asks them.  A network may hold some
layers only, the first and the last: of the row it takes its ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from engines.capture.shared import Shared

Run = Callable[[Any, Mapping[str, torch.Tensor]], Any]


class _Said(nn.Module):
    """A layer that also keeps what it answers."""

    def __init__(self, inner: nn.Module, answers: Shared) -> None:
        super().__init__()
        self.inner = inner
        self._answers = answers

    def forward(self, *given: Any, **named: Any) -> torch.Tensor:
        found: torch.Tensor = self.inner(*given, **named)
        self._answers.tensors.append(found)
        return found


class _Frozen(nn.Module):
    """A layer that answers the next piece of what is kept, whatever it is asked."""

    def __init__(self, answers: Shared) -> None:
        super().__init__()
        self._answers = answers

    def forward(self, hidden_states: torch.Tensor, **_named: Any) -> torch.Tensor:
        kept = self._answers.tensors.pop()
        size = hidden_states.shape[1] * hidden_states.shape[2]
        if kept.shape[1] > size:
            self._answers.tensors.append(kept[:, size:])
        return kept[:, :size].reshape(hidden_states.shape)


class Gated:
    """Runs a network whose cross-attention is kept, or frozen where its answers are `given` under that name.

    Changes the network in place: every layer called `attn2`.  Of the row that is given it takes all, or
    as many numbers as its `ends` say, from the front and from the back.
    """

    def __init__(
        self, network: nn.Module, run: Run, *, given: str = "", ends: tuple[int, int] | None = None
    ) -> None:
        self._run, self._given, self._ends = run, given, ends
        self._answers = Shared()
        for owner in list(network.modules()):
            inner = getattr(owner, "attn2", None)
            if isinstance(inner, nn.Module):
                owner.attn2 = _Frozen(self._answers) if given else _Said(inner, self._answers)

    def __call__(self, network: Any, given: Mapping[str, torch.Tensor]) -> Any:
        answers = self._answers.tensors
        answers.clear()
        if self._given:
            row = given[self._given]
            if self._ends is not None:
                front, back = self._ends
                row = torch.cat([row[:, :front], row[:, row.shape[1] - back :]], dim=1)
            answers.append(row)
            return self._run(network, given)
        found = self._run(network, given)
        row = torch.cat([answer.flatten(1) for answer in answers], dim=1)
        answers.clear()
        return (*found, row) if isinstance(found, tuple) else (found, row)
