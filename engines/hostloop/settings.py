"""What the host loop needs to know, as plain values that fit into a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """One recipe's host loop.

    `guidance_until` is the share of the steps that are guided (1.0: all),
    `cache_interval` how many steps one full pass of the denoiser serves (1: no
    feature cache), `batch` the largest number of pictures per pass; batched
    guidance doubles it for the denoiser.
    """

    scheduler: str
    scheduler_config: Mapping[str, Any]
    steps: int
    guidance: float
    latent_shape: tuple[int, int, int]
    token_length: int
    bos_id: int
    eos_id: int
    pad_id: int
    guidance_until: float = 1.0
    batched_guidance: bool = True
    cache_interval: int = 1
    prompt_cache: bool = False
    negative_prompt: str = ""
    batch: int = 8

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "scheduler_config": dict(self.scheduler_config),
            "latent_shape": list(self.latent_shape),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoopSettings:
        """The inverse of `to_json`; raises `TypeError` for unknown or missing keys."""
        return cls(**{**data, "latent_shape": tuple(data["latent_shape"])})
