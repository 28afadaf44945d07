"""Numbers by mathematics: a Gaussian process over the joint space proposes the next recipe of a pool.

Optuna's `GPSampler` fits one process each to log seconds and to log(1 + loss /
tolerance) over the whole joint space and maximises the expected hypervolume improvement (log EHVI,
Ament et al. 2023).  By itself it would search all of the space, where most
points are recipes that do not fit.  Here the maximum is taken over a pool
instead: the recipes of one structure with their numbers free, or the
neighbours of a parent.  So a number is tuned inside its structure while what
every other structure taught still counts, which `PartialFixedSampler` does not
give (it drops the fixed parameters from the regression as well).
"""

from __future__ import annotations

import contextlib
import math
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agent.candidate import Recipe
from agent.evolution.front import Judged, Reference, measured
from agent.evolution.space import Space

if TYPE_CHECKING:
    from optuna.samplers import GPSampler

START: Final = 4
"""Measured recipes that a Gaussian process needs before it is asked."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's log and its warnings about experimental parts from the user; restore both after."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _pool_sampler(seed: int) -> GPSampler:
    """A `GPSampler` whose acquisition is maximised over its attribute `pool`, a list of points.

    It overrides `_optimize_acqf`, which Optuna 5 offers to "advanced users"
    without a promise of compatibility; `tests/agent/test_evolution_numbers.py`
    notices when that changes.
    """
    from optuna.samplers import GPSampler

    class PoolSampler(GPSampler):  # type: ignore[misc, unused-ignore]
        pool: Sequence[dict[str, Any]] = ()

        def _optimize_acqf(self, acqf: Any, best_params: Any) -> Any:  # noqa: ARG002
            inner = acqf.search_space
            where = inner.get_normalized_params([None] * len(self.pool), list(self.pool))
            return where[int(np.argmax(acqf.eval_acqf_no_grad(where)))]

    return PoolSampler(seed=seed, n_startup_trials=START, deterministic_objective=False)


class Tuner:
    """Ask and tell over one run: told every verdict so far, it picks recipes from pools.

    What it picked counts as pending, so several picks in a row spread out.
    """

    def __init__(
        self,
        space: Space,
        judged: Sequence[Judged],
        reference: Reference,
        tolerance: float,
        seed: int = 0,
    ) -> None:
        import optuna

        self._space = space
        self._random = random.Random(seed)
        self._distributions = space.distributions()
        with quiet():
            self._sampler: Any = _pool_sampler(seed)
            self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=self._sampler)
            there = measured(judged)
            self._known = len(there)
            for one in there:
                self._study.add_trial(
                    optuna.trial.create_trial(
                        params=space.point(one.candidate.proposal.recipe),
                        distributions=self._distributions,
                        values=[
                            math.log(max(one.seconds, 1e-6)),
                            math.log1p(min(max(one.loss, 0.0), reference[1]) / tolerance),
                        ],
                    )
                )

    def wait_for(self, recipe: Recipe) -> None:
        """A recipe that somebody else proposed and that is not judged yet: do not propose its like."""
        with quiet():
            self._study.enqueue_trial(self._space.point(recipe))
            self._study.ask(self._distributions)

    def choose(self, pool: Sequence[Recipe]) -> Recipe:
        """The recipe of the pool with the largest expected hypervolume improvement.

        Before `START` verdicts are in, a random one.  Raises `ValueError` for an empty pool.
        """
        if not pool:
            raise ValueError("an empty pool has no best recipe")
        if self._known < START or len(pool) == 1:
            chosen = pool[0] if len(pool) == 1 else self._random.choice(list(pool))
            self.wait_for(chosen)
            return chosen
        self._sampler.pool = [self._space.point(recipe) for recipe in pool]
        with quiet():
            trial = self._study.ask(self._distributions)
        return self._space.recipe(trial.params)
