"""An OpenVINO GenAI folder: `openvino_genai.Text2ImagePipeline` loads and runs it, in Python and in C++.

What GenAI demands (read off its sources, 2026.4, and tried):

    model_index.json                    names the pipeline class and the classes of its parts
    scheduler/scheduler_config.json     DDIM, Euler, Euler ancestral, LCM, PNDM; flow-match Euler
    tokenizer/openvino_tokenizer.xml    by openvino-tokenizers; GenAI cuts and pads what it returns itself
    text_encoder/openvino_model.xml     `input_ids` -> embeddings first
    unet/openvino_model.xml             `sample`, `timestep` int64 (1,), `encoder_hidden_states`
    vae_decoder/openvino_model.xml      `latent_sample` -> (B, 3, H, W) in [-1, 1]; its config scales

The files are the candidate's own engines; only names and the timestep change.
Steps, guidance, size and precision are no part of such a folder: `generate.py`
gives them.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from engines.errors import PackageError
from engines.hostloop import schedulers
from engines.hostloop.passes import parts
from engines.hostloop.schedule import signal_left
from engines.layouts.base import Drawn, Layout, Spoken, Subject, register
from engines.layouts.engine_words import draws_pictures, listed, on_engine
from engines.layouts.script import draw_by_script, write_noise, write_program

if TYPE_CHECKING:
    from engines.backends.base import Artifact
    from engines.models.model import Model
    from engines.plan import Plan

PIPELINE: Final = "StableDiffusionPipeline"
SCHEDULERS: Final = {
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
    "pndm": "PNDMScheduler",
}
PLUGINS: Final = {"cpu": "CPU", "intel-gpu": "GPU", "intel-npu": "NPU"}
XML: Final = "openvino_model.xml"


@register
class OpenVinoGenAI(Layout):
    name = "openvino-genai"
    title = "OpenVINO GenAI"
    summary = "A folder for openvino_genai.Text2ImagePipeline, in Python and C++, on Intel CPU, GPU and NPU."
    usage = """\
    python generate.py --prompt "{prompt}" --seed {seed} --out picture.png

needs `pip install openvino-genai pillow`. In a program of your own, in Python or C++:

    pipe = Text2ImagePipeline(FOLDER, "CPU")
    pipe.generate("{prompt}", num_inference_steps={steps}, guidance_scale={guidance})

