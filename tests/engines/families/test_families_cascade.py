"""Stable Cascade: two halves in one folder or in two, its second denoiser's steps, and its real size."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import ModelError
from engines.hostloop import LoopError, LoopSettings, latent_noise, step_noise
from engines.layouts import LAYOUTS
from engines.measure import floor
from engines.models.card import describe
from engines.models.layout import examine
from engines.models.load import open_model
from engines.models.model import Model
from engines.models.small.pictures import stable_cascade
from engines.models.small.workloads import workload_of
from engines.models.weights import diffusers_class
from engines.pipeline import build, engines, loop_settings, plan
from engines.techniques import FewerSteps, Scheduler
from engines.techniques.compatibility import check, search_space
from engines.workload import Workload

torch = pytest.importorskip("torch")
NAME = "stable-cascade"


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """As they are shipped: a folder each, of files that are links, as the hub's cache keeps them."""
    room = tmp_path_factory.mktemp("halves")
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = stable_cascade()
        whole.prior_pipe.save_pretrained(room / "real" / "prior")
        whole.decoder_pipe.save_pretrained(room / "real" / "second")
    for path in sorted((room / "real").rglob("*.*")):
        target = room / path.relative_to(room / "real")
        target.parent.mkdir(parents=True, exist_ok=True)
        up = "/".join([".."] * (len(target.relative_to(room).parts) - 1))
        target.symlink_to(f"{up}/real/{path.relative_to(room / 'real').as_posix()}")
    return room / "second", room / "prior"


def test_two_halves_are_one_model(halves: tuple[Path, Path], family: Callable[[str], Model]) -> None:
    second, prior = halves
    model = open_model(f"{second} + {prior}")
    assert describe(model).components == describe(family(NAME)).components
    assert {name: model.part(name).state_dict().keys() for name in ("prior", "diffusion_decoder", "vae")}
    assert open_model(f"{second} + {prior}").path == model.path
    assert "the diffusion decoder takes 10" in " ".join(describe(model).notes)
    for alone in halves:
        with pytest.raises(ModelError, match="name both, as PIPELINE \\+ PRIOR"):
            open_model(alone)
    with pytest.raises(ModelError, match="not the two halves"):
        open_model(f"{prior} + {second}")


def test_its_settings_hold_both_denoisers_and_come_back_from_a_manifest(
    family: Callable[[str], Model],
) -> None:
    settings = loop_settings(family(NAME), Workload(size=256, steps=20))
    second = settings.diffusion_decoder
    assert second is not None
    assert (settings.latent_shape, second.latent_shape) == ((8, 6, 6), (4, 64, 64))
    assert (settings.steps, second.steps) == (20, 10)
    assert LoopSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    fewer = settings.with_steps(7)
    assert fewer.diffusion_decoder is not None
    assert (fewer.steps, fewer.diffusion_decoder.steps) == (7, 4)


def test_both_denoisers_have_noise_of_their_own() -> None:
    shape = (4, 8, 8)
    drawn = [
        latent_noise(3, shape),
        latent_noise(3, shape, 1),
        step_noise(3, 0, shape),
        step_noise(3, 0, shape, 1),
    ]
    together = np.abs(np.corrcoef(np.stack([one.ravel() for one in drawn])))
    assert (together - np.eye(4)).max() < 0.3


def test_fewer_steps_are_fewer_of_both_and_no_preview_is_drawn(family: Callable[[str], Model]) -> None:
    model = family(NAME)
    pipeline = build(plan(model, "cpu", workload_of(NAME).model_copy(update={"steps": 8}), [FewerSteps(4)]))
    result = pipeline.generate(["a red house"], [1])
    assert result.calls == {"text_encoder": 1, "denoiser": 4, "diffusion_decoder": 2, "decoder": 1}
    with pytest.raises(LoopError, match="no preview"):
        pipeline.loop.decode(np.zeros((1, 8, 3, 3), np.float32))


def test_its_work_is_counted_though_its_texts_are_masked(family: Callable[[str], Model]) -> None:
    """A masked encoder looks at the mask's values, which the meta device does not have."""
    model = family(NAME)
    done = floor.work(plan(model, "cpu", workload_of(NAME)))
    assert set(done) == {"text_encoder", "denoiser", "diffusion_decoder", "decoder"}
    assert min(done.values()) > 1000


