"""Lowered graphs compute what torch computes, operator by operator and model by model, on MLX's CPU build."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip("mlx.core")

from engines.backends.mlx_graph.lower import lower
from engines.backends.mlx_graph.operators import table
from engines.backends.mlx_graph.program import Program
from engines.backends.mlx_graph.run import PROGRAM, open_folder
from engines.backends.mlx_graph.save import save
from engines.errors import BuildError
from tests.engines.device_models import (
    Tensors,
    Wrapped,
    clip,
    compact,
    esrgan,
    flux,
    pixart,
    sana,
    sd3,
    t5,
    tiny_vae,
    unet,
    vae,
    video_unet,
    wan,
)  # fmt: skip

CLOSE = 1e-3
"""Absolute, in fp32: what the graphs of whole components may differ by."""


def exported(module: nn.Module, inputs: Tensors) -> Any:
    shapes = (tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs),)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, tuple(inputs), dynamic_shapes=shapes, strict=False)


def lowered(module: nn.Module, inputs: Tensors, folder: Path, bits: int = 0) -> Program:
    names = [f"x{index}" for index in range(len(inputs))]
    program, weights = lower(exported(module.eval(), inputs), names, table(), bits)
    save(program, weights, folder)
    return program


def worst(module: nn.Module, inputs: Tensors, folder: Path, bits: int = 0) -> float:
    """The largest absolute difference from torch, at the exported batch and at another."""
    outputs = len(lowered(module, inputs, folder, bits).outputs)
    component = open_folder(folder, [f"y{index}" for index in range(outputs)])
    found = 0.0
    for batch in (2, 3):
        given = [torch.cat([one, one])[:batch] for one in inputs]
        with torch.no_grad():
            wanted = module(*given)
        answers = component({f"x{index}": one.numpy() for index, one in enumerate(given)})
        for index, value in enumerate(wanted if isinstance(wanted, tuple) else (wanted,)):
            got = answers[f"y{index}"]
            assert got.shape == tuple(value.shape)
            found = max(found, float(np.abs(got - value.float().numpy()).max()))
    return found


def picture(channels: int = 4, side: int = 6) -> torch.Tensor:
    return torch.randn(2, channels, side, side)


OPERATORS: dict[str, tuple[Callable[..., Any], Callable[[], Tensors]]] = {
    "arithmetic": (lambda a, b: (a * 2 - b / 3 + 1) ** 2 - (3 - a) // 0.7, lambda: [picture(), picture()]),
    "broadcasting over pictures": (
        lambda a: F.avg_pool2d(a, 2) * torch.arange(4.0)[:, None, None] + torch.arange(3.0),
        lambda: [picture()],
    ),
    "activations": (
        lambda a: torch.cat([
            F.silu(a), F.gelu(a), F.gelu(a, approximate="tanh"), F.relu(a), F.elu(a), F.leaky_relu(a, 0.2),
            F.softplus(a), F.hardswish(a), F.mish(a), F.relu6(a), torch.tanh(a), torch.sigmoid(a),
        ]),
        lambda: [picture()],
    ),
    "comparing and choosing": (
        lambda a, b: torch.where((a > b) & ~(a == 0) | (b <= -1), a.clamp(-1, 1), b.clamp_min(0.1)),
        lambda: [picture(), picture()],
    ),
    "rounding": (
        lambda a: a.floor() + a.ceil() * 2 + a.round() * 3 + (a * 3).remainder(2), lambda: [picture()],
    ),
    "softmax": (lambda a: a.softmax(-1) + a.softmax(1).log(), lambda: [torch.randn(2, 5, 7)]),
    "reductions": (
        lambda a: a.mean((2, 3), keepdim=True) + a.var(-1, keepdim=True) + a.amax((2, 3), keepdim=True)
        + a.sum(2, keepdim=True) + a.std(1, keepdim=True, correction=0) + a.norm(dim=-1, keepdim=True),
        lambda: [picture()],
    ),
    "orders": (
        lambda a: torch.cat([a.topk(3, dim=1).values, a.sort(1, descending=True).values, a.cumsum(1)], 1),
        lambda: [torch.randn(2, 7, 3)],
    ),
    "picking": (
        lambda a: a.gather(1, a.argsort(1)) + a[:, [2, 0, 1, 4, 3]]
        + a.index_select(1, torch.tensor([1, 1, 0, 3, 2])),
        lambda: [torch.randn(2, 5, 3)],
    ),
    "putting": (
        lambda a, b: torch.zeros_like(a).scatter_add(1, b.argsort(1), b)
        .scatter(1, b.argsort(1)[:, :2], a[:, :2]),
        lambda: [torch.randn(2, 5, 3), torch.randn(2, 5, 3)],
    ),
    "shapes": (
        lambda a: a.reshape(a.shape[0], 2, -1).transpose(1, 2).unsqueeze(1).repeat(1, 2, 1, 1)
        .flatten(1).flip(1).roll(3, 1)[:, 1:-1:2],
        lambda: [picture()],
    ),
    "pieces": (
        lambda a: torch.stack([*a.chunk(2, 1), a[:, 1:3], a.narrow(1, 2, 2)], 1).unbind(1)[2]
        + a.split([1, 3], 1)[1][:, :2],
        lambda: [picture()],
    ),
    "padding": (
        lambda a: F.pad(
            F.pad(F.pad(a, (1, 2, 0, 1)), (1, 1, 1, 1), mode="reflect"), (2, 0, 0, 1), mode="replicate"
        )
        + F.pad(a, (3, 4, 2, 2), value=2.0),
        lambda: [picture()],
    ),
    "enlarging": (
        lambda a: F.interpolate(a, scale_factor=2.0, mode="nearest")
        + F.interpolate(a, size=(12, 12), mode="bilinear")
        + F.interpolate(a, size=(12, 12), mode="bilinear", align_corners=True),
        lambda: [picture()],
    ),
    "enlarging to no multiple": (
        lambda a: F.interpolate(a, size=(8, 9), mode="nearest"), lambda: [picture()],
    ),
    "shuffling": (lambda a: F.pixel_shuffle(F.pixel_unshuffle(a, 2), 2) + a, lambda: [picture()]),
    "pooling": (
        lambda a: F.avg_pool2d(a, 2) + F.max_pool2d(a, 3, 2, 1) + F.adaptive_avg_pool2d(a, (3, 3)),
        lambda: [picture()],
    ),
    "attention with a mask": (
        lambda q, k: F.scaled_dot_product_attention(q, k, k, attn_mask=torch.ones(3, 5).tril().bool())
        + F.scaled_dot_product_attention(
            q, k, k, attn_mask=q[..., :1] * k[:, :, :, 0][:, :, None], scale=0.3
        ),
        lambda: [torch.randn(2, 2, 3, 8), torch.randn(2, 2, 5, 8)],
    ),
    "attention to what came before": (
        lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), lambda: [torch.randn(2, 2, 5, 8)],
    ),
    "products": (
        lambda a, b: torch.einsum("bij,bkj->bik", a, b) + a @ b.transpose(1, 2) + torch.baddbmm(
            torch.ones(1), a, b.transpose(1, 2)
        ),
        lambda: [torch.randn(2, 5, 3), torch.randn(2, 5, 3)],
    ),
}  # fmt: skip

LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensors]]] = {
    "convolution": (lambda: nn.Conv2d(4, 6, 3, 2, 1), lambda: [picture()]),
    "convolution by groups, dilated": (
        lambda: nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2), lambda: [picture()],
    ),
    "transposed convolution": (
        lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1), lambda: [picture()],
    ),
    "transposed by groups": (lambda: nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2), lambda: [picture()]),
    "convolution of a sequence": (lambda: nn.Conv1d(4, 6, 3, padding=1), lambda: [torch.randn(2, 4, 9)]),
    "convolution of a volume": (lambda: nn.Conv3d(4, 6, 3, padding=1), lambda: [torch.randn(2, 4, 3, 5, 5)]),
    "group norm of a picture": (lambda: nn.GroupNorm(2, 4), lambda: [picture()]),
    "group norm of a sequence": (lambda: nn.GroupNorm(2, 4), lambda: [torch.randn(2, 4, 9)]),
    "layer norm": (lambda: nn.LayerNorm(6), lambda: [picture()]),
    "batch norm": (lambda: nn.BatchNorm2d(4), lambda: [picture()]),
    "root mean square norm": (lambda: nn.RMSNorm(6), lambda: [picture()]),
    "prelu": (lambda: nn.PReLU(4), lambda: [picture()]),
    "embedding": (lambda: nn.Embedding(9, 4), lambda: [torch.randint(0, 9, (2, 5))]),
}  # fmt: skip


class Function(nn.Module):
    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.call(*inputs)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_equal_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    call, inputs = OPERATORS[name]
    assert worst(Function(call), inputs(), tmp_path) < 1e-4


@pytest.mark.parametrize("name", LAYERS)
def test_layers_equal_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, inputs = LAYERS[name]
    layer = make()
    for buffer in ("running_mean", "running_var"):
        if hasattr(layer, buffer):
            getattr(layer, buffer).uniform_(0.5, 2)
    assert worst(Wrapped(layer, lambda module, *given: module(*given)), inputs(), tmp_path) < 1e-4


@pytest.mark.parametrize("make", [unet, pixart, vae, tiny_vae, clip, compact, esrgan])
def test_components_equal_eager(make: Callable[[], tuple[nn.Module, Tensors]], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, inputs = make()
    assert worst(module, inputs, tmp_path) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("make", [sd3, flux, sana, wan, video_unet, t5])
def test_other_families_need_no_code_of_their_own(
    make: Callable[[], tuple[nn.Module, Tensors]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module, inputs = make()
    assert worst(module, inputs, tmp_path) < CLOSE


def test_linear_layers_in_four_and_eight_bits_are_smaller_and_near(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Wrapped(nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64)), lambda m, x: m(x))
    errors, sizes = {}, {}
    for bits in (0, 8, 4):
        folder = tmp_path / str(bits)
        folder.mkdir()
        errors[bits] = worst(module, [torch.randn(2, 5, 64)], folder, bits)
        sizes[bits] = (folder / "weights.safetensors").stat().st_size
    assert errors[0] < errors[8] < errors[4] < 0.5
    assert errors[8] < 0.01
    assert sizes[0] > 3 * sizes[8] > 5 * sizes[4]


def test_convolutions_meet_no_transposition_between_them(tmp_path: Path) -> None:
    """Pictures stay channels last from one convolution to the next."""
    import mlx.core as mx

    from engines.backends.mlx_graph import array
    from engines.backends.mlx_graph.run import WEIGHTS, Graph

    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 8, 3))
    program = lowered(Wrapped(layers, lambda m, x: m(x) * 2), [torch.randn(2, 3, 6, 6)], tmp_path)
    weights: Any = mx.load(str(tmp_path / WEIGHTS))
    graph = Graph(program, weights)
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        plain = array.Picture.plain

        def watched(self: array.Picture) -> Any:
            seen.append("plain")
            return plain(self)

        patch.setattr(array.Picture, "plain", watched)
        graph(mx.zeros((2, 3, 6, 6)))
    assert seen == ["plain"]  # the output's


def test_an_operator_that_is_not_in_the_table_is_named_with_its_place() -> None:
    class Odd(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = torch.special.bessel_j0(values)
            return found

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Identity(), Odd()])

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.blocks[1](self.blocks[0](inputs[0]))
            return found

    with pytest.raises(BuildError, match=r"special_bessel_j0.*\(in blocks\.1\)"):
        lower(exported(Outer(), [torch.randn(2, 3)]), ["x"], table())


def test_a_program_of_another_format_is_refused(tmp_path: Path) -> None:
    lowered(Function(lambda a: a + 1), [torch.randn(2, 3)], tmp_path)
    path = tmp_path / PROGRAM
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="no program of format 1"):
        open_folder(tmp_path, ["y0"])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="MLX compiles for a CPU with g++")
@pytest.mark.parametrize("make", [unet, flux, pixart, vae, tiny_vae, esrgan, compact])
def test_the_compiled_graph_equals_the_plain_one(
    make: Callable[[], tuple[nn.Module, Tensors]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U-Net, transformers, decoders and super-resolution, each at two batch sizes, under `mx.compile`."""
    from engines.backends.mlx_graph import run

    torch.manual_seed(0)
    module, inputs = make()
    monkeypatch.setattr(run, "compiled", lambda: True)
    assert worst(module, inputs, tmp_path) < CLOSE
