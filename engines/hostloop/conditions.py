"""From prompts to what the denoiser is told: tokens, encoders, and how their outputs are put together."""

from __future__ import annotations

import html
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from . import noise, pictures
from .errors import LoopError
from .settings import Condition, Encoder, LoopSettings

Arrays = dict[str, NDArray[Any]]
Call = Callable[[str, Arrays], Arrays]

PROMPTS_KEPT = 1024
"""Texts whose encodings the prompt cache keeps; the one used longest ago goes first."""
_SPACES = re.compile(r"\s+")


def encoders_of(settings: LoopSettings) -> tuple[Encoder, ...]:
    """The text encoders, the one that old settings do not name among them."""
    if settings.encoders or settings.conditions or settings.picture:
        return settings.encoders
    return (
        Encoder(
            "text_encoder",
            "tokenizer",
            settings.token_length,
            settings.pad_id,
            settings.bos_id,
            settings.eos_id,
        ),
    )


def conditions_of(settings: LoopSettings) -> tuple[Condition, ...]:
    """The denoiser's conditions, the one that old settings do not name among them."""
    if settings.conditions or settings.picture:
        return settings.conditions
    return (Condition("embeddings", (), (("text_encoder.embeddings",),)),)


def clean(text: str, how: str) -> str:
    """What diffusers' pipelines do to a text before its tokens are made."""
    if how == "lower":
        return text.lower().strip()
    if how == "spaces":
        return _SPACES.sub(" ", html.unescape(html.unescape(text)).strip()).strip()
    return text


