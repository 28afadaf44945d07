"""Components of many families, small and with random weights, each with inputs of a batch of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Tensors = list[torch.Tensor]


class Wrapped(nn.Module):
    """A module called by a function of its own; its inputs are positional, the first axis is the batch."""

    def __init__(self, inner: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.inner, self.call = inner, call

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.call(self.inner, *inputs)


def latent() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8)


def steps() -> torch.Tensor:
    return torch.tensor([3.0, 900.0])


def words(width: int = 16) -> torch.Tensor:
    return torch.randn(2, 7, width)


def unet() -> tuple[nn.Module, Tensors]:
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), norm_num_groups=8, attention_head_dim=2,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=16,
    )  # fmt: skip
    return Wrapped(model, lambda m, s, t, e: m(s, t, e, return_dict=False)[0]), [latent(), steps(), words()]


def pixart() -> tuple[nn.Module, Tensors]:
    from diffusers import PixArtTransformer2DModel

    model = PixArtTransformer2DModel(
        sample_size=8, in_channels=4, out_channels=8, num_attention_heads=2, attention_head_dim=8,
        num_layers=2, cross_attention_dim=16, caption_channels=16, norm_type="ada_norm_single",
        patch_size=2, use_additional_conditions=False,
    )  # fmt: skip

    def call(m: Any, s: torch.Tensor, t: torch.Tensor, e: torch.Tensor) -> Any:
        none = {"resolution": None, "aspect_ratio": None}
        return m(s, encoder_hidden_states=e, timestep=t, added_cond_kwargs=none, return_dict=False)[0]

    return Wrapped(model, call), [latent(), steps(), words()]


def sd3() -> tuple[nn.Module, Tensors]:
    from diffusers import SD3Transformer2DModel

    model = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=16, caption_projection_dim=16, pooled_projection_dim=16,
        pos_embed_max_size=16,
    )  # fmt: skip

    def call(m: Any, s: torch.Tensor, t: torch.Tensor, e: torch.Tensor, p: torch.Tensor) -> Any:
        return m(s, encoder_hidden_states=e, pooled_projections=p, timestep=t, return_dict=False)[0]

    return Wrapped(model, call), [latent(), steps(), words(), torch.randn(2, 16)]


def vae() -> tuple[nn.Module, Tensors]:
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=(8, 16), latent_channels=4, norm_num_groups=4, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip

    def there_and_back(m: Any, picture: torch.Tensor) -> Any:
        return m.decode(m.encode(picture, return_dict=False)[0].mean, return_dict=False)[0]

    return Wrapped(model, there_and_back), [torch.randn(2, 3, 16, 16)]


def tiny_vae() -> tuple[nn.Module, Tensors]:
    from diffusers import AutoencoderTiny

    model = AutoencoderTiny(
        latent_channels=4, encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
    )  # fmt: skip
    return Wrapped(model, lambda m, s: m.decode(s, return_dict=False)[0]), [latent()]


def clip() -> tuple[nn.Module, Tensors]:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=800, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    call = lambda m, ids: m(input_ids=ids, return_dict=True).last_hidden_state  # noqa: E731
    return Wrapped(CLIPTextModel(config), call), [torch.randint(0, 800, (2, 16))]


def t5() -> tuple[nn.Module, Tensors]:
    from transformers import T5Config, T5EncoderModel

    model = T5EncoderModel(T5Config(vocab_size=800, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2))
    call = lambda m, ids: m(input_ids=ids, return_dict=True).last_hidden_state  # noqa: E731
    return Wrapped(model, call), [torch.randint(0, 800, (2, 16))]


def compact() -> tuple[nn.Module, Tensors]:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    model = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=4)
    return Wrapped(model, lambda m, x: m(x)), [torch.rand(2, 3, 12, 12)]


def esrgan() -> tuple[nn.Module, Tensors]:
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    model = RRDBNet(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=4)
    return Wrapped(model, lambda m, x: m(x)), [torch.rand(2, 3, 12, 12)]


def flux() -> tuple[nn.Module, Tensors]:
    from diffusers import FluxTransformer2DModel

    model = FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    places = torch.stack([torch.zeros(16), torch.arange(16) // 4, torch.arange(16) % 4], 1)

    def call(m: Any, s: torch.Tensor, t: torch.Tensor, e: torch.Tensor, p: torch.Tensor) -> Any:
        return m(
            s, encoder_hidden_states=e, pooled_projections=p, timestep=t, img_ids=places,
            txt_ids=torch.zeros(7, 3), return_dict=False,
        )[0]  # fmt: skip

    return Wrapped(model, call), [torch.randn(2, 16, 4), steps() / 1000, words(), torch.randn(2, 16)]


def sana() -> tuple[nn.Module, Tensors]:
    from diffusers import SanaTransformer2DModel

    model = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2,
        attention_head_dim=4, num_cross_attention_heads=2, cross_attention_head_dim=4,
        cross_attention_dim=8, caption_channels=8, sample_size=8,
    )  # fmt: skip
    call = lambda m, s, t, e: m(s, encoder_hidden_states=e, timestep=t, return_dict=False)[0]  # noqa: E731
    return Wrapped(model, call), [latent(), steps(), words(8)]


def wan() -> tuple[nn.Module, Tensors]:
    from diffusers import WanTransformer3DModel

    model = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4,
        text_dim=16, freq_dim=32, ffn_dim=32, num_layers=1, rope_max_seq_len=32,
    )  # fmt: skip
    call = lambda m, s, t, e: m(s, encoder_hidden_states=e, timestep=t, return_dict=False)[0]  # noqa: E731
    return Wrapped(model, call), [torch.randn(2, 4, 2, 8, 8), steps(), words()]


def video_unet() -> tuple[nn.Module, Tensors]:
    from diffusers import UNet3DConditionModel

    model = UNet3DConditionModel(
        block_out_channels=(4, 8), layers_per_block=1, sample_size=8, in_channels=4, out_channels=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), norm_num_groups=2, attention_head_dim=4,
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), cross_attention_dim=4,
    )  # fmt: skip
    call = lambda m, s, t, e: m(s, t, e, return_dict=False)[0]  # noqa: E731
    return Wrapped(model, call), [torch.randn(2, 4, 2, 8, 8), steps(), words(4)]
