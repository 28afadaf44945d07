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
from diffusers.pipelines.stable_cascade.pipeline_stable_cascade import PaellaVQModel
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from engines.paths import bundled_model
from engines.workload import Workload

WORDS: Final = (
    "a", "the", "red", "blue", "house", "tree", "of", "small", "large", "picture", "bird", "cat", "and",
    "with", "on",
)  # fmt: skip
VOCABULARY: Final = 99


def write(name: str, folder: Path) -> Path:
    """Save the tiny model of a family into `folder`."""
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in NETWORKS:
            return _network(name, folder)
        pipeline = MAKERS[name]()
        pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _network(name: str, folder: Path) -> Path:
    """One file that `spandrel` reads, as Real-ESRGAN's are."""
    folder.mkdir()
    path = folder / f"{name}.safetensors"
    save_file(NETWORKS[name]().state_dict(), path)
    return path


def srvgg() -> Any:
    from spandrel.architectures.Compact import Compact

    return Compact(num_feat=8, num_conv=2, upscale=4)


def rrdb() -> Any:
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=8, num_blocks=1, scale=4)


NETWORKS: Final[dict[str, Callable[[], Any]]] = {"real-esrgan-srvgg": srvgg, "real-esrgan-rrdb": rrdb}
"""Networks that enlarge a picture in one pass: no denoiser, no prompt."""


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
        tokenizer_object=made, unk_token="<unk>", pad_token=pad, model_max_length=length,
        padding_side="right",
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


def _pixart(kind: Any, **changes: Any) -> Any:
    transformer = diffusers.PixArtTransformer2DModel(
        **{
            "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8,
            "num_layers": 2, "cross_attention_dim": 16, "sample_size": 8, "patch_size": 2,
            "caption_channels": 16, "norm_num_groups": 1, "use_additional_conditions": False, **changes,
        }
    )  # fmt: skip
    scheduler = diffusers.DPMSolverMultistepScheduler()
    return kind(t5_tokenizer(), t5(), kl(), _settled(transformer), scheduler)


def pixart_alpha() -> Any:
    return _pixart(diffusers.PixArtAlphaPipeline)


def pixart_sigma() -> Any:
    return _pixart(diffusers.PixArtSigmaPipeline)


def _sd3(last: Any, tokenizer: Any) -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=40, caption_projection_dim=16, pooled_projection_dim=32, out_channels=4,
        pos_embed_max_size=16, qk_norm="rms_norm", dual_attention_layers=(0,),
    )  # fmt: skip
    decoder = kl(shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False)
    return diffusers.StableDiffusion3Pipeline(
        _settled(transformer), diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), decoder,
        clip(projected=True), clip_tokenizer(), clip(projected=True), clip_tokenizer(), last, tokenizer,
    )  # fmt: skip


def sd3() -> Any:
    return _sd3(t5(40), t5_tokenizer())


def sd3_without_t5() -> Any:
    return _sd3(None, None)


def _flux(*, guided: bool) -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
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
        scheduler, decoder, clip(), clip_tokenizer(), t5(24), t5_tokenizer(), _settled(transformer)
    )


def flux_dev() -> Any:
    return _flux(guided=True)


def flux_schnell() -> Any:
    return _flux(guided=False)


def hunyuan_dit() -> Any:
    transformer = diffusers.HunyuanDiT2DModel(
        sample_size=8, num_layers=4, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4,
        hidden_size=16, cross_attention_dim=16, cross_attention_dim_t5=24, pooled_projection_dim=16,
        mlp_ratio=2.0,
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
        decoder, _settled(bert), _tokenizer("[CLS]", "[SEP]", "[PAD]", 77), _settled(transformer), scheduler,
        None, None, requires_safety_checker=False, text_encoder_2=t5(24), tokenizer_2=t5_tokenizer(256),
    )  # fmt: skip


def sana() -> Any:
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2,
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
        _tokenizer("<bos>", "", "<pad>", 300),
        _settled(gemma),
        _settled(deep),
        _settled(transformer),
        scheduler,
    )


def modelscope() -> Any:
    video = diffusers.UNet3DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), cross_attention_dim=16, attention_head_dim=4,
        norm_num_groups=8,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
        clip_sample=False, set_alpha_to_one=False, steps_offset=1)  # fmt: skip
    return diffusers.TextToVideoSDPipeline(kl(), clip(), clip_tokenizer(), _settled(video), scheduler)


