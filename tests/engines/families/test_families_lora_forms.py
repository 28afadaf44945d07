"""A LoRA changes the weights by what its formula says, whoever trained it and named its layers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engines.errors import ModelError
from engines.models.load import open_model
from engines.models.model import Model

Tensors = dict[str, torch.Tensor]
QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"


def state_of(model: Model, part: str = "") -> Tensors:
    return {
        name: value.detach() for name, value in model.part(part or model.layout.denoiser).state_dict().items()
    }


def pair(weight: torch.Tensor, rank: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Halves that fit a weight, and their product in its shape."""
    if weight.dim() == 4:
        down, up = torch.randn(rank, *weight.shape[1:]), torch.randn(weight.shape[0], rank, 1, 1)
    else:
        down, up = torch.randn(rank, weight.shape[1]), torch.randn(weight.shape[0], rank)
    return down, up, (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)


def merged(model: Model, weights: Mapping[str, torch.Tensor], path: Path, **said: str) -> Model:
    save_file({name: value.contiguous() for name, value in weights.items()}, str(path), said or None)
    return open_model(f"{model.path} + {path}")


@pytest.mark.parametrize("form", ["peft", "kohya", "columns"])
@pytest.mark.parametrize("layer", [QUERY, CONV])
def test_a_dora_gives_the_merged_weight_the_lengths_that_it_learned(
    family: Callable[[str], Model], tmp_path: Path, form: str, layer: str
) -> None:
    model = family("sd15")
    before = state_of(model)[f"{layer}.weight"]
    torch.manual_seed(1)
    down, up, delta = pair(before)
    whole = before + 0.5 * delta
    axes = [axis for axis in range(before.dim()) if axis != (form == "columns")]
    lengths = torch.rand(before.shape[form == "columns"]) + 0.5
    shape = [1] * before.dim()
    shape[form == "columns"] = -1
    wanted = lengths.reshape(shape) * whole / whole.pow(2).sum(axes, keepdim=True).sqrt()
    if form == "peft":
        name = f"unet.{layer}"
        kept = lengths if before.dim() == 2 else lengths.reshape(1, -1, 1, 1)
        weights = {
            f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up, f"{name}.lora_magnitude_vector": kept
        }  # fmt: skip
    else:
        name = "lora_unet_" + layer.replace(".", "_")
        weights = {
            f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up,
            f"{name}.dora_scale": lengths.reshape(shape),
        }  # fmt: skip
    weights[f"{name}.alpha"] = torch.tensor(1.0)
    found = state_of(merged(model, weights, tmp_path / "dora.safetensors"))
    torch.testing.assert_close(found[f"{layer}.weight"], wanted)


def test_a_bias_and_a_difference_are_added_and_former_names_are_understood(
    family: Callable[[str], Model], tmp_path: Path
) -> None:
    model = family("sd15")
    before = state_of(model)
    torch.manual_seed(2)
    down, up, delta = pair(before[f"{OUT}.weight"])
    bias, norm, shift = (torch.randn(before[f"{name}.bias"].shape) for name in (OUT, "conv_norm_out", CONV))
    former = QUERY.removesuffix(".to_q") + ".processor.to_q_lora"
    query = pair(before[f"{QUERY}.weight"])
    weights = {
        f"unet.{OUT}.lora_A.weight": down, f"unet.{OUT}.lora_B.weight": up, f"unet.{OUT}.lora_B.bias": bias,
        f"unet.{OUT}.alpha": torch.tensor(4.0), "lora_unet_conv_norm_out.diff": norm,
        f"lora_unet_{CONV.replace('.', '_')}.diff_b": shift,
        f"unet.{former}.down.weight": query[0], f"unet.{former}.up.weight": query[1],
    }  # fmt: skip
    after = state_of(merged(model, weights, tmp_path / "bias.safetensors"))
    wanted = {
        f"{OUT}.weight": 2 * delta, f"{OUT}.bias": 2 * bias,
        "conv_norm_out.weight": norm, f"{CONV}.bias": shift, f"{QUERY}.weight": query[2],
    }  # fmt: skip
    for name, value in after.items():
        torch.testing.assert_close(value, before[name] + wanted.get(name, 0.0), msg=name)


