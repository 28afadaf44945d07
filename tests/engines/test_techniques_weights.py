"""What pruning, 2:4 sparsity and the fused norm do to a network, looked at from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.backends.triton_norm import NormSiLU, fuse_norms
from engines.capture.capture import Capture
from engines.capture.low_rank import LowRank, fits, in_four_bits, low_rank, split
from engines.capture.pruning import fits_two_of_four, prune, sparsify, two_of_four
from engines.capture.structure import Structure
from engines.errors import CaptureError
from engines.models.load import open_model
from engines.models.model import Model
from engines.plan import DenoiserStructure
from tests.engines.own_process import run_script

LATENT = (8, 8, 8)


@pytest.fixture(scope="module")
def model() -> Model:
    return open_model("tiny-scenes")


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


def error(model: Model, **facts: object) -> tuple[float, int]:
    """Relative error of the denoiser against the whole one, and the weights that it has."""
    plain = Capture(model, Structure("denoiser", LATENT))
    changed = Capture(model, Structure("denoiser", LATENT, DenoiserStructure(**facts)))  # type: ignore[arg-type]
    inputs = plain.example()
    wanted, found = (one.reference(inputs)["prediction"] for one in (plain, changed))
    weights = sum(one.numel() for one in changed.module.parameters())
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)), weights


def test_pruning_makes_a_smaller_network_and_costs_more_the_more_goes(model: Model) -> None:
    found = [error(model, pruned=share) for share in (0.0625, 0.125, 0.25)]
    errors, weights = zip(*found, strict=True)
    whole = error(model)[1]
    assert 0 < errors[0] < errors[1] < errors[2]
    assert whole > weights[0] > weights[1] > weights[2] > 0.6 * whole


def test_channels_that_say_nothing_are_pruned_without_a_difference(model: Model) -> None:
    unet: Any = model.part("unet").eval()
    block = unet.get_submodule("mid_block.resnets.0")
    width = block.conv1.out_channels // block.norm2.num_groups
    gone = slice(3 * width, 4 * width)
    with torch.no_grad():
        block.conv2.weight[:, gone] = 0
    sample, time = torch.randn(1, 224, 4, 4), torch.randn(1, block.time_emb_proj.in_features)
    with torch.no_grad():
        wanted = block(sample, time)
        assert prune(block, 1 / block.norm2.num_groups) == width
        torch.testing.assert_close(block(sample, time), wanted)
    assert block.conv1.out_channels == 224 - width


def test_a_24_mask_keeps_the_two_largest_of_every_four() -> None:
    weight = torch.tensor([[4.0, -3.0, 2.0, 1.0, 0.0, 0.1, -0.2, 0.3]])
    assert two_of_four(weight).tolist() == [[1, 1, 0, 0, 0, 0, 1, 1]]


def test_every_fitting_matrix_of_a_sparse_denoiser_has_the_pattern(model: Model) -> None:
    unet = model.part("unet")
    assert sparsify(unet) > 10
    for layer in unet.modules():
        if isinstance(layer, torch.nn.Linear) and fits_two_of_four(layer):
            fours = (layer.weight != 0).reshape(layer.out_features, -1, 4).sum(dim=-1)
            assert int(fours.max()) == 2
    found, weights = error(model, sparse=True)
    assert 0.01 < found < 1
    assert weights == error(model)[1]


def heavy(inputs: int, outputs: int) -> torch.nn.Linear:
    """Its weights have a few large directions beside many small ones, as trained ones do."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(inputs, outputs)
    large = torch.randn(outputs, 8) @ torch.randn(8, inputs)
    layer.weight.data += 0.3 * large
    return layer


def test_a_branch_and_its_residual_are_the_layer_and_round_with_less_loss() -> None:
    layer = heavy(192, 128)
    made = low_rank(layer, 16)
    given = torch.randn(3, 5, 192)
    with torch.no_grad():
        torch.testing.assert_close(made(given), layer(given), atol=1e-4, rtol=1e-4)
        whole = made.weight + made.low_rank_up @ made.low_rank_down
        torch.testing.assert_close(whole, layer.weight, atol=1e-5, rtol=1e-5)
        plain = float((in_four_bits(layer.weight) - layer.weight).norm())
        beside = float((in_four_bits(made.weight) - made.weight).norm())
    assert beside < plain / 3
    again = low_rank(layer, 16)
    assert torch.equal(again.low_rank_down, made.low_rank_down)
    assert torch.equal(again.weight, made.weight)


