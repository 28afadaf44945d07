"""Decoding in tiles and one picture at a time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from engines.hostloop import Loop, LoopError, latent_noise
from engines.hostloop.tiles import OVERLAP, decode_tiles, tile_side
from engines.measure import floor
from tests.engines import test_hostloop_loop as stand

tokenizer = stand.tokenizer


def by_pixel(latent: Any) -> Any:
    """A decoder that looks at one latent pixel only: tiles change nothing."""
    return np.tanh(latent).repeat(8, axis=-2).repeat(8, axis=-1)


@pytest.mark.parametrize("tiles", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 3, 40, 23)], ids=str)
def test_tiles_of_a_decoder_that_sees_one_pixel_are_the_whole_picture(
    tiles: int, shape: tuple[int, ...]
) -> None:
    latent = np.stack([latent_noise(seed, shape[1:]) for seed in range(shape[0])])
    np.testing.assert_allclose(decode_tiles(latent, tiles, by_pixel), by_pixel(latent), atol=1e-5)


def test_tiles_cover_every_pixel_overlap_by_a_quarter_and_are_blended_without_a_step() -> None:
    seen: list[tuple[int, ...]] = []

    def toned(latent: Any) -> Any:
        """Each call has a tone of its own, as norms over a tile give it."""
        seen.append(latent.shape)
        return np.full((1, 3, 8 * latent.shape[-2], 8 * latent.shape[-1]), float(len(seen)), np.float32)

    found = decode_tiles(np.zeros((1, 4, 64, 64), np.float32), 3, toned)
    side = tile_side(64, 3)
    assert seen == [(1, 4, side, side)] * 9
    assert 3 * side - 64 >= 2 * OVERLAP * side - 2
    assert np.abs(np.diff(found, axis=-1)).max() < 1 / (OVERLAP * side * 8) * 1.2
    assert (found[0, 0, 0, 0], found[0, 0, -1, -1]) == (1, 9)


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        ({"decode_singly": True}, 5),
        ({"decode_tiles": 2}, 8),
        ({"decode_tiles": 2, "decode_singly": True}, 20),
    ],
    ids=str,
)
def test_the_loop_decodes_in_as_many_calls_as_it_is_told_to(
    tokenizer: Tokenizer, change: dict[str, Any], calls: int
) -> None:
    plain = stand.loop(tokenizer).generate(stand.PROMPTS, stand.SEEDS)
    found = stand.loop(tokenizer, **change).generate(stand.PROMPTS, stand.SEEDS)
    assert found.calls["decoder"] == calls
    np.testing.assert_allclose(found.images.astype(int), plain.images.astype(int), atol=1)
    one = stand.loop(tokenizer, **change).generate(stand.PROMPTS[:1], stand.SEEDS[:1])
    assert floor.rows(replace(stand.SETTINGS, **change))["decoder"] == one.rows["decoder"]


def test_no_tiles_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(LoopError, match="decode_tiles must be at least 1"):
        Loop(stand.Network().components(), tokenizer, replace(stand.SETTINGS, decode_tiles=0))


PEAK = """
import os, sys
import numpy as np
from engines.hostloop import latent_noise
from engines.measure.memory import high_water
from engines.pipeline import build, plan
from engines.techniques import VaeTiling
from engines.workload import Workload
tiles = int(sys.argv[1])
recipe = [VaeTiling(tiles)] if tiles > 1 else []
loop = build(plan("tiny-scenes", "cpu", Workload(size=1024), recipe)).loop
before = high_water(os.getpid())
image = loop.decode(np.stack([latent_noise(1, loop.settings.latent_shape)]))
assert image.shape == (1, 1024, 1024, 3)
print(high_water(os.getpid()) - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark of memory is read from /proc")
def test_tiles_of_a_large_picture_take_a_fraction_of_the_memory() -> None:
    """1024 x 1024 with the bundled decoder, each way in a process of its own: MiB above what was loaded."""
    pytest.importorskip("torch")
    peak = {
        tiles: float(
            subprocess.run(
                [sys.executable, "-c", PEAK, str(tiles)], capture_output=True, text=True, check=True
            ).stdout
        )
        for tiles in (1, 4)
    }
    print(peak)
    assert peak[4] < peak[1] / 3
