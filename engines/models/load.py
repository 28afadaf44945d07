"""Open a model from wherever it is: the bundled one, a folder, a single file, a hub id."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final

from engines.errors import EngineError, ModelError, UnsafeWeights
from engines.models import safetensors_file
from engines.models.layout import PICKLES, examine
from engines.models.model import Model
from engines.paths import BUNDLED, bundled_model, cache_folder, locked, new_folder

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
WANTED: Final = ["*.json", "*.txt", "*.safetensors", "*.model"]


def open_model(source: str | Path) -> Model:
    """Open a model; weights are checked here and read when first used.

    `source` is `tiny-scenes`, a diffusers folder, a `.safetensors` checkpoint
    or a hub id such as `owner/name`.

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
    try:
        if path.is_dir():
            return Model(name, examine(path.resolve()))
        if path.is_file():
            return Model(name, examine(_from_single_file(path.resolve())))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if HUB_ID.fullmatch(name) and not path.parent.exists():
        return Model(name, examine(_from_hub(name)))
    raise ModelError(
        f"There is no model {name}; give a model folder, a .safetensors file, a hub id or {BUNDLED}."
    )


def _from_single_file(path: Path) -> Path:
    """Convert a checkpoint to a folder in the cache, once for each content."""
    if path.suffix != ".safetensors":
        raise ModelError(f"{path} is not a model; give a model folder or a .safetensors file.")
    tensors = safetensors_file.header(path)
    if not any(name.startswith("model.diffusion_model.") for name in tensors):
        raise ModelError(
            f"{path} holds no whole Stable Diffusion checkpoint (no model.diffusion_model weights);"
            " give a whole checkpoint."
        )
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    folder = cache_folder("checkpoints") / content
    with locked(folder):
        if not folder.is_dir():
            import diffusers

            try:
                pipeline = diffusers.StableDiffusionPipeline.from_single_file(str(path), safety_checker=None)
            except Exception as error:
                raise ModelError(
                    f"{path} cannot be converted ({_first_line(error)}); its settings come from the"
                    " model hub, so connect to the network or give a diffusers folder."
                ) from error
            with new_folder(folder) as fresh:
                pipeline.save_pretrained(str(fresh), safe_serialization=True)
    return folder


def _from_hub(name: str) -> Path:
    """The folder of a hub model, downloaded if it is not there yet; safetensors only."""
    import huggingface_hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=WANTED))
    except GatedRepoError as error:
        raise ModelError(
            f"The hub model {name} is gated; accept its licence on the hub and log in, then try again."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no model {name} on the hub and no such folder here; check the name."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, EngineError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
        raise ModelError(
            f"The hub model {name} is not on this machine and the hub cannot be reached{offline};"
            " connect to the network or give a model folder."
        ) from error
    except Exception as error:
        raise ModelError(
            f"The hub model {name} cannot be downloaded ({_first_line(error)});"
            " try again or give a model folder."
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
