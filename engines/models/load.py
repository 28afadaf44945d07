"""Open a model from wherever it is: the bundled one, a folder, a file, a hub id; with what is added to it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engines.errors import ModelError, UnsafeWeights
from engines.models import safetensors_file
from engines.models.hub import HUB_ID, OnProgress, commit_of, download
from engines.models.layout import PICKLES, enlarging, examine
from engines.models.model import Model
from engines.paths import BUNDLED, bundled_model

WITH: Final = " + "
"""Between a model and what is added to it."""


def open_model(source: str | Path, on_progress: OnProgress | None = None) -> Model:
    """Open a model; weights are checked here and read when first used.

    `source` is `tiny-scenes`, a diffusers folder, a `.safetensors` file (a
    checkpoint of Stable Diffusion 1, 2, 3 or XL, or a network that
    enlarges pictures) or a hub id such as `owner/name`, which is downloaded; and
    `MODEL + LORA.safetensors` for a model with a LoRA merged into it, or
    `MODEL + PRIOR`, two folders or hub ids, where a model is shipped in two halves.
    `FILE + FOLDER` is a denoiser's file (FLUX, SD 3, LTX, Wan, Sana) with all else from a folder or hub id,
    and `FILE + prediction=v` (or `epsilon`) a checkpoint that does not say what its denoiser predicts.
    `MODEL + student=LORA.safetensors` (or `LORA.safetensors:KIND`, `engines.students`) and
    `MODEL + tiny-decoder=FOLDER` give it what techniques may exchange for.

    Raises:
        UnsafeWeights: a pickle checkpoint.
        ModelError: absent, not whole, damaged or of a class that cannot be captured.
    """
    name = str(source)
    if name == BUNDLED:
        return Model(name, examine(bundled_model()))
    path = Path(name).expanduser()
    if path.suffix in PICKLES:
        raise UnsafeWeights(
            f"{path} is a pickle checkpoint, which can run code when it is read;"
            " use a .safetensors file instead."
        )
    if WITH in name and not path.exists():
        from engines.models.attached import ATTACH
        from engines.models.lora import merged_folder

        base, _, lora = name.rpartition(WITH)
        option, _, value = lora.partition("=")
        if option in ATTACH:
            whole = open_model(base, on_progress)
            return Model(name, examine(ATTACH[option](whole, value)), whole.revision)
        if option == "prediction":
            return _predicting(name, Path(base).expanduser(), value)
        if _is_model(lora) and Path(base).suffix == ".safetensors":
            from engines.models.completed import completed_folder

            file, rest = Path(base).expanduser(), _folder(lora, on_progress)
            if not file.is_file():
                raise ModelError(f"There is no file {file}; give a .safetensors file before + {lora}.")
            return Model(name, examine(completed_folder(file.resolve(), rest)), commit_of(rest))
        if _is_model(lora):
            from engines.models.joined import joined_folder

            halves = [_folder(one, on_progress) for one in (base, lora)]
            return Model(
                name, examine(joined_folder(*halves)), WITH.join(filter(None, map(commit_of, halves)))
            )
        whole = open_model(base, on_progress)
        return Model(name, examine(merged_folder(whole, Path(lora).expanduser())), whole.revision)
    try:
        if path.is_dir():
            folder = path.resolve()
            return Model(name, examine(folder), commit_of(folder))
        if path.is_file():
            return _of_file(name, path.resolve())
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if HUB_ID.fullmatch(name) and not path.parent.exists():
        folder = download(name, on_progress)
        return Model(name, examine(folder), commit_of(folder))
    raise ModelError(
        f"There is no model {name}; give a model folder, a .safetensors file, a hub id or {BUNDLED}."
    )


def _is_model(name: str) -> bool:
    """A folder, or what can be a hub id: no file."""
    path = Path(name).expanduser()
    known = (*PICKLES, ".safetensors")
    return path.is_dir() or bool(HUB_ID.fullmatch(name) and path.suffix not in known)


def _folder(name: str, on_progress: OnProgress | None) -> Path:
    path = Path(name).expanduser()
    return path.resolve() if path.is_dir() else download(name, on_progress)


def _predicting(name: str, path: Path, prediction: str) -> Model:
    from engines.models import checkpoint

    if not path.is_file():
        raise ModelError(f"prediction={prediction} goes with a .safetensors file, which {path} is not.")
    return Model(name, examine(checkpoint.folder_of(path.resolve(), prediction=prediction)))


def _of_file(name: str, path: Path) -> Model:
    from engines.models import checkpoint, completed, sd3_file

    if path.suffix != ".safetensors":
        raise ModelError(f"{path} is not a model; give a model folder or a .safetensors file.")
    tensors = safetensors_file.header(path)
    if checkpoint.is_whole(tensors):
        return Model(name, examine(checkpoint.folder_of(path)))
    if sd3_file.is_whole(tensors):
        return Model(name, examine(completed.described_folder(path, sd3_file.settings(tensors))))
    if any("lora_" in one or ".lora." in one for one in tensors):
        raise ModelError(f"{path} holds a LoRA and no model; name it behind one, as MODEL + {path.name}.")
    if lacking := completed.alone(path, tensors):
        raise ModelError(lacking)
    from engines.models.upscaler import descriptor

    try:
        found = descriptor(path)
    except ModelError:
        reason = checkpoint.kind_of(tensors)
        raise ModelError(
            f"{path} {reason} and no network that enlarges pictures; give a whole checkpoint."
        ) from None
    return Model(name, enlarging(path, str(found.architecture.name), int(found.scale)))
