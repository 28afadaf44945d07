"""A recipe for a device that is not here: what is built, what stands in for it, and what is refused."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines.backends import backend
from engines.backends.base import Options
from engines.backends.serves import SERVES
from engines.capture.capture import Capture
from engines.capture.pictured import pictured
from engines.capture.structure import Structure
from engines.errors import BuildError, WorkloadError
from engines.full_memory import is_full
from engines.models.load import open_model
from engines.models.model import Model
from engines.pipeline import build, plan, prepare
from engines.techniques import Engine
from engines.workload import Workload
from tests.engines.small_model import LATENT, write_small_model

SHORT = Workload(steps=2)
FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1.02 GiB"
    " is free. Including non-PyTorch memory, this process has 6.76 GiB memory in use. Of the allocated memory"
    " 6.10 GiB is allocated by PyTorch, and 420.53 MiB is reserved by PyTorch but unallocated."
)
"""What torch's allocator says on a card."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(write_small_model(tmp_path_factory.mktemp("devices") / "model"))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def decoder(model: Model) -> Capture:
    return Capture(model, Structure("decoder", LATENT, decoder="tiny"))


@pytest.mark.parametrize("device", sorted(SERVES))
def test_without_an_engine_in_the_recipe_a_device_has_its_own(model: Model, device: str) -> None:
    found = plan(model, device, SHORT)
    assert found.device == device
    assert found.backend == SERVES[device][0]
    assert found.precision == ("fp32" if device == "cpu" else "fp16")


def test_a_device_that_nothing_serves_is_refused(model: Model) -> None:
    with pytest.raises(WorkloadError, match="not toaster; choose another device"):
        plan(model, "toaster", SHORT)


def _agree(model: Model, device: str) -> tuple[str, ...]:
    """Draw on a device and in eager, the same prompt and seed; what was said on the way."""
    drawn = build(plan(str(model.path), device, SHORT))
    wanted = build(plan(str(model.path), "cpu", SHORT)).generate(["a red house"], [3]).images
    found = drawn.generate(["a red house"], [3]).images
    difference = np.abs(found.astype(int) - wanted.astype(int))
    assert difference.mean() < 2
    return drawn.fallbacks


def test_directml_draws_by_the_cpu_provider_and_says_so(model: Model) -> None:
    said = _agree(model, "directml")
    assert len(said) == 3
    assert all(
        "runs by ONNX Runtime's CPU provider here, in place of a DirectX 12 GPU" in one for one in said
    )


@pytest.mark.skipif(find_spec("mlx") is None, reason="mlx not installed")
def test_mlx_draws_the_picture_that_eager_draws(model: Model) -> None:
    said = _agree(model, "mlx")
    assert all("MLX on this machine's CPU" in one for one in said)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("coremltools") is None, reason="coremltools not installed")
def test_core_ml_is_prepared_and_not_opened(model: Model) -> None:
    wanted = plan(str(model.path), "coreml", SHORT, [Engine("coreml")])
    artifacts = prepare(wanted)
    assert {one.backend for one in artifacts} == {"coreml"}
    assert {one.verified_on for one in artifacts} == {""}
    with pytest.raises(BuildError, match="is built, not verified on device"):
        build(wanted)


def test_a_full_disk_is_one_sentence_and_nothing_is_kept(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = backend("onnxruntime")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(engine), "_build", full)
        artifact = engine.build(decoder(model), Options("fp32"))
    assert artifact.backend == "torch"
    assert "the disk of the cache" in artifact.fallbacks[0]
    assert "PARETO_STUDIO_CACHE" in artifact.fallbacks[0]
    assert engine.build(decoder(model), Options("fp32")).backend == "onnxruntime"


def test_a_device_without_memory_is_not_held_against_the_engine(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    engine = backend("openvino")

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError(FULL)

    with monkeypatch.context() as patch:
        patch.setattr(type(engine), "component_of", full)
        artifact = engine.build(decoder(model), Options("fp32"))
    assert "ran out of memory: 2.00 GiB more were wanted and 1.02 GiB of 7.79 GiB" in artifact.fallbacks[0]
    assert engine.build(decoder(model), Options("fp32")).backend == "openvino"


def test_an_engine_that_finds_no_memory_on_opening_is_not_followed_by_one_that_needs_more(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    engine = backend("openvino")
    artifact = engine.build(decoder(model), Options("fp32"))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr(type(engine), "component_of", full)
    with pytest.raises(WorkloadError, match=r"on opening decoder: OpenVINO fp32: 2\.00 GiB more were wanted"):
        engine.load(artifact)


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        (FULL, ": 2.00 GiB more were wanted and 1.02 GiB of 7.79 GiB were free;"),
        ("Failed to allocate memory for requested buffer of size 4096", ": 4096 bytes more were wanted;"),
        ("CUDA error: out of memory", "; use a smaller batch"),
    ],
)
def test_memory_that_runs_out_while_drawing_names_the_component_the_batch_and_what_was_wanted(
    model: Model, said: str, numbers: str
) -> None:
    import torch

    from engines.backends.guard import fitting

    def full(_: object) -> dict[str, object]:
        raise torch.OutOfMemoryError(said) if said == FULL else RuntimeError(said)

    component = fitting(full, decoder(model))  # type: ignore[arg-type]
    with pytest.raises(WorkloadError) as refused:
        component(decoder(model).example(2))
    text = str(refused.value)
    assert text.startswith(f"The device ran out of memory in the decoder at a batch of 2{numbers}")
    assert text.count(".") == 1 + numbers.count(".")
    assert not is_full(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_files_of_another_version_are_not_opened(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = backend("onnxruntime")
    artifact = engine.build(decoder(model), Options("fp32"))
    monkeypatch.setattr(type(engine), "version_bound", True)
    monkeypatch.setattr(type(engine), "version", lambda _: "99.0")
    loaded = engine.load(artifact)
    assert loaded.backend == "torch"
    assert "and 99.0 is installed; build it again" in loaded.fallbacks[-1]


def test_a_decoder_that_overflows_on_pictures_only_is_found_out(tmp_path: Path) -> None:
    """Random latents stay within fp16; those of the model's own encoder do not."""
    from safetensors.torch import load_file, save_file

    folder = write_small_model(tmp_path / "deep")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    kept = load_file(weights)
    save_file(kept | {"quant_conv.weight": kept["quant_conv.weight"] * 1e6}, weights)
    capture = Capture(open_model(folder), Structure("decoder", LATENT))
    (latent,) = (pictured(capture) or {}).values()
    assert latent.shape == (1, *LATENT)
    assert np.abs(latent).max() > 65504
    artifact = backend("onnxruntime").build(capture, Options("fp16", device="directml"))
    assert (artifact.backend, artifact.precision) == ("onnxruntime", "fp32")
    assert "its image of a picture's latent has values that are not finite in fp16" in artifact.fallbacks[0]


def test_fp16_that_overflows_is_made_in_another_precision_and_said(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = write_small_model(tmp_path / "loud")
    weights = folder / "tiny_vae" / "diffusion_pytorch_model.safetensors"
    loud = {name: value * 40 if "weight" in name else value for name, value in load_file(weights).items()}
    assert all(torch.isfinite(value).all() for value in loud.values())
    save_file(loud, weights)
    artifact = backend("onnxruntime").build(decoder(open_model(folder)), Options("fp16", device="directml"))
    assert (artifact.backend, artifact.precision) == ("onnxruntime", "fp32")
    assert "fp16 was not used" in artifact.fallbacks[0]
    assert "not finite" in artifact.fallbacks[0]
