"""Pictures are enlarged for looking by the network that the model ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.errors import ModelError
from engines.models.upscaler import FILE, enlarge
from engines.paths import bundled_model
from engines.scenes import grammar, render


def test_the_bundled_network_enlarges_fourfold_and_beats_plain_resizing() -> None:
    rng = np.random.default_rng(3)
    scenes = [grammar.sample(rng, split="held_out") for _ in range(4)]
    large = np.stack([render.draw(scene, np.random.default_rng(7), 256) for scene in scenes])
    small = large.reshape(4, 64, 4, 64, 4, 3).mean((2, 4)).round().astype(np.uint8)
    made = enlarge(bundled_model() / FILE, small)
    plain = np.stack(
        [np.asarray(Image.fromarray(one).resize((256, 256), Image.Resampling.BICUBIC)) for one in small]
    )
    assert made.shape == (4, 256, 256, 3)
    assert np.square(made.astype(float) - large).mean() < np.square(plain.astype(float) - large).mean()


def test_a_missing_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no super-resolution network"):
        enlarge(tmp_path / FILE, np.zeros((1, 8, 8, 3), np.uint8))