def test_four_bits_are_at_most_fifteen_values_in_each_group_whatever_the_width() -> None:
    weight = torch.randn(4, 150)
    rounded = in_four_bits(weight)
    assert rounded.shape == weight.shape
    for group in (rounded[:, :64], rounded[:, 64:128], rounded[:, 128:]):
        assert max(len(row.unique()) for row in group) <= 15
    assert float((rounded - weight).abs().max()) <= float(weight.abs().max()) / 14 + 1e-6


def test_branches_stand_where_they_save_and_the_denoiser_computes_the_same(model: Model) -> None:
    found, weights = error(model, low_rank=32)
    assert found < 1e-4
    assert weights == error(model)[1]
    unet = model.part("unet")
    wide = {name for name, one in unet.named_modules() if type(one) is torch.nn.Linear and fits(one, 32)}
    count = split(unet, 32)
    made = {name for name, one in unet.named_modules() if isinstance(one, LowRank)}
    assert len(made) == count > 50
    assert made < wide
    assert not [name for name in made if "emb" in name]


def test_a_rank_that_saves_nothing_is_refused_in_one_sentence(model: Model) -> None:
    with pytest.raises(CaptureError, match="wide enough for a branch of rank 512; choose a smaller rank"):
        error(model, low_rank=512)


def test_fused_norms_change_nothing_but_the_number_of_operators(model: Model) -> None:
    assert error(model, fused_norm=True)[0] < 1e-5
    unet = model.part("unet")
    found = fuse_norms(unet)
    assert found == sum(isinstance(one, NormSiLU) for one in unet.modules()) > 10


def test_the_kernel_computes_what_the_reference_computes(tmp_path: Path) -> None:
    """In Triton's interpreter, on the CPU: Triton reads the wish when it is imported."""
    pytest.importorskip("triton")
    script = (
        "import torch\n"
        "from engines.backends.triton_norm import fused, reference\n"
        "torch.manual_seed(0)\n"
        "for shape, groups, kind, close in (\n"
        "    ((2, 8, 5, 7), 4, torch.float32, 1e-5),\n"
        "    ((1, 8, 16, 16), 1, torch.float32, 1e-5),\n"
        "    ((2, 16, 4, 4), 16, torch.float16, 4e-3),\n"
        "):\n"
        "    sample = torch.randn(shape, dtype=kind) * 3 + 1\n"
        "    weight, bias = torch.randn(2, shape[1], dtype=kind)\n"
        "    given = (sample, groups, weight, bias, 1e-5)\n"
        "    torch.testing.assert_close(fused(*given), reference(*given), atol=close, rtol=close)\n"
    )
    run_script(script, tmp_path, TRITON_INTERPRET="1")


@pytest.mark.slow
def test_the_kernel_compiles_for_cards_that_are_not_here(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    script = (
        "import triton\n"
        "from triton.backends.compiler import GPUTarget\n"
        "from triton.compiler import ASTSource\n"
        "from engines.backends.triton_norm import BLOCK, kernel\n"
        "kinds = {name: '*fp16' for name in ('sample', 'weight', 'bias', 'result')}\n"
        "kinds |= {'groups': 'i32', 'channels': 'i32', 'size': 'i32', 'eps': 'fp32', 'block': 'constexpr'}\n"
        "source = ASTSource(fn=kernel(), signature=kinds, constexprs={'block': BLOCK})\n"
        "for capability in (75, 80, 90):\n"
        "    made = triton.compile(source, target=GPUTarget('cuda', capability, 32))\n"
        "    assert len(made.asm['cubin']) > 1000\n"
    )
    run_script(script, tmp_path, TRITON_CACHE_DIR=str(tmp_path / "cache"))


@pytest.mark.gpu
def test_the_kernel_and_the_sparse_products_run_on_a_card(model: Model) -> None:
    from engines.backends.torch_eager import TorchComponent

    plain = Capture(model, Structure("denoiser", LATENT, DenoiserStructure(sparse=True)))
    wanted = plain.reference(plain.example())["prediction"]
    facts = DenoiserStructure(sparse=True, fused_norm=True)
    module = Capture(model, Structure("denoiser", LATENT, facts)).module
    names = [spec.name for spec in plain.inputs]
    component = TorchComponent(module, names, ["prediction"], torch.float16, device="cuda", sparse=True)
    found = component(plain.example())["prediction"]
    assert np.linalg.norm(found - wanted) < 0.03 * np.linalg.norm(wanted)
