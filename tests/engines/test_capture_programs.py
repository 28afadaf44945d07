"""Captured programs compute what eager computes, and each structure what it promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.backends import backend
from engines.backends.base import Options
from engines.capture.capture import Arrays, Capture, capture
from engines.capture.merging import match, merge, unmerge
from engines.capture.structure import ComponentName, Structure
from engines.errors import CaptureError
from engines.models.load import open_model
from engines.models.model import Model
from engines.plan import DenoiserStructure
from tests.engines.small_model import LATENT, write_small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(write_small_model(tmp_path_factory.mktemp("capture") / "model"))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in the same order on both sides: token merging picks partners, and a last digit can change one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(found: Capture, inputs: Arrays) -> Arrays:
    values = found.program.module()(*[torch.from_numpy(inputs[spec.name]) for spec in found.inputs])
    values = values if isinstance(values, tuple) else (values,)
    return {spec.name: value.detach().numpy() for spec, value in zip(found.outputs, values, strict=True)}


@pytest.mark.parametrize(
    ("component", "denoiser", "decoder"),
    [
        ("text_encoder", DenoiserStructure(), "vae"),
        ("decoder", DenoiserStructure(), "vae"),
        ("decoder", DenoiserStructure(), "tiny"),
        ("denoiser", DenoiserStructure(), "vae"),
        ("denoiser", DenoiserStructure(student=True, merge_ratio=0.5, fused_qkv=True), "vae"),
        ("denoiser_full", DenoiserStructure(cached=True), "vae"),
        ("denoiser_shallow", DenoiserStructure(cached=True, fused_qkv=True), "vae"),
        ("denoiser_full", DenoiserStructure(gated=True), "vae"),
        ("denoiser_shallow", DenoiserStructure(gated=True), "vae"),
        ("denoiser_full", DenoiserStructure(cached=True, gated=True), "vae"),
        ("denoiser_gated", DenoiserStructure(cached=True, gated=True), "vae"),
        ("denoiser_gated_shallow", DenoiserStructure(cached=True, gated=True), "vae"),
    ],
)
def test_a_program_equals_eager_at_a_batch_it_was_not_captured_with(
    model: Model, component: ComponentName, denoiser: DenoiserStructure, decoder: str
) -> None:
    found = capture(model, Structure(component, LATENT, denoiser, decoder))  # type: ignore[arg-type]
    inputs = found.example(batch=3, seed=4)
    wanted, got = found.reference(inputs), run(found, inputs)
    for spec in found.outputs:
        assert wanted[spec.name].shape == (3, *spec.shape)
        np.testing.assert_allclose(got[spec.name], wanted[spec.name], atol=1e-4)


def _denoiser(model: Model, component: ComponentName = "denoiser", **facts: object) -> Capture:
    return capture(model, Structure(component, LATENT, DenoiserStructure(**facts)))  # type: ignore[arg-type]


def test_fused_projections_change_nothing(model: Model) -> None:
    plain, fused = _denoiser(model), _denoiser(model, fused_qkv=True)
    inputs = plain.example()
    np.testing.assert_allclose(
        fused.reference(inputs)["prediction"], plain.reference(inputs)["prediction"], atol=1e-5
    )
    assert not any(".to_q." in name and "attn1" in name for name in fused.module.state_dict())


def test_the_cached_split_with_a_fresh_feature_equals_the_whole(model: Model) -> None:
    plain, full = _denoiser(model), _denoiser(model, "denoiser_full", cached=True)
    shallow = _denoiser(model, "denoiser_shallow", cached=True)
    inputs = plain.example()
    wanted = plain.reference(inputs)["prediction"]
    found = full.reference(inputs)
    np.testing.assert_allclose(found["prediction"], wanted, atol=1e-5)
    again = shallow.reference(inputs | {"feature": found["feature"]})["prediction"]
    np.testing.assert_allclose(again, wanted, atol=1e-5)
    other = shallow.reference(inputs | {"feature": found["feature"] + 1})["prediction"]
    assert np.abs(other - wanted).max() > 1e-3
    assert sum(p.numel() for p in shallow.module.parameters()) < 0.5 * sum(
        p.numel() for p in full.module.parameters()
    )


@pytest.mark.parametrize("structure", [DenoiserStructure(student=True), DenoiserStructure(merge_ratio=0.5)])
def test_a_structure_that_changes_the_function_does(model: Model, structure: DenoiserStructure) -> None:
    plain, changed = _denoiser(model), capture(model, Structure("denoiser", LATENT, structure))
    inputs = plain.example()
    difference = plain.reference(inputs)["prediction"] - changed.reference(inputs)["prediction"]
    assert np.abs(difference).max() > 1e-4
    assert plain.key != changed.key


def test_a_key_ignores_what_does_not_touch_the_component(model: Model) -> None:
    def key(component: ComponentName, **facts: object) -> str:
        return capture(model, Structure(component, LATENT, DenoiserStructure(**facts))).key  # type: ignore[arg-type]

    assert key("text_encoder") == key("text_encoder", student=True)
    assert key("decoder") == key("decoder", cached=True)


def test_a_kept_program_is_read_and_a_damaged_one_replaced(model: Model) -> None:
    first = _denoiser(model)
    wanted = run(first, first.example())["prediction"]
    written = first.path.stat().st_mtime_ns
    second = _denoiser(model)
    np.testing.assert_array_equal(run(second, second.example())["prediction"], wanted)
    assert first.path.stat().st_mtime_ns == written
    first.path.write_bytes(b"not a program")
    third = _denoiser(model)
    np.testing.assert_array_equal(run(third, third.example())["prediction"], wanted)
    assert first.path.stat().st_size > 1000


def test_nothing_is_left_beside_a_kept_program(model: Model) -> None:
    found = _denoiser(model)
    _ = found.program
    assert not [path for path in found.path.parent.iterdir() if path.name.startswith(".new-")]


def test_a_missing_part_is_named(model: Model, tmp_path: Path) -> None:
    bare = write_small_model(tmp_path / "bare")
    (bare / "student_lora" / "pytorch_lora_weights.safetensors").unlink()
    found = capture(open_model(bare), Structure("denoiser", LATENT, DenoiserStructure(student=True)))
    with pytest.raises(CaptureError, match="no few-step student"):
        _ = found.module


def test_tokens_that_are_the_same_survive_merging() -> None:
    torch.manual_seed(0)
    kinds = torch.randn(3, 8)
    tokens = kinds[torch.randint(0, 3, (2, 64))] + 0.0
    found = match(tokens, 0.4)
    assert merge(tokens, found).shape == (2, 64 - 25, 8)
    torch.testing.assert_close(unmerge(merge(tokens, found), found), tokens, atol=1e-5, rtol=1e-5)


def test_merging_nothing_gives_the_tokens_back_in_their_places() -> None:
    tokens = torch.randn(2, 64, 8)
    found = match(tokens, 0.0)
    torch.testing.assert_close(unmerge(merge(tokens, found), found), tokens)


def test_a_merged_token_gets_the_mean_of_its_group() -> None:
    tokens = torch.zeros(1, 4, 2)
    tokens[0, 0] = torch.tensor([1.0, 0.0])
    tokens[0, 1] = torch.tensor([3.0, 0.0])
    tokens[0, 2] = torch.tensor([0.0, 1.0])
    tokens[0, 3] = torch.tensor([-1.0, 0.0])
    found = match(tokens, 0.25)
    back = unmerge(merge(tokens, found), found)
    torch.testing.assert_close(back[0, :2], torch.tensor([[2.0, 0.0], [2.0, 0.0]]))
    torch.testing.assert_close(back[0, 2:], tokens[0, 2:])


def test_equal_programs_become_equal_files_whatever_was_built_before(model: Model, tmp_path: Path) -> None:
    import openvino

    from engines.backends.open_vino import convert

    found = capture(model, Structure("text_encoder", LATENT, DenoiserStructure(), "vae"))
    for name in ("first", "second"):
        openvino.save_model(convert(found), tmp_path / f"{name}.xml", compress_to_fp16=False)
    assert (tmp_path / "first.xml").read_bytes() == (tmp_path / "second.xml").read_bytes()
    assert (tmp_path / "first.bin").read_bytes() == (tmp_path / "second.bin").read_bytes()


@pytest.mark.parametrize("component", ["denoiser_full", "denoiser_shallow"])
def test_what_layers_share_outlives_the_export_for_an_engine(model: Model, component: ComponentName) -> None:
    found = _denoiser(model, component, gated=True)
    made = backend("onnxruntime").build(found, Options("fp32"))
    assert (made.backend, made.fallbacks) == ("onnxruntime", ())
