"""Sizes and what is computed from them, and picking from several results: plain Python values."""

from __future__ import annotations

import math
import operator as python
from typing import Any

from engines.backends.mlx_graph.operators import operator


@operator("aten.sym_size.int", layout="own")
def size(value: Any, dim: int) -> int:
    return int(value.shape[dim])


@operator("getitem", layout="own")
def getitem(values: Any, position: int) -> Any:
    return values[position]


for _name in ("add", "sub", "mul", "floordiv", "mod", "neg", "truediv", "pow",
              "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_"):  # fmt: skip
    operator(_name, layout="own")(getattr(python, _name))

operator("sym_max", layout="own")(max)
operator("sym_min", layout="own")(min)
operator("sym_int", "trunc", layout="own")(int)
operator("sym_float", layout="own")(float)
operator("sym_sqrt", "_sym_sqrt", layout="own")(math.sqrt)
operator("ceil", layout="own")(math.ceil)
operator("floor", layout="own")(math.floor)
