"""A model: what is known of it without reading weights, and its parts as torch modules when asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import students
from engines.errors import ModelError
from engines.hostloop.settings import Encoder
from engines.models import defaults
from engines.models.kinds import decoder_kind, denoiser_kind, diffusion_decoder_kind, text_kind
from engines.models.kinds.base import DecoderKind, DenoiserKind, DiffusionDecoderKind, TextKind, TextUse
from engines.models.layout import STUDENT, STUDENT_FACTS, Layout, Part, read_json_file
from engines.models.licence import licence_of
from engines.paths import cache_folder, digest, read_json, write_json

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer


class Model:
    """An opened model; cheap to make, reads weights only through `part`.

    Two models with the same `hash` draw the same pictures.

    Raises:
        ModelError: its denoiser needs what nothing here can give it.
    """

    def __init__(self, source: str, layout: Layout, revision: str = "") -> None:
        """`revision`: the hub's commit that it was fetched at; of two halves both, as `source` has them."""
        self.source = source
        self.layout = layout
        self.revision = revision
        _ = self._hashed_stamps
        if not self.enlarges:
            objection = self.denoiser_kind.objection(self)
            if objection:
                raise ModelError(
                    f"The {self.denoiser_kind.title} of {self.path} {objection}, which this version cannot"
                    " capture; choose another model."
                )

    @property
    def path(self) -> Path:
        return self.layout.folder

    @property
    def place(self) -> Path:
        """What opens it again: its folder, or the one file that it is."""
        return self.layout.parts["upscaler"].weights[0] if self.enlarges else self.path

    @property
    def family(self) -> str:
        return self.layout.family

    @property
    def name(self) -> str:
        return str(self.layout.facts.get("name") or Path(self.source).name)

    @cached_property
    def licence(self) -> str:
        return str(self.layout.facts.get("licence") or licence_of(self.path) or "unknown")

    @property
    def prompt_source(self) -> str | None:
        """`scenes` where prompts can be drawn from the grammar of Tiny Scenes."""
        found = self.layout.facts.get("prompts")
        return str(found) if found else None

    @property
    def steps(self) -> int:
        if self.enlarges:
            return 1
        return int(self.layout.facts.get("steps") or defaults.of(self).steps)

    @property
    def guidance(self) -> float:
        if self.enlarges:
            return 1.0
        found = self.layout.facts.get("guidance")
        return float(defaults.of(self).guidance if found is None else found)

    @property
    def scheduler_config(self) -> Mapping[str, Any]:
        """The saved scheduler's settings, diffusers keys, `_class_name` included."""
        return self.layout.scheduler

    # -- what it is made of

    @property
    def enlarges(self) -> bool:
        """It is one network that makes a picture larger: nothing is denoised."""
        return "upscaler" in self.layout.parts

    @property
    def denoiser(self) -> Part:
        return self.layout.parts[self.layout.denoiser]

    @cached_property
    def denoiser_kind(self) -> DenoiserKind:
        found = denoiser_kind(self.layout.denoiser_class)
        assert found is not None  # the layout was examined
        return found

    @cached_property
    def decoder_kind(self) -> DecoderKind:
        found = decoder_kind(self.layout.parts["vae"].kind)
        assert found is not None  # the layout was examined
        return found

    @cached_property
    def diffusion_decoder_kind(self) -> DiffusionDecoderKind | None:
        """`None` where the decoder takes what the denoiser leaves."""
        part = self.layout.parts.get("diffusion_decoder")
        return None if part is None else diffusion_decoder_kind(part.kind)

    @property
    def text_parts(self) -> tuple[str, ...]:
        """The folders of its text encoders."""
        return self.layout.text_parts

    def text_kind(self, name: str) -> TextKind:
        found = text_kind(self.layout.parts[name].kind)
        assert found is not None  # the layout was examined
        return found

    @cached_property
    def texts(self) -> tuple[TextUse, ...]:
        """Its text encoders as its denoiser uses them."""
        return () if self.enlarges else self.denoiser_kind.texts(self)

    def text_length(self, use: TextUse) -> int:
        """How many tokens a text encoder is given."""
        return use.length or self.text_kind(use.part).length(self.layout.parts[use.part].config)

    @cached_property
    def encoders(self) -> tuple[Encoder, ...]:
        """How the host loop makes tokens for each text encoder."""
        found = []
        for use in self.texts:
            begin, end, pad = self.marks(use.part)
            found.append(
                Encoder(
                    use.part, self.tokenizer_name(use.part), self.text_length(use), pad, begin, end,
                    masked=use.masked, clean=use.clean, prefix=use.prefix, keep=use.keep,
                )
            )  # fmt: skip
        return tuple(found)

    def part_config(self, name: str) -> Mapping[str, Any]:
        """The settings of a part, a scheduler's among them.

        Raises:
            ModelError: the part is not there.
        """
        if name in self.layout.parts:
            return self.layout.parts[name].config
        place = self.path / name
        files = ("scheduler_config.json", "preprocessor_config.json", "config.json")
        path = next((place / file for file in files if (place / file).is_file()), place / files[0])
        found: Mapping[str, Any] = read_json_file(path)
        return found

    # -- sizes

    @property
    def latent_channels(self) -> int:
        return self.denoiser_kind.channels(self)

    @property
    def scale(self) -> int:
        """Pixels for each position of the decoder's latent, along one side."""
        if self.enlarges:
            return int(self.layout.facts["scale"])
        return self.decoder_kind.scale(self.layout.parts["vae"].config)

    @property
    def alignment(self) -> int:
        """Latent sides must be multiples of this."""
        return 1 if self.enlarges else self.denoiser_kind.alignment(self)

    @property
    def latent_size(self) -> int:
        """Native side of the decoder's latent."""
        if self.enlarges:
            return int(self.layout.facts["side"])
        return self.denoiser_kind.latent_side(self)

    @property
    def size(self) -> int:
        """Native height and width in pixels."""
        return self.latent_size * self.scale

    @property
    def frames(self) -> int:
        """Native frames of a video; 0 for pictures."""
        if self.enlarges or not self.denoiser_kind.frames:
            return 0
        found = self.layout.facts.get("frames") or self.denoiser.config.get("num_frames")
        return int(found or self.denoiser_kind.frames)

    def latent(self, size: int, frames: int = 0) -> tuple[int, ...]:
        """The shape that is denoised, (C, h, w) or (C, F, h, w), for a size in pixels and a number of frames.

        Raises:
            ModelError: the decoder makes no such number of frames.
        """
        if self.enlarges:
            return (3, size // self.scale, size // self.scale)  # `size` is what comes out
        count = 0
        if self.frames:
            config = self.layout.parts["vae"].config
            wanted = frames or self.frames
            count = self.decoder_kind.latent_frames(config, wanted)
            made = self.decoder_kind.frames(config, count)
            if made != wanted:
                raise ModelError(
                    f"The decoder of {self.name} makes {made} frames or"
                    f" {self.decoder_kind.frames(config, count + 1)}, not {wanted}; choose one of these."
                )
        return self.denoiser_kind.latent(self, size // self.scale, count)

    def decoder_latent(self, latent: tuple[int, ...]) -> tuple[int, ...]:
        """What the decoder is given at once: all of it, one frame, or what a diffusion decoder makes."""
        if self.diffusion_decoder_kind is not None:
            return self.diffusion_decoder_kind.latent(self, latent)
        if len(latent) == 4 and not self.decoder_kind.video:
            return (latent[0], *latent[2:])
        return latent

    @property
    def task(self) -> str:
        if self.enlarges:
            return "super-resolution"
        if self.frames:
            return "text-to-video" if self.text_parts else "image-to-video"
        return "upscaling" if "low_res_scheduler" in self.layout.index else "text-to-image"

    @property
    def token_length(self) -> int:
        """Of the first text encoder; 0 where there is none."""
        if not self.text_parts:
            return 0
        name = self.text_parts[0]
        return self.text_kind(name).length(self.layout.parts[name].config)

    @property
    def embedding_width(self) -> int:
        return int(self.denoiser.config["cross_attention_dim"])

    @property
    def has_student(self) -> bool:
        return self.layout.student is not None

    @cached_property
    def student(self) -> students.Student | None:
        """What its few-step student is; `None` where it has none.

        Raises:
            ModelError: of a kind that is not known.
        """
        if self.layout.student is None:
            return None
        path = self.path / STUDENT / STUDENT_FACTS
        if not path.is_file():
            return students.Student()
        try:
            found = students.Student(**read_json_file(path))
        except TypeError:
            found = students.Student("")
        if found.kind not in students.KINDS:
            raise ModelError(
                f"{path} names no kind of student; its `kind` is one of {', '.join(students.KINDS)}."
            )
        return found

    @property
    def has_tiny_decoder(self) -> bool:
        return "tiny_vae" in self.layout.parts

    @cached_property
    def hash(self) -> str:
        """Digest of all weights and settings."""
        return digest([(name, content) for name, (_, content) in self.files.items()])

    @cached_property
    def files(self) -> Mapping[str, tuple[int, str]]:
        """Bytes and SHA-256 of each file, by path below the folder; remembered by size and time of change."""
        found: dict[str, tuple[int, str]] = {}
        memory = cache_folder("hashes") / f"{digest(str(self.path))}.json"
        known: dict[str, Any] = read_json(memory) or {}
        fresh: dict[str, list[Any]] = {}
        for path in self.layout.files():
            name, status = path.relative_to(self.path).as_posix(), path.stat()
            stamp = [status.st_size, status.st_mtime_ns]
            entry = known.get(name)
            if entry is not None and entry[:2] == stamp:
                fresh[name] = entry
            else:
                with path.open("rb") as file:
                    fresh[name] = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            found[name] = (status.st_size, fresh[name][2])
        if fresh != known:
            with suppress(OSError):  # a candidate's process may only read the cache
                write_json(memory, fresh)
        return found

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        """Size and time of change of every file: captures under an old hash must not get new weights."""
        found = [path.stat() for path in self.layout.files()]
        return tuple((status.st_size, status.st_mtime_ns) for status in found)

    @cached_property
    def _hashed_stamps(self) -> tuple[tuple[int, int], ...]:
        stamps = self._stamps()
        _ = self.hash
        return stamps

    @cached_property
    def tokenizers(self) -> Mapping[str, Tokenizer]:
        """By folder, one for each text encoder that is used."""
        return {name: _tokenizer(self.path / name) for name in self.layout.tokenizers}

    @property
    def tokenizer(self) -> Tokenizer:
        """The first text encoder's."""
        return self.tokenizers[self.tokenizer_name(self.text_parts[0])]

    def tokenizer_name(self, text_part: str) -> str:
        """The folder of a text encoder's tokenizer."""
        return self.layout.tokenizer_of(text_part)

    @property
    def special_tokens(self) -> tuple[int, int, int]:
        """Ids of begin, end and padding of the first text encoder; zeros where there is none."""
        if not self.text_parts:
            return (0, 0, 0)
        begin, end, pad = self.marks(self.text_parts[0])
        return (begin or 0, end or 0, pad)

    def marks(self, text_part: str) -> tuple[int | None, int | None, int]:
        """Ids of what stands before and after a text (`None`: nothing) and of padding."""
        kind, folder = self.text_kind(text_part), self.path / self.tokenizer_name(text_part)
        settings: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                settings |= {key: value for key, value in read_json_file(folder / name).items() if value}
        tokenizer = self.tokenizers[folder.name]

        def token(key: str, default: str) -> int:
            value = settings.get(key) or default
            text = str(value["content"] if isinstance(value, dict) else value)
            found = tokenizer.token_to_id(text)
            if found is None:
                raise ModelError(
                    f"The tokenizer of {folder} has no {key} {text!r}; copy or download the model again."
                )
            return int(found)

        begin = None if kind.begin is None else token(*kind.begin)
        end = None if kind.end is None else token(*kind.end)
        if kind.padding is None and not settings.get("pad_token"):
            return begin, end, end or 0
        return begin, end, token("pad_token", kind.padding or "")

    def part(self, name: str) -> torch.nn.Module:
        """A fresh torch module in fp32 eval, by the name of its folder: `text_encoder`, `unet`, `vae`...

        Raises:
            ModelError: the weights do not fit the class.
        """
        from engines.models import weights

        part = self.layout.parts.get(name)
        if part is None:
            raise ModelError(f"The model {self.name} has no {name}.")
        if self._stamps() != self._hashed_stamps:
            raise ModelError(f"The files of {self.path} changed while the model was in use; open it again.")
        if name == self.layout.denoiser and "motion_adapter" in self.layout.parts:
            return weights.moving(part, self.layout.parts["motion_adapter"])
        return weights.load(part)


def _tokenizer(folder: Path) -> Tokenizer:
    """From `tokenizer.json`, else made from the model's slow tokenizer files."""
    from tokenizers import Tokenizer

    try:
        if (folder / "tokenizer.json").is_file():
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        from transformers import AutoTokenizer, CLIPTokenizer

        slow = CLIPTokenizer if (folder / "merges.txt").is_file() else AutoTokenizer
        found: Tokenizer = slow.from_pretrained(str(folder), local_files_only=True).backend_tokenizer
    except Exception as error:
        raise ModelError(
            f"The tokenizer in {folder} cannot be read ({error}); copy or download the model again."
        ) from error
    return found
