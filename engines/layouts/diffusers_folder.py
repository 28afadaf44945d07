"""A diffusers folder: `DiffusionPipeline.from_pretrained` loads it and draws with torch.

It carries the model, not the engine.  What a recipe does to weights (the merged
student, the tiny decoder), scheduler, steps and guidance is said; what it does
to graphs (a feature cache, merged tokens, int8) has no words there and is
listed, and the picture is then that of the recipe without it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from engines.errors import PackageError
from engines.hostloop import schedulers
from engines.layouts.base import Drawn, Layout, Spoken, Subject, register
from engines.layouts.engine_words import draws_pictures
from engines.layouts.script import draw_by_script, write_noise, write_program
from engines.models.lora import merge
from engines.plan import DenoiserStructure

if TYPE_CHECKING:
    from engines.models.model import Model
    from engines.plan import Plan

SETTINGS: Final = {".json", ".txt", ".model"}
GUIDED_INPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "StableDiffusionPipeline": ("prompt_embeds",),
    "StableDiffusionXLPipeline": ("prompt_embeds", "add_text_embeds", "add_time_ids"),
}
"""What a pipeline's callback halves when guidance ends."""
CLASSES: Final = {ours: theirs for theirs, ours in schedulers.DIFFUSERS_NAMES.items()}
_DTYPES: Final = {"bf16": "bfloat16", "fp16": "float16"}


@register
class DiffusersFolder(Layout):
    name = "diffusers"
    title = "diffusers"
    summary = "A model folder for DiffusionPipeline.from_pretrained: torch, on any device."
    usage = """\
    python generate.py --prompt "{prompt}" --seed {seed} --out picture.png

needs `pip install diffusers transformers torch`. In a program of your own:

    pipe = DiffusionPipeline.from_pretrained(FOLDER)
    pipe("{prompt}", num_inference_steps={steps}, guidance_scale={guidance})

Steps and guidance are no part of such a folder. The same seed stands for the same picture only with the
noise of `generate.py`."""
    modules: ClassVar = ("diffusers",)
    takes_engines = False

    def spoken(self, plan: Plan, model: Model) -> Spoken:
        refused = draws_pictures(model, "A diffusers folder")
        if model.diffusion_decoder_kind is not None:
            reason = f"{model.name} joins two pipelines with a scheduler each, which this version writes no"
            refused = (*refused, f"{reason} diffusers folder for; export the package as it is.")
        if refused:
            return Spoken(plan, refused=refused)
        graph, loop = plan.denoiser, plan.loop
        silent, other = _left_out(plan, model)
        said = replace(
            plan,
            device="cpu",
            backend="torch",
            precision="fp32",
            channels_last=False,
            units="all",
            denoiser=DenoiserStructure(student=graph.student),
            loop=replace(
                loop,
                cache_interval=1,
                forecast_order=0,
                cache_threshold=0.0,
                reuse=None,
                gate_after=1.0,
                small_until=0.0,
                guidance_from=0.0,
                guidance_agreement=0.0,
                decode_tiles=1,
                decode_singly=False,
                batched_guidance=True,
                prompt_cache=False,
                guidance_until=loop.guidance_until if model.layout.pipeline in GUIDED_INPUTS else 1.0,
            ),
        )
        return Spoken(said, (*other, *silent), other_picture=bool(other))

    def write(self, subject: Subject, folder: Path) -> None:
        model, plan = subject.model, subject.plan
        index = {key: value for key, value in model.layout.index.items() if not isinstance(value, list)}
        for name, entry in model.layout.index.items():
            if not isinstance(entry, list):
                continue
            kept = name in model.layout.parts or name.startswith(("tokenizer", "feature_extractor"))
            index[name] = entry if kept and (model.path / name).is_dir() else [None, None]
            if index[name][1] is not None and name not in ("vae", "scheduler", model.layout.denoiser):
                _copy(model, name, folder / name)
        index["scheduler"] = ["diffusers", CLASSES[plan.loop.scheduler]]
        _write_scheduler(plan, folder / "scheduler")
        if plan.denoiser.student and model.layout.student is not None:
            network: Any = model.part(model.layout.denoiser)
            merge(network, model.layout.student, prefix=f"{model.layout.denoiser}.")
            network.save_pretrained(folder / model.layout.denoiser)
        else:
            _copy(model, model.layout.denoiser, folder / model.layout.denoiser)
        tiny = plan.decoder == "tiny"
        index["vae"] = ["diffusers", "AutoencoderTiny" if tiny else model.layout.parts["vae"].kind]
        _copy(model, "tiny_vae" if tiny else "vae", folder / "vae")
        if "safety_checker" in index:
            index["requires_safety_checker"] = False
        _write_json(folder / "model_index.json", index)
        _write_json(folder / "recipe.json", _recipe(subject))
        write_program("generate_diffusers", folder / "generate.py")
        write_noise(folder)

    def draw(self, folder: Path, prompt: str, seed: int) -> Drawn | None:
        return Drawn(draw_by_script(folder, prompt, seed), f"diffusers {metadata.version('diffusers')}")


