"""The proof of each adapter: our host loop draws what diffusers' own pipeline draws from the same noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engines.models.load import open_model
from engines.models.model import Model
from engines.models.reference import Reference
from engines.pipeline import build, plan
from engines.workload import Workload
from tests.engines.families.family_models import MAKERS, write

torch = pytest.importorskip("torch")

PROMPTS, SEEDS = ["a red house", "the small blue bird and a cat"], [3, 2**40]
WORKLOADS = {
    "sdxl-turbo": Workload(steps=2, batch=2),
    "sdxl-lightning": Workload(steps=4, batch=2),
    "flux-dev": Workload(steps=3, size=16, batch=2),
    "flux-schnell": Workload(steps=2, size=16, batch=2),
    "hunyuan-dit": Workload(steps=3, guidance=4.0, size=64, batch=2),
    "sana": Workload(steps=3, guidance=4.0, size=32, batch=2),
    "modelscope": Workload(steps=2, guidance=4.0, frames=3, batch=1),
    "animatediff": Workload(steps=2, guidance=4.0, frames=3, batch=1),
    "ltx": Workload(steps=2, guidance=4.0, size=32, frames=9, batch=1),
    "wan": Workload(steps=2, guidance=4.0, size=32, frames=5, batch=1),
    "stable-video-diffusion": Workload(steps=2, guidance=3.0, frames=3, batch=1),
}
GUIDED = Workload(steps=3, guidance=4.0, batch=2)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    kept: dict[str, Path] = {}

    def make(name: str) -> Model:
        if name not in kept:
            kept[name] = write(name, tmp_path_factory.mktemp("families") / name)
        return open_model(kept[name])

    return make


@pytest.mark.parametrize("name", MAKERS)
def test_the_host_loop_draws_what_diffusers_draws(made: Callable[[str], Model], name: str) -> None:
    model = made(name)
    workload = WORKLOADS.get(name, GUIDED)
    wanted = Reference(model, "cpu", workload).generate(PROMPTS, SEEDS)
    pipeline = build(plan(model, "cpu", workload))
    result = pipeline.generate(PROMPTS, SEEDS)
    assert result.images.shape == wanted.shape
    assert result.broken == ()
    assert wanted.std() > 3, "a picture of one colour proves nothing"
    assert np.abs(result.images.astype(int) - wanted.astype(int)).max() <= 1
