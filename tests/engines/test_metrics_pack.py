"""The metrics pack: nothing unasked, nothing random, and what its networks measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.errors import MetricsError, WorkloadError
from engines.measure import images, quality
from engines.metrics_pack import encoders, place
from engines.metrics_pack.contents import ENTRIES
from tests.engines import pack_stand_ins as stand_ins

torch = pytest.importorskip("torch")
Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        "lpips": stand_ins.alexnet(folder / "alexnet-owt-7be5be79.pth"),
        "clip": stand_ins.clip(folder / "clip"),
        "dino": stand_ins.dino(folder / "dino"),
    }


@pytest.fixture
def pack(networks: dict[str, Path]) -> None:
    for name, path in networks.items():
        place.use(name, path, encoders.check)


def pictures(count: int = 6, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)


PROMPTS = ["a red house", "a blue bird", "the cat", "a small tree", "a house of the cat", "a large bird"]


def test_without_the_pack_nothing_of_it_is_used_and_the_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    assert [place.find(name) for name in ENTRIES] == [None] * 3
    for name in ("lpips", "clip", "cmmd", "dino"):
        with pytest.raises(WorkloadError, match=r"metrics get .* downloads it"):
            quality.choose(tmp_path, PROMPTS, name)
    chosen = quality.choose(tmp_path, PROMPTS, everything=True)
    assert (chosen.name, chosen.encoded) == ("haarpsi", ())
    assert np.isnan(images.lpips(pictures(), pictures())).all()
    with pytest.raises(MetricsError, match="DINOv2"):
        encoders.dino()


@pytest.mark.usefixtures("pack")
def test_what_is_pointed_to_is_known_for_what_it_is_and_not_used_once_it_changed(
    networks: dict[str, Path],
) -> None:
    found = place.find("clip")
    assert found is not None
    assert (found.origin, found.path, found.is_published) == ("pointed", networks["clip"], False)
    assert found.sha256 == place.sha256(networks["clip"] / "model.safetensors")
    weights = networks["dino"] / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept + b" ")
    try:
        assert place.find("dino") is None
        assert "has changed" in place.missing("dino")
    finally:
        weights.write_bytes(kept)


def test_a_file_that_lacks_a_layer_is_refused_and_never_filled_with_random_numbers(
    networks: dict[str, Path], tmp_path: Path
) -> None:
    state = torch.load(networks["lpips"], weights_only=True)
    del state["features.8.weight"]
    torch.save(state, tmp_path / "alexnet-owt-7be5be79.pth")
    with pytest.raises(MetricsError, match=r"features\.8\.weight"):
        place.use("lpips", tmp_path, encoders.check)
    from safetensors.torch import load_file, save_file

    broken = stand_ins.dino(tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    dropped = next(name for name in tensors if "encoder.layer.0" in name)
    save_file(
        {name: value for name, value in tensors.items() if name != dropped}, broken / "model.safetensors"
    )
    with pytest.raises(MetricsError, match="no whole Dinov2Model"):
        place.use("dino", broken, encoders.check)
    assert place.find("dino") is None
    with pytest.raises(MetricsError, match=r"There is no .*model\.safetensors"):
        place.use("clip", tmp_path / "nowhere", encoders.check)


@pytest.mark.usefixtures("pack")
def test_every_metric_of_the_pack_is_zero_for_the_baseline_and_more_for_other_pictures(
    tmp_path: Path,
) -> None:
    ours, theirs = pictures(seed=1), pictures(seed=2)
    for name in ("lpips", "clip", "cmmd", "dino"):
        metric = quality.choose(tmp_path, PROMPTS, name)
        same = metric.loss(metric.losses(metric.values(ours, ours, PROMPTS), None))
        assert same.value == pytest.approx(0, abs=1e-5), name
        values = metric.values(ours, theirs, PROMPTS)
        assert values[name].shape == (6,)
        if name in ("lpips", "dino"):
            assert (metric.losses(values, None) > 1e-5).all(), name
        assert np.isfinite(metric.losses(values, None)).all()
    score = quality.choose(tmp_path, PROMPTS, "clip").values(ours, theirs, PROMPTS)["clip"]
    assert (np.abs(score) <= 1).all()


@pytest.mark.usefixtures("pack")
def test_with_the_pack_lpips_is_the_default_and_a_prompt_that_only_names_a_picture_has_no_clip_score(
    tmp_path: Path,
) -> None:
    assert quality.choose(tmp_path, PROMPTS).name == "lpips"
    named = tmp_path / "given.png"
    named.write_bytes(b"")
    with pytest.raises(WorkloadError, match="only name pictures"):
        quality.choose(tmp_path, [str(named)], "clip")
    assert quality.choose(tmp_path, [f"{named} | a red house"], "clip").encoded == ("clip",)
