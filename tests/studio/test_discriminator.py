"""A discriminator is trained on pictures of the user's own pair, and its scores mean what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.package.runner import read_picture, write_picture
from engines.scenes.grammar import Scene, captions, parse, sample
from engines.scenes.render import draw
from studio.errors import Cancelled, CascadeError
from studio.plan.cascade import Cascade
from studio.plan.deferral import operate
from studio.plan.discrimination import roc_auc
from studio.plan.learning import Epoch, stages
from studio.plan.votes import least_sure
from studio.record.journal import Journal
from studio.record.sides import side_of
from studio.record.state import RunState
from studio.record.votes import Preferred, Vote, keep, votes
from studio.work.cascade import network, real
from studio.work.cascade.labels import Quality, cheap_light, measured
from studio.work.cascade.learned import ITSELF
from studio.work.cascade.pictures import Album, _Shelf
from studio.work.cascade.prompts import CAPTIONS, SEEDS, Asked, practice_prompts
from studio.work.cascade.real import EPOCHS
from studio.work.discriminator import discriminator, train
from studio.work.job import Job
from tests.studio.recorded_run import add, begin

PAINTER = '''"""Draws captions with the renderer of Tiny Scenes; leaves out what `KEPT` does not reach."""

import time
import zlib

import numpy as np

from engines.scenes.grammar import Scene, parse
from engines.scenes.render import draw

KEPT = {kept}
PAUSE = {pause}


def load(model, device, workload):
    return None


def paint(prompt, seed):
    found = parse(prompt)
    groups = found.groups[:KEPT] or found.groups
    scene = Scene(found.time, found.terrain, found.weather, found.style, groups)
    return draw(scene, np.random.default_rng(zlib.crc32(prompt.encode()) + seed % 1000), 64)


def generate(pipeline, prompts, seeds):
    time.sleep(PAUSE * len(prompts))
    return np.stack([paint(prompt, seed) for prompt, seed in zip(prompts, seeds)])
'''
COUNT = 32


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Light forgets a caption's second group and is quick; heavy draws everything."""
    folder = tmp_path / "runs" / "r"
    recipe = ()
    with begin(folder) as journal:
        add(journal, folder, "c001", recipe, text=PAINTER.format(kept=1, pause=0.0))
        add(journal, folder, "c002", recipe, text=PAINTER.format(kept=2, pause=0.02))
        add(journal, folder, "c003", recipe, text=PAINTER.format(kept=2, pause=0.0), state="failed")
        add(journal, folder, "c004", recipe, text=PAINTER.format(kept=2, pause=0.0).replace("64)", "32)"))
        add(
            journal,
            folder,
            "c005",
            recipe,
            text="def load(a, b, c): raise OSError\ndef generate(a, b, c): ...",
        )
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few epochs: these tests are about the way, not about how well it learns."""
    monkeypatch.setattr(network, "EPOCHS", 1)
    monkeypatch.setattr(real, "EPOCHS", 2)


def test_a_pair_becomes_a_cascade_that_survives_interruption_and_is_answered_at_once_later(
    run: Path, tmp_path: Path
) -> None:
    def interrupt(done: int, _total: int, doing: str) -> None:
        if done >= 20 and doing.startswith("Drawing"):
            raise Cancelled

    with pytest.raises(Cancelled):
        train(run, "c001", "c002", count=COUNT, on_progress=interrupt)
    kept = {path: path.stat().st_mtime_ns for path in (run / "cascade").glob("pictures/*/*.png")}
    assert len(kept) >= 18

    told: list[tuple[int, int, str]] = []
    drawn: list[tuple[str, int, dict[str, float | None]]] = []
    job = Job(
        home=tmp_path,
        on_progress=lambda *said: told.append(said),
        on_point=lambda *point: drawn.append(point),
    )
    result = discriminator(job, "r", "c001", "c002", count=COUNT)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert max(done / total for done, total, _ in told if total) == 1

    cascade = Cascade.from_json(json.loads(json.dumps(result)))
    assert len(cascade.samples) == COUNT
    assert {one.hard for one in cascade.samples} == {True, False}
    for one in cascade.samples:
        assert (run / one.light_image).is_file()
        assert (run / one.heavy_image).is_file()
        assert 0 <= one.score <= 1
        assert one.defer == (one.heavy_quality - one.light_quality > cascade.margin)
    assert cascade.metric == "adherence"
    assert np.mean([one.hard for one in cascade.samples if one.defer]) > 0.9
    light, heavy = operate(cascade.pairs, -1.0), operate(cascade.pairs, 2.0)
    assert (light.heavy, heavy.light) == (0, 0)
    assert heavy.seconds.value > light.seconds.value + 0.02
    assert heavy.quality.value > light.quality.value
    trained = [each[0].stage for each in stages(cascade.training) if each[0].stage != "practice"]
    assert trained == [
        "real against generated",
        *(f"fold {at + 1}" for at in range(network.FOLDS)),
        "all pairs",
    ]
    assert [(curve, at, values["held"]) for curve, at, values in drawn] == [
        (one.stage, one.number, one.held) for one in cascade.training
    ]
    assert all(one.held is not None for one in cascade.training if one.stage.startswith("fold"))
    assert [one.rate for one in cascade.guarantees] == [0.02, 0.05, 0.1, 0.15, 0.2, 0.3]
    assert all(one.pairs == COUNT and one.sentence() for one in cascade.guarantees)
    assert all(scorer.roc[0] == (0, 0) and scorer.roc[-1] == (1, 1) for scorer in cascade.scorers)
    assert [one.name for one in cascade.scorers] == [
        "discriminator",
        "real against generated",
        "words alone",
        ITSELF,
        "caption length",
        "random",
    ]
    length = cascade.scorers[4].auc
    assert length is not None
    assert length.value > 0.7  # here hard captions are the long ones
    for scorer in cascade.scorers:
        assert [at.share for at in scorer.worth] == [0.2, 0.4, 0.6]
        assert all(light.quality.value <= at.quality.value <= heavy.quality.value for at in scorer.worth)
    by_length = cascade.scorers[4].worth[1]
    assert by_length.gain.low > 0  # two groups or none are missing, and the words say which
    assert (run / cascade.folder / "discriminator.safetensors").is_file()

    told.clear()
    again = discriminator(job, "r", "c001", "c002", count=COUNT)
    assert again == result
    assert not any(doing.startswith(("Drawing", "Training")) for _, _, doing in told)


def fill(run: Path, prompts: list[str], size: int = 64, names: tuple[str, ...] = ("c001", "c002")) -> None:
    """Put pictures on the shelves as a finished job leaves them, without starting any process."""
    state = RunState.replay(Journal.read(run))
    for name in names:
        shelf = _Shelf(run, side_of(run, state, name))
        for at, prompt in enumerate(prompts):
            found = parse(prompt)
            groups = found.groups if name == "c002" else found.groups[:1]
            time, terrain = found.time or "", found.terrain or ""
            scene = Scene(time, terrain, found.weather or "", found.style or "", groups)
            picture = draw(scene, np.random.default_rng(at), size if name == "c002" else 64)
            shelf.keep(prompt, SEEDS + at, picture, 0.01 if name == "c001" else 0.1)


@pytest.mark.parametrize(
    ("pair", "why"), [(("c001", "c001"), "same candidate"), (("c001", "c003"), "has not passed")]
)
def test_a_pair_that_cannot_be_a_cascade_gets_a_sentence(run: Path, pair: tuple[str, str], why: str) -> None:
    with pytest.raises(CascadeError, match=why):
        train(run, *pair, count=24)


def test_a_candidate_that_cannot_draw_any_more_gets_a_sentence(run: Path) -> None:
    with pytest.raises(CascadeError, match="c005 cannot draw"):
        train(run, "c001", "c005", count=24)


def test_pictures_of_different_sizes_are_no_pair(run: Path) -> None:
    own = captions(24, 3)
    fill(run, own, size=32)
    with pytest.raises(CascadeError, match="different sizes"):
        train(run, "c001", "c002", prompts=own, count=24)


def test_a_pair_with_nothing_to_decide_is_refused(run: Path) -> None:
    own = captions(24, 3, hard=False)
    fill(run, own)
    with pytest.raises(CascadeError, match="hardly ever better"):
        train(run, "c001", "c002", prompts=own, count=24)


def test_kept_pictures_are_used_without_starting_a_process(run: Path) -> None:
    own = captions(16, 3, hard=True) + captions(16, 3, hard=False)
    fill(run, own)
    told: list[str] = []
    found = train(
        run,
        "c001",
        "c002",
        prompts=own,
        count=32,
        on_progress=lambda _done, _total, doing: told.append(doing),
    )
    assert not any(doing.startswith(("Loading", "Drawing")) for doing in told)
    assert [one.prompt for one in found.samples] == own
    assert {one.hard for one in found.samples} == {None}
    assert found.curve[0].seconds.value == pytest.approx(0.01 + found.discriminator_seconds)
    assert found.curve[-1].seconds.value == pytest.approx(0.11 + found.discriminator_seconds)


def test_own_votes_replace_the_labels_they_are_about(run: Path) -> None:
    own = captions(16, 3, hard=True) + captions(16, 3, hard=False)
    fill(run, own)
    given: tuple[tuple[int, Preferred], ...] = (
        (0, "b"),
        (1, "a"),
        (2, "same"),
        (30, "b"),
        (31, "b"),
        (31, "withdrawn"),
    )
    for at, preferred in given:
        keep(run, Vote(own[at], SEEDS + at, "c002", "c001", preferred))
    before = train(run, "c001", "c002", prompts=own, count=32)
    found = train(run, "c001", "c002", prompts=own, count=32, target="votes")
    assert (before.votes, found.votes, found.target) == (0, 4, "votes")
    changed = [
        at
        for at, (one, other) in enumerate(zip(before.samples, found.samples, strict=True))
        if one.defer != other.defer
    ]
    assert set(changed) <= {0, 1, 2, 30}
    assert [found.samples[at].defer for at in (0, 1, 2)] == [False, True, False]
    judged = set(votes(run, "c001", "c002"))
    asked = least_sure(found, judged, 5)
    doubt = [abs(found.samples[at].score - 0.5) for at in asked]
    assert doubt == sorted(doubt)
    assert not {0, 1, 2, 30} & set(asked)
    assert max(doubt) <= min(
        abs(one.score - 0.5) for at, one in enumerate(found.samples) if at not in {*asked, 0, 1, 2, 30}
    )


def test_real_against_generated_can_decide_from_a_folder_of_real_pictures(run: Path, tmp_path: Path) -> None:
    own = captions(16, 3, hard=True) + captions(16, 3, hard=False)
    fill(run, own)
    with pytest.raises(CascadeError, match="give a folder"):
        train(run, "c001", "c002", prompts=own, count=32, target="real")
    folder = tmp_path / "real"
    folder.mkdir()
    with pytest.raises(CascadeError, match="at least 48"):
        train(run, "c001", "c002", prompts=own, count=32, target="real", real=str(folder))
    for at in range(48):
        write_picture(np.random.default_rng(at).integers(0, 256, (40, 90, 3), np.uint8), folder / f"{at}.png")
    found = train(run, "c001", "c002", prompts=own, count=32, target="real", real=str(folder))
    assert found.target == "real"
    assert [one.name for one in found.scorers[:2]] == ["discriminator", "heavy beats light"]
    score = network.load(run / found.folder / "discriminator.safetensors")
    images = np.stack([read_picture(run / one.light_image) for one in found.samples])
    kept = [one.score for one in found.samples]
    np.testing.assert_allclose(score(images, own), kept, atol=1e-5)
    np.testing.assert_allclose(score(images, own[::-1]), kept, atol=1e-5)  # it sees the picture alone
    (folder / "0.png").write_bytes(b"no picture")
    with pytest.raises(CascadeError, match="cannot be read"):
        train(run, "c001", "c002", prompts=own, count=32, target="real", real=str(folder))


def test_real_pictures_are_told_from_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "EPOCHS", EPOCHS)  # what the product takes, not the two of `short`
    drawn = real.rendered(96, (64, 64), 1, ())
    noise = np.random.default_rng(0).integers(0, 256, (96, 64, 64, 3), np.uint8)
    found = real.learn(drawn[:64], noise[:64], 0)
    assert real.probability(found, drawn[64:]).mean() > real.probability(found, noise[64:]).mean()


def test_training_stops_early_only_where_enough_pictures_can_be_held_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(network, "HELD_LEAST", 6)
    monkeypatch.setattr(network, "PATIENCE", 1)
    rng = torch.Generator().manual_seed(0)
    pixels, words = torch.rand(48, 3, 64, 64, generator=rng), torch.rand(48, 256, generator=rng)
    chance = (torch.rand(48, generator=rng) < 0.5).float()
    ticks: list[Epoch | None] = []
    torch.manual_seed(0)
    found = network.fit(pixels, words, chance, 12, ticks.append, stage="chance")
    assert len(ticks) == 12  # the bar fills up all the same
    assert 1 <= found.taken < 12
    heard = [epoch for epoch in ticks if epoch is not None]
    assert len(heard) < 12
    assert min(heard, key=lambda epoch: epoch.held or 0.0).number == found.taken
    monkeypatch.setattr(network, "HELD_LEAST", 60)
    ticks.clear()
    rows = (pixels[:8], words[:8], chance[:8])
    last = network.fit(pixels, words, chance, 2, ticks.append, stage="all", watched=rows)
    assert last.taken == 2  # what is only watched stops nothing
    assert all(epoch is not None and epoch.held is not None for epoch in ticks)


def test_too_few_prompts_are_refused(run: Path) -> None:
    with pytest.raises(CascadeError, match="at least 8"):
        train(run, "c001", "c002", prompts=["a house", "a tree"])
    with pytest.raises(CascadeError, match="12 pairs"):
        train(run, "c001", "c002", count=12)


def corrupted(count: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Renders whose pictures lack the second group, or not, by chance: nothing in the words tells which."""
    rng = np.random.default_rng(0)
    images: list[np.ndarray] = []
    prompts: list[str] = []
    wrong: list[bool] = []
    while len(prompts) < count:
        scene = sample(rng, split="any", hard=True)
        if len(scene.groups) < 2:
            continue
        bad = bool(rng.random() < 0.5)
        shown = replace(scene, groups=scene.groups[:1]) if bad else scene
        images.append(draw(shown, rng, 64))
        prompts.append(scene.caption)
        wrong.append(bad)
    return np.stack(images), prompts, np.array(wrong)


