"""Attention that leaves blocks out: what its reference leaves out, and that the kernel computes the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engines.backends.triton_attention import KEYS, QUERIES, reference, skipping
from tests.engines.own_process import run_script

FAR = 3
"""Of five blocks of keys, those from this one on point away from every query."""
States = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def given(queries: int, keys: int, head: int) -> States:
    """Query, key and value of two heads."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn((1, 2, count, head), generator=generator) for count in (queries, keys, keys)
    )
    query[..., 0] += 6
    key[:, :, FAR * KEYS :, 0] -= 12
    return query, key, value


def test_blocks_that_weigh_nothing_are_left_out_and_change_next_to_nothing() -> None:
    states = given(2 * QUERIES, 5 * KEYS, 32)
    exact = torch.nn.functional.scaled_dot_product_attention(*states)
    found, left = reference(*states, 32**-0.5, 1e-2)
    assert left == (5 - FAR) / 5
    assert 0 < (found - exact).abs().max() < 1e-2


@pytest.mark.parametrize(("queries", "keys"), [(QUERIES, KEYS), (70, 5), (1, 3 * KEYS + 1)])
def test_nothing_left_out_is_attention(queries: int, keys: int) -> None:
    states = given(queries, keys, 16)
    exact = torch.nn.functional.scaled_dot_product_attention(*states)
    found, left = reference(*states, 16**-0.5, 1e-30)
    assert left == 0
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-5)


def test_one_row_that_looks_there_keeps_a_block_for_its_tile() -> None:
    query, key, value = given(2 * QUERIES, 5 * KEYS, 32)
    query[:, :, 0, 0] = -6
    _, left = reference(query, key, value, 32**-0.5, 1e-2)
    assert left == (5 - FAR) / 5 / 2


def test_the_share_is_over_the_number_of_keys_and_leaves_the_first_block() -> None:
    states = given(QUERIES, 5 * KEYS, 32)
    wanted = reference(*states, 0.5, 20 / (5 * KEYS))[0]
    torch.testing.assert_close(skipping(*states, 0.5, 20), wanted)
    assert torch.isfinite(skipping(*states, None, 1e9)).all()


def test_the_kernel_computes_what_the_reference_computes(tmp_path: Path) -> None:
    """In Triton's interpreter, on the CPU: Triton reads the wish when it is imported."""
    pytest.importorskip("triton")
    script = """
import math
import torch
from engines.backends.triton_attention import KEYS, QUERIES, kernel, reference
from tests.engines.test_triton_attention import FAR, given

for queries, keys, head, kind, close in (
    (100, 330, 32, torch.float32, 1e-5),
    (64, 320, 64, torch.float16, 4e-3),
    (7, 3, 16, torch.float32, 1e-5),
):
    states = [one.to(kind) for one in given(queries, keys, head)]
    for threshold in (1e-30, 1e-2, 0.5):
        wanted, left = reference(*states, head**-0.5, threshold)
        assert (left > 0) == (threshold > 1e-3 and keys > FAR * KEYS), (keys, threshold, left)
        found = torch.full_like(states[0], float("nan"))
        kernel()[(-(-queries // QUERIES), 2)](
            *states, found, queries, keys, head**-0.5 * math.log2(math.e), math.log2(threshold),
            head=head, rows=QUERIES, block=KEYS,
        )
        torch.testing.assert_close(found, wanted, atol=close, rtol=close)
"""
    run_script(script, tmp_path, TRITON_INTERPRET="1")


@pytest.mark.slow
def test_the_kernel_compiles_for_cards_that_are_not_here(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    script = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from engines.backends.triton_attention import KEYS, QUERIES, kernel

kinds = {name: "*fp16" for name in ("query", "key", "value", "result")}
kinds |= {"queries": "i32", "keys": "i32", "scale": "fp32", "lowest": "fp32"}
sizes = {"head": 64, "rows": QUERIES, "block": KEYS}
source = ASTSource(fn=kernel(), signature=kinds | dict.fromkeys(sizes, "constexpr"), constexprs=sizes)
for capability in (75, 80, 90):
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert len(made.asm["cubin"]) > 1000
"""
    run_script(script, tmp_path, TRITON_CACHE_DIR=str(tmp_path / "cache"))


@pytest.mark.gpu
def test_the_kernel_computes_on_a_card_what_the_reference_computes() -> None:
    for kind, close in ((torch.float32, 1e-2), (torch.float16, 4e-3)):  # products of fp32 in TF32
        query, key, value = (one.to(kind) for one in given(200, 5 * KEYS, 64))
        wanted = skipping(query, key, value, None, 20)
        found = skipping(query.cuda(), key.cuda(), value.cuda(), None, 20)
        torch.testing.assert_close(found.cpu(), wanted, atol=close, rtol=close)
