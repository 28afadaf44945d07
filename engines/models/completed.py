"""A file that holds a denoiser under its first authors' names, made whole by a folder: `FILE + FOLDER`.

FLUX, SD 3, LTX, Wan and Sana are published so.  The file's parts are converted by diffusers' own functions,
a decoder and text encoders too where it has some (ComfyUI's checkpoints); settings and other parts are the
folder's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError
from engines.models import safetensors_file, weights
from engines.models.bundled_settings import Settings
from engines.models.checkpoint import write_settings
from engines.models.joined import SUFFIXES
from engines.models.layout import DENOISERS, INDEX, Part, examine, read_json_file
from engines.models.licence import link_texts
from engines.models.model import Model
from engines.paths import cache_folder, digest, link, locked, new_folder

if TYPE_CHECKING:
    import torch

PREFIX: Final = "model.diffusion_model."
DECODERS: Final = ("first_stage_model.", "vae.")
TEXTS: Final = {
    "text_encoder": "clip_l",
    "text_encoder_2": "clip_g",
    "T5EncoderModel": "t5xxl",
    "UMT5EncoderModel": "umt5xxl",
}
"""A text encoder's folder, or its class, to what ComfyUI calls it: `text_encoders.NAME.transformer.`"""
QUANTISED: Final = (".scale_weight", ".weight_scale", "scaled_fp8", ".absmax", ".weight_packed")
"""What the tensors that undo a quantisation are called."""
OWN_TEXTS: Final = ("cond_stage_model.", "conditioner.")
"""Where the checkpoints of Stable Diffusion 1, 2 and XL have theirs."""


@dataclass(frozen=True, slots=True)
class Family:
    """How the denoiser of a family is told by the names of its tensors."""

    title: str
    kind: str
    """diffusers' class."""
    marks: tuple[str, ...]
    """What the names of some of its tensors begin with, all of them."""
    converted: bool = True
    """By diffusers."""


FAMILIES: Final = (
    Family("Chroma", "ChromaTransformer2DModel", ("double_blocks.0.img_attn.", "distilled_guidance_layer.")),
    Family("FLUX", "FluxTransformer2DModel", ("double_blocks.0.img_attn.", "single_blocks.0.linear1.")),
    Family("Stable Diffusion 3", "SD3Transformer2DModel", ("joint_blocks.0.x_block.",)),
    Family("Wan", "WanTransformer3DModel", ("blocks.0.self_attn.q.", "head.head.")),
    Family("LTX-Video", "LTXVideoTransformer3DModel", ("transformer_blocks.0.attn1.", "patchify_proj.")),
    Family("Sana", "SanaTransformer2DModel", ("blocks.0.mlp.inverted_conv.",)),
    Family("PixArt", "PixArtTransformer2DModel", ("blocks.0.cross_attn.kv_linear.", "t_block.1."), False),
    Family("Hunyuan-DiT", "HunyuanDiT2DModel", ("blocks.0.attn1.Wqkv.",), False),
    Family("HunyuanVideo", "HunyuanVideoTransformer3DModel", ("double_blocks.0.img_attn_qkv.",)),
    Family("Stable Diffusion 1, 2 or XL", "UNet2DConditionModel", ("input_blocks.0.0.",)),
    Family("FLUX", "FluxTransformer2DModel", ("single_transformer_blocks.0.attn.to_q.",)),
    Family("Stable Diffusion 3", "SD3Transformer2DModel", ("transformer_blocks.0.attn.add_q_proj.",)),
    Family("Wan", "WanTransformer3DModel", ("blocks.0.attn1.to_q.", "condition_embedder.")),
    Family("LTX-Video", "LTXVideoTransformer3DModel", ("transformer_blocks.0.attn1.", "time_embed.emb.")),
    Family("Stable Diffusion 1, 2 or XL", "UNet2DConditionModel", ("down_blocks.0.", "conv_in.")),
)
"""The first authors' names, then diffusers'; whoever comes first is it."""


def family(names: Iterable[str]) -> Family | None:
    """The family of the denoiser that tensors of these names are."""
    inner = [name.removeprefix(PREFIX) for name in names]
    return next(
        (one for one in FAMILIES if all(any(name.startswith(mark) for name in inner) for mark in one.marks)),
        None,
    )


def alone(path: Path, names: Collection[str]) -> str:
    """What is missing from a file that holds a denoiser and no whole model; empty where it holds none."""
    found = family(names)
    if found is None:
        return ""
    if not found.converted:
        return _unconverted(path, found)
    held = [
        title for title, there in (("decoder", _decoder(names)), ("text encoders", _texts(names))) if there
    ]
    has = f" and its {' and '.join(held)}" if held else ""
    lacks = (
        "its other parts and their settings" if held else "its text encoders, its decoder and their settings"
    )
    return (
        f"{path} holds a denoiser of {found.title}{has}, and not {lacks}; name a {found.title} folder or hub"
        f" id that has them behind it, as {path.name} + FOLDER."
    )


