"""A cascade of two models: a candidate of one run is light, one of another run is heavy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.models.load import open_model
from engines.package.runner import read_picture
from engines.package.verify import verify
from engines.scenes.grammar import captions
from studio.cli import main
from studio.errors import CascadeError, RunError
from studio.plan.cascade import Cascade
from studio.record.sides import pair_of, place_of
from studio.work.cascade import network, real
from studio.work.cascade.models import opened, same_autoencoder, same_words
from studio.work.cascade.pair import pair_tables
from studio.work.cascade.reuse import measure
from studio.work.discriminator import discriminator, train
from studio.work.export_cascade import export_cascade, export_pair
from studio.work.job import Job
from tests.studio.cascade_run import HEAVY, LIGHT, trained
from tests.studio.recorded_run import add, begin
from tests.studio.second_model import NAME, second_model
from tests.studio.test_discriminator import PAINTER

COUNT = 24
BY_MODEL = PAINTER.replace(
    "KEPT = {kept}\nPAUSE = {pause}\n\n\ndef load(model, device, workload):\n    return None\n",
    "KEPT = 0\nPAUSE = 0.0\n\n\ndef load(model, device, workload):\n    global KEPT\n"
    "    KEPT = 2 if model.endswith('other') else 1\n",
)
"""The same script for both runs: on the bundled model it forgets a caption's second group."""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return second_model(tmp_path_factory.mktemp("models") / "other")


@pytest.fixture
def home(tmp_path: Path, other: Path) -> Path:
    """Two runs of two models, and runs that the first cannot be paired with."""
    for name, model, settings in (
        ("a", "tiny-scenes", {}),
        ("b", str(other), {}),
        ("small", "tiny-scenes", {"workload": {"size": 32}}),
        ("asked", "tiny-scenes", {"workload": {"prompts": ["a house"]}}),
        ("gpu", "tiny-scenes", {"target": "cuda"}),
    ):
        folder = tmp_path / "runs" / name
        with begin(folder, model=model, **settings) as journal:
            add(journal, folder, "c001", (), text=BY_MODEL)
            add(journal, folder, "c002", (), text=BY_MODEL, state="failed")
    return tmp_path


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "EPOCHS", 1)
    monkeypatch.setattr(real, "EPOCHS", 2)


# -- names and refusals ---------------------------------------------------------------------------


def test_a_name_means_a_candidate_of_this_run_or_of_another(home: Path) -> None:
    run = home / "runs" / "a"
    pair = pair_of(run, "baseline", "b/c001")
    assert (pair.light.name, pair.heavy.name) == ("c000", "b/c001")
    assert (pair.own, pair.other) == (pair.light, pair.heavy)
    assert pair.two_models
    assert pair.place == place_of(run, "c000", "b/c001") == run / "cascade" / "c000-b~c001"
    assert pair_of(run, f"{home}/runs/b/c001", "a/c001").light.name == "b/c001"
    assert pair_of(run, "b/c001", "a/c001").heavy.name == "c001"
    assert pair_of(run, "sm/baseline", "c001", home).light.name == "small/c000"
    assert not pair_of(run, "small/c000", "c001").two_models


def test_a_run_outside_the_home_is_named_by_its_folder(home: Path, tmp_path: Path) -> None:
    away = tmp_path / "away" / "b"
    shutil.copytree(home / "runs" / "b", away)
    pair = pair_of(home / "runs" / "a", "c001", f"{away}/c001")
    assert pair.heavy.name == f"{away}/c001"
    again = pair_of(home / "runs" / "a", "c001", pair.heavy.name, home)
    assert again.heavy.run == away


