"""Element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from engines.backends.mlx_graph.array import Array, is_array, mx
from engines.backends.mlx_graph.operators import operator


def _enter(function: Callable[..., Any], *names: str) -> None:
    """An MLX function that takes what the ATen operator takes."""
    operator(*(f"aten.{name}" for name in names), layout="pointwise")(function)


_UNARY = {
    "neg": mx.negative, "exp": mx.exp, "exp2": lambda a: mx.power(2.0, a), "expm1": mx.expm1, "log": mx.log,
    "log2": mx.log2, "log10": mx.log10, "log1p": mx.log1p, "sqrt": mx.sqrt, "rsqrt": mx.rsqrt,
    "reciprocal": mx.reciprocal, "sin": mx.sin, "cos": mx.cos, "tan": mx.tan, "tanh": mx.tanh,
    "sinh": mx.sinh, "cosh": mx.cosh, "atan": mx.arctan, "asin": mx.arcsin, "acos": mx.arccos,
    "sigmoid": mx.sigmoid, "erf": mx.erf, "abs": mx.abs, "floor": mx.floor, "ceil": mx.ceil,
    "round": mx.round, "sign": mx.sign, "logical_not": mx.logical_not, "isnan": mx.isnan,
    "isinf": mx.isinf, "square": mx.square, "clone": lambda a, **_: a, "alias": lambda a: a,
    "detach": lambda a: a, "lift_fresh_copy": lambda a: a, "contiguous": lambda a, **_: a,
    "silu": lambda a: a * mx.sigmoid(a), "relu": lambda a: mx.maximum(a, 0),
    "trunc": lambda a: mx.sign(a) * mx.floor(mx.abs(a)),
    "bitwise_not": lambda a: mx.logical_not(a) if a.dtype == mx.bool_ else mx.subtract(-1, a),
    "relu6": lambda a: mx.clip(a, 0, 6), "mish": lambda a: a * mx.tanh(mx.logaddexp(a, 0)),
    "hardsigmoid": lambda a: mx.clip(a / 6 + 0.5, 0, 1),
    "hardswish": lambda a: a * mx.clip(a / 6 + 0.5, 0, 1),
}  # fmt: skip
for _name, _function in _UNARY.items():
    _enter(_function, f"{_name}.default")

_COMPARE = {
    "eq": mx.equal, "ne": mx.not_equal, "lt": mx.less, "le": mx.less_equal, "gt": mx.greater,
    "ge": mx.greater_equal, "mul": mx.multiply, "remainder": mx.remainder,
}  # fmt: skip
for _name, _function in _COMPARE.items():
    _enter(_function, f"{_name}.Tensor", f"{_name}.Scalar")

_enter(mx.maximum, "maximum.default")
_enter(mx.minimum, "minimum.default")
_enter(mx.arctan2, "atan2.default")
_enter(mx.logical_and, "logical_and.default")
_enter(mx.logical_or, "logical_or.default")
_enter(mx.power, "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar")


@operator("aten.add.Tensor", "aten.add.Scalar", layout="pointwise")
def add(a: Array, b: Array, alpha: float = 1) -> Array:
    return mx.add(a, b if alpha == 1 else b * alpha)


@operator("aten.sub.Tensor", "aten.sub.Scalar", layout="pointwise")
def subtract(a: Array, b: Array, alpha: float = 1) -> Array:
    return mx.subtract(a, b if alpha == 1 else b * alpha)


@operator("aten.rsub.Scalar", "aten.rsub.Tensor", layout="pointwise")
def subtract_from(a: Array, b: Array, alpha: float = 1) -> Array:
    return subtract(b, a, alpha)


@operator("aten.div.Tensor", "aten.div.Scalar", "aten.true_divide.Tensor", layout="pointwise")
def divide(a: Array, b: Array) -> Array:
    return mx.divide(a, b)


@operator("aten.div.Tensor_mode", "aten.div.Scalar_mode", layout="pointwise")
def divide_rounded(a: Array, b: Array, rounding_mode: str | None = None) -> Array:
    if rounding_mode == "floor":
        return mx.floor_divide(a, b)
    quotient = mx.divide(a, b)
    return mx.sign(quotient) * mx.floor(mx.abs(quotient)) if rounding_mode == "trunc" else quotient


@operator("aten.floor_divide.default", layout="pointwise")
def floor_divide(a: Array, b: Array) -> Array:
    return mx.floor_divide(a, b)


@operator("aten.fmod.Tensor", "aten.fmod.Scalar", layout="pointwise")
def truncated_remainder(a: Array, b: Array) -> Array:
    return a - b * divide_rounded(a, b, "trunc")


@operator("aten.clamp.default", "aten.clamp.Tensor", layout="pointwise")
def clamp(a: Array, low: Any = None, high: Any = None) -> Array:
    return a if low is None and high is None else mx.clip(a, low, high)


@operator("aten.clamp_min.default", "aten.clamp_min.Tensor", layout="pointwise")
def clamp_low(a: Array, low: Any) -> Array:
    return mx.maximum(a, low)


@operator("aten.clamp_max.default", "aten.clamp_max.Tensor", layout="pointwise")
def clamp_high(a: Array, high: Any) -> Array:
    return mx.minimum(a, high)


@operator("aten.hardtanh.default", layout="pointwise")
def hardtanh(a: Array, low: float = -1.0, high: float = 1.0) -> Array:
    return mx.clip(a, low, high)


@operator("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar",
          layout="pointwise")  # fmt: skip
def where(condition: Array, a: Any, b: Any) -> Array:
    return mx.where(condition, a, b)


@operator("aten.masked_fill.Scalar", "aten.masked_fill.Tensor", layout="pointwise")
def masked_fill(a: Array, mask: Array, value: Any) -> Array:
    return mx.where(mask, value, a)


@operator("aten.bitwise_and.Tensor", "aten.bitwise_and.Scalar", layout="pointwise")
def bitwise_and(a: Array, b: Any) -> Array:
    return mx.logical_and(a, b) if _boolean(a) else mx.bitwise_and(a, b)


@operator("aten.bitwise_or.Tensor", "aten.bitwise_or.Scalar", layout="pointwise")
def bitwise_or(a: Array, b: Any) -> Array:
    return mx.logical_or(a, b) if _boolean(a) else mx.bitwise_or(a, b)


@operator("aten.logical_xor.default", "aten.bitwise_xor.Tensor", layout="pointwise")
def exclusive_or(a: Array, b: Any) -> Array:
    return mx.not_equal(a, b) if _boolean(a) else mx.bitwise_xor(a, b)


def _boolean(value: Any) -> bool:
    return is_array(value) and value.dtype == mx.bool_


@operator("aten.gelu.default", layout="pointwise")
def gelu(a: Array, approximate: str = "none") -> Array:
    if approximate == "tanh":
        return 0.5 * a * (1 + mx.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a * a * a)))
    return 0.5 * a * (1 + mx.erf(a / math.sqrt(2)))


@operator("aten.leaky_relu.default", layout="pointwise")
def leaky_relu(a: Array, slope: float = 0.01) -> Array:
    return mx.where(a > 0, a, a * slope)


@operator("aten.elu.default", layout="pointwise")
def elu(a: Array, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Array:
    return mx.where(a > 0, a, alpha * mx.expm1(mx.minimum(a, 0) * input_scale)) * scale


@operator("aten.softplus.default", layout="pointwise")
def softplus(a: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    return mx.where(a * beta > threshold, a, mx.logaddexp(a * beta, 0) / beta)


@operator("aten.prelu.default", "aten._prelu_kernel.default", layout="plain")
def prelu(a: Array, slope: Array) -> Array:
    if slope.size > 1 and slope.ndim == 1 and a.ndim > 2:
        slope = slope.reshape(1, -1, *(1,) * (a.ndim - 2))
    return mx.where(a > 0, a, a * slope)


@operator("aten.lerp.Scalar", "aten.lerp.Tensor", layout="pointwise")
def interpolate(a: Array, b: Array, weight: Any) -> Array:
    return a + (b - a) * weight


@operator("aten.addcmul.default", layout="pointwise")
def add_product(a: Array, b: Array, c: Array, value: float = 1) -> Array:
    return a + value * b * c


@operator("aten.addcdiv.default", layout="pointwise")
def add_quotient(a: Array, b: Array, c: Array, value: float = 1) -> Array:
    return a + value * b / c


@operator("aten._to_copy.default", "aten.to.dtype", "prims.convert_element_type.default", layout="pointwise")
def converted(a: Array, dtype: Any = None, **_: Any) -> Array:
    return a if dtype is None else a.astype(dtype)
