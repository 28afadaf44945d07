"""A model folder in the diffusers layout: which parts it has, and whether they are whole.

Everything is found out from `model_index.json`, the `config.json` files and
the headers of the weights; no tensor is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engines.errors import ModelError, UnsafeWeights
from engines.models import safetensors_file

PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
INDEX: Final = "model_index.json"
SUPPORTED: Final = {"StableDiffusionPipeline": "stable-diffusion"}
"""Pipeline class to family."""
PARTS: Final = {
    "text_encoder": ("CLIPTextModel",),
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
}
"""Folder to the classes that can be captured."""


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
    """`text_encoder`, `unet`, `vae`, and where present `tiny_vae`."""
    scheduler: Mapping[str, Any]
    student: Path | None
    """The few-step student's LoRA."""
    facts: Mapping[str, Any]
    """`pareto.json`: name, licence, steps, guidance, prompts; empty where absent."""

    def files(self) -> list[Path]:
        """All files that decide what the model draws, sorted."""
        found = [self.folder / INDEX]
        for part in self.parts.values():
            found += [part.folder / "config.json", *part.weights]
        for name in ("scheduler", "tokenizer"):
            found += [
                path for path in (self.folder / name).iterdir() if path.suffix in {".json", ".txt", ".model"}
            ]
        found += [
            path
            for path in (self.folder / "pareto.json", self.student)
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
    if pipeline not in SUPPORTED:
        raise ModelError(
            f"{folder} is a {pipeline or 'model of unknown class'}, which this version cannot capture;"
            f" choose a model of class {' or '.join(SUPPORTED)}."
        )
    parts = {}
    for name, kinds in PARTS.items():
        entry = index.get(name)
        kind = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
        if kind not in kinds:
            raise ModelError(
                f"The part {name} of {folder} is a {kind or 'missing class'}, which this version"
                f" cannot capture; it must be {' or '.join(kinds)}."
            )
        parts[name] = _part(folder, name, str(kind))
    if (folder / "tiny_vae").is_dir():
        parts["tiny_vae"] = _part(folder, "tiny_vae", "AutoencoderTiny")
    _check_denoiser(folder, parts["unet"].config)
    scheduler = read_json_file(folder / "scheduler" / "scheduler_config.json")
    if not (folder / "tokenizer").is_dir():
        raise ModelError(
            f"The model is not whole: {folder / 'tokenizer'} is missing; copy or download it again."
        )
    facts = read_json_file(folder / "pareto.json") if (folder / "pareto.json").is_file() else {}
    return Layout(folder, pipeline, SUPPORTED[pipeline], parts, scheduler, _student(folder), facts)


def _check_denoiser(folder: Path, config: Mapping[str, Any]) -> None:
    for key in ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim"):
        if config.get(key) is not None:
            raise ModelError(
                f"The U-Net of {folder} needs more inputs than a prompt ({key}),"
                " which this version cannot capture."
            )
    if config.get("in_channels") != config.get("out_channels"):
        raise ModelError(
            f"The U-Net of {folder} is not a text-to-image one ({config.get('in_channels')} channels in,"
            f" {config.get('out_channels')} out); choose a text-to-image model."
        )


def _student(folder: Path) -> Path | None:
    found = sorted((folder / "student_lora").glob("*.safetensors"))
    if not found:
        pickles = [path for path in (folder / "student_lora").glob("*") if path.suffix in PICKLES]
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


def _part(folder: Path, name: str, kind: str) -> Part:
    place = folder / name
    config = read_json_file(place / "config.json")
    if not isinstance(config, dict):
        raise ModelError(f"{place / 'config.json'} holds no settings; copy or download the model again.")
    stem = "model" if name == "text_encoder" else "diffusion_pytorch_model"
    weights = _weights(place, stem)
    for path in weights:
        safetensors_file.header(path)
    return Part(name, kind, place, config, weights)


def _weights(place: Path, stem: str) -> tuple[Path, ...]:
    single = place / f"{stem}.safetensors"
    if single.is_file():
        return (single,)
    for index in (place / f"{stem}.safetensors.index.json", place / f"{stem}.fp16.safetensors.index.json"):
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
