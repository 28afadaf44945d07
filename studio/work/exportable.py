"""Whether a candidate can become a package, point by point, before anything is written.

*Exportable* means: expressed entirely by captured components and a host loop
that the manifest can name.  Anything else is *explore only*, and says why.
"""

from __future__ import annotations

import ast
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from studio.record.events import CandidateProposed
from studio.record.journal import Journal
from studio.record.state import CandidateState, RunState
from studio.record.verdict import Step
from studio.work.job import Job

State = Literal["ok", "warning", "failed"]

ENGINES: Final = ("openvino", "onnxruntime")
"""Engines that run without torch on a CPU, the preferred first."""
PACKED: Final = (*ENGINES, "mlx", "coreml", "tensorrt")
"""Every engine whose packages run without torch."""
TORCH: Final = ("torch", "compile")
"""Engines whose packages bring their captured programs and run on torch, without diffusers."""
_LOAD: Final = "def load(model, device, workload):\n    return build(plan(model, device, workload, RECIPE))"
_GENERATE: Final = (
    "def generate(pipeline, prompts, seeds):\n    return pipeline.generate(prompts, seeds).images"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list that ticks itself; `text` is a sentence."""

    name: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Offer:
    """The same recipe on an engine that can be exported."""

    engine: str
    recipe: tuple[Step, ...]
    candidate: str | None
    """The run's own candidate with this recipe, if it has one."""
    text: str


@dataclass(frozen=True, slots=True)
class Examination:
    candidate: CandidateState
    checks: tuple[Check, ...]
    offers: tuple[Offer, ...]

    @property
    def failed(self) -> Check | None:
        return next((check for check in self.checks if check.state == "failed"), None)

    @property
    def explore_only(self) -> bool:
        return any(check.name == "exportable" and check.state == "failed" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {
            "candidate": self.candidate.id,
            "ok": self.failed is None,
            "explore_only": self.explore_only,
            "checks": [asdict(check) for check in self.checks],
            "offers": [
                asdict(offer) | {"recipe": [step.model_dump() for step in offer.recipe]}
                for offer in self.offers
            ],
        }


def exportable(job: Job, run: str, candidate: str = "winner", layout: str = "") -> dict[str, Any]:
    """Command `exportable`: `{"candidate", "ok", "explore_only", "checks": [{"name", "state", "text"}...],
    "offers": [{"engine", "recipe", "candidate", "text"}...]}`; writes nothing.

    `layout`: whose checks are wanted, those of `export_as`; empty: the package's.

    Raises:
        RunError, JournalError, PackageError: no such run, candidate or layout.
    """
    folder = job.run_folder(run)
    state = RunState.replay(Journal.read(folder))
    if layout:
        from studio.work.export_as import question

        return question(folder, state, candidate, layout).to_json()
    return examine(folder, state, candidate).to_json()


def examine(folder: Path, state: RunState, candidate: str) -> Examination:
    """Look at everything that can be known without building.

    Raises:
        RunError: no such candidate.
    """
    found = state.candidate(candidate)
    checks = [_judged(found), _engine(found.proposal, state), _recipe(folder, found.proposal)]
    checks += [_model(state), _licence(state), _certified(state, found)]
    offers: tuple[Offer, ...] = ()
    if checks[1].state == "failed":
        offers = _offers(state, found.proposal)
    return Examination(found, tuple(checks), offers)


def without_torch(examination: Examination, target: str, what: str) -> Check:
    """Whether a candidate can become what holds only packages that run without torch.

    Args:
        what: that it shall become, in the plural, for a sentence.
    """
    name = backend(examination.candidate.proposal.recipe, target)
    if name not in TORCH:
        return next(check for check in examination.checks if check.name == "exportable")
    text = (
        f"{examination.candidate.id} is for exploring only here: it runs on torch, and {what} hold engines "
        "that need none; choose a candidate on openvino or onnxruntime, or export it as a package."
    )
    return Check("exportable", "failed", text)


def backend(recipe: tuple[Step, ...], target: str = "cpu") -> str:
    """The engine that a recipe names; the target's plain one where it names none."""
    from engines.backends.serves import plain_engine

    named = [step.parameters.get("backend", "openvino") for step in recipe if step.technique == "engine"]
    return str(named[-1]) if named else plain_engine(target)


def _judged(candidate: CandidateState) -> Check:
    verdict = candidate.verdict
    if verdict is None:
        return Check("judged", "failed", f"{candidate.id} has not been judged yet; wait until it has.")
    if verdict.state == "failed":
        return Check("judged", "failed", f"{candidate.id} failed ({verdict.reason}); choose one that passed.")
    if verdict.state == "quarantined":
        text = f"{candidate.id} is faster than this machine should allow; look at it before you ship it."
        return Check("judged", "warning", text)
    return Check("judged", "ok", f"{candidate.id} passed every stage.")


def _engine(proposed: CandidateProposed, state: RunState) -> Check:
    name = backend(proposed.recipe, state.started.target if state.started else "cpu")
    if name in PACKED:
        return Check("exportable", "ok", "Captured components and a host loop say all that it does.")
    if name in TORCH:
        text = "Captured components and a host loop say all that it does; its package needs torch."
        return Check("exportable", "ok", text)
    reason = f"the engine {name} has no packages in this version"
    return Check("exportable", "failed", f"{proposed.id} is for exploring only: {reason}.")


def _recipe(folder: Path, proposed: CandidateProposed) -> Check:
    """The script must do what its recipe says and nothing else: the recipe is what is shipped."""
    try:
        text = (folder / proposed.script).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return Check("script", "failed", f"The script of {proposed.id} is gone from the run folder.")
    if proposed.origin != "given" and follows_recipe(text):
        return Check("script", "ok", "Its script does what its recipe says, and nothing else.")
    return Check(
        "script",
        "failed",
        f"{proposed.id} is for exploring only: its script does more than its recipe says, "
        "which captured components and the host loop cannot express.",
    )


def follows_recipe(script: str) -> bool:
    """Whether a script is imports, a recipe and the two standard functions."""
    try:
        body = ast.parse(script).body
    except (SyntaxError, ValueError):
        return False
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    standard = {"load": _LOAD, "generate": _GENERATE}
    if set(functions) != set(standard):
        return False
    same = all(_shape(functions[name]) == _shape(ast.parse(text).body[0]) for name, text in standard.items())
    return same and all(_harmless(node) for node in body)


def _shape(node: ast.AST) -> str:
    """The code without comments and docstrings."""
    if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
        node = ast.FunctionDef(**{**dict(ast.iter_fields(node)), "body": node.body[1:]})
    return ast.dump(node)


def _harmless(node: ast.stmt) -> bool:
    match node:
        case ast.FunctionDef():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.ImportFrom(module=module):
            return module in ("__future__", "engines.pipeline", "engines.techniques")
        case ast.Assign(targets=[ast.Name(id="RECIPE")]):
            return True
    return False


def _model(state: RunState) -> Check:
    from engines.errors import EngineError
    from engines.models.load import open_model

    model = state.model
    if model is None:
        return Check("model", "failed", f"The run {state.run} has no model yet; wait until it has begun.")
    try:
        now = open_model(model.source).hash
    except EngineError as error:
        return Check("model", "failed", str(error))
    if now != model.hash:
        text = f"The model {model.name} was changed after the run; put the old one back or run again."
        return Check("model", "failed", text)
    return Check("model", "ok", f"{model.name} is the model that was measured.")


def _licence(state: RunState) -> Check:
    model = state.model
    if model is None or model.licence in ("", "unknown"):
        text = "The model's licence is not known; make sure that you may pass it on."
        return Check("licence", "warning", text)
    return Check("licence", "ok", f"The model's licence is {model.licence}.")


def _certified(state: RunState, candidate: CandidateState) -> Check:
    claims = [one.claim for one in state.certified if one.id == candidate.id and one.held]
    if claims:
        return Check("quality", "ok", f"Certified: {'; '.join(claims)}.")
    text = "Its quality was measured on the search's prompts only, not certified on fresh ones."
    return Check("quality", "warning", text)


def _offers(state: RunState, proposed: CandidateProposed) -> tuple[Offer, ...]:
    from engines.errors import EngineError
    from engines.models.card import describe
    from engines.models.load import open_model
    from engines.techniques import from_step, technique
    from engines.techniques.compatibility import check

    if state.started is None or proposed.origin == "given":
        return ()
    found = []
    for engine in PACKED:
        recipe = _on(proposed.recipe, engine)
        try:
            recipe = tuple(sorted(recipe, key=lambda step: technique(step.technique).order))
            card = describe(open_model(state.started.model.source))
            if check(tuple(from_step(step) for step in recipe), card, state.started.target):
                continue
        except EngineError:
            continue
        same = [one for one in state.candidates.values() if _equal(one.proposal.recipe, recipe)]
        has = same[0].id if same and same[0].passed else None
        text = f"The same recipe on {engine}" + (
            f" is {has}." if has else " can be tried as a new candidate."
        )
        found.append(Offer(engine, recipe, has, text))
    return tuple(found)


def _on(recipe: tuple[Step, ...], engine: str) -> tuple[Step, ...]:
    kept = [step for step in recipe if step.technique not in ("engine", "channels-last")]
    return (*kept, Step(technique="engine", parameters={"backend": engine}))


def _equal(first: tuple[Step, ...], second: tuple[Step, ...]) -> bool:
    def facts(recipe: tuple[Step, ...]) -> dict[str, object]:
        return {step.technique: step.parameters for step in recipe}

    return facts(first) == facts(second)
