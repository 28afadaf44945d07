"""Models in other forms: one file, a LoRA beside them, a network that enlarges pictures, the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from engines.errors import ModelError
from engines.models import checkpoint
from engines.models.bundled_settings import SD2, SD15, SDXL, Settings
from engines.models.card import describe
from engines.models.hub import wanted
from engines.models.layout import examine
from engines.models.load import open_model
from engines.models.model import Model
from engines.models.realsize import _module
from engines.models.reference import Reference, plain
from engines.models.small.families import write
from engines.pipeline import build, plan
from engines.techniques import Engine
from engines.techniques.compatibility import search_space
from engines.workload import Workload
from tests.engines.families.first_names import write_one_file

PROMPTS, SEEDS = ["a red house", "the small blue bird"], [3, 4]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(before)


def drawn(model: Model) -> np.ndarray:
    return build(plan(model, "cpu", Workload(steps=2, guidance=3.0))).generate(PROMPTS, SEEDS).images


@pytest.mark.parametrize("family", ["sd15", "sd21", "sdxl"])
def test_one_file_draws_what_its_folder_draws_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder, path = write(family, tmp_path / family), tmp_path / "one.safetensors"
    settings = write_one_file(folder, path, {checkpoint.SAYS: "v"} if family == "sd21" else None)
    monkeypatch.setattr(checkpoint, "kind_of", lambda _names: settings)
    model = open_model(path)
    assert model.family == open_model(folder).family
    np.testing.assert_array_equal(drawn(model), drawn(open_model(folder)))
    assert open_model(path).hash == model.hash, "written out once"


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        (SD15, {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}),
        (SD2, {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840}),
        (
            SDXL,
            {
                "unet": 2_567_463_684, "vae": 83_653_863, "text_encoder": 123_060_480,
                "text_encoder_2": 694_659_840,
            },
        ),
    ],
    ids=["sd15", "sd2", "sdxl"],
)  # fmt: skip
def test_the_bundled_settings_make_networks_of_the_published_size(
    settings: Settings, counts: dict[str, int]
) -> None:
    for part, count in counts.items():
        with torch.device("meta"):
            module = _module(part, settings[part])
        assert sum(one.numel() for one in module.parameters()) == count


@pytest.mark.parametrize(
    ("said", "added", "predicts", "size"),
    [
        ("v", "", "v_prediction", 12),
        ("epsilon", "", "epsilon", 8),
        ("", " + prediction=v", "v_prediction", 12),
        ("v", " + prediction=epsilon", "epsilon", 8),
    ],
)
def test_stable_diffusion_2_predicts_what_its_file_or_its_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, added: str, predicts: str, size: int
) -> None:
    path = tmp_path / "two.safetensors"
    metadata = {"modelspec.title": "another"} | ({checkpoint.SAYS: said} if said else {})
    settings = write_one_file(write("sd21", tmp_path / "sd21"), path, metadata)
    assert checkpoint.kind_of(load_file(path)) is SD2
    settings |= {name: settings[name] | {"sample_size": 12} for name in ("unet", "vae")}
    settings["scheduler"].pop("prediction_type")
    monkeypatch.setattr(checkpoint, "kind_of", lambda _names: settings)
    model = open_model(f"{path}{added}")
    assert model.layout.scheduler["prediction_type"] == predicts
    assert model.denoiser.config["sample_size"] == size
    if not said:
        with pytest.raises(ModelError, match=r"does not say what its denoiser predicts; add \+ prediction=v"):
            open_model(path)
        with pytest.raises(ModelError, match="cannot predict 'x0'"):
            open_model(f"{path} + prediction=x0")


def test_a_checkpoint_that_changes_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inpainting.safetensors"
    write_one_file(write("sd15", tmp_path / "sd15"), path)
    state = load_file(path)
    edge = "model.diffusion_model.input_blocks.0.0.weight"
    save_file(state | {edge: torch.zeros(8, 9, 3, 3)}, path)
    with pytest.raises(ModelError, match="its denoiser takes 9 channels and not 4"):
        open_model(path)


def test_the_bundled_vocabulary_is_clips(tmp_path: Path) -> None:
    checkpoint.write_settings({"tokenizer": SD15["tokenizer"]}, tmp_path)
    from engines.models.model import _tokenizer

    found = _tokenizer(tmp_path / "tokenizer")
    assert found.get_vocab_size() == 49_408
    assert found.encode("a photo of a cat", add_special_tokens=False).ids == [320, 1125, 539, 320, 2368]
    assert found.token_to_id("<|startoftext|>") == 49_406


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["lora_unet_a.weight"], "no whole Stable Diffusion checkpoint"),
        (["model.diffusion_model.a"], "no decoder"),
        (["model.diffusion_model.a", "first_stage_model.a", "conditioner.embedders.0.model.b"], "refiner"),
        (["model.diffusion_model.a", "first_stage_model.a"], "no text encoder"),
    ],
)
def test_a_checkpoint_that_cannot_be_opened_says_why(names: list[str], said: str) -> None:
    found = checkpoint.kind_of(names)
    assert isinstance(found, str)
    assert said in found


def weight_of(model: Model, layer: str) -> torch.Tensor:
    found = model.part("unet").get_submodule(layer)
    assert isinstance(found, torch.nn.Linear)
    return found.weight.detach()


@pytest.mark.parametrize("form", ["peft", "kohya"])
def test_a_lora_is_merged_into_denoiser_and_text_encoder(tmp_path: Path, form: str) -> None:
    folder, lora = write("sd15", tmp_path / "model"), tmp_path / "style.safetensors"
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    words = "encoder.layers.0.self_attn.q_proj"
    before = weight_of(open_model(folder), layer).clone()
    torch.manual_seed(1)
    down, up = torch.randn(2, 16), torch.randn(16, 2)
    if form == "peft":
        weights = {
            f"unet.{layer}.lora_A.weight": down, f"unet.{layer}.lora_B.weight": up,
            f"text_encoder.text_model.{words}.lora_A.weight": down.clone(),
            f"text_encoder.text_model.{words}.lora_B.weight": up.clone(),
        }  # fmt: skip
    else:
        name = "lora_unet_" + layer.replace(".", "_")
        weights = {
            f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(1.0)
        }  # fmt: skip
    save_file(weights, lora)
    (folder / "reader.safetensors").write_bytes(b"judges its pictures")
    model = open_model(f"{folder} + {lora}")
    assert (model.path / "reader.safetensors").read_bytes() == b"judges its pictures"
    after = weight_of(model, layer)
    scale = 1.0 if form == "peft" else 0.5
    torch.testing.assert_close(after, before + scale * up @ down)
    assert model.hash != open_model(folder).hash
    assert (drawn(model) != drawn(open_model(folder))).any()


def test_a_lora_that_is_absent_or_of_another_model_is_one_sentence(tmp_path: Path) -> None:
    folder = write("sd15", tmp_path / "model")
    with pytest.raises(ModelError, match="There is no LoRA"):
        open_model(f"{folder} + {tmp_path / 'none.safetensors'}")
    pair = {"lora_A": torch.zeros(1, 2), "lora_B": torch.zeros(2, 1)}
    save_file(
        {f"unet.nowhere.{one}.weight": value for one, value in pair.items()}, tmp_path / "other.safetensors"
    )
    with pytest.raises(ModelError, match="does not fit this model at nowhere"):
        open_model(f"{folder} + {tmp_path / 'other.safetensors'}")


def compact(path: Path) -> Path:
    """Real-ESRGAN's compact network (SRVGG), two layers, x2."""
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    save_file(Compact(num_feat=8, num_conv=2, upscale=2).state_dict(), path)
    return path


