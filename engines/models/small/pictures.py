"""Small models that draw or enlarge pictures, a function for each family: diffusers' own pipelines."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers
from diffusers.pipelines.stable_cascade.pipeline_stable_cascade import PaellaVQModel

from engines.models.small.parts import (
    VOCABULARY,
    clip,
    clip_tokenizer,
    kl,
    settled,
    t5,
    t5_tokenizer,
    unet,
    word_tokenizer,
)


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


def _pixart(kind: Any, **changes: Any) -> Any:
    transformer = diffusers.PixArtTransformer2DModel(
        **{
            "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8,
            "num_layers": 2, "cross_attention_dim": 16, "sample_size": 8, "patch_size": 2,
            "caption_channels": 16, "norm_num_groups": 1, "use_additional_conditions": False, **changes,
        }
    )  # fmt: skip
    scheduler = diffusers.DPMSolverMultistepScheduler()
    return kind(t5_tokenizer(), t5(), kl(), settled(transformer), scheduler)


def pixart_alpha() -> Any:
    return _pixart(diffusers.PixArtAlphaPipeline)


def pixart_sigma(blocks: int = 2) -> Any:
    return _pixart(diffusers.PixArtSigmaPipeline, num_layers=blocks)


def _sd3(last: Any, tokenizer: Any, blocks: int = 2) -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=blocks, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=40, caption_projection_dim=16, pooled_projection_dim=32,
        out_channels=4, pos_embed_max_size=16, qk_norm="rms_norm", dual_attention_layers=(0,),
    )  # fmt: skip
    decoder = kl(shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False)
    return diffusers.StableDiffusion3Pipeline(
        settled(transformer), diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), decoder,
        clip(projected=True), clip_tokenizer(), clip(projected=True), clip_tokenizer(), last, tokenizer,
    )  # fmt: skip


def sd3(blocks: int = 2) -> Any:
    return _sd3(t5(40), t5_tokenizer(), blocks)


def sd3_without_t5() -> Any:
    return _sd3(None, None)


def _flux(*, guided: bool, doubles: int = 1, singles: int = 1) -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=doubles, num_single_layers=singles, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=24, pooled_projection_dim=16, guidance_embeds=guided,
        axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    decoder = kl(
        shift_factor=0.12, scaling_factor=0.8, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        shift=3.0 if guided else 1.0, use_dynamic_shifting=guided, max_image_seq_len=4096
    )
    return diffusers.FluxPipeline(
        scheduler, decoder, clip(), clip_tokenizer(), t5(24), t5_tokenizer(), settled(transformer)
    )


def flux_dev(doubles: int = 1, singles: int = 1) -> Any:
    return _flux(guided=True, doubles=doubles, singles=singles)


def flux_schnell() -> Any:
    return _flux(guided=False)


def hunyuan_dit(blocks: int = 4) -> Any:
    transformer = diffusers.HunyuanDiT2DModel(
        sample_size=8, num_layers=blocks, patch_size=2, attention_head_dim=8, num_attention_heads=2,
        in_channels=4, hidden_size=16, cross_attention_dim=16, cross_attention_dim_t5=24,
        pooled_projection_dim=16, mlp_ratio=2.0,
    )  # fmt: skip
    bert = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=128,
        )
    )
    scheduler = diffusers.DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.02, prediction_type="v_prediction",
        clip_sample=False, steps_offset=1,
    )  # fmt: skip
    decoder = kl(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    return diffusers.HunyuanDiTPipeline(
        decoder, settled(bert), word_tokenizer("[CLS]", "[SEP]", "[PAD]", 77), settled(transformer),
        scheduler, None, None, requires_safety_checker=False, text_encoder_2=t5(24),
        tokenizer_2=t5_tokenizer(256),
    )  # fmt: skip


def sana(blocks: int = 2) -> Any:
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=blocks,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=16,
        sample_size=8,
    )  # fmt: skip
    gemma = transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
            query_pre_attn_scalar=8,
        )
    )
    deep = diffusers.AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)), encoder_layers_per_block=(1, 1), decoder_layers_per_block=[1, 1],
        downsample_block_type="conv", upsample_block_type="interpolate", decoder_norm_types="rms_norm",
        decoder_act_fns="silu", scaling_factor=0.41407,
    )  # fmt: skip
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return diffusers.SanaPipeline(
        word_tokenizer("<bos>", "", "<pad>", 300),
        settled(gemma),
        settled(deep),
        settled(transformer),
        scheduler,
    )


def upscaler() -> Any:
    wide = unet(in_channels=7, num_class_embeds=350, only_cross_attention=(True, False))
    decoder = kl(
        block_out_channels=(8, 8, 16), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, scaling_factor=0.08333,
    )  # fmt: skip
    low = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", prediction_type="v_prediction", clip_sample=False, beta_start=0.0001,
        beta_end=0.02, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    return diffusers.StableDiffusionUpscalePipeline(
        decoder, clip(), clip_tokenizer(), wide, low, scheduler, max_noise_level=350
    )


def _cascade_unet(**changes: Any) -> Any:
    return settled(
        diffusers.StableCascadeUNet(
            **{
                "timestep_ratio_embedding_dim": 16, "conditioning_dim": 16, "block_out_channels": (16, 16),
                "num_attention_heads": (2, 2), "down_num_layers_per_block": (1, 1),
                "up_num_layers_per_block": (1, 1), "down_blocks_repeat_mappers": (1, 1),
                "up_blocks_repeat_mappers": (1, 1), "clip_text_pooled_in_channels": 16, "clip_seq": 2,
                "dropout": (0.0, 0.0), **changes,
            }
        )
    )  # fmt: skip


def stable_cascade() -> Any:
    prior = _cascade_unet(
        in_channels=8, out_channels=8, clip_text_in_channels=16, clip_image_in_channels=12,
        switch_level=(False,),
    )  # fmt: skip
    second = _cascade_unet(
        in_channels=4, out_channels=4, patch_size=2, effnet_in_channels=8, pixel_mapper_in_channels=3,
        num_attention_heads=(-1, 2), timestep_conditioning_type=("sca",), up_blocks_repeat_mappers=(2, 1),
        block_types_per_layer=(
            ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ),
    )  # fmt: skip
    decoder = PaellaVQModel(bottleneck_blocks=1, embed_dim=16, num_vq_embeddings=16, scale_factor=0.3764)
    # the second half's own texts are not run: others must not change the picture
    return diffusers.StableCascadeCombinedPipeline(
        tokenizer=clip_tokenizer(), text_encoder=clip(projected=True), decoder=second,
        scheduler=diffusers.DDPMWuerstchenScheduler(), vqgan=settled(decoder), prior_prior=prior,
        prior_text_encoder=clip(projected=True), prior_tokenizer=clip_tokenizer(),
        prior_scheduler=diffusers.DDPMWuerstchenScheduler(),
    )  # fmt: skip


def srvgg() -> Any:
    """Real-ESRGAN's quick network, as `spandrel` reads it."""
    from spandrel.architectures.Compact import Compact

    return Compact(num_feat=8, num_conv=2, upscale=4)


def rrdb() -> Any:
    """Real-ESRGAN's thorough network."""
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=8, num_blocks=1, scale=4)
