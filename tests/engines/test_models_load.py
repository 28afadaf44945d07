"""Opening models: what is read, and what bad input is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engines.errors import ModelError, UnsafeWeights
from engines.models.card import describe
from engines.models.load import open_model
from engines.models.lora import merge
from tests.engines.small_model import write_small_model


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def test_the_bundled_model_says_what_it_is() -> None:
    model = open_model("tiny-scenes")
    card = describe(model)
    assert (card.name, card.size, card.steps, card.licence) == ("Tiny Scenes", 64, 30, "Apache-2.0")
    assert {"text_encoder", "unet", "vae"} <= {part.name for part in card.components}
    assert model.prompt_source == "scenes"
    assert (model.latent_channels, model.latent_size, model.token_length) == (8, 8, 32)


def test_a_card_counts_the_parameters_that_the_modules_have(whole: Path) -> None:
    model = open_model(whole)
    card = describe(model)
    for name in ("text_encoder", "unet", "vae", "tiny_vae"):
        found = card.component(name)
        assert found is not None
        assert found.parameters == sum(parameter.numel() for parameter in model.part(name).parameters())
    assert card.memory == 4 * sum(
        part.parameters for part in card.components if part.name in ("text_encoder", "unet", "vae")
    )
    lora = card.component("student_lora")
    assert lora is not None
    assert lora.kind == "LoRA"


def test_the_tokenizer_gives_words_of_the_grammar_one_token(whole: Path) -> None:
    model = open_model(whole)
    encoded = model.tokenizer.encode("a red house", add_special_tokens=False)
    assert len(encoded.ids) == 3
    assert model.special_tokens == (0, 1, 1)


def test_the_hash_follows_the_weights_and_not_the_place(copy: Path, whole: Path) -> None:
    first = open_model(whole).hash
    assert open_model(copy).hash == first
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_in.bias"] = weights["conv_in.bias"] + 1
    save_file(weights, path)
    assert open_model(copy).hash != first


def test_weights_that_change_while_in_use_are_not_mixed_up(copy: Path) -> None:
    model = open_model(copy)
    path = copy / "vae" / "config.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(ModelError, match="changed while the model was in use"):
        model.part("vae")


def _remove(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return damage


def _pickled(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
        folder / "unet" / "diffusion_pytorch_model.bin"
    )


def _cut(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _cut_words(folder: Path) -> None:
    path = max((folder / "tokenizer").glob("*.json"), key=lambda one: one.stat().st_size)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _noise(folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(
        b"\x08" + b"\x00" * 7 + b"not json" * 4
    )


def _short(folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"abc")


def _of_class(part: str, class_name: str | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        index = json.loads((folder / "model_index.json").read_text())
        index[part] = [None, None] if class_name is None else ["diffusers", class_name]
        (folder / "model_index.json").write_text(json.dumps(index))

    return damage


def _half_sharded(folder: Path) -> None:
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    first = whole.with_name("diffusion_pytorch_model-00001-of-00002.safetensors")
    whole.rename(first)
    index = {"weight_map": {"a": first.name, "b": "diffusion_pytorch_model-00002-of-00002.safetensors"}}
    whole.with_name(whole.name + ".index.json").write_text(json.dumps(index))


def _inpainting(folder: Path) -> None:
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"in_channels": 9}))


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (_remove("unet/diffusion_pytorch_model.safetensors"), ModelError, "model.safetensors is missing"),
        (_remove("text_encoder/config.json"), ModelError, "config.json is missing"),
        (_remove("scheduler/scheduler_config.json"), ModelError, "scheduler_config.json is missing"),
        (_remove("tokenizer"), ModelError, "tokenizer is missing"),
        (_remove("model_index.json"), ModelError, "model_index.json is missing"),
        (_half_sharded, ModelError, "00002-of-00002.safetensors is missing"),
        (_pickled, UnsafeWeights, "pickle checkpoint"),
        (_cut, ModelError, "1000 bytes are missing"),
        (_cut_words, ModelError, "cannot be read as JSON"),
        (_noise, ModelError, "header"),
        (_short, ModelError, "not a whole safetensors file"),
        (_of_class("unet", "Kandinsky3UNet"), ModelError, "The part unet of"),
        (_of_class("unet", "Kandinsky3UNet"), ModelError, "Kandinsky3UNet, which this version cannot"),
        (_of_class("text_encoder", "ChatGLMModel"), ModelError, "it knows CLIPTextModel, "),
        (_of_class("controlnet", "ControlNetModel"), ModelError, "it knows no such part"),
        (_of_class("unet", None), ModelError, "has no denoiser that this version knows"),
        (_of_class("vae", None), ModelError, "has no decoder that this version knows"),
        (_inpainting, ModelError, "not a text-to-image one"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_in_one_sentence(
    copy: Path, damage: Callable[[Path], None], kind: type[ModelError], said: str
) -> None:
    damage(copy)
    with pytest.raises(kind) as caught:
        open_model(copy)
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    assert text.endswith(".")


def test_a_pipeline_that_nobody_listed_opens_where_its_components_are_known(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"_class_name": "SomebodysOwnPipeline"}))
    model = open_model(copy)
    assert describe(model).family == "somebodys-own"
    assert model.hash != open_model("tiny-scenes").hash


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_in.bias"] = torch.zeros(3)
    save_file(weights, path)
    with pytest.raises(ModelError, match="do not fit"):
        open_model(copy).part("unet")


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_weights_that_are_no_numbers_are_refused(copy: Path, part: str) -> None:
    path = next((copy / part).glob("*.safetensors"))
    weights = load_file(path)
    name = next(name for name, value in weights.items() if value.is_floating_point() and value.ndim > 1)
    weights[name].view(-1)[3] = float("nan")
    save_file(weights, path)
    with pytest.raises(ModelError, match="no numbers"):
        open_model(copy).part(part)


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "sub/model.pt"])
def test_a_pickle_file_is_refused_without_being_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeWeights, match="pickle"):
        open_model(tmp_path / name)


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no model"):
        open_model(tmp_path / "nowhere")


def test_a_single_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(ModelError, match="no whole Stable Diffusion checkpoint"):
        open_model(tmp_path / "lora.safetensors")


def test_a_hub_model_without_a_network_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        open_model("somebody/some-model")
    assert "\n" not in str(caught.value)


def test_a_merged_lora_computes_the_same_as_one_beside_the_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(80, 7)
    )
    down, up = torch.nn.Conv2d(3, 2, 3, padding=1, bias=False), torch.nn.Conv2d(2, 5, 1, bias=False)
    low, high = torch.randn(2, 80), torch.randn(7, 2)
    save_file(
        {
            "unet.0.lora_A.weight": down.weight.detach(), "unet.0.lora_B.weight": up.weight.detach(),
            "unet.2.lora_A.weight": low, "unet.2.lora_B.weight": high, "unet.2.alpha": torch.tensor(1.0),
        },
        tmp_path / "lora.safetensors",
    )  # fmt: skip
    picture = torch.randn(2, 3, 4, 4)
    inner = plain[1](plain[0](picture) + up(down(picture)))
    wanted = plain[2](inner) + inner @ low.T @ high.T / 2
    assert merge(plain, tmp_path / "lora.safetensors", prefix="unet.") == 2
    torch.testing.assert_close(plain(picture), wanted)


def test_a_lora_of_another_model_is_refused(tmp_path: Path) -> None:
    save_file(
        {"unet.9.lora_A.weight": torch.zeros(1, 2), "unet.9.lora_B.weight": torch.zeros(2, 1)},
        tmp_path / "x.safetensors",
    )
    with pytest.raises(ModelError, match="does not fit this model at 9"):
        merge(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "x.safetensors", prefix="unet.")
