"""Files that name a transformer's layers as its first authors do: denoisers alone, and LoRAs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.loaders import lora_conversion_utils, single_file_model
from safetensors.torch import load_file

from engines.errors import ModelError
from engines.models import sd3_file
from engines.models.load import open_model
from engines.models.model import Model
from engines.models.safetensors_file import Tensor
from engines.pipeline import build, plan
from engines.workload import Workload
from tests.engines.families.first_names import unet_name, vae_name, write_one_file
from tests.engines.families.first_transformers import first_named, renamed, save

Make = Callable[[str], Model]
Tensors = dict[str, torch.Tensor]


def state_of(model: Model, part: str = "") -> Tensors:
    module = model.part(part or model.layout.denoiser)
    return {name: value.detach() for name, value in module.state_dict().items()}


def converted(model: Model, state: Tensors) -> Tensors:
    """By diffusers."""
    known = single_file_model.SINGLE_FILE_LOADABLE_CLASSES[model.denoiser.kind]
    found: Tensors = known["checkpoint_mapping_fn"](
        checkpoint=dict(state), config=dict(model.denoiser.config)
    )
    return found


LAYERS = {
    "sd3": [
        "joint_blocks.0.x_block.attn.qkv", "joint_blocks.0.context_block.attn.qkv",
        "joint_blocks.0.context_block.adaLN_modulation.1", "joint_blocks.1.context_block.adaLN_modulation.1",
        "joint_blocks.1.x_block.mlp.fc1", "final_layer.adaLN_modulation.1",
    ],
    "wan": ["blocks.0.self_attn.q", "blocks.0.cross_attn.o", "blocks.1.ffn.0", "head.head",
            "text_embedding.2"],
    "ltx": ["patchify_proj", "adaln_single.linear", "transformer_blocks.0.attn1.to_q"],
}  # fmt: skip


@pytest.mark.parametrize("form", ["kohya", "comfy", "bare"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_lora_changes_what_it_changes_in_the_first_authors_network(
    family: Make, tmp_path: Path, name: str, form: str
) -> None:
    model = family(name)
    first = first_named(model)
    assert {key: value.shape for key, value in converted(model, first).items()} == {
        key: value.shape for key, value in state_of(model).items()
    }
    torch.manual_seed(5)
    weights: Tensors = {}
    for layer in LAYERS[name]:
        weight = first[f"{layer}.weight"]
        down, up = torch.randn(4, weight[0].numel()), torch.randn(weight.shape[0], 4)
        first[f"{layer}.weight"] = weight + 0.5 * (up @ down).reshape(weight.shape)
        place, ends = f"diffusion_model.{layer}", ("lora_A", "lora_B")
        if form == "kohya":
            place, ends = "lora_unet_" + layer.replace(".", "_"), ("lora_down", "lora_up")
        elif form == "bare":
            place = layer
        weights |= {
            f"{place}.{ends[0]}.weight": down, f"{place}.{ends[1]}.weight": up,
            f"{place}.alpha": torch.tensor(2.0),
        }  # fmt: skip
    after = state_of(open_model(f"{model.path} + {save(weights, tmp_path / 'lora.safetensors')}"))
    for key, value in converted(model, first).items():
        torch.testing.assert_close(after[key], value, msg=key)


@pytest.mark.parametrize("form", ["kohya", "comfy"])
def test_every_layer_of_a_unet_is_found_by_its_first_authors_name(
    family: Make, tmp_path: Path, form: str
) -> None:
    model = family("sdxl")
    config, before = model.denoiser.config, state_of(model)
    attention = ["CrossAttn" in one for one in config["up_block_types"]]
    weights: Tensors = {}
    wanted: Tensors = {}
    for layer, module in model.part("unet").named_modules():
        if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            continue
        first = unet_name(f"{layer}.weight", config["layers_per_block"], attention).removesuffix(".weight")
        place = f"diffusion_model.{first}" if form == "comfy" else "lora_unet_" + first.replace(".", "_")
        weight = before[f"{layer}.weight"]
        weights[f"{place}.diff"] = torch.full_like(weight, float(len(wanted) + 1))
        wanted[f"{layer}.weight"] = weight + len(wanted) + 1
    after = state_of(open_model(f"{model.path} + {save(weights, tmp_path / 'unet.safetensors')}"))
    assert len(wanted) > 40
    for key, value in wanted.items():
        torch.testing.assert_close(after[key], value, msg=key)


def test_a_flux_lora_of_kohya_is_what_diffusers_makes_of_it(family: Make, tmp_path: Path) -> None:
    model = family("flux-dev")
    before, first = state_of(model), first_named(model)
    torch.manual_seed(6)
    layers = [
        "double_blocks.0.img_attn.qkv", "double_blocks.0.txt_attn.qkv", "double_blocks.0.img_mod.lin",
        "double_blocks.0.txt_mlp.0", "single_blocks.0.linear2", "final_layer.linear", "guidance_in.in_layer",
    ]  # fmt: skip
    weights: Tensors = {}
    for layer in layers:
        weight, place = first[f"{layer}.weight"], "lora_unet_" + layer.replace(".", "_")
        weights[f"{place}.lora_down.weight"] = torch.randn(2, weight.shape[1])
        weights[f"{place}.lora_up.weight"] = torch.randn(weight.shape[0], 2)
        if layer != "final_layer.linear":  # whose alpha diffusers leaves out
            weights[f"{place}.alpha"] = torch.tensor(1.0)
    theirs = lora_conversion_utils._convert_kohya_flux_lora_to_diffusers(dict(weights))
    wanted = dict(before)
    for key, down in theirs.items():
        if key.endswith(".lora_A.weight"):
            layer = key.removeprefix("transformer.").removesuffix(".lora_A.weight")
            up = theirs[key.replace("lora_A", "lora_B")]
            wanted[f"{layer}.weight"] = before[f"{layer}.weight"] + up @ down
    single = first["single_blocks.0.linear1.weight"]
    down, up = torch.randn(2, single.shape[1]), torch.randn(single.shape[0], 2)
    weights |= {"lora_unet_single_blocks_0_linear1.lora_down.weight": down}
    weights |= {"lora_unet_single_blocks_0_linear1.lora_up.weight": up}
    at = 0
    for layer in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"):
        key = f"single_transformer_blocks.0.{layer}.weight"
        rows = up[at : (at := at + before[key].shape[0])]
        wanted[key] = before[key] + rows @ down
    after = state_of(open_model(f"{model.path} + {save(weights, tmp_path / 'kohya.safetensors')}"))
    assert sum(not torch.equal(after[key], before[key]) for key in after) == 15
    for key, value in wanted.items():
        torch.testing.assert_close(after[key], value, msg=key)


def test_a_flux_lora_of_xlabs_is_what_diffusers_makes_of_it(family: Make, tmp_path: Path) -> None:
    model = family("flux-dev")
    before = state_of(model)
    width = before["transformer_blocks.0.attn.to_q.weight"].shape[0]
    single = before["single_transformer_blocks.0.proj_out.weight"].shape[1]
    sizes = {
        "double_blocks.0.processor.qkv_lora1": (width, 3 * width),
        "double_blocks.0.processor.qkv_lora2": (width, 3 * width),
        "double_blocks.0.processor.proj_lora1": (width, width),
        "double_blocks.0.processor.proj_lora2": (width, width),
        "single_blocks.0.processor.qkv_lora": (width, 3 * width),
        "single_blocks.0.processor.proj_lora": (single, width),
    }
    torch.manual_seed(7)
    weights: Tensors = {}
    for layer, (wide, high) in sizes.items():
        weights |= {f"{layer}.down.weight": torch.randn(2, wide), f"{layer}.up.weight": torch.randn(high, 2)}
    theirs = lora_conversion_utils._convert_xlabs_flux_lora_to_diffusers(dict(weights))
    after = state_of(open_model(f"{model.path} + {save(weights, tmp_path / 'xlabs.safetensors')}"))
    for key, value in before.items():
        stem = f"transformer.{key.removesuffix('.weight')}"
        down, up = theirs.get(f"{stem}.lora_A.weight"), theirs.get(f"{stem}.lora_B.weight")
        wanted = value if down is None or up is None else value + up @ down
        torch.testing.assert_close(after[key], wanted, msg=key)


def test_a_lora_for_another_family_says_for_which(family: Make, tmp_path: Path) -> None:
    half = torch.zeros(2, 2)
    weights = {f"lora_unet_double_blocks_0_img_attn_qkv.lora_{one}.weight": half for one in ("down", "up")}
    path = save(weights, tmp_path / "flux.safetensors")
    for name in ("sd15", "sd3"):
        with pytest.raises(ModelError, match="it looks like one for FLUX; use the LoRA made for it"):
            open_model(f"{family(name).path} + {path}")


def without_weights(model: Model, folder: Path) -> Path:
    """The folder of a model without its denoiser's weights."""
    shutil.copytree(model.path, folder)
    for path in (folder / model.layout.denoiser).glob("*.safetensors"):
        path.unlink()
    return folder


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("name", ["sd3", "wan", "ltx", "sana", "sd21"])
def test_a_denoisers_file_is_made_whole_by_a_folder(
    family: Make, tmp_path: Path, name: str, prefix: str
) -> None:
    model = family(name)
    if name == "sd21":
        path = tmp_path / "own.safetensors"
        save(load_file(str(model.denoiser.weights[0])), path, prefix)  # under diffusers' names
    else:
        path = save(first_named(model), tmp_path / "one.safetensors", prefix)
    with pytest.raises(ModelError, match=r"holds a denoiser of .*its text encoders, its decoder.* \+ FOLDER"):
        open_model(path)
    found = open_model(f"{path} + {without_weights(model, tmp_path / 'rest')}")
    assert (found.family, found.denoiser.kind) == (model.family, model.denoiser.kind)
    mine = state_of(found)
    for key, value in state_of(model).items():
        assert torch.equal(mine[key], value), key


