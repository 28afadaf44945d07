"""Matrix products; a linear layer's weights may be quantised."""

from __future__ import annotations

from engines.backends.mlx_graph.array import Array, Quantised, mx
from engines.backends.mlx_graph.operators import operator


@operator("aten.linear.default")
def linear(a: Array, weight: Array | Quantised, bias: Array | None = None) -> Array:
    """(..., I) by weights (O, I)."""
    if isinstance(weight, Quantised):
        found = mx.quantized_matmul(
            a, weight.array, scales=weight.scales, biases=weight.biases, transpose=True,
            group_size=weight.group, bits=weight.bits,
        )  # fmt: skip
    else:
        found = mx.matmul(a, weight.T)
    return found if bias is None else found + bias


@operator("aten.mm.default", "aten.bmm.default", "aten.matmul.default")
def product(a: Array, b: Array) -> Array:
    return mx.matmul(a, b)


@operator("aten.addmm.default", "aten.baddbmm.default")
def product_and_sum(c: Array, a: Array, b: Array, beta: float = 1, alpha: float = 1) -> Array:
    return mx.addmm(c, a, b, alpha=alpha, beta=beta)


@operator("aten.mv.default", "aten.dot.default")
def inner(a: Array, b: Array) -> Array:
    return mx.matmul(a, b)
