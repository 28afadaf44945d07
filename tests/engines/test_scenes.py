"""Tiny Scenes: captions say what pictures show, and the reader reads it back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.errors import ModelError
from engines.scenes import grammar, reader, render


def sampled(count: int, seed: int = 0, split: grammar.Split = "any") -> list[grammar.Scene]:
    rng = np.random.default_rng(seed)
    return [grammar.sample(rng, split=split) for _ in range(count)]


def test_a_caption_says_everything_that_its_scene_is() -> None:
    for scene in sampled(300):
        asked = grammar.parse(scene.caption)
        assert (asked.time, asked.terrain, asked.weather, asked.style) == (
            scene.time, scene.terrain, scene.weather, scene.style,
        )  # fmt: skip
        assert asked.groups == scene.groups


def test_free_words_yield_what_they_share_with_the_grammar() -> None:
    asked = grammar.parse("An old photograph of two red houses, at night")
    assert asked.groups == (grammar.Group(2, "red", "house", "middle"),)
    assert asked.time == "night"
    assert asked.terrain is None
    assert len(asked) == 4
    assert len(grammar.parse("a portrait of a physicist")) == 0


def test_training_never_sees_a_held_out_combination() -> None:
    assert not any(grammar.is_held_out(scene) for scene in sampled(500, split="train"))
    assert all(grammar.is_held_out(scene) for scene in sampled(200, split="held_out"))


def test_captions_are_different_and_the_same_for_the_same_seed() -> None:
    first = grammar.captions(100, 3)
    assert len(set(first)) == 100
    assert first == grammar.captions(100, 3)
    assert first != grammar.captions(100, 4)


def test_hard_and_easy_captions_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    assert all(grammar.sample(rng, hard=True).is_hard for _ in range(50))
    assert not any(grammar.sample(rng, hard=False).is_hard for _ in range(50))


def test_the_renderer_draws_the_same_scene_at_every_size() -> None:
    for scene in sampled(5):
        small = render.draw(scene, np.random.default_rng(1), 64).astype(float)
        large = render.draw(scene, np.random.default_rng(1), 256).astype(float)
        assert np.abs(large.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3)) - small).mean() < 8


def test_every_word_of_a_caption_is_in_the_vocabulary() -> None:
    words = set(grammar.vocabulary())
    for scene in sampled(300):
        assert set(scene.caption.replace(",", " ,").split()) <= words


def test_targets_and_readings_are_each_other_s_inverse() -> None:
    for scene in sampled(50):
        encoded = reader.targets(scene)
        reading = reader.Reading({name: reader.HEADS[name][index] for name, index in encoded.items()})
        assert reading.groups == tuple(
            sorted(scene.groups, key=lambda group: grammar.PLACES.index(group.place))
        )
        assert reading.share(grammar.parse(scene.caption)) == 1.0


def test_a_wrong_colour_costs_one_attribute_and_nothing_else() -> None:
    scene = grammar.Scene("day", "grass", "clear", "flat", (grammar.Group(1, "red", "house", "left"),))
    reading = reader.Reading({name: reader.HEADS[name][i] for name, i in reader.targets(scene).items()})
    asked = grammar.parse(scene.caption.replace("red", "blue"))
    assert reading.share(asked) == pytest.approx(6 / 7)
    assert np.isnan(reading.share(grammar.parse("nothing of the kind")))


def test_attributes_left_open_are_ignored_in_training() -> None:
    encoded = reader.targets(grammar.parse("a red ball on the left"))
    assert encoded["time"] == reader.IGNORED
    assert encoded["left_kind"] == 1 + grammar.KINDS.index("ball")
    assert encoded["right_kind"] == 0


def test_a_missing_or_damaged_reader_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no attribute reader"):
        reader.load_reader(tmp_path / "reader.safetensors")
    damaged = tmp_path / "reader.safetensors"
    damaged.write_bytes(b"\x08\0\0\0\0\0\0\0{}      " + b"x" * 40)
    with pytest.raises(ModelError, match="does not hold"):
        reader.load_reader(damaged)


@pytest.fixture(scope="module")
def trained() -> reader.Reader:
    from engines.paths import bundled_model

    return reader.load_reader(bundled_model() / "reader.safetensors")


def test_the_bundled_reader_reads_unseen_renders(trained: reader.Reader) -> None:
    scenes = sampled(200, seed=99, split="held_out")
    rng = np.random.default_rng(7)
    pictures = np.stack([render.draw(scene, rng) for scene in scenes])
    captions = [scene.caption for scene in scenes]
    own = trained.adherence(pictures, captions)
    others = trained.adherence(pictures, captions[1:] + captions[:1])
    assert own.mean() >= 0.97
    assert others.mean() < 0.6


def test_the_reader_resizes_larger_pictures(trained: reader.Reader) -> None:
    scene = sampled(1, seed=5)[0]
    picture = render.draw(scene, np.random.default_rng(0), 256)[None]
    assert trained.adherence(picture, [scene.caption])[0] >= 0.8
