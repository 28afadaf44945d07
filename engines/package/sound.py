"""A picture in numbers: where one variant's decoder breaks, the next one decodes; travels inside the package.

In half precision a value beyond 65504 is none, and its pixels would be drawn
black without a word.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.errors import NoVariant, PackageError
from engines.package.components import Arrays, Component

LAST = ("decoder", "upscaler")
"""The components that make pictures."""
BROKE = "its picture holds values that are not finite"


class Sound:
    """A component that makes pictures, by the first of its variants whose pictures are finite.

    `other(reason)` opens the next variant, and raises `NoVariant` where there is none.
    """

    def __init__(self, component: Component, other: Callable[[str], Component]) -> None:
        self._component, self._other = component, other

    def __call__(self, inputs: Arrays) -> Arrays:
        """
        Raises:
            PackageError: what it is given is not finite, or no variant makes anything finite of it.
        """
        if not all(np.isfinite(value).all() for value in inputs.values()):
            raise PackageError(
                "The denoiser's answer holds values that are not finite, so there is no picture; ask with"
                " another seed, or try another variant with --device."
            )
        while True:
            found = self._component(inputs)
            if all(np.isfinite(value).all() for value in found.values()):
                return found
            try:
                self._component = self._other(BROKE)
            except NoVariant as error:
                raise PackageError(
                    "The picture holds values that are not finite, and no variant of this package decodes it"
                    f" better; ask with another seed. {error}"
                ) from error
