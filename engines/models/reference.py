"""The model as its authors ship it: diffusers' own pipeline, eager torch, with the Studio's noise.

What everything is compared with: in fp32 on the CPU, on a GPU in the half that
such models are run in.  Only the noise is ours (Philox by seed, of
the latent, of each step and of a given picture), so that the same seed stands
for the same picture everywhere.
"""

from __future__ import annotations

import inspect
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.backends.serves import TORCH, plain_precision
from engines.errors import ModelError
from engines.hostloop import noise, pictures
from engines.models.model import Model
from engines.models.weights import APART
from engines.plan import Precision
from engines.workload import Workload

if TYPE_CHECKING:
    import torch

    from engines.models.kinds import DiffusionDecoderKind

Pixels = NDArray[np.uint8]
STEPS: Final = 1_000_000
"""More than any pipeline takes: it is asked for noise step by step."""


class Reference:
    """A pipeline with its settings; `last` keeps the seconds of each stage.

    `precision` is by the device, unless it is given.  Where fp16 makes values
    that are not finite, the pictures are drawn again in bf16, as all later ones.

    Raises:
        ModelError: diffusers has no such pipeline, or cannot load it, or torch does not know the device.
    """

    def __init__(
        self, model: Model, device: str, workload: Workload, precision: Precision | None = None
    ) -> None:
        self.model, self.device = model, torch_device(device)
        self._type = _dtype(precision or plain(model, device))
        self.size = workload.size or model.size
        self.frames = workload.frames or model.frames
        self.latent = model.latent(self.size, self.frames)
        self.steps = workload.steps or model.steps
        self.guidance = model.guidance if workload.guidance is None else workload.guidance
        self.negative_prompt = workload.negative_prompt
        self.batch = max(workload.batch, 1 if model.frames else 4)
        self.last: Any = None
        self.fallbacks: list[str] = []
        """What was lowered, as sentences."""
        self.pipe = None if model.enlarges else _opened(model, self.device, self._type)

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pixels:
        """Pictures uint8 (N, H, W, 3), videos (N, F, H, W, 3)."""
        spent = {"encode": 0.0, "denoise": 0.0, "scheduler": 0.0, "decode": 0.0}
        drawn = []
        broken: list[int] = []
        for first in range(0, len(prompts), self.batch):
            part = slice(first, first + self.batch)
            found = self._draw(list(prompts[part]), list(seeds[part]), spent)
            broken += [first + at for at, one in enumerate(found) if not np.isfinite(one).all()]
            if broken and self._widen():
                return self.generate(prompts, seeds)
            drawn.append(_pixels(found))
        calls = {"upscaler": len(drawn)} if self.pipe is None else {"denoiser": self.steps * len(drawn)}
        if self._second is not None:
            calls["diffusion_decoder"] = self._second.steps(self.steps) * len(drawn)
        self.last = SimpleNamespace(seconds=spent, calls=calls, broken=tuple(broken))
        return np.concatenate(drawn)

    def _widen(self) -> bool:
        """Go on in bf16, whose range is that of fp32; false where the precision is not fp16."""
        import torch

        if self._type != torch.float16:
            return False
        self._type = torch.bfloat16
        if self.pipe is not None:
            self.pipe = None  # its memory first
            self.pipe = _opened(self.model, self.device, self._type)
        self.fallbacks.append(
            "The unchanged model leaves the range of fp16, which ends at 65504; it runs in bf16."
        )
        return True

    def _draw(self, prompts: list[str], seeds: list[int], spent: dict[str, float]) -> NDArray[Any]:
        import torch

        start = time.perf_counter()
        before = dict(spent)
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.pipe is None:
                found = self._enlarge(prompts)
                spent["decode"] += time.perf_counter() - start
                return found
            with self._timed(spent), _studio_noise(self._halves, seeds, self._drawn):
                output = self.pipe(**self._arguments(prompts, seeds))
        others = sum(spent[name] - before[name] for name in ("encode", "scheduler", "decode"))
        spent["denoise"] += time.perf_counter() - start - others
        found = output.frames if hasattr(output, "frames") else output.images
        return np.asarray(found)

    def _enlarge(self, prompts: list[str]) -> NDArray[Any]:
        import torch

        network: Any = self.model.part("upscaler").to(self.device, self._type)
        given = np.stack([pictures.read(prompt, self.latent[1:]) for prompt in prompts])  # type: ignore[arg-type]
        large = network(torch.from_numpy(given * 0.5 + 0.5).to(self.device, self._type)).clamp(0, 1)
        found: NDArray[Any] = large.permute(0, 2, 3, 1).float().cpu().numpy()
        return found

    def _arguments(self, prompts: list[str], seeds: list[int]) -> dict[str, Any]:
        pipe: Any = self.pipe
        wanted: dict[str, Any] = {
            "prompt": [pictures.split(prompt)[1] for prompt in prompts]
            if self._starts_from_picture
            else prompts,
            "height": self.size,
            "width": self.size,
            "num_frames": self.frames,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "max_guidance_scale": self.guidance,
            "latents": self._latents(seeds),
            "output_type": "np",
            "use_resolution_binning": False,
            "clean_caption": False,
        }
        if self.negative_prompt:
            wanted["negative_prompt"] = [self.negative_prompt] * len(prompts)
        if self._starts_from_picture:
            wanted["prompt"] = [pictures.split(prompt)[1] for prompt in prompts]
            side = self.size // 4 if self.model.task == "upscaling" else self.size
            wanted["image"] = [_image(pictures.read(prompt, (side, side))) for prompt in prompts]
        if self._second is not None:
            wanted |= {
                "prior_num_inference_steps": self.steps,
                "prior_guidance_scale": self.guidance,
                "num_inference_steps": self._second.steps(self.steps),
            }
        accepted = inspect.signature(pipe.__call__).parameters
        return {name: value for name, value in wanted.items() if name in accepted}

    @property
    def _second(self) -> DiffusionDecoderKind | None:
        return None if self.model.enlarges else self.model.diffusion_decoder_kind

    @property
    def _halves(self) -> tuple[Any, ...]:
        """The pipeline, or the two that it joins."""
        pipe: Any = self.pipe
        return (pipe,) if self._second is None else (pipe.prior_pipe, pipe.decoder_pipe)

    @property
    def _drawn(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Steps of each half and the shape of what it denoises."""
        if self._second is None:
            return ((STEPS, self.latent),)
        steps = self._second.steps(self.steps)
        return ((self.steps, self.latent), (steps, self._second.latent(self.model, self.latent)))

    @property
    def _starts_from_picture(self) -> bool:
        return self.model.task in ("upscaling", "image-to-video")

    def _latents(self, seeds: list[int]) -> torch.Tensor:
        """The noise in the order in which the pipeline keeps it."""
        import torch

        found = torch.from_numpy(np.stack([noise.latent_noise(seed, self.latent) for seed in seeds]))
        pack: Callable[..., torch.Tensor] | None = getattr(self.pipe, "_pack_latents", None)
        if pack is not None and len(self.latent) == 3:
            found = pack(found, len(found), *self.latent)
        elif pack is not None:
            pipe: Any = self.pipe
            found = pack(found, pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size)
        elif self.model.task == "image-to-video":
            found = found.transpose(1, 2)
        return found.to(self.device, self._type)

    @contextmanager
    def _timed(self, spent: dict[str, float]) -> Iterator[None]:
        """Add up what encoding, the scheduler's steps and decoding take."""
        first, last = self._halves[0], self._halves[-1]
        owners = [(first, name, "encode") for name in ("encode_prompt", "_encode_image", "_encode_vae_image")]
        owners += [(half.scheduler, "step", "scheduler") for half in self._halves]
        owners.append((last.vae if self._second is None else last.vqgan, "decode", "decode"))
        kept = []
        for owner, name, stage in owners:
            method = getattr(owner, name, None)
            if method is not None:
                kept.append((owner, name))
                setattr(owner, name, _counted(method, spent, stage))
        try:
            yield
        finally:
            for owner, name in kept:
                delattr(owner, name)


def _counted(method: Callable[..., Any], spent: dict[str, float], stage: str) -> Callable[..., Any]:
    @wraps(method)  # pipelines look which arguments a scheduler's step takes
    def call(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(*given, **named)
        finally:
            spent[stage] += time.perf_counter() - start

    return call


def plain(model: Model, device: str) -> Precision:
    """What such models are run in on a device: on a GPU U-Nets and enlargers in fp16, transformers in
    bf16, in which they were trained and which has their text encoders' range.
    """
    if plain_precision(device) == "fp32":
        return "fp32"
    if model.enlarges or model.layout.parts[model.layout.denoiser].kind.startswith("UNet"):
        return "fp16"
    return "bf16"


def torch_device(device: str) -> str:
    """What torch calls a device.

    Raises:
        ModelError: torch does not know it, or finds none of its kind here.
    """
    import torch

    name = TORCH.get(device, "")
    if not name:
        raise ModelError(
            f"torch does not run on {device}; the model's plain engine there stands in its place."
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise ModelError(
            "torch finds no Apple GPU here (MPS), on which the unchanged model is measured; update macOS or"
            " choose the device cpu."
        )
    return name


def _dtype(precision: Precision) -> torch.dtype:
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)


def check(model: Model) -> None:
    """Whether there is a reference at all; loads nothing of the model.

    Raises:
        ModelError: diffusers has no pipeline of its class.
    """
    import diffusers

    name = model.layout.pipeline
    if not model.enlarges and name not in dir(diffusers):
        raise ModelError(
            f"diffusers has no {name}, so {model.name} cannot be run as its authors ship it;"
            " update diffusers or choose another model."
        )


def _make_known(model: Model) -> None:
    """WORKAROUND: diffusers 0.42 does not find the classes that it keeps with its deprecated pipelines."""
    import diffusers

    for part in model.layout.parts.values():
        if part.kind not in APART:
            continue
        library, module = model.layout.index[part.folder.name][0], import_module(APART[part.kind])
        place, name, value = (diffusers.pipelines, library, module)
        if library == "diffusers":
            place, name, value = (diffusers, part.kind, getattr(module, part.kind))
        if not hasattr(place, name):
            setattr(place, name, value)


def _opened(model: Model, device: str, dtype: torch.dtype) -> Any:
    import diffusers

    check(model)
    kind: Any = getattr(diffusers, model.layout.pipeline)
    accepted = inspect.signature(kind.__init__).parameters
    plain = {"safety_checker": None, "requires_safety_checker": False, "add_watermarker": False}
    options: dict[str, Any] = {key: value for key, value in plain.items() if key in accepted}
    for part, parameter in accepted.items():
        left_out = (
            model.layout.index.get(part) in (None, [None, None]) and parameter.default is parameter.empty
        )
        if left_out and parameter.kind is parameter.POSITIONAL_OR_KEYWORD and part != "self":
            options.setdefault(part, None)
    _make_known(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipe = kind.from_pretrained(model.path, dtype=dtype, local_files_only=True, **options)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"{model.layout.pipeline} cannot load {model.path} ({first}); copy or download the model again."
        ) from error
    pipe = pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def _studio_noise(
    halves: tuple[Any, ...], seeds: list[int], drawn: tuple[tuple[int, tuple[int, ...]], ...]
) -> Iterator[None]:
    """Noise by seed in place of the schedulers' and the pipelines' own."""
    import torch

    # one scheduler's module serves both halves, which draw one after the other
    every = ((stage, step, shape) for stage, (steps, shape) in enumerate(drawn) for step in range(steps))

    def as_asked(fresh: list[NDArray[np.float32]], named: Mapping[str, Any]) -> torch.Tensor:
        return torch.from_numpy(np.stack(fresh)).to(named.get("device") or "cpu", named.get("dtype"))

    def of_step(_shape: Any, *_given: Any, **named: Any) -> torch.Tensor:
        stage, step, shape = next(every)
        return as_asked([noise.step_noise(seed, step, shape, stage) for seed in seeds], named)

    def of_picture(shape: Any, *_given: Any, **named: Any) -> torch.Tensor:
        return as_asked([noise.picture_noise(seed, tuple(shape[1:])) for seed in seeds], named)

    def of_second(shape: Any, *_given: Any, **named: Any) -> torch.Tensor:
        return as_asked([noise.latent_noise(seed, tuple(shape[1:]), 1) for seed in seeds], named)

    places: list[tuple[str, Callable[..., torch.Tensor]]] = [
        (type(halves[0].scheduler).__module__, of_step),
        (type(halves[-1]).__module__, of_picture if len(halves) == 1 else of_second),
    ]
    kept = []
    for module_name, own in places:
        module = sys.modules[module_name]
        if hasattr(module, "randn_tensor"):
            kept.append((module, module.randn_tensor))
            module.randn_tensor = own  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, theirs in kept:
            module.randn_tensor = theirs  # type: ignore[attr-defined]


def _image(picture: NDArray[np.float32]) -> Any:
    """A Pillow image of (3, H, W) in [-1, 1]."""
    from PIL import Image

    return Image.fromarray(_pixels(picture.transpose(1, 2, 0) * 0.5 + 0.5))


def _pixels(values: NDArray[Any]) -> Pixels:
    """uint8 of numbers in [0, 1]; what is no number is black."""
    found: Pixels = (np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) * 255).round().astype(np.uint8)
    return found