class Prompts:
    """Encodes prompts; keeps what it encoded where the settings say so.

    Raises:
        LoopError: a tokenizer is missing.
    """

    def __init__(self, settings: LoopSettings, tokenizers: Mapping[str, Tokenizer], call: Call) -> None:
        self.settings = settings
        self.encoders = encoders_of(settings)
        missing = [one.tokenizer for one in self.encoders if one.tokenizer not in tokenizers]
        if missing:
            raise LoopError(f"The host loop needs the tokenizer {missing[0]}; build the pipeline again.")
        self._tokenizers = dict(tokenizers)
        for tokenizer in self._tokenizers.values():
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._call = call
        self._cache: OrderedDict[tuple[str, bool], Arrays] = OrderedDict()

    def tokens(
        self, encoder: Encoder, texts: Sequence[str], negative: Sequence[bool] = ()
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids and mask, (B, T) each: begin, words, end, padding; what is too long is cut off."""
        ids = np.full((len(texts), encoder.length), encoder.pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        tokenizer = self._tokenizers[encoder.tokenizer]
        marks = (encoder.begin is not None) + (encoder.end is not None)
        for index, text in enumerate(texts):
            plain = bool(negative) and negative[index]
            length = encoder.keep if plain and encoder.keep else encoder.length
            said = clean(text, encoder.clean) if plain else encoder.prefix + clean(text, encoder.clean)
            row = tokenizer.encode(said, add_special_tokens=False).ids[: length - marks]
            if encoder.begin is not None:
                row = [encoder.begin, *row]
            if encoder.end is not None:
                row = [*row, encoder.end]
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return ids, mask

    def conditions(self, prompts: Sequence[str], seeds: Sequence[int], guided: bool) -> tuple[Arrays, Arrays]:
        """By name (2, B, ...): without the prompt and with it; (1, B, ...) where no step is guided.

        And what they were made of, by `component.output` (B, ...), with the prompt.
        """
        settings, count = self.settings, len(prompts)
        texts = [pictures.split(prompt)[1] for prompt in prompts] if settings.picture else list(prompts)
        zeros = settings.zero_negative and not settings.negative_prompt
        negatives = [] if zeros or not guided else [settings.negative_prompt]
        found = self._texts([*negatives, *texts], len(negatives)) if self.encoders else {}
        with_prompt = {name: value[len(negatives) :] for name, value in found.items()}
        without = {name: np.repeat(value[:1], count, axis=0) for name, value in found.items() if negatives}
        if settings.picture is not None:
            with_prompt |= self._pictures(prompts, seeds)
        result: Arrays = {}
        for condition in conditions_of(settings):
            row = self.composed(condition, with_prompt, count)
            if not guided:
                result[condition.name] = row[np.newaxis]
                continue
            if condition.values or condition.unguided == "same" or condition.parts == (("guidance",),):
                other = row
            elif condition.unguided == "zeros" or zeros:
                other = np.zeros_like(row)
            else:
                other = self.composed(condition, without, count)
            result[condition.name] = np.stack([other, row])
        return result, with_prompt

    def composed(self, condition: Condition, found: Mapping[str, NDArray[Any]], count: int) -> NDArray[Any]:
        """(B, *shape): one condition of what is `found`, by `component.output`."""
        dtype = np.dtype(condition.dtype)
        if condition.values:
            row = np.array(condition.values, dtype=dtype).reshape(condition.shape)
            return np.broadcast_to(row, (count, *condition.shape)).copy()
        if condition.parts == (("guidance",),):
            return np.full((count, *condition.shape), self.settings.guidance, dtype=dtype)
        groups = []
        for group in condition.parts:
            joined = np.concatenate([found[name] for name in group], axis=-1)
            if condition.shape and joined.shape[-1] < condition.shape[-1]:
                joined = _filled(joined, -1, condition.shape[-1])
            groups.append(joined)
        whole = np.concatenate(groups, axis=1) if len(groups) > 1 else groups[0]
        if len(condition.shape) > 1 and whole.shape[1] < condition.shape[0]:
            whole = _filled(whole, 1, condition.shape[0])
        return whole.astype(dtype, copy=False)

    def _pictures(self, prompts: Sequence[str], seeds: Sequence[int]) -> Arrays:
        wanted = self.settings.picture
        assert wanted is not None
        plain = np.stack([pictures.read(prompt, wanted.size) for prompt in prompts])
        noisy = plain
        if wanted.noise or wanted.signal != 1:
            fresh = np.stack([noise.picture_noise(seed, plain.shape[1:]) for seed in seeds])
            noisy = np.float32(wanted.signal) * plain + np.float32(wanted.noise) * fresh
        found: Arrays = {"picture": noisy}
        for name in wanted.encoders:
            outputs = self._call(name, {"picture": noisy if name in wanted.noisy else plain})
            found |= {f"{name}.{output}": value for output, value in outputs.items()}
        return found

    def _texts(self, texts: list[str], negatives: int) -> Arrays:
        keys = [(text, index < negatives) for index, text in enumerate(texts)]
        if not self.settings.prompt_cache:
            return self._encoded(keys)
        new = [key for key in dict.fromkeys(keys) if key not in self._cache]
        fresh = self._encoded(new) if new else {}
        made = {key: {name: value[index] for name, value in fresh.items()} for index, key in enumerate(new)}
        rows = [made.get(key) or self._cache[key] for key in keys]
        for key, row in zip(keys, rows, strict=True):
            self._cache[key] = row
            self._cache.move_to_end(key)
        while len(self._cache) > PROMPTS_KEPT:
            self._cache.popitem(last=False)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _encoded(self, keys: Sequence[tuple[str, bool]]) -> Arrays:
        """`component.output` to (N, ...), and `component.mask`."""
        texts, negative = [text for text, _ in keys], [plain for _, plain in keys]
        found: Arrays = {}
        for encoder in self.encoders:
            ids, mask = self.tokens(encoder, texts, negative)
            inputs: Arrays = {"input_ids": ids}
            if encoder.masked:
                inputs["attention_mask"] = mask
            outputs = self._call(encoder.component, inputs) | {"mask": mask}
            for name, value in outputs.items():
                if encoder.keep and value.ndim > 1 and value.shape[1] == encoder.length:
                    value = _kept(value, encoder, negative)
                found[f"{encoder.component}.{name}"] = value
        return found


def _filled(array: NDArray[Any], axis: int, size: int) -> NDArray[Any]:
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


def _kept(value: NDArray[Any], encoder: Encoder, negative: Sequence[bool]) -> NDArray[Any]:
    """(N, keep, ...): of a text with prefix the first position and the last ones, else the first ones."""
    last = np.r_[0, encoder.length - encoder.keep + 1 : encoder.length]
    first = np.arange(encoder.keep)
    return np.stack(
        [
            row[first if plain or not encoder.prefix else last]
            for row, plain in zip(value, negative, strict=True)
        ]
    )