def test_training_is_the_same_for_the_same_seed_and_leaves_torch_as_it_was(tmp_path: Path) -> None:
    import torch

    images, prompts, wrong = corrupted(24)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    first = network.train(images, prompts, wrong, seed=3)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    second = network.train(images, prompts, wrong, seed=3)
    np.testing.assert_array_equal(first.scores, second.scores)
    network.save(first, tmp_path / "net.safetensors")
    score = network.load(tmp_path / "net.safetensors")
    words = network.bag(prompts)
    logits = np.c_[
        network.logits_of(first.network, network.tensors(images), words),
        network._read(first.regression, words),
    ]
    expected = 1 - network._sigmoid(logits @ first.weights + first.shift)
    np.testing.assert_allclose(score(images, prompts), expected, atol=1e-6)


def test_equal_prompts_are_never_on_both_sides_of_a_fold() -> None:
    prompts = [f"prompt {at % 11}" for at in range(60)]
    defer = np.random.default_rng(0).random(60) < 0.4
    fold = network.folds(prompts, defer, 0)
    assert all(len({fold[at] for at in range(60) if prompts[at] == prompt}) == 1 for prompt in prompts)
    assert len(set(fold.tolist())) == network.FOLDS


def test_calibration_recovers_probabilities_from_stretched_logits_and_ignores_noise() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(0, 1.5, 4000)
    defer = rng.random(4000) < 1 / (1 + np.exp(-true))
    useless = rng.normal(size=4000)
    logits = np.c_[4 * true + 3, useless]
    weights, shift = network.calibrate(logits, defer)
    np.testing.assert_allclose(logits @ weights + shift, true, atol=0.45)
    assert weights[1] < 0.1


