"""Calibration data for int8: what the components really receive, at every part of the schedule.

The host loop runs the eager components on seeded training prompts and keeps
their inputs.  Collected once for each model and kind of denoiser, kept in the
cache as `.npz`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.capture.capture import Capture
from engines.capture.structure import Structure
from engines.errors import BuildError
from engines.hostloop.passes import SMALL
from engines.hostloop.settings import LoopSettings
from engines.hostloop.tiles import tile_shape
from engines.paths import cache_folder, digest, locked
from engines.plan import DenoiserStructure
from engines.students import FLOW, MOST_STEPS, solved

if TYPE_CHECKING:
    from engines.models.model import Model

Arrays = dict[str, NDArray[Any]]

PROMPTS: Final = 32
"""The least that int8 is usually calibrated on (Model Optimizer's diffusers recipe: 32 to 64); 64 cost
twice as much and gain 0.2 dB on the bundled model (docs/benchmarks/2026-11-28-calibration.md)."""
FEW: Final = 8
"""Of a large model, one of whose pictures takes minutes on a CPU: the gain from 8 to 32 is 1 dB."""
LARGE: Final = 2**30
"""Bytes of a model's files from which on it is large."""
SEED: Final = 90_000
"""Of the first prompt's noise; the others follow."""
OFTEN: Final = 0.05
"""Threshold of the first-block cache while samples are collected: the rest is called at most steps."""
SAMPLES: Final = 48
"""Batches of two (without and with the prompt) kept for each component."""
GENERAL: Final = (
    "a photograph of a mountain lake at dawn",
    "a portrait of an old fisherman, oil painting",
    "a red bicycle leaning against a brick wall",
    "an isometric drawing of a small kitchen",
    "a city street at night in the rain",
    "a bowl of ripe oranges on a wooden table",
    "a white cat asleep on a windowsill",
    "a steam train crossing a stone bridge",
    "an astronaut on a grey desert, film still",
    "a close-up of a bee on a yellow flower",
    "a lighthouse in a storm, watercolour",
    "a young woman with freckles, studio light",
    "a blue vintage car in front of a diner",
    "a map of an invented island, ink on paper",
    "snow on a pine forest, seen from above",
    "a glass of water with ice on a black background",
    "three hot air balloons over a valley",
    "a robot reading a book in a library",
    "a plate of sushi, seen from above",
    "an owl in flight, black and white",
    "a wooden cabin beside a river in autumn",
    "a crowded market with coloured cloth",
    "a marble statue in a garden",
    "a child's drawing of a house and a sun",
    "a surfer on a large green wave",
    "a cup of coffee beside a window on a rainy day",
    "a dragon made of paper",
    "a row of beach huts in pastel colours",
    "an empty corridor with a long shadow",
    "a field of sunflowers under a dark sky",
    "a clock with roman numerals, macro",
    "a poster of a jazz concert, flat design",
)
"""Where a model names no prompt source."""


@dataclass(frozen=True)
class Calibration:
    """Data for every component of one kind of denoiser.

    `loop` fixes the schedule: enough steps that all timesteps are covered.  Prompt `i` begins with the noise
    of `seed + i`.
    """

    model: Model
    denoiser: DenoiserStructure
    loop: LoopSettings
    prompts: int = PROMPTS
    seed: int = SEED

    @cached_property
    def key(self) -> str:
        return digest(3, self.model.hash, self._kind(), self.loop.to_json(), self.prompts, self.seed, SAMPLES)

    def _kind(self) -> list[object]:
        split = [name for name in ("gated", "staged") if getattr(self.denoiser, name)]
        where = {name: getattr(self.denoiser, name) for name in ("modulated", "front", "back")}
        at = [f"{name}={value}" for name, value in where.items() if value]
        return [self.denoiser.student, self.denoiser.cached, *split, *at]

    @property
    def facts(self) -> dict[str, Any]:
        """What an artifact's metadata says of its calibration."""
        return {
            "id": self.key,
            "prompts": len(self._prompts()),
            "steps": self.loop.steps,
            "scheduler": self.loop.scheduler,
            "batches": SAMPLES,
            "seed": self.seed,
            "source": self.model.prompt_source or "general",
            "texts": self._prompts(),
            "seeds": self._seeds(),
            "guidance": self.loop.guidance,
            "timesteps": self._timesteps(),
        }

    def samples(self, component: str) -> list[Arrays]:
        """Batches of inputs, evenly over the schedule.

        Raises:
            BuildError: this kind of denoiser has no such component.
        """
        path = cache_folder("calibration") / f"{self.key}.npz"
        if not path.is_file():
            with locked(path):
                if not path.is_file():
                    self._collect(path)
        with np.load(path) as stored:
            found: dict[int, Arrays] = {}
            for name in stored.files:
                owner, index, argument = name.split("/")
                if owner == component:
                    found.setdefault(int(index), {})[argument] = stored[name]
        if not found:
            raise BuildError(f"there is no calibration data for {component}")
        return [found[index] for index in sorted(found)]

    def _ways(self) -> dict[str, Any]:
        """Settings under which every part of a split denoiser is called, over the whole schedule."""
        gated = self.denoiser.gated
        return {
            "cache_interval": 2 if self.denoiser.cached else 1,
            "cache_threshold": OFTEN if self.denoiser.staged else 0.0,
            "gate_after": 0.5 if gated else 1.0,
            "guidance_until": 0.5 if gated else 1.0,
        }

    def _prompts(self) -> list[str]:
        return prompts_for(self.model, self.prompts, self.seed)

    def _seeds(self) -> list[int]:
        return list(range(self.seed, self.seed + len(self._prompts())))

    def _timesteps(self) -> list[float]:
        """At which the denoiser is called; none where a model has no schedule."""
        from engines.hostloop import schedulers

        if not self.loop.steps:
            return []
        made = schedulers.make(self.loop.scheduler, self.loop.scheduler_config, self.loop.steps)
        return [float(one) for one in made.timesteps]

    def _collect(self, path: Path) -> None:
        from engines.hostloop.loop import Loop, needed

        seen: dict[str, list[Arrays]] = {}
        plain = replace(self.denoiser, merge_ratio=0.0, fused_qkv=False, pruned=0.0, sparse=False)
        settings = replace(self.loop, batch=1, **self._ways())
        components = {}
        for name in needed(settings):
            latent = self.loop.latent_shape
            if name == "decoder":
                latent = tile_shape(self.model.decoder_latent(latent), self.loop.decode_tiles)
            elif name == SMALL:
                latent = (*latent[:-2], latent[-2] // 2, latent[-1] // 2)
            capture = Capture(self.model, Structure(name, latent, plain))
            components[name] = _recording(capture, seen.setdefault(name, []))
        loop = Loop(components, self.model.tokenizers, settings)
        calls: dict[str, list[int]] = {name: [] for name in seen}
        for prompt, seed in zip(self._prompts(), self._seeds(), strict=True):
            loop.generate([prompt], [seed])
            for name, batches in seen.items():
                calls[name].append(len(batches) - sum(calls[name]))
        arrays: dict[str, NDArray[Any]] = {}
        for name, batches in seen.items():
            for index, which in enumerate(chosen(calls[name])):
                arrays |= {f"{name}/{index}/{argument}": value for argument, value in batches[which].items()}
        handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=".new-", suffix=".npz")
        os.close(handle)
        np.savez(fresh, **arrays)  # type: ignore[arg-type]
        Path(fresh).replace(path)


def chosen(calls: Sequence[int], most: int = SAMPLES) -> list[int]:
    """Which of a component's calls are kept: of every prompt, and of every part of the schedule alike.

    Args:
        calls: how often each prompt called it, in their order.
        most: calls that are kept.

    Returns:
        Places in the list of all calls, in the schedule's order; each prompt and each step has as many as any
        other, or one more.
    """
    starts = np.concatenate([[0], np.cumsum(calls)]).tolist()
    found: dict[int, None] = {}
    count = min(most, sum(calls))
    for at in range(count):
        prompt = at % len(calls)
        if calls[prompt]:
            found[starts[prompt] + at * calls[prompt] // count] = None
    return list(found)


def prompts_for(model: Model, count: int = PROMPTS, seed: int = SEED) -> list[str]:
    """Training prompts, which no candidate is judged by."""
    if model.prompt_source == "scenes":
        from engines.scenes.grammar import captions

        return captions(count, seed=20_000 + seed - SEED, split="train")
    return list(GENERAL[:count])


def _recording(capture: Capture, into: list[Arrays]) -> Any:
    def component(inputs: Arrays) -> Arrays:
        into.append({name: value.copy() for name, value in inputs.items()})
        return capture.reference(inputs)

    return component


def calibration_for(model: Model, denoiser: DenoiserStructure, loop: LoopSettings) -> Calibration:
    """The calibration that a plan's int8 engines share: it does not depend on the plan's steps.

    The student is calibrated at the noise levels it is used at.
    """
    fixed = LoopSettings(
        scheduler="ddim",
        scheduler_config=dict(model.scheduler_config),
        steps=8 if denoiser.student else 24,
        guidance=1.0 if denoiser.student else model.guidance,
        latent_shape=loop.latent_shape,
        token_length=loop.token_length,
        bos_id=loop.bos_id,
        eos_id=loop.eos_id,
        pad_id=loop.pad_id,
    )
    if loop.conditions or loop.picture or loop.decode_frames:
        fixed = replace(
            loop, scheduler=own_scheduler(model), steps=min(24, loop.steps and max(model.steps, 1)),
            guidance=model.guidance, guidance_until=1.0, batched_guidance=True, cache_interval=1,
            prompt_cache=False, negative_prompt="", batch=8, cache_threshold=0.0, gate_after=1.0,
            small_until=0.0, forecast_order=0, guidance_from=0.0,
            decode_singly=False, reuse=None, guidance_agreement=0.0,
        )  # fmt: skip
    student = model.student if denoiser.student else None
    if student is not None:
        # of a flow the loop's settings also hold the shift for the picture's size
        own = loop.scheduler_config if loop.scheduler == FLOW else model.scheduler_config
        solver, config = solved(student.kind, own)
        fixed = replace(
            fixed, scheduler=solver, steps=student.steps or MOST_STEPS, scheduler_config=config,
            guidance=loop.guidance if loop.embedded_guidance else 1.0,
        )  # fmt: skip
    if loop.small_until:
        fixed = replace(fixed, small_until=0.5)
    if loop.decode_tiles > 1:
        fixed = replace(fixed, decode_tiles=loop.decode_tiles)
    kind = DenoiserStructure(
        student=denoiser.student, cached=denoiser.cached, gated=denoiser.gated, staged=denoiser.staged,
        modulated=denoiser.modulated, front=denoiser.front, back=denoiser.back,
    )  # fmt: skip
    large = sum(size for size, _ in model.files.values()) >= LARGE
    return Calibration(model, kind, fixed, FEW if large else PROMPTS)


def own_scheduler(model: Model) -> str:
    """The host loop's name of the scheduler that a model was saved with."""
    from engines.hostloop.schedulers import DIFFUSERS_NAMES

    return DIFFUSERS_NAMES.get(str(model.scheduler_config.get("_class_name")), "ddim")
