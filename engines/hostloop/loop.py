"""The host loop: from prompts and seeds to pictures, whatever engine runs the components.

    tokenize -> text encoders -> noise -> (denoiser, guidance, scheduler) x steps -> decoder -> uint8

A model may have a diffusion decoder before its decoder: a second denoiser, told the first one's latent.
With `strength` below 1 it starts from latents that another pass has made, noised again, and takes the
last steps only.
A component is a function from named arrays to named arrays, batch first.
The seed alone decides a picture's noise: the batch it is in does not.
A model without a denoiser is one component, `upscaler`: picture in, picture out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from . import noise, pictures, schedulers
from .conditions import Prompts
from .errors import LoopError
from .guidance import Guidance, check
from .passes import Passes, enlarge, guided_steps, parts, shrink, small_steps
from .settings import LoopSettings
from .tiles import decode_tiles

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StepDone:
    """What an `on_step` callback is told after each step of each batch."""

    step: int
    """From 0."""
    steps: int
    images: range
    """Which of the asked-for pictures are in this batch."""
    latent: Floats
    """(B, C, h, w), of video (B, C, F, h, w); `Loop.decode` shows it."""


@dataclass(frozen=True, slots=True)
class Result:
    """Pictures and how they were made."""

    images: Pixels
    """(N, H, W, 3), of video (N, F, H, W, 3)"""
    seconds: dict[str, float]
    """Wall-clock seconds in `encode`, `denoise` (the denoiser's own), `scheduler` (what the loop calculates
    between its calls: solver, guidance, noise) and `decode`."""
    calls: dict[str, int]
    """How often each component was called."""
    rows: dict[str, int]
    """How many rows each component was given, summed over its calls: the work done."""
    broken: tuple[int, ...] = ()
    """Pictures with a value that is not a number or not finite; such pixels are black."""


def needed(settings: LoopSettings) -> list[str]:
    """The components that settings need."""
    from .conditions import encoders_of

    if not settings.steps:
        return ["upscaler"]
    found = [encoder.component for encoder in encoders_of(settings)]
    found += list(settings.picture.encoders) if settings.picture else []
    found += parts(settings)
    return [*found, *(["diffusion_decoder"] if settings.diffusion_decoder else []), "decoder"]


class Loop:
    """Runs components as `settings` say; keeps nothing between calls but cached prompts.

    `tokenizer` is the one of `text_encoder`, or all by the name of their folder.
    `steps` is how often the denoiser is asked for each picture: the settings'
    steps, with the scheduler pndm one more; a diffusion decoder's come on top.

    Raises:
        LoopError: a component that the settings need is missing, or settings that make no sense.
    """

    def __init__(
        self,
        components: Mapping[str, Component],
        tokenizer: Tokenizer | Mapping[str, Tokenizer],
        settings: LoopSettings,
    ) -> None:
        missing = [name for name in needed(settings) if name not in components]
        if missing:
            raise LoopError(
                f"The host loop needs the component {' and '.join(missing)}; build the pipeline again."
            )
        if settings.cache_interval < 1 or settings.batch < 1:
            raise LoopError("Settings make no sense: cache_interval and batch must be at least 1.")
        check(settings)
        if settings.decode_tiles < 1:
            raise LoopError("Settings make no sense: decode_tiles must be at least 1.")
        self.settings = settings
        self.steps = 0
        if settings.steps:
            first = schedulers.make(settings.scheduler, settings.scheduler_config, settings.steps)
            self.steps = len(first.timesteps)
        tokenizers = tokenizer if isinstance(tokenizer, Mapping) else {"tokenizer": tokenizer}
        self._components = dict(components)
        self._prompts = Prompts(settings, tokenizers, self._call)
        self._inside = 0.0
        """Seconds inside of components so far."""
        self._calls: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()

    @property
    def guided_steps(self) -> range:
        """The steps that are guided."""
        return guided_steps(self.settings, self.steps)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        on_step: Callable[[StepDone], None] | None = None,
        start: Floats | None = None,
    ) -> Result:
        """One picture (or video) for each prompt and its seed.

        `on_step` is called after every step of the denoiser; to cancel, raise `Cancelled` in it.  `start`: a
        latent for each prompt, (N, C, h, w), as the denoiser leaves it, from which the settings' `strength`
        starts.

        Raises:
            LoopError: no prompt, not one seed for each prompt, or no fitting latents to start from.
        """
        if not prompts:
            raise LoopError("There is no prompt; give at least one.")
        if len(prompts) != len(seeds):
            raise LoopError(
                f"{len(prompts)} prompts came with {len(seeds)} seeds; give one seed for each prompt."
            )
        self._check_start(start, len(prompts))
        self._calls.clear()
        self._rows.clear()
        seconds = {"encode": 0.0, "denoise": 0.0, "scheduler": 0.0, "decode": 0.0}
        made: list[Pixels] = []
        broken: list[int] = []
        for first in range(0, len(prompts), self.settings.batch):
            images = range(first, min(first + self.settings.batch, len(prompts)))
            asked, drawn_by = [prompts[i] for i in images], [seeds[i] for i in images]
            begun = time.perf_counter()
            if self.steps:
                guided = bool(self.guided_steps)
                conditions, found = self._prompts.conditions(asked, drawn_by, guided=guided)
                encoded, before = time.perf_counter(), self._inside
                latent = self._denoise(
                    conditions, drawn_by, images, on_step, None if start is None else start[list(images)]
                )
                if self.settings.diffusion_decoder is not None:
                    latent = self._denoise_again(found | {"denoiser.latent": latent}, drawn_by)
                denoised, denoiser = time.perf_counter(), self._inside - before
                pixels, finite = self._decode(latent)
            else:
                encoded, denoised, denoiser = begun, begun, 0.0
                pixels, finite = self._enlarge(asked)
            made.append(pixels)
            broken += [images[i] for i, fine in enumerate(finite) if not fine]
            seconds["encode"] += encoded - begun
            seconds["denoise"] += denoiser
            seconds["scheduler"] += denoised - encoded - denoiser
            seconds["decode"] += time.perf_counter() - denoised
        return Result(
            np.concatenate(made), seconds, dict(self._calls), dict(self._rows), broken=tuple(broken)
        )

    def decode(self, latent: Floats) -> Pixels:
        """Pictures, uint8 (B, H, W, 3), of latents (B, C, h, w): for previews.

        Raises:
            LoopError: a diffusion decoder comes before the decoder, and would have to be told the prompts.
        """
        if self.settings.diffusion_decoder is not None:
            raise LoopError(
                "This model's latents become pictures in steps of their own; there is no preview."
            )
        return self._decode(latent)[0]

    def tokenize(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Token ids, (B, T), for the first text encoder: begin, words, end, padding; too long is cut off."""
        return self._prompts.tokens(self._prompts.encoders[0], texts)[0]

    def _call(self, name: str, inputs: Arrays) -> Arrays:
        self._calls[name] += 1
        self._rows[name] += len(next(iter(inputs.values())))
        begun = time.perf_counter()
        found = self._components[name](inputs)
        self._inside += time.perf_counter() - begun
        return found

    def _check_start(self, start: Floats | None, count: int) -> None:
        wanted = (count, *self.settings.latent_shape)
        if start is None:
            if self.settings.strength < 1:
                raise LoopError(
                    f"The strength {self.settings.strength} needs latents to start from; give `start`, or a "
                    "strength of 1."
                )
        elif not self.steps:
            raise LoopError("A model that denoises nothing cannot start from latents; leave `start` out.")
        elif start.shape != wanted:
            raise LoopError(
                f"Latents of the shape {start.shape} were given to start from where {wanted} is needed; the "
                "two models' autoencoders or sizes differ, so go through pixels."
            )

    def _denoise(
        self,
        conditions: Arrays,
        seeds: list[int],
        images: range,
        on_step: Callable[[StepDone], None] | None,
        start: Floats | None,
    ) -> Floats:
        settings, shape = self.settings, self.settings.latent_shape
        scheduler = schedulers.make(settings.scheduler, settings.scheduler_config, settings.steps)
        sample = np.stack([noise.latent_noise(seed, shape) for seed in seeds])
        if start is not None:
            sample = scheduler.begin(settings.strength, start, sample)
        elif scheduler.start_scale != 1:
            sample = sample * scheduler.start_scale
        first, taken = scheduler.first, self.steps - scheduler.first
        # a given start is at its full size already
        small = 0 if start is not None else small_steps(settings, self.steps)
        whole = sample
        if small:
            sample = shrink(sample)
        guidance = Guidance(settings, self.steps, conditions, Passes(settings, self.steps, self._call))
        for step in range(first, self.steps):
            shown = scheduler.scale(sample, step)
            timestep = float(scheduler.timesteps[step])
            prediction = guidance.predict(shown, timestep, step, step < small)
            if step + 1 == small:
                # a clean latent goes on at full size, with the noise that the picture began with
                clean = enlarge(scheduler.clean(prediction, step, sample))
                scale = scheduler.start_scale
                scheduler = schedulers.make(settings.scheduler, settings.scheduler_config, settings.steps)
                sample = scheduler.join(small, clean, whole / np.float32(scale))
            else:
                fresh = None
                if scheduler.wants_noise(step):
                    fresh = np.stack([noise.step_noise(seed, step, sample.shape[1:]) for seed in seeds])
                sample = scheduler.advance(prediction, step, sample, fresh)
            if on_step is not None:
                seen = enlarge(sample) if step + 1 < small else sample
                on_step(StepDone(step - first, taken, images, seen))
        return sample

    def _denoise_again(self, found: Arrays, seeds: list[int]) -> Floats:
        """The diffusion decoder's steps, told what the first denoiser drew."""
        second = self.settings.diffusion_decoder
        assert second is not None
        told = {one.name: self._prompts.composed(one, found, len(seeds)) for one in second.conditions}
        scheduler = schedulers.make(second.scheduler, second.scheduler_config, second.steps)
        shape = second.latent_shape
        sample = np.stack([noise.latent_noise(seed, shape, 1) for seed in seeds])
        if scheduler.start_scale != 1:
            sample = sample * scheduler.start_scale
        for step, timestep in enumerate(scheduler.timesteps):
            time = np.full(len(sample), timestep, dtype=np.float32)
            given: Arrays = {"sample": scheduler.scale(sample, step), "timestep": time, **told}
            prediction = self._call("diffusion_decoder", given)["prediction"]
            fresh = None
            if scheduler.wants_noise(step):
                fresh = np.stack([noise.step_noise(seed, step, shape, 1) for seed in seeds])
            sample = scheduler.advance(prediction, step, sample, fresh)
        return sample

    def _decode(self, latent: Floats) -> tuple[Pixels, NDArray[np.bool_]]:
        if not self.settings.decode_frames:
            return _pixels(self._images(latent))
        # (B, C, F, h, w): the decoder knows pictures only, and a whole video at once needs much memory
        frames = [self._images(np.ascontiguousarray(latent[:, :, at])) for at in range(latent.shape[2])]
        return _pixels(np.stack(frames, axis=2))

    def _images(self, latent: Floats) -> NDArray[Any]:
        """What the decoder makes of latents, all at once or in as many calls as the settings say."""
        if self.settings.decode_singly and len(latent) > 1:
            return np.concatenate([self._images(latent[at : at + 1]) for at in range(len(latent))])

        def decode(part: Floats) -> NDArray[Any]:
            return self._call("decoder", {"latent": part})["image"]

        tiles = self.settings.decode_tiles
        return decode(latent) if tiles == 1 else decode_tiles(latent, tiles, decode)

    def _enlarge(self, prompts: Sequence[str]) -> tuple[Pixels, NDArray[np.bool_]]:
        wanted = self.settings.picture
        assert wanted is not None
        given = np.stack([pictures.read(prompt, wanted.size) for prompt in prompts])
        return _pixels(self._call("upscaler", {"picture": given})["image"])


def _pixels(image: NDArray[Any]) -> tuple[Pixels, NDArray[np.bool_]]:
    """uint8, channels last, of (B, 3, ..., H, W) in [-1, 1]; and which of them are finite."""
    finite = np.array([np.isfinite(one).all() for one in image])
    scaled = np.clip(np.nan_to_num(image, nan=-1.0, posinf=-1.0, neginf=-1.0) * 0.5 + 0.5, 0.0, 1.0) * 255.0
    return np.moveaxis(np.rint(scaled).astype(np.uint8), 1, -1), finite