def test_practice_is_on_other_prompts_and_only_where_light_is_cheap() -> None:
    asked = Asked(tuple(captions(24, CAPTIONS, hard=True)), tuple(range(24)), (True,) * 24)
    quality = Quality("adherence", np.ones(24), np.ones(24))

    def albums(light: float) -> tuple[Album, Album]:
        blank = np.zeros((24, 8, 8, 3), np.uint8)
        return Album(blank, np.full(24, light), ()), Album(blank, np.full(24, 0.1), ())

    prompts, seeds = practice_prompts(asked, 0)
    assert len(prompts) == len(seeds) == len(set(prompts)) > 80
    assert not set(prompts) & set(asked.prompts)
    assert not set(seeds) & set(asked.seeds)
    assert cheap_light(asked, albums(0.01), quality)
    assert not cheap_light(asked, albums(0.05), quality)
    assert not cheap_light(asked, albums(0.01), replace(quality, metric="likeness"))


def test_without_adherence_quality_is_lpips_where_its_weights_are_and_haarpsi_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from engines.measure import images
    from engines.metrics_pack import place

    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (40, 32, 32, 3), np.uint8)
    albums = (Album(first, np.ones(40), ()), Album(first[::-1].copy(), np.ones(40), ()))
    asked = Asked(("x",) * 40, tuple(range(40)), (None,) * 40)
    model: Any = SimpleNamespace(path=tmp_path)
    monkeypatch.setattr(place, "find", lambda name: None)
    plain = measured(model, asked, albums)
    np.testing.assert_allclose(plain.light, images.haarpsi(first, first[::-1].copy()))
    assert plain.notes[1] == place.missing("lpips")
    assert plain.likeness == "haarpsi"
    sizes = []

    def distance(some: np.ndarray, others: np.ndarray) -> NDArray[np.float64]:
        sizes.append(len(some))
        found: NDArray[np.float64] = np.abs(some.astype(float) - others).mean((1, 2, 3)) / 255
        return found

    monkeypatch.setattr(place, "find", lambda name: tmp_path)
    monkeypatch.setattr(images, "lpips", distance)
    found = measured(model, asked, albums)
    assert "1 - LPIPS" in found.notes[0]
    assert found.likeness == "lpips"
    assert sizes == [16, 16, 8]  # a few at a time: large pictures would not fit together
    assert found.light[0] == pytest.approx(1 - distance(first[:1], first[-1:])[0])