def _unconverted(path: Path, found: Family) -> str:
    return (
        f"{path} holds a denoiser of {found.title} under its first authors' names, which diffusers cannot"
        f" convert; give a diffusers folder of {found.title}."
    )


def completed_folder(path: Path, folder: Path) -> Path:
    """A folder in the cache with a file's parts, converted, and links to the rest, once for each state.

    Raises:
        ModelError: another family, a part that does not fit, or no denoiser that is known.
    """
    tensors = safetensors_file.header(path)
    index = read_json_file(folder / INDEX)
    denoiser = next((name for name in DENOISERS if isinstance(index.get(name), list)), None)
    if denoiser is None:
        raise ModelError(
            f"The pipeline of {folder} has no denoiser ({' or '.join(DENOISERS)}); name another."
        )
    found, kind = family(tensors), str(index[denoiser][1])
    if found is None and not _own_names(tensors, folder, denoiser, kind):
        raise ModelError(
            f"{path} holds no denoiser that is known under its first authors' names or diffusers';"
            " give a diffusers folder."
        )
    if found is not None and found.kind != kind:
        raise ModelError(
            f"{path} holds a denoiser of {found.title}, and that of {folder} is a {kind};"
            f" name a folder of {found.title}."
        )
    if found is not None and not found.converted:
        raise ModelError(_unconverted(path, found))
    if any(name.endswith(QUANTISED) for name in tensors):
        raise ModelError(
            f"{path} holds quantised weights with their scales, which cannot be converted; use the file with"
            " 16-bit or plain fp8 weights."
        )
    if any(name.startswith(OWN_TEXTS) for name in tensors):
        raise ModelError(f"{path} holds a whole checkpoint; open it without + {folder}.")
    files = sorted(one for one in folder.glob("*/*") if one.suffix in SUFFIXES)
    stamps = [
        (str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in (path, folder / INDEX, *files)
    ]
    place = cache_folder("completed") / digest(1, stamps)
    with locked(place):
        if not place.is_dir():
            with new_folder(place) as fresh:
                filled = _fill(path, tensors, folder, index, denoiser, fresh)
                _link_rest(files, filled, fresh)
                (fresh / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
                facts = json.dumps(_facts(path, fresh), indent=2)
                (fresh / "pareto.json").write_text(facts + "\n", encoding="utf-8")
        link_texts(folder, place)
    return place


def _facts(path: Path, fresh: Path) -> dict[str, Any]:
    """What hangs on the file's own name (a Turbo, a Lightning), which its folder does not have."""
    found = Model(path.stem, examine(fresh))
    licence = safetensors_file.metadata(path).get("modelspec.license")
    facts = {"name": path.stem, "steps": found.steps, "guidance": found.guidance}
    return facts | ({"licence": licence} if licence else {})


def described_folder(path: Path, settings: Settings) -> Path:
    """As `completed_folder`, of a file that is whole but for its settings and tokenizers, which are bundled.

    Raises:
        ModelError: a part that does not fit the settings.
    """
    described = cache_folder("completed") / f"settings-{digest(1, settings)}"
    with locked(described):
        if not described.is_dir():
            with new_folder(described) as fresh:
                write_settings(settings, fresh)
    return completed_folder(path, described)


def _link_rest(files: Iterable[Path], filled: Collection[str], fresh: Path) -> None:
    for one in files:
        name = one.parent.name
        target = fresh / name / one.name
        replaced = name in filled and (one.suffix == ".safetensors" or ".index" in one.name)
        if not replaced and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            link(one, target)


def _fill(
    path: Path, names: Collection[str], folder: Path, index: Mapping[str, Any], denoiser: str, fresh: Path
) -> list[str]:
    """Write the parts that the file holds, one after the other; returns their names."""
    from safetensors.torch import save_file

    wanted = {denoiser: _denoiser(names)}
    unused = {
        one.split(".")[1] for one in names if one.startswith("text_encoders.") and ".transformer." in one
    }
    if _decoder(names) and isinstance(index.get("vae"), list):
        wanted["vae"] = _decoder(names)
    for name in sorted(one for one in index if one.startswith("text_encoder")):
        entry = index[name]
        kind = str(entry[1]) if isinstance(entry, list) else ""
        short = TEXTS.get(kind) or TEXTS.get(name, "")
        prefix = f"text_encoders.{short}.transformer."
        if kind not in ("", "None") and any(one.startswith(prefix) for one in names):
            wanted[name] = {one: one.removeprefix(prefix) for one in names if one.startswith(prefix)}
            unused.discard(short)
    if unused:
        raise ModelError(
            f"{path} holds a text encoder ({min(unused)}) that {folder} has no settings for; name a folder of"
            " the same model."
        )
    for name, taken in wanted.items():
        kind = str(index[name][1])
        config = read_json_file(folder / name / "config.json")
        if kind == "FluxTransformer2DModel":  # FLUX.1 [dev] and [schnell] differ in it alone
            config["guidance_embeds"] = any("guidance_" in one for one in taken.values())
        state = _converted(path, taken, kind, config)
        part = Part(name, kind, folder / name, config, ())
        state = _fitting(path, part, state)
        (fresh / name).mkdir()
        (fresh / name / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        stem = "model" if "encoder" in name else "diffusion_pytorch_model"
        save_file(
            {key: value.contiguous() for key, value in state.items()},
            str(fresh / name / f"{stem}.safetensors"),
        )
    return list(wanted)


def _denoiser(names: Collection[str]) -> dict[str, str]:
    """The denoiser's tensors to their names without a prefix."""
    if any(one.startswith(PREFIX) for one in names):
        return {one: one.removeprefix(PREFIX) for one in names if one.startswith(PREFIX)}
    return {one: one for one in names if not one.startswith((*DECODERS, "text_encoders."))}


def _decoder(names: Collection[str]) -> dict[str, str]:
    return {one: one for one in names if one.startswith(DECODERS)}


def _texts(names: Collection[str]) -> bool:
    return any(one.startswith("text_encoders.") for one in names)


def _own_names(names: Collection[str], folder: Path, denoiser: str, kind: str) -> bool:
    """Whether a file holds the folder's denoiser under diffusers' names."""
    config = read_json_file(folder / denoiser / "config.json")
    known = set(weights.outline(Part(denoiser, kind, folder, config, ())).state_dict())
    return set(_denoiser(names).values()) == known


def _converted(
    path: Path, taken: Mapping[str, str], kind: str, config: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """A part's tensors under diffusers' names.

    Raises:
        ModelError: the converter finds other tensors than it expects, or there is none for such a part.
    """
    import torch
    from diffusers.loaders import single_file_model
    from safetensors import safe_open

    state: dict[str, torch.Tensor] = {}
    with safe_open(str(path), framework="pt") as file:
        for name, short in taken.items():
            value = file.get_tensor(name)
            state[short] = value.to(torch.bfloat16) if value.element_size() == 1 else value
    if kind.startswith("CLIP") or kind in TEXTS or not _foreign(state):
        return state
    known: Mapping[str, Any] = single_file_model.SINGLE_FILE_LOADABLE_CLASSES
    if kind == "UNet2DConditionModel":
        state = {f"{PREFIX}{name}": value for name, value in state.items()}
    try:
        found: dict[str, torch.Tensor] = known[kind]["checkpoint_mapping_fn"](
            checkpoint=state, config=dict(config)
        )
    except (KeyError, AttributeError, IndexError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be converted: its {kind} is not of the shape that was expected ({error});"
            " give a diffusers folder."
        ) from error
    return found


def _foreign(names: Collection[str]) -> bool:
    """Whether names are the first authors' and not diffusers' own."""
    marks = (
        "double_blocks.", "joint_blocks.", "blocks.0.self_attn.", "patchify_proj.", "blocks.0.attn.qkv.",
        "blocks.0.attn1.Wqkv.", "blocks.0.cross_attn.", "input_blocks.", *DECODERS,
    )  # fmt: skip
    return any(one.startswith(marks) for one in names)


def _fitting(path: Path, part: Part, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that a part has.

    Raises:
        ModelError: one is missing, too many, or of another shape, which the folder's settings say.
    """
    shapes = {name: value.shape for name, value in weights.outline(part).state_dict().items()}
    kept = dict(state)
    if "encoder" in part.name:
        bare = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
        kept = {name: value for name, value in state.items() if name.removeprefix("text_model.") in bare}
        wrong = next(
            (name for name, value in kept.items() if bare[name.removeprefix("text_model.")] != value.shape),
            "",
        )
        lacking = set(bare) - {name.removeprefix("text_model.") for name in kept}
        lacking -= {"encoder.embed_tokens.weight", "embeddings.position_ids"}
    else:
        wrong = next((name for name, value in kept.items() if shapes.get(name) != value.shape), "")
        lacking = set(shapes) - set(kept)
    if wrong or lacking:
        raise ModelError(
            f"The {part.name} of {path} does not fit the settings in {part.folder} at"
            f" {wrong or min(lacking)}; name a folder of the same model."
        )
    return kept
