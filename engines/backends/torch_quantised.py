"""The weights that torchao quantised in a running torch, as plain tensors that a package's graph takes.

Values and scales travel as they were measured, by torchao's own form for
safetensors: a quarter of the bytes of fp32, and nothing is rounded again where
the package runs (docs/decisions/008-weights-of-torchao.md).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from engines import drivers
from engines.backends.lowered import HALVES
from engines.backends.serves import plain_precision
from engines.backends.torch_graphs import dtype_of, quantise, quantising_objection
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.package.runtimes import BY_TORCHAO
from engines.package.torch_graph import KINDS
from engines.plan import Precision

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Quantised:
    """Weights of a program that torchao keeps in fewer bits."""

    tensors: Mapping[str, Any] = field(default_factory=dict)
    """torchao's own, by the program's name of the weight; empty where no layer was fit for it."""
    version: str = ""
    """Of torchao."""

    def flat(self, names: set[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Of these weights: plain tensors by name, and what torchao's reader is told of each weight."""
        chosen = {name: self.tensors[name] for name in sorted(names & self.tensors.keys())}
        if not chosen:
            return {}, {}
        support: Any = importlib.import_module("torchao.prototype.safetensors.safetensors_support")
        plain, facts = support.flatten_tensor_state_dict(chosen)
        said = {name: json.loads(facts[name]) for name in chosen}
        return {name: one.cpu().contiguous() for name, one in plain.items()}, said


def beside(precision: Precision, device: str) -> Precision:
    """What a program whose weights are torchao's computes in outside them."""
    if precision not in BY_TORCHAO:
        return precision
    return plain_precision(device) if precision == "w8" else "bf16"


def place_of(precision: Precision, device: str) -> str:
    """Where it is quantised and compared: the device itself if it is here, for fp8 is a card's alone."""
    return device if precision in BY_TORCHAO and not drivers.torch_on(device) else "cpu"


def torchao(precision: Precision) -> str:
    """Its version.

    Raises:
        BuildError: it is not installed.
    """
    if reason := quantising_objection(precision):
        raise BuildError(reason)
    return metadata.version("torchao")


def quantised(capture: Capture, precision: Precision, device: str) -> Quantised:
    """The weights as the engine on this device has them.

    Raises:
        BuildError: torchao is not installed, or the card lacks the precision.
    """
    if precision not in BY_TORCHAO:
        return Quantised()
    version = torchao(precision)
    around = beside(precision, device)
    module = Capture(capture.model, capture.structure).module
    module = module.to(device=place_of(precision, device), dtype=dtype_of(around))
    quantise(module, precision)
    prefix = "inner." if around in HALVES else ""  # `engines.backends.lowered` captures it inside another
    found = {
        f"{prefix}{name}": value.data
        for name, value in module.named_parameters()
        if type(value.data).__name__ in KINDS
    }
    return Quantised(found, version)
