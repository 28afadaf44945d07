"""A model folder in the diffusers layout: which parts it has, and whether they are whole.

Everything is found out from `model_index.json`, the `config.json` files and
the headers of the weights; no tensor is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engines.errors import ModelError, UnsafeWeights
from engines.models import safetensors_file

PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
INDEX: Final = "model_index.json"
SILENT: Final = (
    "scheduler", "low_res_scheduler", "feature_extractor", "safety_checker", "watermarker", "image_processor",
)  # fmt: skip
"""Parts of a pipeline that are no component: settings, or not run."""
DENOISERS: Final = ("transformer", "unet", "prior")
JOINED: Final = "prior_"
"""What the prior's parts begin with in a pipeline that joins it and the pipeline that is told it."""
SECOND: Final[Mapping[str, str]] = {"decoder": "diffusion_decoder", "vqgan": "vae"}
"""What is run of such a pipeline's second half, and its name here; the first half's texts serve both."""
ENLARGED_SIDE: Final = 128
"""Pixels of the pictures that a network which enlarges them is given, where the user names no size."""
STUDENT: Final = "student_lora"
"""The folder of the few-step student's LoRA."""
STUDENT_FACTS: Final = "student.json"
"""Beside it: of which kind it is (`engines.students`)."""
TINY: Final = "tiny_vae"
"""The folder of the tiny decoder."""
VIDEO_UNET: Final = "UNetMotionModel"
"""What a U-Net becomes with a motion adapter."""


@dataclass(frozen=True, slots=True)
class Part:
    """One sub-folder with weights."""

    name: str
    kind: str
    """Class name."""
    folder: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]

    def tensors(self) -> Iterator[safetensors_file.Tensor]:
        for path in self.weights:
            yield from safetensors_file.header(path).values()


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole model folder."""

    folder: Path
    pipeline: str
    family: str
    parts: Mapping[str, Part]
    """By folder: text encoders, the denoiser (`unet` or `transformer`), `vae`, and what else there is:
    `image_encoder`, `motion_adapter`, `tiny_vae`.  Or one alone, `upscaler`.  Of a pipeline that joins two:
    `text_encoder`, `prior`, `diffusion_decoder` and `vae`, whatever their folders are called."""
    scheduler: Mapping[str, Any]
    student: Path | None
    """The few-step student's LoRA."""
    facts: Mapping[str, Any]
    """`pareto.json`: name, licence, steps, guidance, prompts; empty where absent."""
    index: Mapping[str, Any] = field(default_factory=dict)
    """`model_index.json`."""
    denoiser: str = "unet"
    """The denoiser's folder."""
    denoiser_class: str = "UNet2DConditionModel"
    """Its class, with what other parts make of it."""
    prefix: str = ""
    """What the folders of its tokenizer and its scheduler begin with."""

    @property
    def text_parts(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.parts if name.startswith("text_encoder")))

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """Folders of tokenizers, those that text encoders use."""
        return tuple(dict.fromkeys(self.tokenizer_of(name) for name in self.text_parts))

    def tokenizer_of(self, text_part: str) -> str:
        """The folder of a text encoder's tokenizer."""
        name = self.prefix + text_part.replace("text_encoder", "tokenizer")
        return name if (self.folder / name).is_dir() else f"{self.prefix}tokenizer"

    def files(self) -> list[Path]:
        """All files that decide what the model draws, sorted."""
        if "upscaler" in self.parts:
            return sorted(self.parts["upscaler"].weights)
        found = [self.folder / INDEX]
        for part in self.parts.values():
            found += [part.folder / "config.json", *part.weights]
        others = [
            name for name in ("feature_extractor", "low_res_scheduler") if (self.folder / name).is_dir()
        ]
        schedulers = dict.fromkeys((f"{self.prefix}scheduler", "scheduler"))
        for name in (*schedulers, *self.tokenizers, *others):
            found += [
                path for path in (self.folder / name).iterdir() if path.suffix in {".json", ".txt", ".model"}
            ]
        found += [
            path
            for path in (self.folder / "pareto.json", self.folder / STUDENT / STUDENT_FACTS, self.student)
            if path is not None and path.is_file()
        ]
        return sorted(found)