@pytest.mark.slow
def test_practice_on_light_pictures_tells_good_from_bad_better_than_pairs_alone() -> None:
    images, prompts, wrong = corrupted(560)
    pairs, more = slice(0, 80), slice(80, 560)
    practice = network.Practice(images[more], tuple(prompts[more]), wrong[more])
    alone = network.train(images[pairs], prompts[pairs], wrong[pairs], seed=0, epochs=14)
    practised = network.train(
        images[pairs], prompts[pairs], wrong[pairs], seed=0, epochs=14, practice=practice
    )
    before, after = (roc_auc(~wrong[pairs], one.scores) for one in (alone, practised))
    assert before is not None
    assert after is not None
    assert after.value > before.value + 0.05


@pytest.mark.slow
def test_the_discriminator_sees_what_the_words_do_not_say() -> None:
    images, prompts, wrong = corrupted(240)
    trained = network.train(images, prompts, wrong, seed=0, epochs=14)
    seen, words = roc_auc(~wrong, trained.scores), roc_auc(~wrong, trained.words)
    assert seen is not None
    assert words is not None
    assert seen.low > 0.5
    assert seen.value > words.value


def test_the_result_can_be_read_without_torch() -> None:
    code = "import sys, studio.plan.cascade; print({'torch', 'timm', 'engines', 'agent'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
