"""The host loop: from prompts and seeds to pictures, whatever engine runs the components.

    tokenize -> text_encoder -> noise -> (denoiser, guidance, scheduler) x steps -> decoder -> uint8

A component is a function from named arrays to named arrays, batch first.
The seed alone decides a picture's noise: the batch it is in does not.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from . import noise, schedulers
from .errors import LoopError
from .settings import LoopSettings

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

PROMPTS_KEPT = 1024
"""Embeddings that the prompt cache keeps; the one used longest ago goes first."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """What an `on_step` callback is told after each step of each batch."""

    step: int
    """From 0."""
    steps: int
    images: range
    """Which of the asked-for pictures are in this batch."""
    latent: Floats
    """(B, C, h, w); `Loop.decode` shows it."""


@dataclass(frozen=True, slots=True)
class Result:
    """Pictures and how they were made."""

    images: Pixels
    """(N, H, W, 3)"""
    seconds: dict[str, float]
    """Wall-clock seconds in `encode`, `denoise` and `decode`."""
    calls: dict[str, int]
    """How often each component was called."""
    rows: dict[str, int]
    """How many rows each component was given, summed over its calls: the work done."""
    broken: tuple[int, ...] = ()
    """Pictures with a value that is not a number or not finite; such pixels are black."""


class Loop:
    """Runs components as `settings` say; keeps nothing between calls but cached prompts.

    `steps` is how often the denoiser is asked for each picture: the settings'
    steps, with the scheduler pndm one more.

    Raises:
        LoopError: a component that the settings need is missing, or settings that make no sense.
    """

    def __init__(
        self, components: Mapping[str, Component], tokenizer: Tokenizer, settings: LoopSettings
    ) -> None:
        needed = ["text_encoder", "decoder"]
        needed += ["denoiser"] if settings.cache_interval == 1 else ["denoiser_full", "denoiser_shallow"]
        missing = [name for name in needed if name not in components]
        if missing:
            raise LoopError(
                f"The host loop needs the component {' and '.join(missing)}; build the pipeline again."
            )
        if settings.cache_interval < 1 or settings.batch < 1 or not 0 <= settings.guidance_until <= 1:
            raise LoopError(
                "Settings make no sense: cache_interval and batch must be at least 1, "
                "guidance_until between 0 and 1."
            )
        first = schedulers.make(settings.scheduler, settings.scheduler_config, settings.steps)
        self.settings = settings
        self.steps = len(first.timesteps)
        self._components = dict(components)
        self._tokenizer = tokenizer
        self._cache: OrderedDict[str, Floats] = OrderedDict()
        self._calls: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()

    @property
    def guided_steps(self) -> int:
        """How many steps, from the first, are guided."""
        if self.settings.guidance <= 1:
            return 0
        return math.ceil(self.settings.guidance_until * self.steps - 1e-9)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        on_step: Callable[[StepDone], None] | None = None,
    ) -> Result:
        """One picture for each prompt and its seed.

        `on_step` is called after every step; to cancel, raise `Cancelled` in it.

        Raises:
            LoopError: no prompt, or not one seed for each prompt.
        """
        if not prompts:
            raise LoopError("There is no prompt; give at least one.")
        if len(prompts) != len(seeds):
            raise LoopError(
                f"{len(prompts)} prompts came with {len(seeds)} seeds; give one seed for each prompt."
            )
        self._calls.clear()
        self._rows.clear()
        seconds = {"encode": 0.0, "denoise": 0.0, "decode": 0.0}
        pictures: list[Pixels] = []
        broken: list[int] = []
        for first in range(0, len(prompts), self.settings.batch):
            images = range(first, min(first + self.settings.batch, len(prompts)))
            start = time.perf_counter()
            embeddings = self._embeddings([prompts[i] for i in images])
            encoded = time.perf_counter()
            latent = self._denoise(embeddings, [seeds[i] for i in images], images, on_step)
            denoised = time.perf_counter()
            pixels, finite = self._decode(latent)
            pictures.append(pixels)
            broken += [images[i] for i, fine in enumerate(finite) if not fine]
            seconds["encode"] += encoded - start
            seconds["denoise"] += denoised - encoded
            seconds["decode"] += time.perf_counter() - denoised
        return Result(
            np.concatenate(pictures), seconds, dict(self._calls), dict(self._rows), broken=tuple(broken)
        )

    def decode(self, latent: Floats) -> Pixels:
        """Pictures, uint8 (B, H, W, 3), of latents (B, C, h, w): for previews."""
        return self._decode(latent)[0]

    def tokenize(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Token ids, (B, T): begin, words, end, padding; what is too long is cut off."""
        settings = self.settings
        ids = np.full((len(texts), settings.token_length), settings.pad_id, dtype=np.int64)
        for row, text in zip(ids, texts, strict=True):
            words = self._tokenizer.encode(text, add_special_tokens=False).ids[: settings.token_length - 2]
            row[0] = settings.bos_id
            row[1 : 1 + len(words)] = words
            row[1 + len(words)] = settings.eos_id
        return ids

    def _call(self, name: str, inputs: Arrays) -> Arrays:
        self._calls[name] += 1
        self._rows[name] += len(next(iter(inputs.values())))
        return self._components[name](inputs)

    def _embeddings(self, prompts: list[str]) -> Floats:
        """(2, B, T, D): negative and prompt; (1, B, T, D) where no step is guided."""
        texts = [self.settings.negative_prompt, *prompts] if self.guided_steps else prompts
        rows = self._encode_cached(texts) if self.settings.prompt_cache else self._encode(texts)
        if not self.guided_steps:
            return rows[np.newaxis]
        return np.stack([np.repeat(rows[:1], len(prompts), axis=0), rows[1:]])

    def _encode(self, texts: list[str]) -> Floats:
        return self._call("text_encoder", {"input_ids": self.tokenize(texts)})["embeddings"]

    def _encode_cached(self, texts: list[str]) -> Floats:
        new = [text for text in dict.fromkeys(texts) if text not in self._cache]
        fresh = dict(zip(new, self._encode(new), strict=True)) if new else {}
        found = [fresh[text] if text in fresh else self._cache[text] for text in texts]
        for text, row in zip(texts, found, strict=True):
            self._cache[text] = row
            self._cache.move_to_end(text)
        while len(self._cache) > PROMPTS_KEPT:
            self._cache.popitem(last=False)
        return np.stack(found)

    def _denoise(
        self, embeddings: Floats, seeds: list[int], images: range, on_step: Callable[[StepDone], None] | None
    ) -> Floats:
        settings, shape = self.settings, self.settings.latent_shape
        scheduler = schedulers.make(settings.scheduler, settings.scheduler_config, settings.steps)
        sample = np.stack([noise.latent_noise(seed, shape) for seed in seeds])
        if scheduler.start_scale != 1:
            sample = sample * scheduler.start_scale
        features: dict[str, Floats] = {}
        for step in range(self.steps):
            timestep = float(scheduler.timesteps[step])
            prediction = self._predict(scheduler.scale(sample, step), timestep, embeddings, step, features)
            fresh = None
            if scheduler.wants_noise(step):
                fresh = np.stack([noise.step_noise(seed, step, shape) for seed in seeds])
            sample = scheduler.advance(prediction, step, sample, fresh)
            if on_step is not None:
                on_step(StepDone(step, self.steps, images, sample))
        return sample

    def _predict(
        self, sample: Floats, timestep: float, embeddings: Floats, step: int, features: dict[str, Floats]
    ) -> Floats:
        """The denoiser's answer, guided where this step is."""
        if step >= self.guided_steps:
            if "both" in features:
                features["prompt"] = features.pop("both")[len(sample) :]
            return self._evaluate("prompt", sample, timestep, embeddings[-1], step, features)
        if self.settings.batched_guidance:
            twice = np.concatenate([sample, sample])
            joined = embeddings.reshape(-1, *embeddings.shape[2:])
            without, with_prompt = np.split(
                self._evaluate("both", twice, timestep, joined, step, features), 2
            )
        else:
            without = self._evaluate("negative", sample, timestep, embeddings[0], step, features)
            with_prompt = self._evaluate("prompt", sample, timestep, embeddings[1], step, features)
        return without + self.settings.guidance * (with_prompt - without)

    def _evaluate(
        self,
        branch: str,
        sample: Floats,
        timestep: float,
        embeddings: Floats,
        step: int,
        features: dict[str, Floats],
    ) -> Floats:
        """Call the denoiser, or the half of it that feature caching leaves for this step.

        DeepCache (arXiv 2312.00858), uniform schedule: a full pass every
        `cache_interval` steps, its deep feature re-used in between.
        """
        inputs: Arrays = {
            "sample": sample,
            "timestep": np.full(len(sample), timestep, dtype=np.float32),
            "embeddings": embeddings,
        }
        if self.settings.cache_interval == 1:
            return self._call("denoiser", inputs)["prediction"]
        if step % self.settings.cache_interval == 0:
            outputs = self._call("denoiser_full", inputs)
            features[branch] = outputs["feature"]
        else:
            outputs = self._call("denoiser_shallow", inputs | {"feature": features[branch]})
        return outputs["prediction"]

    def _decode(self, latent: Floats) -> tuple[Pixels, NDArray[np.bool_]]:
        image = self._call("decoder", {"latent": latent})["image"]
        finite = np.array([np.isfinite(one).all() for one in image])
        scaled = (
            np.clip(np.nan_to_num(image, nan=-1.0, posinf=-1.0, neginf=-1.0) * 0.5 + 0.5, 0.0, 1.0) * 255.0
        )
        return np.rint(scaled).astype(np.uint8).transpose(0, 2, 3, 1), finite
