"""A model: what is known of it without reading weights, and its parts as torch modules when asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.errors import ModelError
from engines.models.layout import Layout, Part, read_json_file
from engines.paths import cache_folder, digest, read_json, write_json

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

FAMILY_DEFAULTS: Final = {"stable-diffusion": (50, 7.5)}
"""Steps and guidance of a family's pipeline where the model itself says nothing."""


class Model:
    """An opened model; cheap to make, reads weights only through `part`.

    Two models with the same `hash` draw the same pictures.
    """

    def __init__(self, source: str, layout: Layout) -> None:
        self.source = source
        self.layout = layout
        _ = self._hashed_stamps

    @property
    def path(self) -> Path:
        return self.layout.folder

    @property
    def family(self) -> str:
        return self.layout.family

    @property
    def name(self) -> str:
        return str(self.layout.facts.get("name") or Path(self.source).name)

    @property
    def licence(self) -> str:
        return str(self.layout.facts.get("licence") or "unknown")

    @property
    def prompt_source(self) -> str | None:
        """`scenes` where prompts can be drawn from the grammar of Tiny Scenes."""
        found = self.layout.facts.get("prompts")
        return str(found) if found else None

    @property
    def steps(self) -> int:
        return int(self.layout.facts.get("steps") or FAMILY_DEFAULTS[self.family][0])

    @property
    def guidance(self) -> float:
        found = self.layout.facts.get("guidance")
        return float(FAMILY_DEFAULTS[self.family][1] if found is None else found)

    @property
    def scheduler_config(self) -> Mapping[str, Any]:
        """The saved scheduler's settings, diffusers keys, `_class_name` included."""
        return self.layout.scheduler

    @property
    def latent_channels(self) -> int:
        return int(self.layout.parts["unet"].config["in_channels"])

    @property
    def scale(self) -> int:
        """Pixels for each latent position, along one side."""
        vae = self.layout.parts["vae"].config
        channels = vae.get("block_out_channels") or vae.get("decoder_block_out_channels") or ()
        return 1 << max(len(channels) - 1, 0)

    @property
    def alignment(self) -> int:
        """Latent sides must be multiples of this: the U-Net halves them that often."""
        return 1 << (len(self.layout.parts["unet"].config["block_out_channels"]) - 1)

    @property
    def latent_size(self) -> int:
        return int(self.layout.parts["unet"].config["sample_size"])

    @property
    def size(self) -> int:
        """Native height and width in pixels."""
        return self.latent_size * self.scale

    @property
    def token_length(self) -> int:
        return int(self.layout.parts["text_encoder"].config["max_position_embeddings"])

    @property
    def embedding_width(self) -> int:
        return int(self.layout.parts["unet"].config["cross_attention_dim"])

    @property
    def has_student(self) -> bool:
        return self.layout.student is not None

    @property
    def has_tiny_decoder(self) -> bool:
        return "tiny_vae" in self.layout.parts

    @cached_property
    def hash(self) -> str:
        """Digest of all weights and settings; remembered by path, size and time of change."""
        entries: list[tuple[str, str]] = []
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
            entries.append((name, fresh[name][2]))
        if fresh != known:
            with suppress(OSError):  # a candidate's process may only read the cache
                write_json(memory, fresh)
        return digest(entries)

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
    def tokenizer(self) -> Tokenizer:
        """From `tokenizer.json`, else made from the model's slow tokenizer files."""
        from tokenizers import Tokenizer

        folder = self.path / "tokenizer"
        try:
            if (folder / "tokenizer.json").is_file():
                return Tokenizer.from_file(str(folder / "tokenizer.json"))
            from transformers import CLIPTokenizer

            found: Tokenizer = CLIPTokenizer.from_pretrained(str(folder)).backend_tokenizer
        except Exception as error:
            raise ModelError(
                f"The tokenizer in {folder} cannot be read ({error}); copy or download the model again."
            ) from error
        return found

    @cached_property
    def special_tokens(self) -> tuple[int, int, int]:
        """Ids of begin, end and padding."""
        path = self.path / "tokenizer" / "tokenizer_config.json"
        settings = read_json_file(path) if path.is_file() else {}

        def token(key: str, default: str) -> int:
            value = settings.get(key) or default
            text = str(value["content"] if isinstance(value, dict) else value)
            found = self.tokenizer.token_to_id(text)
            if found is None:
                raise ModelError(
                    f"The tokenizer of {self.path} has no {key} {text!r}; copy or download the model again."
                )
            return int(found)

        end = str(_content(settings.get("eos_token"), "<|endoftext|>"))
        return token("bos_token", "<|startoftext|>"), token("eos_token", end), token("pad_token", end)

    def part(self, name: str) -> torch.nn.Module:
        """A fresh torch module in fp32 eval: `text_encoder`, `unet`, `vae` or `tiny_vae`.

        Raises:
            ModelError: the weights do not fit the class.
        """
        part = self.layout.parts.get(name)
        if part is None:
            raise ModelError(f"The model {self.name} has no {name}.")
        if self._stamps() != self._hashed_stamps:
            raise ModelError(f"The files of {self.path} changed while the model was in use; open it again.")
        return _load(part)


def _content(value: Any, default: str) -> Any:
    return value["content"] if isinstance(value, dict) else value or default


def _load(part: Part) -> torch.nn.Module:
    from safetensors.torch import load_file

    kind = _class(part.kind)
    if part.name == "text_encoder":
        from transformers import CLIPTextConfig

        module = kind(CLIPTextConfig(**part.config))
    else:
        module = kind.from_config(dict(part.config))
    state: dict[str, torch.Tensor] = {}
    for path in part.weights:
        state |= load_file(str(path))
    if part.name == "text_encoder":
        state = _named_as(module.state_dict(), state)
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"The weights of {part.folder} do not fit {part.kind}; copy or download the model again."
        ) from error
    unexpected = [name for name in unexpected if not name.endswith("position_ids")]
    if missing or unexpected:
        name = (missing or unexpected)[0]
        what = "lack" if missing else "have a surplus tensor"
        raise ModelError(f"The weights of {part.folder} {what} {name}; copy or download the model again.")
    ready: torch.nn.Module = module.float().eval().requires_grad_(False)
    return ready


def _named_as(wanted: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Rename between `text_model.x` and `x`: CLIP's prefix changed with transformers 5."""
    prefix = "text_model."
    if any(name.startswith(prefix) for name in wanted):
        return {name if name.startswith(prefix) else prefix + name: value for name, value in state.items()}
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _class(kind: str) -> Any:
    if kind == "CLIPTextModel":
        from transformers import CLIPTextModel

        return CLIPTextModel
    if kind == "UNet2DConditionModel":
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        return UNet2DConditionModel
    if kind == "AutoencoderKL":
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        return AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    return AutoencoderTiny
