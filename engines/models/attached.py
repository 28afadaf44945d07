"""A model with parts that were published apart from it: a few-step student's LoRA, a tiny decoder.

Each makes a folder in the cache that holds the model with the part in its place, linked, so that everything
behind `open_model` sees a model that ships it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines import students
from engines.errors import ModelError, UnsafeWeights
from engines.measure.quality import READER
from engines.models import safetensors_file
from engines.models.layout import STUDENT, STUDENT_FACTS, TINY, read_part
from engines.models.licence import link_texts
from engines.models.lora import MADE_FOR, content, fitting, link_files
from engines.paths import cache_folder, digest, link, locked, new_folder

if TYPE_CHECKING:
    from engines.models.model import Model

FOLDERS: Final = 3
"""How many folders above a file may say what it is: the hub keeps a `pytorch_lora_weights.safetensors` two
below the folder that is named after its repository."""


def with_student(model: Model, given: str) -> Path:
    """The folder of a model with a distilled LoRA as its student; `given` is `FILE` or `FILE:KIND`.

    Raises:
        ModelError: no such file or kind, or a LoRA that does not fit the model's denoiser.
    """
    path, kind = _file_and_kind(given)
    if model.enlarges or model.layout.denoiser not in ("unet", "transformer"):
        raise ModelError(
            f"{model.name} has no U-Net and no transformer that a student's LoRA fits; leave"
            f" student={path} out."
        )
    found = students.recognised(
        kind,
        safetensors_file.metadata(path),
        [path.stem, *(folder.name for folder in path.resolve().parents[:FOLDERS])],
    )
    if found.steps is not None and not 1 <= found.steps <= students.MOST_STEPS:
        raise ModelError(
            f"The LoRA {path} is for {found.steps} steps, and a student takes"
            f" {students.MOST_STEPS} at most; use one for fewer steps."
        )

    def write(folder: Path) -> None:
        from safetensors.torch import save_file

        weights, left = fitting(model, path)
        facts = {"kind": found.kind, "steps": found.steps, "told": found.told, "left": left}
        folder.mkdir()
        save_file(weights, str(folder / "student.safetensors"))
        (folder / STUDENT_FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    return _attached(model, STUDENT, [content(path), found.kind, found.steps, found.told], write)


def with_tiny_decoder(model: Model, given: str) -> Path:
    """The folder of a model with an `AutoencoderTiny` (TAESD and its kin) as its tiny decoder.

    Raises:
        ModelError: no such folder, or a decoder of other latents.
    """
    from engines.models import weights
    from engines.models.kinds import decoder_kind

    place = Path(given).expanduser()
    if not (place / "config.json").is_file():
        raise ModelError(
            f"{place} holds no tiny decoder; give a folder with config.json and"
            " diffusion_pytorch_model.safetensors (AutoencoderTiny)."
        )
    part = read_part(place, TINY, "AutoencoderTiny", "")
    saved = part.config.get("_class_name", part.kind)
    if saved != part.kind:
        raise ModelError(f"{place} holds a {saved} and no tiny decoder; give a folder with an {part.kind}.")
    if model.enlarges or model.decoder_kind.video:
        raise ModelError(f"{model.name} has no picture decoder to take the place of; leave {place} out.")
    kind = decoder_kind(part.kind)
    assert kind is not None  # a kind that is known here
    channels = int(part.config.get("latent_channels", 4))
    wanted = model.decoder_latent(model.latent(model.size, model.frames))[0]
    if (channels, kind.scale(part.config)) != (wanted, model.scale):
        raise ModelError(
            f"The tiny decoder {place} does not fit {model.name} at its first layer: it takes {channels}"
            f" channels and enlarges {kind.scale(part.config)} times, and the model's latents have {wanted}"
            f" and are enlarged {model.scale} times; {MADE_FOR}."
        )
    files = [place / "config.json", *part.weights, *sorted(place.glob("*.index*.json"))]

    def write(folder: Path) -> None:
        weights.load(part)  # that it is whole is found here and not in the middle of a run
        folder.mkdir()
        for path in files:
            link(path, folder / path.name)

    stamps = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
    return _attached(model, TINY, stamps, write)


ATTACH: Final[Mapping[str, Callable[[Model, str], Path]]] = {
    "student": with_student,
    "tiny-decoder": with_tiny_decoder,
}
"""What may stand before `=` behind a model and a plus."""


def _file_and_kind(given: str) -> tuple[Path, str]:
    """`FILE:KIND`; a drive's letter is no kind."""
    head, _, kind = given.rpartition(":")
    if head and kind in students.KINDS:
        given = head
    else:
        kind = ""
    path = Path(given).expanduser()
    if not path.is_file():
        file, _, unknown = given.rpartition(":")
        if file and Path(file).expanduser().is_file():
            raise ModelError(
                f"There is no kind of student {unknown!r}; choose one of {', '.join(students.KINDS)}."
            )
        raise ModelError(f"There is no LoRA {path}; give a .safetensors file, as student=FILE.")
    if path.suffix != ".safetensors":
        raise UnsafeWeights(f"The LoRA {path} is no .safetensors file; use one, others can run code.")
    return path, kind


def _attached(model: Model, name: str, stamps: list[Any], write: Callable[[Path], None]) -> Path:
    """The model with another `name` folder, once for each pair of contents."""
    # How the model is run may hang on what its own folder is called, and the new one has another name.
    facts = {
        **model.layout.facts,
        "name": model.name,
        "steps": model.steps,
        "guidance": model.guidance,
    }
    folder = cache_folder("merged") / digest(2, model.hash, name, stamps, facts)
    with locked(folder):
        if not folder.is_dir():
            with new_folder(folder) as fresh:
                write(fresh / name)
                old = [path for path in model.layout.files() if path.parent == model.path / name]
                link_files(model, fresh, [*old, model.path / "pareto.json"])
                if (model.path / READER).is_file():
                    link(model.path / READER, fresh / READER)  # it judges this model's pictures still
                text = json.dumps(facts, indent=2) + "\n"
                (fresh / "pareto.json").write_text(text, encoding="utf-8")
        link_texts(model.path, folder)
    return folder