@pytest.mark.parametrize(
    ("light", "heavy", "why"),
    [
        ("c001", "a/c001", "same candidate"),
        ("b/c001", "small/c001", "both belong to other runs than a"),
        ("c001", "b/c002", "b/c002 has not passed"),
        ("c001", "small/c001", "64 px and small/c001 of 32 px"),
        ("c001", "gpu/c000", "made for cpu and gpu/c000 for cuda"),
        ("c001", "asked/c001", "different prompts"),
        ("c001", "b/c009", "no candidate c009"),
        ("c001", "gone/c001", "no run gone"),
    ],
)
def test_a_pair_of_two_runs_that_means_nothing_gets_a_sentence(
    home: Path, light: str, heavy: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["cascade", "train", "a", "--light", light, "--heavy", heavy, "--home", str(home)]
    assert main([*line, "--count", str(COUNT)]) == 1
    said = capfd.readouterr().err.strip()
    assert why in said
    assert len(said.splitlines()) == 1


def test_a_model_that_was_changed_after_its_run_is_refused(home: Path, other: Path, tmp_path: Path) -> None:
    copy = tmp_path / "changing"
    shutil.copytree(other, copy)
    folder = tmp_path / "runs" / "c"
    with begin(folder, model=str(copy)) as journal:
        add(journal, folder, "c001", (), text=BY_MODEL)
    (copy / "pareto.json").write_text(json.dumps({"name": "Changed", "prompts": "scenes"}))
    with pytest.raises(CascadeError, match="was changed after the run c; put the old one back"):
        train(home / "runs" / "a", "c001", "c/c001", count=COUNT)


def test_latents_are_shared_by_equal_autoencoders_only(other: Path, tmp_path: Path) -> None:
    bundled = open_model("tiny-scenes")
    assert not same_autoencoder(bundled, open_model(str(other)))
    twin = open_model(str(second_model(tmp_path / "twin", autoencoder=False)))
    assert twin.hash != bundled.hash
    assert same_autoencoder(bundled, twin)
    assert same_words(bundled, twin)
    path = tmp_path / "twin" / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scaling_factor": 0.5}))
    assert not same_autoencoder(bundled, open_model(str(tmp_path / "twin")))


# -- a trained pair -------------------------------------------------------------------------------


def learned(home: Path, heavy: str = "b/c001") -> Cascade:
    """What training leaves, with nothing learned."""
    return trained(home / "runs" / "a", "c001", heavy)


def test_what_was_learned_of_two_runs_is_planned_with_and_outlives_the_other_run(home: Path) -> None:
    cascade = learned(home)
    found = pair_tables(home, "a", "c001", "b/c001")
    assert found.title == "c001 before b/c001"
    assert found.devices[0].heavy.at(1) == pytest.approx(0.1)  # the verdict's, in the other run
    assert pair_tables(home, "a", "a/c001", f"{home}/runs/b/c001").title == found.title
    shutil.rmtree(home / "runs" / "b")
    found = pair_tables(home, "a", "c001", "b/c001")
    assert found.devices[0].heavy.at(1) == pytest.approx(cascade.samples[0].heavy_seconds)
    with pytest.raises(RunError, match="no run b"):
        measure(home / "runs" / "a", "c001", "b/c001")
    with pytest.raises(RunError, match="no run b"):
        export_pair(home / "runs" / "a", "c001", "b/c001")


def test_what_was_learned_of_another_model_is_not_used(home: Path) -> None:
    learned(home)
    shutil.rmtree(home / "runs" / "b")
    shutil.copytree(home / "runs" / "small", home / "runs" / "b")
    for act in (measure, export_pair):
        with pytest.raises(CascadeError):
            act(home / "runs" / "a", "c001", "b/c001")
    assert pair_tables(home, "a", "c001", "b/c001").devices[0].heavy.at(1) == pytest.approx(0.06)


@pytest.mark.slow
def test_each_side_is_drawn_by_its_own_script_on_its_own_model(home: Path, short: None) -> None:
    del short
    result = discriminator(Job(home=home), "a", "c001", "b/c001", count=COUNT)
    found = Cascade.from_json(json.loads(json.dumps(result)))
    assert (found.light, found.heavy) == ("c001", "b/c001")
    assert found.heavy_title.endswith(NAME)
    assert found.models == tuple(open_model(name).hash for name in ("tiny-scenes", str(found_source(home))))
    assert found.metric == "adherence"
    assert any(NAME in note and "each drawn with its own" in note for note in found.notes)
    hard = [one for one in found.samples if one.hard]
    assert np.mean([one.heavy_quality - one.light_quality for one in hard]) > 0.1
    run = home / "runs" / "a"
    assert all((run / one.heavy_image).parent.name == "b~c001" for one in found.samples)
    again = discriminator(Job(home=home), "a", "a/c001", f"{home}/runs/b/c001", count=COUNT)
    assert again == result
    # the other way round it is another pair
    turned = discriminator(Job(home=home), "b", "a/c001", "c001", count=COUNT)
    assert Cascade.from_json(turned).light == "a/c001"


@pytest.mark.slow
def test_without_a_reader_of_both_quality_is_what_applies_to_both(home: Path, short: None) -> None:
    del short
    source = found_source(home)
    hidden = source / "reader.safetensors"
    kept = hidden.read_bytes()
    hidden.unlink()
    try:
        found = train(home / "runs" / "a", "c001", "b/c001", count=COUNT)
    finally:
        hidden.write_bytes(kept)
    assert found.metric == "likeness"
    assert any("of both models' pictures" in note for note in found.notes)


def found_source(home: Path) -> Path:
    """The folder of the second run's model."""
    return opened(pair_of(home / "runs" / "b", "c000", "c001").light).path


# -- real models ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_home(tmp_path_factory: pytest.TempPathFactory, other: Path) -> Path:
    """Two runs whose candidates are built by recipe, and a pair of them that has learned nothing."""
    home = tmp_path_factory.mktemp("home")
    twin = second_model(tmp_path_factory.mktemp("models") / "twin", autoencoder=False)
    for name, model in (("a", "tiny-scenes"), ("b", str(other)), ("twin", str(twin))):
        folder = home / "runs" / name
        with begin(folder, model=model) as journal:
            add(journal, folder, "c001", LIGHT if name == "a" else HEAVY, seconds=0.06)
    for name in ("b", "twin"):
        trained(home / "runs" / "a", "c001", f"{name}/c001", captions(48, 3))
    return home


@pytest.mark.slow
@pytest.mark.parametrize(("run", "through"), [("b", "pixels"), ("twin", "latents")])
def test_a_deferred_prompt_starts_from_pixels_unless_the_autoencoders_are_equal(
    real_home: Path, run: str, through: str
) -> None:
    found = measure(
        real_home / "runs" / "a", "c001", f"{run}/c001", count=8, strengths=(0.5,), attention=run == "twin"
    )
    reuse = found.reuse
    assert reuse is not None
    assert reuse.through == through
    late = next(arm for arm in reuse.arms if arm.kind == "strength")
    if through == "pixels":
        assert late.title.startswith("from the light picture")
        assert (
            f"different autoencoders: decoded, and encoded again by the autoencoder of {NAME}"
            in reuse.notes[0]
        )
    else:
        assert late.title.startswith("from the light latent")
        assert "same autoencoder" in reuse.notes[0]
        assert reuse.arms[-1].kind == "attention"
    assert late.quality.value > 0.5
    assert all((real_home / "runs" / "a" / image).is_file() for image in late.images)


@pytest.mark.slow
def test_the_package_holds_both_models_and_draws_with_each(
    real_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))  # engines of this version's making
    out = tmp_path / "package"
    result: dict[str, Any] = export_cascade(
        Job(home=real_home), "a", "c001", "b/c001", threshold=0.5, out=str(out)
    )
    assert result["heavy"] == "b/c001"
    assert min(result["proof"][role]["psnr"] for role in ("light", "heavy")) >= 40
    manifest = verify(out).manifest
    facts = manifest.additional_metadata
    assert facts.cascade is not None
    assert (facts.source_model.name, facts.cascade.light.source_model.name) == (NAME, "Tiny Scenes")
    assert facts.tokenizer != facts.cascade.light.tokenizer
    places = {
        name: next(iter(body.variants.values())).variant_directory
        for name, body in manifest.components.items()
    }
    assert places["light.denoiser"] != places["denoiser"]
    assert places["light.decoder"] != places["decoder"]
    assert places["light.text_encoder"] == places["text_encoder"]  # the same weights: one file
    bill = json.loads((out / "sbom.cdx.json").read_text())
    models = {one["name"] for one in bill["components"] if one["type"] == "machine-learning-model"}
    assert models == {NAME, "Tiny Scenes"}
    needs = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    shared = [found for ref, found in needs.items() if places["text_encoder"] in ref]
    assert shared
    assert all(found == ["light-model", "model"] for found in shared)
    assert f"heavy of {NAME}" in (out / "README.md").read_text()
    pictures = {}
    for route in ("light", "heavy"):
        picture = tmp_path / f"{route}.png"
        line = [sys.executable, "-I", str(out / "run.py"), "--prompt", "a red house", "--seed", "5"]
        done = subprocess.run(
            [*line, "--route", route, "--out", str(picture)],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        pictures[route] = read_picture(picture)
    assert (pictures["light"] != pictures["heavy"]).any()
