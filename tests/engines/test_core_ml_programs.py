"""What coremltools has no converter for is made of what it has; what it refuses is named with its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("coremltools")

from engines.backends import core_ml_convert
from engines.errors import BuildError

LEFT_BEHIND = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
"""coremltools 9.0 leaves the folder for weights to the garbage collector where it refuses a program."""


class Masked(nn.Module):
    """A text encoder's mask as transformers makes it."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        seen = given.new_ones(5, 5, dtype=torch.bool).tril() & (given[:, :1] > 0)[:, None]
        return torch.where(seen, given[:, None] * 1.0, -1e4).softmax(-1)


class Attention(nn.Module):
    """Attention over its own tokens, which stays one operator."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(given, given, given)


class Deep(nn.Module):
    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given.reshape(-1, 1, 2, 2, 2, 3).sin()


class Sorted(nn.Module):
    def forward(self, given: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.linalg.svdvals(given.reshape(-1, 4, 6))
        return found


class Around(nn.Module):
    """A layer with a name."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(given)
        return found.flatten(1) * 2


def core_ml_of(module: nn.Module, shape: tuple[int, ...]) -> tuple[Any, set[str]]:
    """A converted module's specification and operators: what `convert` does for one batch."""
    capture: Any = SimpleNamespace(
        module=module.eval(),
        example=lambda batch: {"x": np.ones((batch, *shape), np.float32)},
        inputs=[SimpleNamespace(name="x")],
        outputs=[SimpleNamespace(name="y")],
    )
    with core_ml_convert._quiet():
        spec = core_ml_convert._model(capture, "fp32", 2, split=False).get_spec()
    block = next(iter(spec.mlProgram.functions["main"].block_specializations.values()))
    return spec, {one.type.rpartition(".")[2] for one in block.operations}


def test_masks_are_converted() -> None:
    spec, operators = core_ml_of(Masked(), (5,))
    assert [one.name for one in spec.description.output] == ["y"]
    assert operators >= {"select", "softmax"}


def test_attention_is_not_decomposed() -> None:
    assert "scaled_dot_product_attention" in core_ml_of(Attention(), (2, 5, 8))[1]


@LEFT_BEHIND
def test_a_tensor_of_too_many_axes_is_named_with_its_place() -> None:
    with pytest.raises(
        BuildError, match=r"cannot convert aten\.\w+\.default in inner \(Core ML only support"
    ):
        core_ml_of(Around(Deep()), (24,))


@LEFT_BEHIND
def test_an_operator_that_coremltools_lacks_is_named_with_its_place() -> None:
    with pytest.raises(BuildError, match=r"cannot convert aten\._?linalg_svd\w*\.\w+ in inner \(Unsupported"):
        core_ml_of(Around(Sorted()), (24,))