def residual(path: Path) -> Path:
    """Real-ESRGAN's deep network (RRDB), one block, x4."""
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    save_file(ESRGAN(num_filters=8, num_blocks=1, scale=4).state_dict(), path)
    return path


@pytest.mark.parametrize("make", [compact, residual], ids=["srvgg", "rrdb"])
def test_a_network_that_enlarges_with_weights_that_are_no_numbers_is_refused(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / "enlarge.safetensors")
    weights = load_file(path)
    next(value for value in weights.values() if value.ndim > 1).view(-1)[3] = float("nan")
    save_file(weights, path)
    with pytest.raises(ModelError, match=r"enlarge\.safetensors are damaged: .* no numbers"):
        open_model(path).part("upscaler")


@pytest.mark.parametrize(("make", "scale"), [(compact, 2), (residual, 4)], ids=["srvgg", "rrdb"])
def test_a_network_that_enlarges_is_a_model_of_its_own(tmp_path: Path, make: object, scale: int) -> None:
    assert callable(make)
    model = open_model(make(tmp_path / "enlarge.safetensors"))
    card = describe(model)
    assert (card.task, [part.name for part in card.components]) == ("super-resolution", ["upscaler"])
    names = {axis.name for axis in search_space(card)}
    assert "engine" in names
    assert not names & {"fewer-steps", "scheduler", "guidance-cutoff", "feature-cache", "prompt-cache"}
    picture = tmp_path / "given.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(picture)
    workload = Workload(size=24 * scale)
    wanted_one = Reference(model, "cpu", workload).generate([str(picture)], [0])
    assert wanted_one.shape == (1, 24 * scale, 24 * scale, 3)
    for recipe in ((), (Engine("openvino"),)):
        pipeline = build(plan(model, "cpu", workload, recipe))
        found = pipeline.generate([str(picture)], [0])
        assert pipeline.fallbacks == ()
        assert np.abs(found.images.astype(int) - wanted_one.astype(int)).max() <= 1
        assert found.calls == {"upscaler": 1}
    half = Reference(model, "cpu", workload, plain(model, "cuda")).generate([str(picture)], [0])
    assert np.abs(half.astype(int) - wanted_one.astype(int)).max() <= 2


def test_of_a_hub_repository_only_what_is_needed_is_fetched() -> None:
    files = [
        ".gitattributes", "README.md", "model_index.json", "sd_xl_base_1.0.safetensors",
        "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors", "unet/model.onnx", "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt",
        "tokenizer_2/spiece.model", "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors",
        "scheduler/scheduler_config.json",
    ]  # fmt: skip
    found = set(wanted(files))
    assert "unet/diffusion_pytorch_model.safetensors" in found
    assert "vae/diffusion_pytorch_model.fp16.safetensors" in found, "there is no other"
    assert {
        "model_index.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer_2/spiece.model",
    } <= found
    left_out = {
        "sd_xl_base_1.0.safetensors", "unet/diffusion_pytorch_model.bin", "unet/model.onnx",
        "unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/model.fp16.safetensors",
    }  # fmt: skip
    assert not found & left_out


def test_sharded_half_precision_weights_are_found(tmp_path: Path) -> None:
    folder = write("sd15", tmp_path / "model")
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(whole)
    names = sorted(state)
    shards = [f"diffusion_pytorch_model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index: dict[str, str] = {}
    for shard, part in zip(shards, (names[::2], names[1::2]), strict=True):
        save_file({name: state[name].half() for name in part}, folder / "unet" / shard)
        index |= dict.fromkeys(part, shard)
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text(
        json.dumps({"weight_map": index})
    )
    whole.unlink()
    assert len(examine(folder).parts["unet"].weights) == 2
    assert describe(open_model(folder)).component("unet").dtype == "fp16"  # type: ignore[union-attr]
