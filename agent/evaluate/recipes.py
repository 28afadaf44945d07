"""What a recipe declares, held to one model, device and workload: its plan, engines, work and floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.candidate import BuiltEngine, Recipe
from agent.evaluate.bench import Bench
from agent.sandbox import CandidateFailure
from engines.errors import EngineError
from engines.measure import floor
from engines.measure.rates import measure_peak
from engines.workload import Workload

if TYPE_CHECKING:
    from engines.models.card import Card
    from engines.plan import Plan


class Recipes:
    """Answers for the recipes of one run; builds each one's engines once, outside the sandbox."""

    def __init__(self, model: str, card: Card, device: str, workload: Workload, bench: Bench) -> None:
        self.model, self.device, self.workload = model, device, workload
        steps, guidance = workload.steps, workload.guidance
        self._card = replace(
            card,
            steps=card.steps if steps is None else steps,
            guidance=card.guidance if guidance is None else guidance,
        )
        self._bench = bench
        self._built: set[Any] = set()

    def misfit(self, recipe: Recipe) -> str:
        """Why it cannot be carried out here, as sentences; empty where it can."""
        from engines.techniques.compatibility import check

        return " ".join(check(recipe, self._card, self.device))

    def plan(self, recipe: Recipe) -> Plan:
        """Raises `CandidateFailure` where the recipe makes none."""
        from engines.pipeline import plan
        from engines.techniques.base import from_step

        try:
            return plan(self.model, self.device, self.workload, [from_step(step) for step in recipe])
        except EngineError as error:
            raise CandidateFailure(str(error)) from error

    def make_ready(self, recipe: Recipe, before: Callable[[], None]) -> None:
        """Build its engines if they are not there; `before` is called only then.

        Raises:
            CandidateFailure: they cannot be built.
        """
        wanted = self._engines(recipe)
        if wanted in self._built:
            return
        before()
        self._bench.build(tuple((step.technique, dict(step.parameters)) for step in recipe))
        self._built.add(wanted)

    def built(self, recipe: Recipe | None) -> tuple[BuiltEngine, ...]:
        """What is known of its engines, which `make_ready` has built; nothing where the script names none."""
        if recipe is None:
            return ()
        from engines.backends.serves import TITLES
        from engines.pipeline import prepare

        try:
            artifacts = prepare(self.plan(recipe))
        except (CandidateFailure, EngineError):  # emptied meanwhile; what was measured stands
            return ()
        found = []
        for one in artifacts:
            facts = one.metadata
            found.append(
                BuiltEngine(
                    one.capture.component,
                    one.backend,
                    one.precision,
                    TITLES.get(one.device, one.device),
                    one.verified_on,
                    str(facts.get("stand_in", "")),
                    (facts.get("parity") or {}).get("psnr"),
                )
            )
        return tuple(found)

    def _engines(self, recipe: Recipe) -> Any:
        from engines.pipeline import engines

        plan = self.plan(recipe)
        calibrated = (plan.loop.steps, plan.loop.scheduler) if plan.precision == "int8" else ()
        return (engines(plan), calibrated)

    def work(self, recipe: Recipe) -> float:
        """Nominal FLOPs of one picture; 0 where they are not known."""
        try:
            return sum(floor.work(self.plan(recipe)).values())
        except EngineError:
            return 0.0

    def floor(self, recipe: Recipe | None) -> float | None:
        """Least seconds per image on this device; `None` where the script does not say what it does.

        `None` too for a device whose rates nothing here measures.
        """
        if recipe is None:
            return None
        try:
            return floor.least(self.plan(recipe))
        except (CandidateFailure, EngineError):
            return None

    def sums(self, recipe: Recipe | None, seconds: float) -> str:
        """Lines: what a recipe declares to compute for a picture, and the rate that `seconds` ask for."""
        if recipe is None:
            return ""
        plan = self.plan(recipe)
        parts = floor.work(plan)
        total = sum(parts.values())
        rate = max(measure_peak(one, plan.device) or 0.0 for one in ("fp32", plan.precision))
        return "\n".join(
            [
                *(f"{name}: {flops / 1e9:.3g} GFLOP a picture" for name, flops in parts.items()),
                f"together: {total / 1e9:.3g} GFLOP in {seconds:.3g} s, {total / seconds / 1e9:.3g} GFLOP/s",
                f"best rate measured on this machine in fp32 or {plan.precision}: {rate / 1e9:.3g} GFLOP/s",
            ]
        )
