"""Whole models of every family with random weights, small enough to be walked through in a moment.

Each maker builds diffusers' own pipeline from tiny parts and saves it, so that
the folder is what a user's would be.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from engines.paths import bundled_model

WORDS: Final = (
    "a", "the", "red", "blue", "house", "tree", "of", "small", "large", "picture", "bird", "cat", "and", "with", "on",
)  # fmt: skip
VOCABULARY: Final = 99


def write(name: str, folder: Path) -> Path:
    """Save the tiny model of a family into `folder`."""
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = MAKERS[name]()
        pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _settled(module: Any) -> Any:
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
    return _settled(kind(config))


def _tokenizer(begin: str, end: str, pad: str, length: int) -> Any:
    """Words as tokens, in the shape that a family's own tokenizer has."""
    marks = [mark for mark in (pad, end, begin, "<unk>") if mark]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys([*marks, *WORDS]))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
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
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", pad_token=pad, model_max_length=length, padding_side="right",
        **named,
    )  # fmt: skip


def t5_tokenizer(length: int = 512) -> Any:
    return _tokenizer("", "</s>", "<pad>", length)


def t5(width: int = 16, *, multilingual: bool = False) -> Any:
    kind, settings = (
        (transformers.UMT5EncoderModel, transformers.UMT5Config)
        if multilingual
        else (transformers.T5EncoderModel, transformers.T5Config)
    )
    return _settled(
        kind(settings(vocab_size=VOCABULARY, d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2))
    )


# -- pictures and decoders


def kl(channels: int = 4, **changes: Any) -> Any:
    return _settled(
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
    return _settled(
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


# -- families


def sd15() -> Any:
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    return diffusers.StableDiffusionPipeline(
        kl(), clip(), clip_tokenizer(), unet(), scheduler, None, None, requires_safety_checker=False
    )


def sd21() -> Any:
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    wide = unet(use_linear_projection=True, attention_head_dim=(2, 4))
    return diffusers.StableDiffusionPipeline(
        kl(), clip(), clip_tokenizer(), wide, scheduler, None, None, requires_safety_checker=False
    )


def _sdxl(scheduler: Any) -> Any:
    wide = unet(
        cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16, transformer_layers_per_block=(1, 2),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), use_linear_projection=True,
    )  # fmt: skip
    return diffusers.StableDiffusionXLPipeline(
        kl(scaling_factor=0.13), clip(), clip(projected=True), clip_tokenizer(), clip_tokenizer(), wide,
        scheduler, force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip


def sdxl() -> Any:
    return _sdxl(
        diffusers.EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
        )
    )


def sdxl_turbo() -> Any:
    return _sdxl(
        diffusers.EulerAncestralDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing"
        )
    )


def sdxl_lightning() -> Any:
    return _sdxl(
        diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing"
        )
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "sd15": sd15, "sd21": sd21, "sdxl": sdxl, "sdxl-turbo": sdxl_turbo, "sdxl-lightning": sdxl_lightning,
}  # fmt: skip