Steps and guidance are no part of such a folder. The same seed stands for the same picture only with the
noise of `generate.py`."""
    modules: ClassVar = ("openvino", "openvino_tokenizers")
    extra = "genai"

    def spoken(self, plan: Plan, model: Model) -> Spoken:
        device = plan.device if plan.device in PLUGINS else "cpu"
        there, lost = on_engine(plan, "openvino", device)
        loop, left_out = there.loop, list(lost)
        if loop.prompt_cache:
            left_out.append("The prompt cache is left out: OpenVINO GenAI encodes every prompt anew.")
        if not loop.batched_guidance:
            left_out.append("Sequential guidance is left out: OpenVINO GenAI guides in one pass of two.")
        if loop.decode_singly:
            left_out.append("VAE slicing is left out: OpenVINO GenAI decodes a batch in one call.")
        plain = replace(loop, prompt_cache=False, batched_guidance=True, decode_singly=False)
        said = replace(there, loop=plain)
        return Spoken(said, tuple(left_out), tuple(_refusals(said, model)))

    def write(self, subject: Subject, folder: Path) -> None:
        model, plan = subject.model, subject.plan
        artifacts = {one.capture.component: one for one in subject.artifacts}
        for name in model.text_parts:
            place = folder / name
            _write_json(place / "config.json", {
                "architectures": [model.layout.parts[name].kind],
                "max_position_embeddings": _encoder(model, name).length,
            })  # fmt: skip
            _save(_renamed(artifacts[name], {}, ["embeddings"]), place / XML)
            _write_tokenizer(model, name, folder, subject)
        denoiser = _denoiser(artifacts["denoiser"], {"embeddings": "encoder_hidden_states"})
        _save(denoiser, folder / "unet" / XML)
        channels, side, _ = plan.loop.latent_shape
        _write_json(folder / "unet" / "config.json", {"in_channels": channels, "sample_size": side})
        decoder = _renamed(artifacts["decoder"], {"latent": "latent_sample"}, ["image"])
        _save(decoder, folder / "vae_decoder" / XML)
        _write_json(folder / "vae_decoder" / "config.json", {
            "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "latent_channels": channels,
            "block_out_channels": [1] * model.scale.bit_length(),  # GenAI counts them: factor 2 each but one
            "scaling_factor": 1.0, "shift_factor": 0.0,  # inside the decoder's graph already
        })  # fmt: skip
        _write_json(folder / "scheduler" / "scheduler_config.json", scheduler_config(plan))
        _write_json(folder / "model_index.json", _index(model))
        _write_json(folder / "recipe.json", _recipe(subject, artifacts["denoiser"]))
        write_program("generate_openvino_genai", folder / "generate.py")
        write_noise(folder)

    def draw(self, folder: Path, prompt: str, seed: int) -> Drawn | None:
        if find_spec("openvino_genai") is None:
            return None
        version = metadata.version("openvino-genai")
        return Drawn(draw_by_script(folder, prompt, seed), f"OpenVINO GenAI {version}")


# -- what cannot be said --------------------------------------------------------------------------


def _refusals(plan: Plan, model: Model) -> list[str]:
    if found := list(draws_pictures(model, OpenVinoGenAI.title)):
        return found
    if model.layout.pipeline != PIPELINE:
        reason = f"This version writes OpenVINO GenAI folders for a {PIPELINE}, and {model.name} is a"
        return [f"{reason} {model.layout.pipeline}; export the package as it is."]
    loop = plan.loop
    if loop.cache_interval > 1:
        what = "forecast" if loop.forecast_order else "cache"
        found.append(
            f"A feature {what} cannot be said in OpenVINO GenAI, which calls one whole denoiser at every"
            f" step; choose a candidate without feature-{what}, or export the package as it is."
        )
    elif parts(loop) != ("denoiser",):
        found.append(
            "A denoiser in parts cannot be said in OpenVINO GenAI, which calls one whole denoiser at every"
            " step; choose a candidate without threshold-cache, attention-gate and progressive-resolution, or"
            " export the package as it is."
        )
    if loop.guidance > 1 and loop.guidance_until < 1:
        found.append(
            "A guidance cut-off cannot be said in OpenVINO GenAI, which guides every step;"
            " choose a candidate without guidance-cutoff, or export the package as it is."
        )
    if loop.guidance > 1 and loop.guidance_from:
        found.append(
            "A later begin of guidance cannot be said in OpenVINO GenAI, which guides every step;"
            " choose a candidate without guidance-interval, or export the package as it is."
        )
    if loop.guidance > 1 and loop.guidance_agreement:
        found.append(
            "Adaptive guidance cannot be said in OpenVINO GenAI, which guides every step;"
            " choose a candidate without adaptive-guidance, or export the package as it is."
        )
    if loop.decode_tiles > 1:
        found.append(
            "VAE tiling cannot be said in OpenVINO GenAI, which decodes a picture in one call;"
            " choose a candidate without vae-tiling, or export the package as it is."
        )
    if loop.embedded_guidance:
        found.append(
            "The denoiser of this model embeds its guidance itself, which OpenVINO GenAI wants to do;"
            " export the package as it is."
        )
    if loop.negative_prompt and loop.guidance <= 1:
        found.append("OpenVINO GenAI refuses a negative prompt without guidance; run again without it.")
    full = _full(plan)
    if loop.scheduler == "ddim" and full["clip_sample"]:
        found.append("OpenVINO GenAI's DDIM cannot clip samples (clip_sample); export the package as it is.")
    if loop.scheduler == "lcm" and full["prediction_type"] != "epsilon":
        found.append("OpenVINO GenAI's LCM takes denoisers that predict noise; export the package as it is.")
    if loop.scheduler not in SCHEDULERS:
        found.append(
            f"OpenVINO GenAI has no scheduler {loop.scheduler}; choose a candidate on"
            f" {listed(tuple(SCHEDULERS))}, or export the package as it is."
        )
    elif not _same_steps(scheduler_config(plan), plan):
        found.append(
            f"OpenVINO GenAI would visit other timesteps than this recipe in {loop.steps} steps (spacing"
            f" {full['timestep_spacing']}); choose a candidate whose number of steps divides"
            f" {full['num_train_timesteps']}, or export the package as it is."
        )
    return found


def _full(plan: Plan) -> dict[str, Any]:
    loop = plan.loop
    return schedulers.make(loop.scheduler, loop.scheduler_config, loop.steps).config


def scheduler_config(plan: Plan) -> dict[str, Any]:
    """The scheduler's settings in full: GenAI's defaults are not everywhere those of diffusers.

    Its noise schedule is written out as betas, for GenAI's own leaves the last one out; and where a trailing
    spacing has steps of equal width it is said as a leading one that begins later, for GenAI's counts down
    in float32 and may take a step too many.
    """
    full = {key: value for key, value in _full(plan).items() if not key.startswith("_")}
    plain: dict[str, Any] = {
        key: value for key, value in full.items() if isinstance(value, str | int | float)
    }
    left = signal_left(full)
    betas = 1 - left / np.concatenate([[1.0], left[:-1]])
    if plan.loop.scheduler != "lcm" and not full["rescale_betas_zero_snr"]:  # whose own are right
        plain |= {"trained_betas": [float(beta) for beta in betas]}
    count, steps = int(full["num_train_timesteps"]), plan.loop.steps
    if plan.loop.scheduler == "ddim" and full["timestep_spacing"] == "trailing" and count % steps == 0:
        plain |= {"timestep_spacing": "leading", "steps_offset": count // steps - 1}
    return plain | {"_class_name": SCHEDULERS[plan.loop.scheduler]}


def _same_steps(config: Mapping[str, Any], plan: Plan) -> bool:
    """Whether GenAI's arithmetic visits the timesteps that the host loop visits."""
    loop = plan.loop
    ours = schedulers.make(loop.scheduler, loop.scheduler_config, loop.steps).timesteps
    count = int(config["num_train_timesteps"])
    if loop.scheduler == "lcm":
        return True
    if config["timestep_spacing"] == "leading":
        theirs = np.arange(loop.steps)[::-1] * (count // loop.steps) + int(config["steps_offset"])
    elif config["timestep_spacing"] == "trailing":
        theirs = _counted_down(count, loop.steps)
    else:
        theirs = np.rint(np.linspace(0, count - 1, loop.steps))[::-1]
    if loop.scheduler == "pndm":
        theirs = np.concatenate([theirs[:2], theirs[1:]])
    return len(ours) == len(theirs) and bool(np.array_equal(ours, theirs))


def _counted_down(count: int, steps: int) -> np.ndarray[Any, Any]:
    """GenAI's trailing spacing: subtracting in float32 until nothing is left."""
    stride, at, found = np.float32(count) / np.float32(steps), np.float32(count), []
    while at > 0:
        found.append(float(np.rint(at)) - 1)
        at = np.float32(at - stride)
    return np.array(found)


# -- the files ------------------------------------------------------------------------------------


def _encoder(model: Model, name: str) -> Any:
    return next(one for one in model.encoders if one.component == name)


def _index(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {
        "_class_name": model.layout.pipeline,
        "scheduler": ["diffusers", "Scheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    for name in model.text_parts:
        found[name] = ["transformers", model.layout.parts[name].kind]
        found[model.tokenizer_name(name)] = ["transformers", "CLIPTokenizer"]
    return found


def _recipe(subject: Subject, denoiser: Artifact) -> dict[str, Any]:
    loop = subject.plan.loop
    return {
        "title": subject.title,
        "device": PLUGINS[subject.plan.device],
        "properties": dict(denoiser.metadata["options"]),
        "steps": loop.steps,
        "guidance": loop.guidance,
        "negative_prompt": loop.negative_prompt,
        "latent_shape": list(loop.latent_shape),
        "height": subject.picture.shape[0],
        "width": subject.picture.shape[1],
    }


def _read(artifact: Artifact) -> Any:
    import openvino

    name = next(name for name in artifact.metadata["files"] if name.endswith(".xml"))
    return openvino.Core().read_model(artifact.folder / name)


def _renamed(artifact: Artifact, inputs: Mapping[str, str], outputs: Sequence[str]) -> Any:
    """An engine's graph with other input names, and the named outputs in this order."""
    import openvino

    model = _read(artifact)
    for port in model.inputs:
        if (name := port.get_any_name()) in inputs:
            port.get_tensor().set_names({inputs[name]})
    given = {port.get_any_name(): port.get_node().input_value(0) for port in model.outputs}
    try:
        results = [openvino.opset13.result(given[name]) for name in outputs]
    except KeyError as error:
        raise PackageError(
            f"The {artifact.capture.component} gives no {error.args[0]}, which OpenVINO GenAI asks for;"
            " export the package as it is."
        ) from None
    return openvino.Model(results, model.get_parameters(), artifact.capture.component)


def _denoiser(artifact: Artifact, names: Mapping[str, str]) -> Any:
    """The denoiser with one whole timestep for all rows, as GenAI gives it."""
    import openvino
    from openvino import opset13 as ops

    model = _read(artifact)
    ports = {port.get_any_name(): port for port in model.inputs}
    for name, port in ports.items():
        if name in names:
            port.get_tensor().set_names({names[name]})
    time = ops.parameter(openvino.PartialShape([-1]), openvino.Type.i64, name="timestep")
    rows = ops.gather(ops.shape_of(ports["sample"]), ops.constant(np.array([0])), ops.constant(np.int64(0)))
    spread = ops.broadcast(ops.convert(time, "f32"), rows)
    old = ports["timestep"]
    for target in list(old.get_target_inputs()):
        target.replace_source_output(spread.output(0))
    old.get_tensor().set_names(set())
    time.output(0).get_tensor().set_names({"timestep"})
    model.add_parameters([time])
    model.remove_parameter(old.get_node())
    model.validate_nodes_and_infer_types()
    return model


def _save(model: Any, path: Path) -> None:
    import openvino

    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, path, compress_to_fp16=False)


def _write_tokenizer(model: Model, text_part: str, folder: Path, subject: Subject) -> None:
    """The tokenizer as an OpenVINO graph, compared with the host loop's on what it will be asked.

    Raises:
        PackageError: it makes other tokens.
    """
    import openvino

    tools: Any = importlib.import_module("openvino_tokenizers")
    from transformers import PreTrainedTokenizerFast

    name = model.tokenizer_name(text_part)
    if (folder / name).is_dir():
        return
    encoder = _encoder(model, text_part)
    own = model.tokenizers[name]
    words = {
        role: own.id_to_token(number)
        for role, number in (
            ("bos_token", encoder.begin), ("eos_token", encoder.end), ("pad_token", encoder.pad),
        )
        if number is not None
    }  # fmt: skip
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=own, model_max_length=encoder.length, unk_token=words.get("eos_token"), **words
    )
    graph = tools.convert_tokenizer(wrapped, with_detokenizer=False, truncation=True)
    texts = [subject.prompt, "", " ".join([subject.prompt] * encoder.length)]
    texts += [prompt for prompt, _, _ in subject.gallery]
    compiled = openvino.Core().compile_model(graph, "CPU")
    for text in texts:
        theirs = np.asarray(compiled([text])["input_ids"]).reshape(-1).tolist()
        row = own.encode(text, add_special_tokens=False).ids[: encoder.length - 2]
        ours = [encoder.begin, *row, encoder.end]
        if theirs[: len(ours)] != ours or any(one != encoder.pad for one in theirs[len(ours) :]):
            raise PackageError(
                f"openvino-tokenizers makes other tokens of {text[:60]!r} than the model's own tokenizer;"
                " export the package as it is."
            )
    (folder / name).mkdir()
    openvino.save_model(graph, folder / name / "openvino_tokenizer.xml", compress_to_fp16=False)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
