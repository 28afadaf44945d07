"""Recipe to script: the standalone Python file that carries a proposal out."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from typing import Final

from agent.candidate import Proposal, Recipe, Step
from agent.errors import RecipeError
from agent.planner.context import Context
from agent.planner.words import engine_name, solver_name
from engines.backends.serves import TORCH, baseline

_WIDTH: Final = 100

_PRECISIONS: Final = ("fp32", "bf16", "int8")


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _get(step: Step, name: str) -> str:
    return _plain(step.parameters.get(name, "?"))


_LABELS: Final[Mapping[str, Callable[[Step], str]]] = {
    "student": lambda step: f"student {_get(step, 'steps')}",
    "guidance-cutoff": lambda step: f"guidance to {float(step.parameters.get('until', 1.0)):.0%}",
    "feature-cache": lambda step: f"cache {_get(step, 'interval')}",
    "token-merging": lambda step: f"merge {float(step.parameters.get('ratio', 0.0)):.0%}",
    "prompt-cache": lambda _: "prompt cache",
    "tiny-decoder": lambda _: "tiny decoder",
    "fused-qkv": lambda _: "fused QKV",
    "channels-last": lambda _: "channels last",
    "sequential-guidance": lambda _: "sequential guidance",
}


def title(recipe: Recipe) -> str:
    """A short label: `DPM++ 2M 12 + OpenVINO bf16 + tiny decoder`; `baseline` for no technique."""
    found = {step.technique: step for step in recipe}
    parts: list[str] = []
    solver, fewer, engine = found.get("scheduler"), found.get("fewer-steps"), found.get("engine")
    if solver is not None or fewer is not None:
        name = "" if solver is None else str(solver.parameters.get("name", ""))
        label = solver_name(name) if name else ""
        count = "" if fewer is None else _get(fewer, "steps")
        parts.append(" ".join(filter(None, (label, count))) if label else f"{count} steps")
    backend = "" if engine is None else str(engine.parameters.get("backend", ""))
    run = " ".join(filter(None, (engine_name(backend), *(name for name in _PRECISIONS if name in found))))
    for step in recipe:
        if step.technique in ("scheduler", "fewer-steps", "engine", *_PRECISIONS):
            continue
        write = _LABELS.get(step.technique)
        parts.append(
            write(step)
            if write is not None
            else " ".join((step.technique.replace("-", " "), *map(_plain, step.parameters.values())))
        )
        if step.technique == "student" and run:
            parts.append(run)
            run = ""
    if run:
        parts.insert(1 if solver is not None or fewer is not None else 0, run)
    return " + ".join(parts) or "baseline"


def class_name(technique: str) -> str:
    """The class of a technique as `engines.techniques` exports it.

    Raises:
        RecipeError: no such technique.
    """
    from engines.techniques import all_techniques

    for one in all_techniques():
        if one.name == technique:
            kind = one if isinstance(one, type) else type(one)
            return str(kind.__name__)
    raise RecipeError(f"There is no technique {technique!r}; update the recipe.")


def _literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _call(step: Step) -> str:
    values = ", ".join(f"{name}={_literal(value)}" for name, value in step.parameters.items())
    return f"{class_name(step.technique)}({values})"


def _paragraph(text: str) -> str:
    return "\n".join(textwrap.wrap(text.replace("\\", "/").replace('"""', "'''"), _WIDTH))


def _lineage(proposal: Proposal, context: Context) -> str:
    if not proposal.parents:
        return f"Generation {context.generation}, without parents."
    named = []
    for name in proposal.parents:
        parent = context.judged(name)
        named.append(name if parent is None else f"{name} ({title(parent.candidate.proposal.recipe)})")
    return f"Generation {context.generation}, from {' and '.join(named)}."


def _docstring(head: str, *paragraphs: str) -> str:
    body = "\n\n".join(_paragraph(text) for text in paragraphs if text)
    return f'"""{_paragraph(head)}\n\n{body}\n"""'


_SCRIPT: Final = """{docstring}

from engines.pipeline import build, plan
from engines.techniques import {classes}

RECIPE = (
{steps}
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
"""

