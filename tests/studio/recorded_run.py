"""A run folder as the worker leaves it, with candidates on the bundled model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from agent.candidate import Proposal, Step
from agent.coder import title
from engines.models.card import describe
from engines.models.load import open_model
from studio.record import events
from studio.record.described import Metric, ModelCard
from studio.record.journal import Journal

SCRIPT = '''"""A candidate."""

from engines.pipeline import build, plan
from engines.techniques import {classes}

RECIPE = (
{steps}
)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
'''


def script(recipe: tuple[Step, ...]) -> str:
    from agent.coder import class_name

    calls = []
    for step in recipe:
        values = ", ".join(f"{key}={value!r}" for key, value in step.parameters.items())
        calls.append(f"    {class_name(step.technique)}({values}),")
    names = ", ".join(sorted({class_name(step.technique) for step in recipe}))
    return SCRIPT.format(classes=names, steps="\n".join(calls))


def begin(
    folder: Path,
    workload: dict[str, object] | None = None,
    *,
    model: str | Path = "tiny-scenes",
    target: str = "cpu",
) -> Journal:
    """Create the folder's journal with a run on a model, the bundled one if nothing is said."""
    (folder / "candidates").mkdir(parents=True)
    journal = Journal.create(folder)
    journal.append(
        events.RunStarted(
            model=ModelCard.model_validate(asdict(describe(open_model(model)))),
            target=target,
            workload=workload or {},
            metric=Metric(name="adherence", title="Adherence loss", unit="points"),
            preset="quick",
            generations=1,
            population=4,
            budget=None,
            seed=5,
            reference=(2.0, 0.5),
            folder=str(folder),
            machine={"processor": "a test's"},
        )
    )
    add(journal, folder, "c000", (), text="def load(model, device, workload): ...\n", origin="baseline")
    return journal


def add(
    journal: Journal,
    folder: Path,
    name: str,
    recipe: tuple[Step, ...],
    *,
    text: str | None = None,
    state: str = "passed",
    origin: str = "seed",
    seconds: float = 0.1,
) -> None:
    """Propose and judge a candidate."""
    path = folder / "candidates" / f"{name}.py"
    path.write_text(script(recipe) if text is None else text)
    journal.append(
        events.CandidateProposed.model_validate(
            {
                "id": name,
                "generation": 1,
                "origin": origin,
                "parents": (),
                "recipe": [
                    {"technique": step.technique, "parameters": dict(step.parameters)} for step in recipe
                ],
                "title": title(Proposal(recipe, "", "seed").recipe),
                "why": "",
                "script": f"candidates/{name}.py",
            }
        )
    )
    around = {"value": seconds, "low": 0.9 * seconds, "high": 1.1 * seconds}
    journal.append(
        events.CandidateJudged.model_validate(
            {
                "id": name,
                "verdict": {
                    "state": state,
                    "stage": "gate",
                    "reason": "" if state == "passed" else "It draws nothing.",
                    "latency": around,
                    "speedup": {"value": 5.0, "low": 4.5, "high": 5.5},
                    "warm_up": 12,
                    "pairs": 4,
                    "loss": {"value": 0.01, "low": 0.0, "high": 0.02},
                },
            }
        )
    )