def _left_out(plan: Plan, model: Model) -> tuple[list[str], list[str]]:
    """What stays behind without a change to the picture, and with one."""
    graph, loop = plan.denoiser, plan.loop
    silent, other = [], []
    if plan.backend != "torch":
        silent.append(f"The engine stays behind: diffusers runs the model in torch, not on {plan.backend}.")
    if plan.precision in _DTYPES:
        dtype = _DTYPES[plan.precision]
        silent.append(f"The weights are as the model's authors ship them; for {plan.precision} load them with"
                      f" dtype=torch.{dtype} (generate.py: --dtype {dtype}).")  # fmt: skip
    elif plan.precision != "fp32":
        other.append(f"The precision {plan.precision} is left out: these weights are not quantised, so that"
                     " the picture is nearer to the model's own.")  # fmt: skip
    if loop.cache_interval > 1:
        what = "forecast" if loop.forecast_order else "cache"
        other.append(f"The feature {what} is left out: a diffusers folder cannot say it; every step runs the"
                     " whole denoiser.")  # fmt: skip
    elif loop.cache_threshold or loop.reuse or loop.gate_after < 1 or loop.small_until:
        other.append("The denoiser's parts are left out: a diffusers folder cannot say them; every step runs"
                     " the whole denoiser at full size.")  # fmt: skip
    if graph.merge_ratio:
        other.append("Token merging is left out: it is in no weights; every token is computed.")
    if loop.guidance > 1 and loop.guidance_until < 1 and model.layout.pipeline not in GUIDED_INPUTS:
        other.append(f"The guidance cut-off is left out: {model.layout.pipeline} cannot end guidance early.")
    elif loop.guidance > 1 and loop.guidance_until < 1:
        silent.append("The guidance cut-off is in generate.py, not in the folder's own settings.")
    if loop.guidance > 1 and loop.guidance_from:
        other.append("The later begin of guidance is left out: diffusers guides from the first step.")
    if loop.guidance > 1 and loop.guidance_agreement:
        other.append("Adaptive guidance is left out: a diffusers folder cannot say when both passes agree.")
    if graph.fused_qkv:
        silent.append("Fused projections are left out; pipe.fuse_qkv_projections() makes them again.")
    if loop.prompt_cache:
        silent.append("The prompt cache is left out: diffusers encodes every prompt anew.")
    if loop.decode_tiles > 1:
        other.append("VAE tiling is left out of the folder; pipe.vae.enable_tiling() makes tiles again.")
    if loop.decode_singly:
        silent.append("VAE slicing is left out; pipe.vae.enable_slicing() makes slices again.")
    if not loop.batched_guidance:
        silent.append("Sequential guidance is left out: diffusers guides in one pass of two.")
    return silent, other


def _recipe(subject: Subject) -> dict[str, Any]:
    loop = subject.plan.loop
    scheduler = schedulers.make(loop.scheduler, loop.scheduler_config, loop.steps)
    return {
        "title": subject.title,
        "steps": loop.steps,
        "evaluations": len(scheduler.timesteps),
        "guidance": loop.guidance,
        "guidance_until": loop.guidance_until,
        "guided_inputs": list(GUIDED_INPUTS.get(subject.model.layout.pipeline, ())),
        "negative_prompt": loop.negative_prompt,
        "latent_shape": list(loop.latent_shape),
        "height": subject.picture.shape[0],
        "width": subject.picture.shape[1],
    }


def _write_scheduler(plan: Plan, folder: Path) -> None:
    import diffusers

    kind: Any = getattr(diffusers, CLASSES[plan.loop.scheduler])
    config = {key: value for key, value in plan.loop.scheduler_config.items() if not key.startswith("_")}
    if config.get("prediction_type") == "flow_prediction" and kind.__name__.startswith("FlowMatch"):
        del config["prediction_type"]
    kind.from_config(config).save_pretrained(folder)


def _copy(model: Model, name: str, target: Path) -> None:
    """A part's settings and weights, under the names that are looked for without being told."""
    source, part = model.path / name, model.layout.parts.get(name)
    if part is not None and any(".fp16." in path.name for path in part.weights):
        module: Any = model.part(name)
        module.save_pretrained(target)
        return
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        wanted = path.suffix in SETTINGS or (part is not None and path in part.weights)
        if wanted and path.is_file():
            shutil.copyfile(path, target / path.name)
    if part is not None:
        _write_json(target / "config.json", _one_dtype(part.config))
    if not any(target.iterdir()):
        raise PackageError(f"The part {name} of {model.name} holds no files; load the model again.")


def _one_dtype(config: Mapping[str, Any]) -> dict[str, Any]:
    """A part's settings with float32 for what it is loaded in.

    transformers loads a part as it was saved and diffusers in float32, so that a model whose text encoder was
    saved in halves would not run as it is loaded.
    """
    return {key: "float32" if key in ("dtype", "torch_dtype") else value for key, value in config.items()}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
