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
from engines.backends.core_ml_axes import MOST, moved, within_five_axes
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


class Frames(nn.Module):
    """What video models do: patches folded over eight axes, frames parted and joined, norms over five."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        patches = given.view(-1, 2, 2, 2, 1, 2, 2, 4).permute(0, 7, 1, 4, 2, 5, 3, 6)
        video = self.norm(patches.flatten(6, 7).flatten(4, 5).flatten(2, 3))
        pairs = video.view(-1, 2, 2, 2, 4, 4)
        return torch.stack([pairs[:, 0], pairs[:, 1]], 3).reshape(-1, 2, 4, 4, 4)


class Pieces(nn.Module):
    """Stable Cascade's embedding: of the time and of two constants, joined and cut again."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, time: torch.Tensor) -> torch.Tensor:
        def embedded(value: torch.Tensor) -> torch.Tensor:
            angles = value * torch.arange(2).float().exp()
            return torch.cat([angles.sin(), angles.cos()], 1)

        joined = torch.cat([embedded(time), embedded(torch.zeros_like(time))], 1)
        joined = torch.cat([joined, embedded(torch.zeros_like(time))], 1)
        found: torch.Tensor = sum(
            layer(piece) for layer, piece in zip(self.layers, joined.chunk(3, 1), strict=True)
        )
        return found


class Cut(nn.Module):
    """Joined, and cut elsewhere."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        left, right = torch.cat([given[:, :3], given[:, 3:].sin()], 1).chunk(2, 1)
        return left * right


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


@pytest.mark.parametrize(
    ("module", "shape"), [(Frames(), (64,)), (Pieces(), (1,)), (Cut(), (8,))], ids=["frames", "pieces", "cut"]
)
def test_a_program_within_five_axes_computes_the_same_and_converts(
    module: nn.Module, shape: tuple[int, ...]
) -> None:
    given = torch.linspace(-1, 1, 2 * shape[0]).reshape(2, *shape)
    program = torch.export.export(module.eval(), (given,), strict=False).run_decompositions({})
    made = within_five_axes(program)
    torch.testing.assert_close(made.module()(given), module(given))
    axes = [
        node.meta["val"].ndim for node in made.graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)
    ]
    assert max(axes) <= MOST
    core_ml_of(module, shape)


@LEFT_BEHIND
@pytest.mark.parametrize(("module", "shape"), [(Frames(), (64,)), (Pieces(), (1,))], ids=["frames", "pieces"])
def test_without_the_rewriting_coremltools_refuses_it(
    module: nn.Module, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_ml_convert, "within_five_axes", lambda program: program)
    with pytest.raises(BuildError, match="coremltools cannot convert"):
        core_ml_of(module, shape)


def test_axes_are_moved_as_permute_moves_them() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        sizes = torch.randint(1, 4, (7,), generator=generator).tolist()
        given = torch.randn(sizes, generator=generator)
        axes = torch.randperm(7, generator=generator).tolist()
        assert torch.equal(moved(given, axes), given.permute(axes))


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
