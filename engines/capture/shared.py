"""What the layers of one network tell each other within a call."""

from __future__ import annotations

import torch


class Shared:
    """Tensors that several layers and their caller see.

    No plain list: `torch.export` puts a module's lists back as new ones after
    tracing, and what the layers fill would no longer be what the caller reads.
    """

    def __init__(self) -> None:
        self.tensors: list[torch.Tensor] = []