def animatediff() -> Any:
    adapter = diffusers.MotionAdapter(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_norm_num_groups=4,
        motion_num_attention_heads=2, motion_max_seq_length=16, use_motion_mid_block=False,
    )  # fmt: skip
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_schedule="linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="linspace"
    )
    return diffusers.AnimateDiffPipeline(
        kl(), clip(), clip_tokenizer(), unet(attention_head_dim=4), _settled(adapter), scheduler
    )


def ltx() -> Any:
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=12, cross_attention_dim=24,
        num_layers=2, caption_channels=16,
    )  # fmt: skip
    decoder = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False), patch_size=1, patch_size_t=1,
        decoder_inject_noise=(False,) * 5, upsample_residual=(False,) * 4, upsample_factor=(1,) * 4,
        timestep_conditioning=False, encoder_causal=True, decoder_causal=False,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        shift_terminal=0.1,
    )
    return diffusers.LTXPipeline(scheduler, _settled(decoder), t5(), t5_tokenizer(128), _settled(transformer))


def wan() -> Any:
    transformer = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
        text_dim=16, freq_dim=32, ffn_dim=32, num_layers=2, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )  # fmt: skip
    decoder = diffusers.AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True])  # fmt: skip
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return diffusers.WanPipeline(
        t5_tokenizer(), t5(multilingual=True), _settled(decoder), scheduler, _settled(transformer)
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


def stable_video_diffusion() -> Any:
    video = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=8, in_channels=8, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"), cross_attention_dim=16,
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=24, num_attention_heads=(2, 4),
        num_frames=3,
    )  # fmt: skip
    decoder = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4,
        sample_size=16,
    )  # fmt: skip
    vision = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=16,
            projection_dim=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=224,
            patch_size=32,
        )
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, interpolation_type="linear",
        prediction_type="v_prediction", sigma_max=700.0, sigma_min=0.002, steps_offset=1,
        timestep_spacing="leading", timestep_type="continuous", use_karras_sigmas=True,
    )  # fmt: skip
    extractor = transformers.CLIPImageProcessor(crop_size=224, size=224)
    return diffusers.StableVideoDiffusionPipeline(
        _settled(decoder), _settled(vision), _settled(video), scheduler, extractor
    )


def _cascade_unet(**changes: Any) -> Any:
    return _settled(
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
        scheduler=diffusers.DDPMWuerstchenScheduler(), vqgan=_settled(decoder), prior_prior=prior,
        prior_text_encoder=clip(projected=True), prior_tokenizer=clip_tokenizer(),
        prior_scheduler=diffusers.DDPMWuerstchenScheduler(),
    )  # fmt: skip


MAKERS: dict[str, Callable[[], Any]] = {
    "sd15": sd15, "sd21": sd21, "sdxl": sdxl, "sdxl-turbo": sdxl_turbo, "sdxl-lightning": sdxl_lightning,
    "pixart-alpha": pixart_alpha, "pixart-sigma": pixart_sigma, "sd3": sd3, "sd3-without-t5": sd3_without_t5,
    "flux-dev": flux_dev, "flux-schnell": flux_schnell, "hunyuan-dit": hunyuan_dit, "sana": sana,
    "modelscope": modelscope, "animatediff": animatediff, "ltx": ltx, "wan": wan, "upscaler": upscaler,
    "stable-video-diffusion": stable_video_diffusion, "stable-cascade": stable_cascade,
}  # fmt: skip

GUIDED: Final = Workload(steps=3, guidance=4.0, batch=2)
WORKLOADS: Final = {
    "sdxl-turbo": Workload(steps=2, batch=2),
    "sdxl-lightning": Workload(steps=4, batch=2),
    "flux-dev": Workload(steps=3, size=16, batch=2),
    "flux-schnell": Workload(steps=2, size=16, batch=2),
    "hunyuan-dit": Workload(steps=3, guidance=4.0, size=64, batch=2),
    "sana": Workload(steps=3, guidance=4.0, size=32, batch=2),
    "modelscope": Workload(steps=2, guidance=4.0, frames=3, batch=1),
    "animatediff": Workload(steps=2, guidance=4.0, frames=3, batch=1),
    "ltx": Workload(steps=2, guidance=4.0, size=32, frames=9, batch=1),
    "wan": Workload(steps=2, guidance=4.0, size=32, frames=5, batch=1),
    "stable-cascade": Workload(steps=3, guidance=4.0, size=128, batch=2),
    "stable-video-diffusion": Workload(steps=2, guidance=3.0, frames=3, batch=1),
    "real-esrgan-srvgg": Workload(size=96, batch=2),
    "real-esrgan-rrdb": Workload(size=96, batch=2),
}


def workload_of(name: str) -> Workload:
    """Few steps at a size that the family's pipeline takes."""
    return WORKLOADS.get(name, GUIDED)
