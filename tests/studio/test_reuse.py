"""What can be done with a deferred prompt is measured with the real model; maps are handed over rightly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agent.candidate import Step
from engines.scenes.grammar import captions
from studio.errors import CascadeError
from studio.plan.cascade import Cascade, Sample
from studio.plan.deferral import curve
from studio.work.cascade.attention import open_maps
from studio.work.cascade.encode import encoded
from studio.work.cascade.reuse import judge_as_trained, measure
from tests.studio.recorded_run import add, begin
from tests.studio.ui.window_recording import cascade_result

torch = pytest.importorskip("torch")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "r"
    with begin(folder) as journal:
        add(journal, folder, "c001", (Step("student", {"steps": 1}),))
        add(journal, folder, "c002", (Step("fewer-steps", {"steps": 4}),))
        add(journal, folder, "c003", (), text="def load(a, b, c): ...\ndef generate(a, b, c): ...")
    return folder


def train(run: Path, light: str, heavy: str) -> None:
    """A trained pair's file, as the discriminator leaves it."""
    prompts = captions(20, 3, hard=True)
    samples = tuple(
        Sample(prompt, at, at / 20, at < 10, 0.5, 0.9, "", "", 0.01, 0.1) for at, prompt in enumerate(prompts)
    )
    drawn = Cascade.from_json(cascade_result(run, light, heavy)["cascade"])
    found = replace(drawn, samples=samples, folder=f"cascade/{light}-{heavy}")
    found = replace(found, curve=curve(found.pairs))
    place = run / found.folder
    place.mkdir(parents=True)
    (place / "cascade.json").write_text(json.dumps({"key": "k", "cascade": found.to_json()}))


def test_what_cannot_be_started_in_the_middle_is_refused(run: Path) -> None:
    with pytest.raises(CascadeError, match="train one first"):
        measure(run, "c001", "c002")
    train(run, "c001", "c003")
    with pytest.raises(CascadeError, match="more than its recipe says"):
        measure(run, "c001", "c003")
    with pytest.raises(CascadeError, match="at least 8"):
        measure(run, "c001", "c003", count=3)
    with pytest.raises(CascadeError, match="only 2 prompts"):
        measure(run, "c001", "c003", share=0.1)


