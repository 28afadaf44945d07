"""Tiny models of every family, made once for each module of tests; a cache of their own; one thread."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.models.load import open_model
from engines.models.model import Model
from engines.models.small import clips, pictures
from engines.models.small.families import SEED, write

torch = pytest.importorskip("torch")


@pytest.fixture(scope="package", autouse=True)
def family_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("family-cache")))
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Opens the tiny model of a family."""
    kept: dict[str, Path] = {}

    def make(name: str) -> Model:
        if name not in kept:
            kept[name] = write(name, tmp_path_factory.mktemp("families") / name)
        return open_model(kept[name])

    return make


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Opens a tiny transformer of six blocks or eight, for what keeps some of them in front and behind."""
    makers = {
        "pixart": lambda: pictures.pixart_sigma(blocks=6),
        "sd3": lambda: pictures.sd3(blocks=6),
        "flux": lambda: pictures.flux_dev(doubles=2, singles=4),
        "sana": lambda: pictures.sana(blocks=6),
        "hunyuan": lambda: pictures.hunyuan_dit(blocks=8),
        "ltx": lambda: clips.ltx(blocks=6),
        "wan": lambda: clips.wan(blocks=6),
    }
    kept: dict[str, Path] = {}

    def make(name: str) -> Model:
        if name not in kept:
            torch.manual_seed(SEED)
            kept[name] = tmp_path_factory.mktemp("deep") / name
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                makers[name]().save_pretrained(kept[name], safe_serialization=True)
        return open_model(kept[name])

    return make