@pytest.mark.parametrize(("root", "scale"), [(False, 4.0), (True, 8 * 0.5**0.5)])
@pytest.mark.parametrize("form", ["diffusers", "peft"])
def test_what_peft_was_told_beside_the_weights_scales_them(
    family: Callable[[str], Model], tmp_path: Path, form: str, root: bool, scale: float
) -> None:
    model = family("sd15")
    before = state_of(model)
    torch.manual_seed(3)
    down, up, delta = pair(before[f"{QUERY}.weight"])
    told: dict[str, Any] = {"r": 2, "lora_alpha": 3, "alpha_pattern": {"attn1.to_q": 8}, "use_rslora": root}
    prefix, said = "unet.", {}
    if form == "diffusers":
        said = {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in told.items()})}
    else:
        prefix = "base_model.model."
        (tmp_path / "adapter_config.json").write_text(json.dumps(told))
    weights = {f"{prefix}{QUERY}.lora_A.weight": down, f"{prefix}{QUERY}.lora_B.weight": up}
    after = state_of(merged(model, weights, tmp_path / "told.safetensors", **said))
    torch.testing.assert_close(after[f"{QUERY}.weight"], before[f"{QUERY}.weight"] + scale * delta)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("hada_w1_a", "is a LoHa at"), ("lokr_w1", "is a LoKr at"), ("lora_mid.weight", "a core tensor at"),
        ("oft_blocks", "is an OFT at"), ("b1.weight", "is a GLoRA at"),
        ("lora_A.bias", "form that is not known"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", [f"unet.{QUERY}.", f"lora_unet_{QUERY.replace('.', '_')}."])
def test_another_kind_of_adapter_is_refused_by_its_name(
    family: Callable[[str], Model], tmp_path: Path, prefix: str, ending: str, said: str
) -> None:
    model = family("sd15")
    down, up, _ = pair(state_of(model)[f"{QUERY}.weight"])
    weights = {f"unet.{OUT}.lora_A.weight": down, f"unet.{OUT}.lora_B.weight": up, f"{prefix}{ending}": up}
    for added in ("", "student="):
        path = tmp_path / "other.safetensors"
        save_file({name: value.contiguous().clone() for name, value in weights.items()}, str(path))
        with pytest.raises(ModelError, match=said) as error:
            open_model(f"{model.path} + {added}{path}")
        assert str(error.value).count(". ") == 0


def test_weights_for_no_part_of_the_model_are_refused_but_for_zeros(
    family: Callable[[str], Model], tmp_path: Path
) -> None:
    model = family("sd15")
    before = state_of(model)
    down, up, delta = pair(before[f"{QUERY}.weight"])
    weights = {f"unet.{QUERY}.lora_A.weight": down, f"unet.{QUERY}.lora_B.weight": up}
    more = {
        "lora_te2_text_projection.lora_down.weight": down.clone(),
        "lora_te2_text_projection.lora_up.weight": 0 * up,
    }
    after = state_of(merged(model, weights | more, tmp_path / "zeros.safetensors"))
    torch.testing.assert_close(after[f"{QUERY}.weight"], before[f"{QUERY}.weight"] + delta)
    more["lora_te2_text_projection.lora_up.weight"] = up.clone()
    with pytest.raises(ModelError, match=r"holds a LoRA and no model; .* MODEL \+ zeros\.safetensors"):
        open_model(tmp_path / "zeros.safetensors")
    with pytest.raises(ModelError, match=r"lora_te2_text_projection .*in no part of this model"):
        merged(model, weights | more, tmp_path / "surplus.safetensors")


@pytest.mark.parametrize("said", [{"use_dora": True}, {"use_rslora": True}, {"lora_bias": True}], ids=str)
def test_what_peft_saves_is_merged_as_peft_merges_it(
    family: Callable[[str], Model], tmp_path: Path, said: dict[str, bool]
) -> None:
    peft = pytest.importorskip("peft")
    model = family("sd15")
    layers = ["to_q", "conv1"] if "lora_bias" not in said else ["to_out.0", "conv1"]
    settings = peft.LoraConfig(
        r=3, lora_alpha=5, target_modules=layers, init_lora_weights=False, alpha_pattern={"conv1": 2}, **said
    )
    torch.manual_seed(4)
    adapted = peft.get_peft_model(model.part("unet"), settings)
    for name, value in adapted.named_parameters():
        if "lora_magnitude" in name:
            value.data.mul_(1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # WORKAROUND: peft 0.21 takes its own biases for cut matrices
        adapted.save_pretrained(tmp_path)
    found = state_of(open_model(f"{model.path} + {tmp_path / 'adapter_model.safetensors'}"))
    for name, value in adapted.merge_and_unload().state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
