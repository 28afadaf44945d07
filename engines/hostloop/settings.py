"""What the host loop needs to know, as plain values that fit into a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal

Clean = Literal["none", "lower", "spaces"]
"""What is done to a text before its tokens are made: nothing; lower case and no space around it; one space
for many and no HTML entities."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """One text encoder: how its tokens are made, and the component that takes them."""

    component: str
    tokenizer: str
    length: int
    """Tokens, begin and end included."""
    pad: int
    begin: int | None = None
    end: int | None = None
    masked: bool = False
    """The component also takes `attention_mask`: 1 for what was said, 0 for padding."""
    clean: Clean = "none"
    prefix: str = ""
    """Put before every prompt, but not before the negative one."""
    keep: int = 0
    """Positions that are kept: the first and the last ones of a text with prefix, the first ones of the
    negative text; 0 for all."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One input of the denoiser beside `sample` and `timestep`, and what it is made of.

    `parts` names outputs as `component.output`, also `component.mask`, `picture` and `guidance`.  An inner
    group is joined along features and filled up with zeros, the groups along tokens.
    """

    name: str
    shape: tuple[int, ...]
    """Without the batch."""
    parts: tuple[tuple[str, ...], ...] = ()
    values: tuple[float, ...] = ()
    """Where there are no parts: what it always is, row by row."""
    dtype: Literal["float32", "int64"] = "float32"
    unguided: Literal["negative", "same", "zeros"] = "negative"
    """What the pass without the prompt is given: what the negative prompt says, the same, or zeros."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The picture that a model starts from; a prompt then begins with its path."""

    size: tuple[int, int]
    """(H, W) that it is brought to."""
    encoders: tuple[str, ...] = ()
    """Components that take `picture`, (3, H, W) in [-1, 1]."""
    noisy: tuple[str, ...] = ()
    """Those of them that see it with noise."""
    signal: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class DiffusionDecoder:
    """A second denoiser, from noise to what the decoder takes; it is told the first one's latent.

    Every one of its steps is one unguided pass.
    """

    scheduler: str
    scheduler_config: Mapping[str, Any]
    steps: int
    latent_shape: tuple[int, ...]
    """(C, h, w)"""
    conditions: tuple[Condition, ...]
    """Parts as the denoiser's, and `denoiser.latent`: what the denoiser drew."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """When what the blocks of a denoiser last added stands in for running them (`engines.hostloop.reuse`)."""

    rule: Literal["residual", "modulated", "magnitude"]
    threshold: float
    """Of the rule's own number: from it on a whole pass is due."""
    longest: int = 0
    """Steps in a row that may re-use one whole pass (0: any number)."""
    warm: float = 0.0
    """Share of the steps, from the first, that are whole."""
    curve: tuple[float, ...] = ()
    """Of `modulated`: coefficients, highest power first, from the change of the input to the output's."""
    span: tuple[float, float] = (0.0, 0.0)
    """The changes of the input that the curve was measured between."""
    ratios: tuple[float, ...] = ()
    """Of `magnitude`: by step, how large what the blocks add is beside the step before."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """One recipe's host loop.

    `guidance_until` is the share of the steps after which guidance ends (1.0: never),
    `cache_interval` how many steps one full pass of the denoiser serves (1: no
    feature cache), `batch` the largest number of pictures per pass; batched
    guidance doubles it for the denoiser.

    Without `encoders` there is one, CLIP, described by `token_length` and the
    ids; without `conditions` the denoiser takes its `embeddings` and nothing else.
    """

    scheduler: str
    scheduler_config: Mapping[str, Any]
    steps: int
    guidance: float
    latent_shape: tuple[int, ...]
    """(C, h, w), of video (C, F, h, w)"""
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
    encoders: tuple[Encoder, ...] = ()
    conditions: tuple[Condition, ...] = ()
    embedded_guidance: bool = False
    """Guidance is an input of the denoiser: there is no second pass."""
    zero_negative: bool = False
    """Where there is no negative prompt its conditions are zeros."""
    first_guidance: float | None = None
    """Of a video's first frame; it rises to `guidance` at the last."""
    decode_frames: bool = False
    """The decoder knows pictures only: a video is decoded frame by frame."""
    picture: Picture | None = None
    strength: float = 1.0
    """Of noise on the latents that a pass is given to start from; below 1 they must be given."""
    gate_after: float = 1.0
    """Share of the steps after which cross-attention is frozen (1.0: never)."""
    cache_threshold: float = 0.0
    """Relative change of what the first block adds above which the rest runs again (0: no such cache)."""
    small_until: float = 0.0
    """Share of the steps that are taken at half the size (0: none)."""
    diffusion_decoder: DiffusionDecoder | None = None
    """Between the denoiser and the decoder, where a model has one."""
    guidance_from: float = 0.0
    """Share of the steps before guidance begins."""
    forecast_order: int = 0
    """Highest finite difference by which the feature of `cache_interval` is forecast (0: it is repeated)."""
    decode_tiles: int = 1
    """Tiles along each side that the decoder is given one after the other."""
    decode_singly: bool = False
    """The decoder is given one picture at a time."""
    reuse: Reuse | None = None
    """Another rule than `cache_threshold` for leaving out the blocks of a transformer."""
    guidance_agreement: float = 0.0
    """Cosine similarity of both passes from which on a picture is guided no more (0: it is not looked at)."""

    def with_steps(self, steps: int) -> LoopSettings:
        """As many steps of the denoiser, and a diffusion decoder's in the proportion that they had."""
        second = self.diffusion_decoder
        if second is not None and self.steps:
            share = max(1, round(second.steps * steps / self.steps))
            second = replace(second, steps=share)
        return replace(self, steps=steps, diffusion_decoder=second)

    def to_json(self) -> dict[str, Any]:
        """JSON values; what came with later versions is left out where it says nothing."""
        found = asdict(self) | {"scheduler_config": dict(self.scheduler_config)}
        for field in fields(self)[_FIRST_LATER:]:
            if field.default is not MISSING and found[field.name] == field.default:
                del found[field.name]
        return {name: _plain(value) for name, value in found.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoopSettings:
        """The inverse of `to_json`; raises `TypeError` for unknown or missing keys."""
        given = dict(data)
        given["latent_shape"] = tuple(data["latent_shape"])
        given["encoders"] = tuple(Encoder(**one) for one in data.get("encoders", ()))
        given["conditions"] = _conditions(data)
        if data.get("picture") is not None:
            given["picture"] = Picture(**_with_tuples(data["picture"]))
        if data.get("diffusion_decoder") is not None:
            second = dict(data["diffusion_decoder"])
            second |= {"latent_shape": tuple(second["latent_shape"]), "conditions": _conditions(second)}
            given["diffusion_decoder"] = DiffusionDecoder(**second)
        if data.get("reuse") is not None:
            given["reuse"] = Reuse(**_with_tuples(data["reuse"]))
        return cls(**given)


_FIRST_LATER = [field.name for field in fields(LoopSettings)].index("encoders")


def _with_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}


def _conditions(data: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            **{
                **one,
                "shape": tuple(one["shape"]),
                "parts": tuple(tuple(group) for group in one.get("parts", ())),
                "values": tuple(one.get("values", ())),
            }
        )
        for one in data.get("conditions", ())
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
