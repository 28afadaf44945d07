"""The kinds of text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from engines.models.kinds.base import Config, Tensors, TextKind, TextUse

if TYPE_CHECKING:
    import torch


class Clip(TextKind):
    """CLIP (Radford et al., arXiv 2103.00020), with or without its projection."""

    classes = ("CLIPTextModel", "CLIPTextModelWithProjection")
    begin, end = ("bos_token", "<|startoftext|>"), ("eos_token", "<|endoftext|>")
    padding = None

    def width(self, config: Config) -> int:
        return int(config["hidden_size"])

    def pooled_width(self, config: Config) -> int:
        projected = "CLIPTextModelWithProjection" in (config.get("architectures") or ())
        return int(config["projection_dim"] if projected else config["hidden_size"])

    def run(self, network: Any, given: Tensors, use: TextUse) -> tuple[torch.Tensor, ...]:
        inner = use.layer != -1
        found = network(
            input_ids=given["input_ids"], attention_mask=given.get("attention_mask"),
            output_hidden_states=inner, return_dict=True,
        )  # fmt: skip
        outputs: tuple[torch.Tensor, ...] = ()
        if use.embeddings:
            outputs += (found.hidden_states[use.layer] if inner else found.last_hidden_state,)
        if use.pooled:
            projected = getattr(found, "text_embeds", None)
            outputs += (found.pooler_output if projected is None else projected,)
        return outputs


class _Sequence(TextKind):
    """Encoders of which only the last hidden state is used."""

    options: ClassVar[Mapping[str, Any]] = {}

    def run(self, network: Any, given: Tensors, use: TextUse) -> tuple[torch.Tensor, ...]:
        mask = given.get("attention_mask")
        found: torch.Tensor = network(
            input_ids=given["input_ids"], attention_mask=mask, return_dict=True, **self.options
        )[0]
        if use.blank and mask is not None:
            found = found * mask.unsqueeze(-1).to(found.dtype)
        return (found,)


class T5(_Sequence):
    """The encoders of T5 and UMT5 (Raffel et al., arXiv 1910.10683)."""

    classes = ("T5EncoderModel", "UMT5EncoderModel")
    end = ("eos_token", "</s>")

    def width(self, config: Config) -> int:
        return int(config["d_model"])


class Bert(_Sequence):
    """BERT (Devlin et al., arXiv 1810.04805)."""

    classes = ("BertModel",)
    begin, end = ("cls_token", "[CLS]"), ("sep_token", "[SEP]")
    padding = "[PAD]"

    def width(self, config: Config) -> int:
        return int(config["hidden_size"])


class Gemma(_Sequence):
    """Gemma 2 as an encoder (Xie et al., Sana, arXiv 2410.10629)."""

    classes = ("Gemma2Model",)
    options: ClassVar[Mapping[str, Any]] = {"use_cache": False}
    begin = ("bos_token", "<bos>")

    def width(self, config: Config) -> int:
        return int(config["hidden_size"])


KINDS: tuple[TextKind, ...] = (Clip(), T5(), Bert(), Gemma())