def test_a_completed_model_draws_what_its_folder_draws(family: Make, tmp_path: Path) -> None:
    model = family("sd3")
    folder = without_weights(model, tmp_path / "rest")
    path = save(first_named(model), tmp_path / "sd3.5-turbo.safetensors")
    turbo = open_model(f"{path} + {folder}")
    assert (turbo.name, turbo.steps, turbo.guidance) == ("sd3.5-turbo", 4, 0.0)
    assert open_model(turbo.place).steps == 4, "a candidate's process opens the folder"
    wanted, found = (
        build(plan(one, "cpu", Workload(steps=2, guidance=4.0))).generate(["a red house"], [3]).images
        for one in (model, turbo)
    )
    np.testing.assert_array_equal(found, wanted)


def test_plain_fp8_is_read_and_scaled_fp8_is_refused(family: Make, tmp_path: Path) -> None:
    model = family("sd3")
    state = {name: value.to(torch.float8_e4m3fn) for name, value in first_named(model).items()}
    path = save(state, tmp_path / "fp8.safetensors")
    found = state_of(open_model(f"{path} + {model.path}"))
    for key, value in state_of(model).items():
        assert torch.equal(found[key], value.to(torch.float8_e4m3fn).float()), key
    save(state | {"context_embedder.scale_weight": torch.ones(1)}, path)
    with pytest.raises(ModelError, match="holds quantised weights with their scales"):
        open_model(f"{path} + {model.path}")


