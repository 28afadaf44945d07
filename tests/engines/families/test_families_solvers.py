"""Another solver on a flow-matching family draws what diffusers' pipeline draws with its own such solver."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.models.card import describe
from engines.models.load import open_model
from engines.models.model import Model
from engines.models.reference import Reference
from engines.models.small.workloads import workload_of
from engines.pipeline import build, plan
from engines.techniques import Scheduler
from engines.techniques.compatibility import check, check_plan, search_space
from tests.engines.test_hostloop_schedulers import FLOW, compare

PROMPTS, SEEDS = ["a red house", "the small blue bird and a cat"], [3, 2**40]
CLASSES = {"dpm++2m": "DPMSolverMultistepScheduler", "unipc": "UniPCMultistepScheduler"}


def exchanged(model: Model, solver: str, folder: Path) -> Model:
    """The model saved with diffusers' solver in place of its own, as its documentation says to make it."""
    import diffusers

    copy = folder / model.path.name
    shutil.copytree(model.path, copy)
    kind: Any = getattr(diffusers, CLASSES[solver])
    saved = json.loads((copy / "scheduler" / "scheduler_config.json").read_text())
    shift = saved.get("shift", 1.0)
    kind.from_config(
        saved, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    ).save_pretrained(copy / "scheduler")
    index = json.loads((copy / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", kind.__name__]
    (copy / "model_index.json").write_text(json.dumps(index))
    return open_model(copy)


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("sd3", "dpm++2m"),
        ("flux-dev", "unipc"),
        *(
            pytest.param(name, solver, marks=pytest.mark.slow)
            for name, solver in (("sd3", "unipc"), ("flux-dev", "dpm++2m"), ("flux-schnell", "unipc"))
        ),
    ],
)
def test_the_host_loop_draws_what_diffusers_draws(
    family: Callable[[str], Model], tmp_path: Path, name: str, solver: str
) -> None:
    model, workload = family(name), workload_of(name)
    assert check([Scheduler(solver)], describe(model)) == []
    pipeline = build(plan(model, "cpu", workload, [Scheduler(solver)]))
    found = pipeline.generate(PROMPTS, SEEDS).images
    wanted = Reference(exchanged(model, solver, tmp_path), "cpu", workload).generate(PROMPTS, SEEDS)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
    plain = build(plan(model, "cpu", workload)).generate(PROMPTS, SEEDS).images
    assert not np.array_equal(found, plain)


@pytest.mark.parametrize("steps", [4, 7, 25])
@pytest.mark.parametrize(
    ("solver", "change"),
    [
        *((solver, {"shift": 3.0}) for solver in CLASSES),
        *((solver, {"use_dynamic_shifting": True, "mu": 0.9, "linear_sigmas": True}) for solver in CLASSES),
        ("unipc", {"use_dynamic_shifting": True, "mu": 0.9, "time_shift_type": "linear"}),
        ("unipc", {"use_dynamic_shifting": True, "mu": 1.1, "shift_terminal": 0.1}),
    ],
    ids=str,
)
def test_the_path_and_its_shift_are_kept(
    family: Callable[[str], Model], solver: str, change: dict[str, Any], steps: int
) -> None:
    start = plan(family("sd3"), "cpu", workload_of("sd3"))
    start = replace(start, loop=replace(start.loop, scheduler_config=FLOW | change))
    config = dict(Scheduler(solver).apply(start).loop.scheduler_config)
    assert config["flow_shift"] == change.get("shift", 1.0)
    config.pop("linear_sigmas", None)  # that is the pipeline's, which leaves them to a solver of flows
    compare(solver, config, steps)


def test_a_path_that_ends_early_is_for_unipc_alone(family: Callable[[str], Model]) -> None:
    model = family("ltx")
    card, start = describe(model), plan(model, "cpu", workload_of("ltx"))
    (reason,) = check_plan([Scheduler("dpm++2m")], start, card)
    assert "shift_terminal" in reason
    assert reason.endswith("choose UniPC.")
    assert check_plan([Scheduler("unipc")], start, card) == []


def test_solvers_of_diffusions_are_not_offered_to_a_flow(family: Callable[[str], Model]) -> None:
    card = describe(family("flux-dev"))
    (axis,) = (axis for axis in search_space(card) if axis.name == "scheduler")
    assert axis.parameters[0].choices == ("dpm++2m", "unipc")
    (reason,) = check([Scheduler("ddim")], card)
    assert (
        reason
        == "The model's denoiser predicts a flow, which DDIM here cannot follow; choose DPM++ 2M or UniPC."
    )
