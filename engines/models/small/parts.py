"""What small models are made of: text encoders, their tokenizers, decoders, a U-Net; all weights random."""

from __future__ import annotations

from typing import Any, Final

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from engines.paths import bundled_model

WORDS: Final = (
    "a", "the", "red", "blue", "house", "tree", "of", "small", "large", "picture", "bird", "cat", "and",
    "with", "on",
)  # fmt: skip
VOCABULARY: Final = 99
UNKNOWN: Final = "<unk>"


def settled(module: Any) -> Any:
    """Random weights that keep a signal: zero-initialised layers would hide what goes through them."""
    for tensor in module.parameters():
        if tensor.numel() and not tensor.any():
            torch.nn.init.normal_(tensor, std=0.05)
    return module.eval()


# -- text


def clip_tokenizer() -> Any:
    return transformers.CLIPTokenizer.from_pretrained(str(bundled_model() / "tokenizer"))


def clip(*, projected: bool = False, width: int = 16) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=800, hidden_size=width, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=32, bos_token_id=0, eos_token_id=1, pad_token_id=1, projection_dim=width,
    )  # fmt: skip
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return settled(kind(config))


def word_tokenizer(begin: str, end: str, pad: str, length: int) -> Any:
    """Words as tokens, in the shape that a family's own tokenizer has."""
    marks = [mark for mark in (pad, end, begin, UNKNOWN) if mark]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys([*marks, *WORDS]))}
    made = Tokenizer(models.WordLevel(vocabulary, UNKNOWN))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    template = " ".join(filter(None, [begin, "$A", end]))
    special = [(mark, vocabulary[mark]) for mark in (begin, end) if mark]
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    named = {"bos_token": begin, "eos_token": end, "cls_token": begin, "sep_token": end}
    if begin == "[CLS]":
        named = {"cls_token": begin, "sep_token": end}
    elif not begin:
        named = {"eos_token": end}
    elif not end:
        named = {"bos_token": begin}
    named["unk_token"] = UNKNOWN
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, model_max_length=length, padding_side="right", **named,
    )  # fmt: skip


def t5_tokenizer(length: int = 512) -> Any:
    return word_tokenizer("", "</s>", "<pad>", length)


def t5(width: int = 16, *, multilingual: bool = False) -> Any:
    kind, settings = (
        (transformers.UMT5EncoderModel, transformers.UMT5Config)
        if multilingual
        else (transformers.T5EncoderModel, transformers.T5Config)
    )
    return settled(
        kind(settings(vocab_size=VOCABULARY, d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2))
    )


# -- pictures and decoders


def kl(channels: int = 4, **changes: Any) -> Any:
    return settled(
        diffusers.AutoencoderKL(
            **{
                "block_out_channels": (8, 16),
                "latent_channels": channels,
                "norm_num_groups": 4,
                "sample_size": 16,
                "down_block_types": ("DownEncoderBlock2D",) * 2,
                "up_block_types": ("UpDecoderBlock2D",) * 2,
                **changes,
            }
        )
    )


def unet(**changes: Any) -> Any:
    return settled(
        diffusers.UNet2DConditionModel(
            **{
                "sample_size": 8,
                "in_channels": 4,
                "out_channels": 4,
                "block_out_channels": (16, 32),
                "layers_per_block": 1,
                "down_block_types": ("CrossAttnDownBlock2D",) * 2,
                "up_block_types": ("CrossAttnUpBlock2D",) * 2,
                "cross_attention_dim": 16,
                "attention_head_dim": 2,
                "norm_num_groups": 8,
                **changes,
            }
        )
    )


def tiny_decoder(channels: int = 4) -> Any:
    """TAESD's kind, for latents of as many channels, at `kl`'s scale."""
    return settled(
        diffusers.AutoencoderTiny(
            latent_channels=channels, encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
        )
    )  # fmt: skip
