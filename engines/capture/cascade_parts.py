"""Stable Cascade's prior in the parts of `engines.capture.unet_parts`, cut behind its first level.

Its levels are lists of blocks without a module around them, with up- and downscalers between; a level that a
part does not need is emptied.  `state` is what the first level answers, which is also the only skip that the
last up level takes; `feature` is what enters that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from engines.capture.shared import Shared
from engines.capture.unet_parts import InPlace, Part, Run, same


class CascadePart:
    """One part of a `StableCascadeUNet`, which is changed in place; `latent`: (C, h, w)."""

    def __init__(self, network: Any, run: Run, part: Part, latent: tuple[int, ...]) -> None:
        self._run, self._part, self._latent = run, part, latent
        self._heard, self._told = Shared(), Shared()
        levels = range(len(network.down_blocks))
        deep = part in ("full", "rest")
        for level in levels:
            if not (deep if level else part in ("full", "shallow", "first")):
                _empty(network, "down", level)
        for level in levels:
            last = level == levels[-1]
            if not (deep if not last else part in ("full", "shallow", "last")):
                _empty(network, "up", level)
        if part in ("rest", "last"):
            network.embedding = InPlace(lambda _hidden: self._told.tensors[0])
        if part in ("first", "rest"):
            network.clf = nn.Identity()
        match part:
            case "full":
                network.up_upscalers[-2] = nn.Sequential(network.up_upscalers[-2], InPlace(self._hear))
            case "first":
                network.down_downscalers[0] = InPlace(self._hear)
                network.up_upscalers[-1] = InPlace(self._hear)
            case "rest":
                network.up_upscalers[-1] = InPlace(self._hear)
            case "shallow" | "last":
                network.up_upscalers[-2] = InPlace(lambda _hidden: self._told.tensors[-1])

    def _hear(self, hidden: torch.Tensor) -> torch.Tensor:
        self._heard.tensors.append(hidden)
        return hidden

    def __call__(self, network: Any, given: Mapping[str, torch.Tensor]) -> Any:
        told, heard = self._told.tensors, self._heard.tensors
        try:
            if "state" in given:
                state = given["state"]
                told.append(state)
                given = {**given, "sample": state.new_zeros(state.shape[0], *self._latent)}
            if "feature" in given:
                told.append(given["feature"])
            prediction = self._run(network, given)
            match self._part:
                case "full":
                    return prediction, heard[0]
                case "first":
                    return heard[1], heard[1] - heard[0]
                case "rest":
                    return heard[0]
            return prediction
        finally:
            told.clear()
            heard.clear()


def _empty(network: Any, way: str, level: int) -> None:
    """Let a level answer what it is given, at the size at which it comes."""
    getattr(network, f"{way}_blocks")[level] = nn.ModuleList()
    getattr(network, f"{way}_repeat_mappers")[level] = nn.ModuleList()
    scalers = network.down_downscalers if way == "down" else network.up_upscalers
    scalers[level] = InPlace(same)
