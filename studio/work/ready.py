"""What a run begins with, checked before anything is written: a model, a target and a workload that fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.evaluate.judge import GATE, MOST_GATE, Judge
from agent.evaluate.prompts import Prompts
from engines.errors import WorkloadError
from engines.models.card import Card, describe
from engines.models.load import open_model
from engines.models.reference import check as check_reference
from engines.workload import Workload
from studio.errors import RunError
from studio.record.described import Metric, ModelCard
from studio.record.state import RunState
from studio.work.loss import LOSSES, metric_for
from studio.work.machine import describe_machine, fields_of


@dataclass(frozen=True, slots=True)
class Ready:
    """A model, a target and a workload that go together; nothing has been run yet."""

    model: str
    card: ModelCard
    described: Card
    target: str
    workload: Workload
    metric: Metric
    tolerance: float
    """Loss that the winner may have."""
    claim: str
    """What is certified of it."""
    machine: dict[str, Any]
    seed: int
    memory: Path
    gate: int = GATE
    """Pictures that the gate looks at."""

    def judge(self, folder: Path, *, patient: bool = False) -> Judge:
        """The evaluator of a run in a folder, close it; a `patient` one measures in full what is hopeless."""
        return Judge(
            self.model,
            self.target,
            self.workload,
            folder,
            metric=self.metric.name,
            gate=self.gate,
            patient=patient,
        )


def prepare(
    model: str,
    target: str,
    workload: dict[str, Any],
    metric: str | None,
    seed: int,
    memory: Path,
    gate: int = GATE,
) -> Ready:
    """Check what the user gave, before anything is written.

    Raises:
        ModelError: the model cannot be used.
        WorkloadError: the workload makes no sense, the gate is too small or too large, or the target is not
            ready here.
    """
    if not GATE <= gate <= MOST_GATE:
        raise WorkloadError(
            f"The gate looks at {GATE} to {MOST_GATE} pictures, not {gate}; choose a number between."
        )
    try:
        wanted = Workload.model_validate(workload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WorkloadError(f"The workload's {where} is refused ({first['msg']}); correct it.") from error
    check_target(target)
    opened = open_model(model)
    check_reference(opened)
    described = describe(opened)
    chosen = metric_for(opened.path, Prompts(wanted.prompts).gate(gate).prompts, metric)
    return Ready(
        model=model,
        card=ModelCard.model_validate(fields_of(described)),
        described=described,
        target=target,
        workload=wanted,
        metric=chosen,
        tolerance=LOSSES[chosen.name].tolerance,
        claim=LOSSES[chosen.name].claim,
        machine=describe_machine(),
        seed=seed,
        memory=memory,
        gate=gate,
    )


def prepare_again(state: RunState, memory: Path) -> Ready:
    """What a run was begun with, checked anew.

    Raises:
        RunError: it never began, or the model is no longer the same one.
        EngineError: as `prepare`.
    """
    begun = state.started
    if begun is None:
        raise RunError(f"The run {state.run} never began; start a new one.")
    ready = prepare(
        begun.model.source, begun.target, begun.workload, begun.metric.name, begun.seed, memory, begun.gate
    )
    if ready.card.hash != begun.model.hash:
        raise RunError(
            f"The model {begun.model.source} has changed since the run {state.run} began; "
            "start a new run, or put the old model back."
        )
    return ready


def check_target(target: str) -> None:
    """Raises `WorkloadError` for a target that is unknown or not ready on this machine."""
    from engines.devices import targets

    known = {one.id: one for one in targets()}
    found = known.get(target)
    if found is None:
        raise WorkloadError(f"There is no target {target}; there are: {', '.join(known)}.")
    if found.state == "build_only":
        raise WorkloadError(
            f"The target {target} can only be built for on this machine ({found.reason}), so nothing can be"
            f" measured on it: optimise on cpu and export the recipe for {target}, or optimise where it runs."
        )
    if found.state != "ready":
        raise WorkloadError(
            f"The target {target} cannot run here ({found.reason}); "
            "`pareto-studio doctor` says which ones can."
        )


def check_workers(workers: str) -> None:
    """Raises `ClusterError` for what is no cluster, before anything is begun."""
    if workers:
        from agent.evaluate.ray_pool import check

        check(workers)