def test_options_are_judged_by_what_the_pair_was_trained_with(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.measure import images
    from engines.metrics_pack import place

    train(run, "c001", "c002")
    cascade = replace(
        Cascade.from_json(json.loads((run / "cascade/c001-c002/cascade.json").read_text())), metric="likeness"
    )
    rng = np.random.default_rng(0)
    heavy, other = (rng.integers(0, 256, (2, 32, 32, 3), np.uint8) for _ in range(2))
    monkeypatch.setattr(images, "lpips", lambda some, _others: np.full(len(some), 0.25))
    model: Any = SimpleNamespace(path=tmp_path)

    haarpsi = float(images.haarpsi(other, heavy)[0])

    def judged(cascade: Cascade) -> tuple[str | None, str]:
        judge, by, how = judge_as_trained(model, cascade, ("x", "y"), heavy)
        assert judge(other)[0] == pytest.approx(0.75 if by == "lpips" else haarpsi)
        return by, how

    monkeypatch.setattr(place, "find", lambda _name: tmp_path)
    perceptual = replace(cascade, likeness="lpips")
    assert judged(perceptual)[0] == "lpips"
    assert "(1 - LPIPS), as when the pair was trained" in judged(perceptual)[1]
    assert judged(replace(cascade, likeness="haarpsi"))[0] == "haarpsi"
    # files of earlier versions say it in a note only
    old = replace(cascade, likeness=None)
    assert judged(old)[0] == "haarpsi"
    assert judged(replace(old, notes=("the heavy picture (1 - LPIPS), which",)))[0] == "lpips"
    monkeypatch.setattr(place, "find", lambda _name: None)
    by, how = judged(perceptual)
    assert by == "haarpsi"
    assert "the pair was trained with 1 - LPIPS" in how
    assert Cascade.from_json(json.loads(json.dumps(perceptual.to_json()))).likeness == "lpips"


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [False, True])
def test_every_option_is_measured_on_deferred_prompts_and_kept(run: Path, *, pixels: bool) -> None:
    train(run, "c001", "c002")
    found = measure(run, "c001", "c002", count=8, strengths=(0.25, 0.5, 0.3), pixels=pixels)
    reuse = found.reuse
    assert reuse is not None
    assert reuse.through == ("pixels" if pixels else "latents")
    assert [arm.kind for arm in reuse.arms] == [
        "heavy",
        "strength",
        "strength",
        "light",
        "eager",
        "attention",
    ]
    assert [arm.steps for arm in reuse.arms] == [4, 1, 2, 0, 4, 4]  # 0.3 takes one step too
    assert set(reuse.seeds) <= set(range(8))
    heavy, first, second = reuse.arms[:3]
    assert first.seconds.value < heavy.seconds.value
    assert heavy.against.value == 0
    assert all((run / image).is_file() for arm in (heavy, first, second) for image in arm.images)
    assert reuse.arms[4].quality.value == pytest.approx(heavy.quality.value, abs=0.05)
    kept = json.loads((run / found.folder / "cascade.json").read_text())
    assert kept["key"] == "k"
    assert Cascade.from_json(kept["cascade"]).reuse == reuse
    said: list[str] = []
    again = measure(
        run,
        "c001",
        "c002",
        count=8,
        strengths=(0.25, 0.5, 0.3),
        pixels=pixels,
        on_progress=lambda _done, _total, doing: said.append(doing),
    )
    assert again.reuse == reuse  # nothing was drawn again


def test_borrowed_maps_take_the_place_of_the_networks_own() -> None:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
        norm_num_groups=4,
    ).eval()
    sample, words = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 12)
    with torch.inference_mode():
        plain = unet(sample, 10, words).sample
        maps = open_maps(unet)
        opened = unet(sample, 10, words).sample
        torch.testing.assert_close(opened, plain, atol=1e-5, rtol=1e-5)
        own = {name: one.clone() for name, one in maps.seen.items()}
        assert own
        maps.given = own
        torch.testing.assert_close(unet(sample, 10, words).sample, plain, atol=1e-5, rtol=1e-5)
        assert maps.used == set(own)
        maps.given = {name: torch.full_like(one, 1 / one.shape[-1]) for name, one in own.items()}
        flat = unet(sample, 10, words).sample
        torch.testing.assert_close(flat[0], plain[0], atol=1e-5, rtol=1e-5)  # the negative row keeps its own
        assert not torch.allclose(flat[1], plain[1], atol=1e-4)
        maps.given = {name: one[:, :-1] for name, one in own.items()}  # fewer places: shapes differ
        torch.testing.assert_close(unet(sample, 10, words).sample, plain, atol=1e-5, rtol=1e-5)


def test_a_picture_comes_back_from_its_latent() -> None:
    from engines.models.load import open_model
    from engines.scenes.grammar import sample
    from engines.scenes.render import draw

    model = open_model("tiny-scenes")
    rng = np.random.default_rng(0)
    pictures = np.stack([draw(sample(rng), rng, 64) for _ in range(2)])
    latent = encoded(model, pictures, model.latent(64))
    vae: Any = model.part("vae")
    with torch.inference_mode():
        back = vae.decode(torch.from_numpy(latent)).sample
    again = ((back.permute(0, 2, 3, 1).numpy() + 1) * 127.5).clip(0, 255)
    assert np.abs(again - pictures).mean() < 12
    with pytest.raises(CascadeError, match="cannot encode"):
        encoded(SimpleNamespace(part=lambda _: object(), name="x"), pictures, (4, 8, 8))  # type: ignore[arg-type]