def read_json_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"The model is not whole: {path} is missing; copy or download it again.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({error}); copy or download it again.") from error


def examine(folder: Path) -> Layout:
    """Check that a folder holds a whole model that can be captured.

    Raises:
        UnsafeWeights: a part has pickled weights only.
        ModelError: not a model, not whole, damaged, or of an unknown class.
    """
    if not (folder / INDEX).is_file():
        pickles = [path.name for path in folder.iterdir() if path.suffix in PICKLES]
        if pickles:
            raise _unsafe(folder / pickles[0])
        raise ModelError(
            f"{folder} is not a diffusers model ({INDEX} is missing); choose the folder that holds {INDEX}."
        )
    index = read_json_file(folder / INDEX)
    pipeline = index.get("_class_name") if isinstance(index, dict) else None
    if not pipeline:
        raise ModelError(
            f"{folder / INDEX} names no pipeline class (_class_name); copy or download the model again."
        )
    prefix = JOINED if f"{JOINED}prior" in index else ""
    parts = {
        name: read_part(folder, name, kind, at)
        for name, (at, kind) in _components(folder, index, prefix).items()
    }
    denoiser = next(name for name in DENOISERS if name in parts)
    moving = "motion_adapter" in parts and parts[denoiser].kind == "UNet2DConditionModel"
    if not moving:
        parts.pop("motion_adapter", None)  # its weights are in the video U-Net already
    if (folder / TINY).is_dir():
        parts[TINY] = read_part(folder, TINY, "AutoencoderTiny", TINY)
    schedulers = [
        read_json_file(folder / name / "scheduler_config.json")
        for name in dict.fromkeys((f"{prefix}scheduler", "scheduler"))
    ]
    facts = read_json_file(folder / "pareto.json") if (folder / "pareto.json").is_file() else {}
    found = Layout(
        folder, str(pipeline), family_of(str(pipeline)), parts, schedulers[0], _student(folder), facts, index,
        denoiser, VIDEO_UNET if moving else parts[denoiser].kind, prefix,
    )  # fmt: skip
    for name in found.tokenizers:
        if not (folder / name).is_dir():
            raise ModelError(
                f"The model is not whole: {folder / name} is missing; copy or download it again."
            )
        for path in sorted((folder / name).glob("*.json")):
            read_json_file(path)  # a cut copy is found here and not in the middle of a run
    return found


def enlarging(path: Path, architecture: str, scale: int) -> Layout:
    """The layout of a model that is one network: it makes pictures `scale` times as large."""
    part = Part("upscaler", architecture, path.parent, {}, (path,))
    facts = {"name": path.stem, "scale": scale, "side": ENLARGED_SIDE}
    return Layout(path.parent, "Upscaler", "super-resolution", {"upscaler": part}, {}, None, facts)


def family_of(pipeline: str) -> str:
    """A pipeline's class as words: `StableDiffusionXLPipeline` is `stable-diffusion-xl`."""
    name = pipeline.removesuffix("Pipeline").removesuffix("Combined")
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return words.lower()


def _components(folder: Path, index: Mapping[str, Any], prefix: str) -> dict[str, tuple[str, str]]:
    """Name to folder and class of the parts that are components of known kinds.

    Raises:
        ModelError: what is missing, or which part is of a kind that nothing here knows.
    """
    named = {
        name: str(entry[1])
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and entry[1] is not None
    }
    folders = _run(named, prefix)
    found = {name: named[at] for name, at in folders.items()}
    if not prefix and (set(SECOND) <= set(named) or _ends_early(set(named))):
        raise ModelError(
            f"{folder} holds one half of a model: a {index.get('_class_name')} goes with another pipeline;"
            " name both, as PIPELINE + PRIOR."
        )
    if not any(name in found for name in DENOISERS):
        raise ModelError(
            f"The pipeline {index.get('_class_name')} of {folder} has no denoiser that this version knows"
            f" ({' or '.join(DENOISERS)}); choose another model."
        )
    if "vae" not in found:
        raise ModelError(
            f"The pipeline {index.get('_class_name')} of {folder} has no decoder that this version knows"
            " (vae); choose another model."
        )
    for name, kind in found.items():
        if not _known(name, kind):
            raise ModelError(
                f"The part {name} of {folder} is a {kind}, which this version cannot capture;"
                f" it knows {', '.join(_kinds(name)) or 'no such part'}."
            )
    return {name: (folders[name], found[name]) for name in sorted(found, key=_order)}