def test_a_files_own_decoder_and_text_encoders_are_used(family: Make, tmp_path: Path) -> None:
    model = family("sd3")
    state = {f"model.diffusion_model.{name}": value for name, value in first_named(model).items()}
    changed = {
        f"text_encoders.{theirs}.transformer.{name}": value + 1
        for ours, theirs in (
            ("text_encoder", "clip_l"),
            ("text_encoder_2", "clip_g"),
            ("text_encoder_3", "t5xxl"),
        )
        for name, value in load_file(str(model.layout.parts[ours].weights[0])).items()
    }
    path = save(state | changed, tmp_path / "whole.safetensors")
    found = open_model(f"{path} + {without_weights(model, tmp_path / 'rest')}")
    for part in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        before = state_of(model, part)
        for key, value in state_of(found, part).items():
            torch.testing.assert_close(value, before[key] + 1, msg=f"{part} {key}")


def test_a_whole_file_of_stable_diffusion_3_needs_no_folder(
    family: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = family("sd3-without-t5")
    state = {f"model.diffusion_model.{name}": value for name, value in first_named(model).items()}
    for ours, theirs in (("text_encoder", "clip_l"), ("text_encoder_2", "clip_g")):
        for name, value in load_file(str(model.layout.parts[ours].weights[0])).items():
            state[f"text_encoders.{theirs}.transformer.{name}"] = value
    for name, value in load_file(str(model.layout.parts["vae"].weights[0])).items():
        linear = "attentions" in name and name.endswith("weight") and value.ndim == 2
        levels = len(model.layout.parts["vae"].config["block_out_channels"])
        state["first_stage_model." + vae_name(name, levels)] = value[:, :, None, None] if linear else value
    path = save(state, tmp_path / "whole.safetensors")
    small = {name: part.config for name, part in model.layout.parts.items()}
    small |= {"index": model.layout.index, "scheduler": model.layout.scheduler}
    small |= {name: {"folder": str(model.path / name)} for name in ("tokenizer", "tokenizer_2")}
    monkeypatch.setattr(sd3_file, "settings", lambda _tensors: small)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    wanted, found = (
        build(plan(one, "cpu", Workload(steps=2))).generate(["a red house"], [3]).images
        for one in (model, open_model(path))
    )
    np.testing.assert_array_equal(found, wanted)
    state["text_encoders.t5xxl.transformer.shared.weight"] = torch.zeros(2, 2)
    with pytest.raises(
        ModelError, match=r"its decoder and text encoders, and not its other parts.*\+ FOLDER"
    ):
        open_model(save(state, path))


@pytest.mark.parametrize(
    "config",
    [
        {"num_layers": 24, "pos_embed_max_size": 192},
        {"num_layers": 38, "pos_embed_max_size": 192, "qk_norm": "rms_norm"},
        {
            "num_layers": 24,
            "pos_embed_max_size": 384,
            "qk_norm": "rms_norm",
            "dual_attention_layers": range(13),
        },
    ],
    ids=["3-medium", "3.5-large", "3.5-medium"],
)
def test_what_a_stable_diffusion_3_is_is_read_off_its_weights(config: dict[str, Any]) -> None:
    width = 64 * config["num_layers"]
    whole = {
        "num_attention_heads": config["num_layers"], "caption_projection_dim": width, "in_channels": 16,
        "joint_attention_dim": 4096, "pooled_projection_dim": 2048, "attention_head_dim": 64, "patch_size": 2,
        "sample_size": 128, "dual_attention_layers": [], "qk_norm": None, **config,
    }  # fmt: skip
    with torch.device("meta"):
        made = diffusers.SD3Transformer2DModel.from_config(whole)
    shapes = {name: Tensor("F16", tuple(value.shape)) for name, value in renamed(made).items()}
    found = sd3_file.settings(shapes)["transformer"]
    assert {name: found[name] for name in whole} == {
        **whole,
        "dual_attention_layers": list(whole["dual_attention_layers"]),
    }


def test_what_a_file_and_a_folder_cannot_be_together_is_said(family: Make, tmp_path: Path) -> None:
    model, other = family("sd3"), family("wan")
    path = save(first_named(model), tmp_path / "one.safetensors")
    with pytest.raises(
        ModelError, match=r"holds a denoiser of Stable Diffusion 3, and that of .* is a WanTrans"
    ):
        open_model(f"{path} + {other.path}")
    with pytest.raises(ModelError, match="There is no file"):
        open_model(f"{tmp_path / 'none.safetensors'} + {model.path}")
    state = first_named(model)
    state["context_embedder.weight"] = state["context_embedder.weight"][:, 1:]
    with pytest.raises(ModelError, match=r"does not fit the settings in .* at context_embedder\.weight"):
        open_model(f"{save(state, path)} + {model.path}")
    surplus = {f"text_encoders.t5xxl.transformer.{name}": torch.zeros(2) for name in ("shared.weight", "a")}
    save(first_named(model) | surplus, path)
    with pytest.raises(ModelError, match=r"holds a text encoder \(t5xxl\) that .* has no settings for"):
        open_model(f"{path} + {family('sd3-without-t5').path}")
    write_one_file(family("sd15").path, path)
    with pytest.raises(ModelError, match="holds a whole checkpoint; open it without"):
        open_model(f"{path} + {family('sd15').path}")
    for first, title in (("blocks.0.attn1.Wqkv.weight", "Hunyuan-DiT"), ("t_block.1.weight", "PixArt")):
        names = {first: torch.zeros(2, 2), "blocks.0.cross_attn.kv_linear.weight": torch.zeros(2, 2)}
        with pytest.raises(ModelError, match=f"a denoiser of {title} .*which diffusers cannot convert"):
            open_model(save(names, path))


@pytest.mark.slow
def test_a_flux_file_of_the_published_width_is_made_whole(family: Make, tmp_path: Path) -> None:
    """diffusers' converter knows the width of FLUX.1 only."""
    small = family("flux-dev")
    folder = without_weights(small, tmp_path / "rest")
    config = json.loads((folder / "transformer" / "config.json").read_text()) | {
        "attention_head_dim": 128, "num_attention_heads": 24, "axes_dims_rope": [16, 56, 56],
        "guidance_embeds": False,
    }  # fmt: skip
    (folder / "transformer" / "config.json").write_text(json.dumps(config))
    torch.manual_seed(8)
    wide = diffusers.FluxTransformer2DModel.from_config(config | {"guidance_embeds": True}).to(torch.bfloat16)
    wide.save_pretrained(tmp_path / "wide" / "transformer")
    shutil.copytree(folder, tmp_path / "wide", dirs_exist_ok=True)
    wide.save_config(tmp_path / "wide" / "transformer")
    model = open_model(tmp_path / "wide")
    path = save(
        {name: value.bfloat16() for name, value in first_named(model).items()}, tmp_path / "f.safetensors"
    )
    found = open_model(f"{path} + {folder}")
    assert found.denoiser.config["guidance_embeds"], "as the file has it"
    mine = load_file(str(found.denoiser.weights[0]))
    for key, value in wide.state_dict().items():
        assert torch.equal(mine[key], value), key