def test_what_does_not_fit_it_says_so(family: Callable[[str], Model]) -> None:
    model = family(NAME)
    card = describe(model)
    assert "continuous" in " ".join(check([Scheduler("dpm++2m")], card))
    axes = {axis.name for axis in search_space(card)}
    assert {"fewer-steps", "guidance-cutoff", "sequential-guidance", "prompt-cache", "engine"} <= axes
    assert {"feature-cache", "feature-forecast", "threshold-cache"} <= axes
    assert not axes & {"scheduler", "teacache", "attention-gate", "token-merging", "student"}
    refused = LAYOUTS["diffusers"].spoken(plan(model, "cpu", workload_of(NAME)), model).refused
    assert "export the package as it is" in " ".join(refused)


CLIP = {
    "architectures": ["CLIPTextModelWithProjection"], "hidden_size": 1280, "intermediate_size": 5120,
    "num_hidden_layers": 32, "num_attention_heads": 20, "projection_dim": 1280, "vocab_size": 49408,
    "max_position_embeddings": 77, "hidden_act": "gelu", "bos_token_id": 49406, "eos_token_id": 49407,
}  # fmt: skip
SECOND: dict[str, Any] = {
    "in_channels": 4, "out_channels": 4, "patch_size": 2, "conditioning_dim": 1280,
    "block_out_channels": (320, 640, 1280, 1280), "num_attention_heads": (-1, -1, 20, 20),
    "down_num_layers_per_block": (2, 6, 28, 6), "up_num_layers_per_block": (6, 28, 6, 2),
    "down_blocks_repeat_mappers": (1, 1, 1, 1), "up_blocks_repeat_mappers": (3, 3, 2, 2),
    "block_types_per_layer": (
        *(("SDCascadeResBlock", "SDCascadeTimestepBlock"),) * 2,
        *(("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),) * 2,
    ),
    "clip_text_pooled_in_channels": 1280, "effnet_in_channels": 16, "pixel_mapper_in_channels": 3,
    "dropout": (0.0, 0.0, 0.1, 0.1), "timestep_conditioning_type": ("sca",),
}  # fmt: skip
PRIOR: dict[str, Any] = {
    "clip_text_in_channels": 1280, "clip_text_pooled_in_channels": 1280, "clip_image_in_channels": 768,
    "switch_level": (False,),
}  # fmt: skip


def _hollow(module: Any, path: Path) -> None:
    """A file of weights in bf16 of which only the header takes room on the disk."""
    header, at = {}, 0
    for name, value in module.state_dict().items():
        size = 2 * value.numel()
        header[name] = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


@pytest.mark.slow
def test_it_is_described_at_its_real_size(family: Callable[[str], Model], tmp_path: Path) -> None:
    import diffusers
    import transformers

    small = family(NAME).path
    folder = tmp_path / "full"
    with torch.device("meta"):
        parts = {
            "prior_prior": diffusers.StableCascadeUNet(**PRIOR),
            "decoder": diffusers.StableCascadeUNet(**SECOND),
            "vqgan": diffusers_class("PaellaVQModel")(),
            "prior_text_encoder": transformers.CLIPTextModelWithProjection(
                transformers.CLIPTextConfig(**CLIP)
            ),
        }
    for name, module in parts.items():
        (folder / name).mkdir(parents=True)
        config = CLIP if name == "prior_text_encoder" else dict(module.config)
        (folder / name / "config.json").write_text(json.dumps(config))
        stem = "model" if "encoder" in name else "diffusion_pytorch_model"
        _hollow(module, folder / name / f"{stem}.safetensors")
    for name in ("prior_tokenizer", "prior_scheduler", "scheduler", "model_index.json"):
        (folder / name).symlink_to(small / name)
    card = describe(Model(str(folder), examine(folder)))
    sizes = {part.name: part.parameters for part in card.components if part.parameters}
    assert list(sizes.values()) == [
        sum(value.numel() for value in parts[name].state_dict().values())
        for name in ("prior_text_encoder", "prior_prior", "vqgan", "decoder")
    ]
    assert round(sizes["prior"] / 1e9, 1) == 3.6, "as published"
    assert (card.family, card.task) == ("stable-cascade", "text-to-image")
    assert (card.size, card.steps, card.guidance) == (1024, 20, 4.0)
    shapes = {
        one.structure.component: one.structure.latent
        for one in engines(plan(open_model(folder), "cpu", Workload()))
    }
    assert (shapes["denoiser"], shapes["decoder"]) == ((16, 24, 24), (4, 256, 256))