def _run(named: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Name to folder of the parts that are run."""
    if not prefix:
        return {name: name for name in named if name not in SILENT and "tokenizer" not in name}
    names = {name.removeprefix(prefix): name for name in named if name.startswith(prefix)}
    first = {name: names[name] for name in ("text_encoder", "prior") if name in names}
    return first | {ours: theirs for theirs, ours in SECOND.items() if theirs in named}


def _ends_early(names: set[str]) -> bool:
    """A prior, and nothing that goes on from what it draws."""
    return "prior" in names and not names & {"vae", "unet", "decoder"}


def _order(name: str) -> tuple[int, str]:
    return (
        0 if name.startswith("text_encoder") else 1 if name in DENOISERS else 2 if name == "vae" else 3,
        name,
    )


def _kinds(name: str) -> tuple[str, ...]:
    from engines.models import kinds
    from engines.models.kinds import decoders, picture, text

    if name.startswith("text_encoder"):
        return tuple(one for kind in text.KINDS for one in kind.classes)
    if name in DENOISERS:
        return tuple(one for kind in kinds.DENOISERS for one in kind.classes)
    if name == "vae":
        return tuple(one for kind in decoders.KINDS for one in kind.classes)
    if name == "diffusion_decoder":
        return tuple(one for kind in kinds.DIFFUSION_DECODERS for one in kind.classes)
    return {"image_encoder": picture.VISION, "motion_adapter": ("MotionAdapter",)}.get(name, ())


def _known(name: str, kind: str) -> bool:
    return kind in _kinds(name)


def _student(folder: Path) -> Path | None:
    found = sorted((folder / STUDENT).glob("*.safetensors"))
    if not found:
        pickles = [path for path in (folder / STUDENT).glob("*") if path.suffix in PICKLES]
        if pickles:
            raise _unsafe(pickles[0])
        return None
    safetensors_file.header(found[0])
    return found[0]


def _unsafe(path: Path) -> UnsafeWeights:
    return UnsafeWeights(
        f"{path} is a pickle checkpoint, which can run code when it is read;"
        " use the model's safetensors files."
    )


def read_part(folder: Path, name: str, kind: str, at: str) -> Part:
    """The part in a sub-folder.

    Raises:
        UnsafeWeights: it has pickled weights only.
        ModelError: it is not whole.
    """
    place = folder / at
    config = read_json_file(place / "config.json")
    if not isinstance(config, dict):
        raise ModelError(f"{place / 'config.json'} holds no settings; copy or download the model again.")
    stem = "model" if "encoder" in name else "diffusion_pytorch_model"
    weights = _weights(place, stem)
    for path in weights:
        safetensors_file.header(path)
    return Part(name, kind, place, config, weights)


def _weights(place: Path, stem: str) -> tuple[Path, ...]:
    single = place / f"{stem}.safetensors"
    if single.is_file():
        return (single,)
    indices = ("safetensors.index", "fp16.safetensors.index", "safetensors.index.fp16")
    for index in (place / f"{stem}.{name}.json" for name in indices):
        if index.is_file():
            names = sorted(set(read_json_file(index).get("weight_map", {}).values()))
            missing = [name for name in names if not (place / name).is_file()]
            if missing or not names:
                absent = place / (missing or [stem])[0]
                raise ModelError(f"The model is not whole: {absent} is missing; copy or download it again.")
            return tuple(place / name for name in names)
    half = place / f"{stem}.fp16.safetensors"
    if half.is_file():
        return (half,)
    pickles = sorted(path for path in place.iterdir() if path.suffix in PICKLES) if place.is_dir() else []
    if pickles:
        raise _unsafe(pickles[0])
    raise ModelError(f"The model is not whole: {single} is missing; copy or download it again.")