_BASELINE: Final = '''{docstring}

import time
from types import SimpleNamespace

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from engines.hostloop.noise import latent_noise
from engines.models.load import open_model


class Baseline:
    """The pipeline with its settings; `last` keeps the seconds of each stage."""

    def __init__(self, model, device, workload):
        source = open_model(model)
        self.pipe = StableDiffusionPipeline.from_pretrained(
            source.path, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        ).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.device = device
        self.size = workload.size or source.size
        self.steps = workload.steps or source.steps
        self.guidance = source.guidance if workload.guidance is None else workload.guidance
        self.negative_prompt = workload.negative_prompt
        self.batch = max(workload.batch, 4)  # as every candidate: what is asked at once is drawn at once
        self.solving = 0.0
        self._step, self.pipe.scheduler.step = self.pipe.scheduler.step, self.step
        self.last = None

    def step(self, *given, **named):
        """The scheduler's own, timed."""
        begun = time.perf_counter()
        try:
            return self._step(*given, **named)
        finally:
            self.solving += time.perf_counter() - begun

    @property
    def latent_shape(self):
        """(C, h, w)"""
        side = self.size // self.pipe.vae_scale_factor
        return (self.pipe.unet.config.in_channels, side, side)

    @torch.inference_mode()
    def draw(self, prompts, seeds):
        """Images uint8 (B, H, W, 3) and the seconds of encode, denoise (with the scheduler) and decode."""
        noise = np.stack([latent_noise(seed, self.latent_shape) for seed in seeds])
        marks = [time.perf_counter()]
        wanted, unwanted = self.pipe.encode_prompt(
            prompts,
            self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=self.guidance > 1,
            negative_prompt=[self.negative_prompt] * len(prompts),
        )
        marks.append(time.perf_counter())
        latents = self.pipe(
            prompt_embeds=wanted,
            negative_prompt_embeds=unwanted if self.guidance > 1 else None,
            latents=torch.from_numpy(noise).to(self.device),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            height=self.size,
            width=self.size,
            output_type="latent",
        ).images
        marks.append(time.perf_counter())
        decoded = self.pipe.vae.decode(latents / self.pipe.vae.config.scaling_factor).sample
        images = self.pipe.image_processor.postprocess(decoded, output_type="np")
        pixels = (images * 255).round().astype(np.uint8)
        marks.append(time.perf_counter())
        return pixels, np.diff(marks)

    def generate(self, prompts, seeds):
        self.solving = 0.0
        drawn = [
            self.draw(prompts[at : at + self.batch], seeds[at : at + self.batch])
            for at in range(0, len(prompts), self.batch)
        ]
        encode, denoise, decode = np.sum([spent for _, spent in drawn], axis=0).tolist()
        self.last = SimpleNamespace(
            seconds={{
                "encode": encode,
                "denoise": denoise - self.solving,
                "scheduler": self.solving,
                "decode": decode,
            }},
            calls={{"denoiser": self.steps * len(drawn)}},
        )
        return np.concatenate([pixels for pixels, _ in drawn])


def load(model, device, workload):
    return Baseline(model, device, workload)


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds)
'''


_ANY_BASELINE: Final = """{docstring}

from engines.models.load import open_model
from engines.models.reference import Reference


def load(model, device, workload):
    return Reference(open_model(model), device, workload)


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds)
"""
_ENGINES_BASELINE: Final = """{docstring}

from engines.pipeline import build, plan


def load(model, device, workload):
    return build(plan(model, device, workload))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
"""
_PLAIN: Final = "stable-diffusion"
"""The family whose baseline on the CPU is spelled out; others run by `models.reference`."""


class ScriptWriter:
    """The coder that needs no key: the same proposal gives the same file."""

    def title(self, recipe: Recipe) -> str:
        return title(recipe)

    def write(self, proposal: Proposal, context: Context) -> str:
        """The script of a recipe; raises `RecipeError` for an unknown technique."""
        recipe = context.space.canonical(proposal.recipe)
        if not recipe:
            return self.baseline(context)
        classes = sorted({class_name(step.technique) for step in recipe})
        names = ", ".join(classes)
        if len(names) > _WIDTH - 35:
            names = "(\n" + "".join(f"    {name},\n" for name in classes) + ")"
        facts = "\n".join(
            _paragraph(f"- {step.technique}: {context.facts[step.technique].quality}")
            for step in recipe
            if step.technique in context.facts
        )
        document = _docstring(title(recipe), _lineage(proposal, context), f"Why: {proposal.why}")
        if facts:
            document = f'{document[:-4]}\n\nWhat is known of the quality:\n\n{facts}\n"""'
        return _SCRIPT.format(
            docstring=document,
            classes=names,
            steps="\n".join(f"    {_call(step)}," for step in recipe),
        )

    def baseline(self, context: Context) -> str:
        """The unchanged model with the Studio's noise: by diffusers, or by a device's plain engine where
        torch does not run on it.
        """
        device = context.device
        if device not in TORCH:
            script = _ENGINES_BASELINE
        elif device == "cpu" and context.card.family == _PLAIN:
            script = _BASELINE
        else:
            script = _ANY_BASELINE
        how = f"{baseline(device)}, diffusers' own pipeline" if device in TORCH else baseline(device)
        return script.format(
            docstring=_docstring(
                f"{context.card.name} as its authors ship it",
                f"The baseline that everything is compared with: {how}, the saved scheduler and steps, "
                "guidance batched, noise from Philox by seed.",
            )
        )
