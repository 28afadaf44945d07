"""The light model's cross-attention maps re-used in the heavy one, measured in eager mode.

A map says which word each place of the picture looks at, (heads, places, words)
for each cross-attention.  The light model's, of its last step, take the place
of the heavy model's own for the prompt's half of the batch at every step, so
that queries and keys are not computed there.  Shapes agree where both networks
have the layer with as many heads, places and words.

Captured engines have neither maps as outputs nor as inputs, so both arms, with
and without the light maps, run in eager mode and are compared with each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from studio.plan.reuse import Arm
from studio.work.cascade.models import same_words

if TYPE_CHECKING:
    from engines.hostloop.loop import Arrays, Loop
    from engines.models.model import Model
    from engines.pipeline import Pipeline
    from studio.work.cascade.bench import Bench

_NO_MAPS = (
    "Cross-attention maps were not tried: a model of this pair has no cross-attention of its own (in a "
    "transformer, words and places share one attention), so there is no map to hand over."
)
_OTHER_WORDS = (
    "Cross-attention maps were not tried: the two models split a prompt into different words, so a map of "
    "the one says nothing about the words of the other."
)
Judge = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


@dataclass
class Maps:
    """Of each cross-attention of a network: the map of the prompt, and those to use in place of its own."""

    seen: dict[str, Tensor] = field(default_factory=dict)
    given: dict[str, Tensor] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


class MapProcessor:
    """Cross-attention as diffusers' `AttnProcessor`, with its map in the open.

    Hidden states (B, N, C), words (B, T, D); where a map is given, the last row
    of the batch (the prompt's; the negative one comes first) takes it.
    """

    def __init__(self, name: str, maps: Maps) -> None:
        self.name, self.maps = name, maps

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> Tensor:
        del temb
        words = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            words = attn.norm_encoder_hidden_states(words)
        rows, heads = len(hidden_states), attn.heads
        value = attn.head_to_batch_dim(attn.to_v(words))
        borrowed = self.maps.given.get(self.name)
        wanted = (heads, hidden_states.shape[1], words.shape[1])
        if borrowed is not None and tuple(borrowed.shape) != wanted:
            borrowed = None
        own = rows if borrowed is None else rows - 1
        parts = []
        if own:
            query = attn.head_to_batch_dim(attn.to_q(hidden_states[:own]))
            key = attn.head_to_batch_dim(attn.to_k(words[:own]))
            mask = None if attention_mask is None else attention_mask[: own * heads]
            parts.append(attn.get_attention_scores(query, key, mask))
        if borrowed is not None:
            parts.append(borrowed)
            self.maps.used.add(self.name)
        probabilities = torch.cat(parts)
        self.maps.seen[self.name] = probabilities[-heads:]
        mixed = attn.batch_to_head_dim(torch.bmm(probabilities, value))
        result: Tensor = attn.to_out[1](attn.to_out[0](mixed)) / attn.rescale_output_factor
        return result


def open_maps(network: Any) -> Maps:
    """Let every cross-attention of a diffusers U-Net show and take maps."""
    maps = Maps()
    network.set_attn_processor(
        {
            name: MapProcessor(name, maps) if ".attn2." in name else processor
            for name, processor in network.attn_processors.items()
        }
    )
    return maps


def _eager(model: Model, pipeline: Pipeline) -> tuple[nn.Module, tuple[str, ...]]:
    """The denoiser of a plan, student or not, fresh and in eager mode, and its inputs' names."""
    from engines.capture.components import module
    from engines.capture.structure import PLAIN, Structure, interface

    wanted = replace(PLAIN, student=pipeline.plan.denoiser.student)
    structure = Structure("denoiser", pipeline.plan.loop.latent_shape, denoiser=wanted)
    names = tuple(spec.name for spec in interface(model, structure)[0])
    return module(model, structure), names


def _loop(model: Model, pipeline: Pipeline, denoiser: nn.Module, names: tuple[str, ...]) -> Loop:
    from engines.hostloop.loop import Loop

    def component(given: Arrays) -> Arrays:
        with torch.inference_mode():
            found = denoiser(*(torch.from_numpy(np.ascontiguousarray(given[name])) for name in names))
        return {"prediction": found.numpy()}

    components = {name: one.component for name, one in pipeline.loaded.items()} | {"denoiser": component}
    settings = replace(pipeline.plan.loop, batch=1, cache_interval=1)
    return Loop(components, model.tokenizers, settings)


def attention_arms(
    bench: Bench, asked: Sequence[tuple[str, int]], judge: Judge, tell: Callable[[str], None]
) -> tuple[list[Arm], list[str]]:
    """Heavy in eager mode without and with the light model's maps; or none, and why."""
    if not same_words(bench.light_model, bench.heavy_model):
        return [], [_OTHER_WORDS]
    light, names = _eager(bench.light_model, bench.light)
    heavy, heavy_names = _eager(bench.heavy_model, bench.heavy)
    networks = [getattr(one, "network", None) for one in (light, heavy)]
    counts = [
        sum(".attn2." in name for name in getattr(network, "attn_processors", {})) for network in networks
    ]
    if not all(counts):
        return [], [_NO_MAPS]
    light_maps, heavy_maps = (open_maps(network) for network in networks)
    loops = (
        _loop(bench.light_model, bench.light, light, names),
        _loop(bench.heavy_model, bench.heavy, heavy, heavy_names),
    )
    for turn, (prompt, seed) in enumerate(asked):
        if bench.has("eager", [(prompt, seed)]) and bench.has("attention", [(prompt, seed)]):
            continue
        tell(f"Cross-attention maps: {prompt[:60]}")
        loops[0].generate([prompt], [seed])
        lent = {name: one.clone() for name, one in light_maps.seen.items()}
        if turn == 0:
            loops[1].generate([prompt], [seed])  # warm
        ways: list[tuple[str, dict[str, Tensor]]] = [("eager", {}), ("attention", lent)]
        for key, given in ways if turn % 2 else ways[::-1]:
            heavy_maps.given = given
            start = time.perf_counter()
            made = loops[1].generate([prompt], [seed])
            bench.keep(key, prompt, seed, made.images[0], time.perf_counter() - start)
    if not heavy_maps.used and heavy_maps.seen:
        return [], ["Cross-attention maps were not used: no layer of the two models has maps of equal shape."]
    plain = judge(bench.images("eager", asked))
    steps = bench.heavy.plan.loop.steps
    kinds = (
        ("eager", "heavy from the start, eager mode"),
        ("attention", "with the light model's cross-attention maps, eager mode"),
    )
    from studio.work.cascade.reuse import compared

    arms = [
        compared(bench, kind, asked, judge, plain, kind=kind, title=title, strength=None, steps=steps)  # type: ignore[arg-type]
        for kind, title in kinds
    ]
    note = (
        f"Cross-attention maps: the heavy model has them in {counts[1]} layers. The two rows in eager mode "
        "compare with each other only; captured engines neither give nor take maps, so this is not exported."
    )
    return arms, [note]
