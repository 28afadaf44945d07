"""int8 weights for processors leave half their range free: an engine draws the same on each of them.

x86 without VNNI multiplies unsigned activations by signed weights with
`vpmaddubsw`, which adds two products in 16 bits and saturates; products of
weights in seven bits never do.  A package does not know what processor it will
run on.  `half_range_cost` measures what this saves and costs.
"""

from __future__ import annotations

from typing import Final

from engines.backends.base import Options

NOTE: Final = "weights in half the range of int8, whose sums of products overflow on no processor"
"""What an engine says of itself."""
FORM: Final = "half range"
"""In the keys of such engines."""


def needed(options: Options) -> bool:
    """Whether weights are to leave half their range free for these options."""
    return options.precision == "int8" and options.device == "cpu"
