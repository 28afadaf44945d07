"""Another scheduler on the same noise schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from engines.hostloop.schedulers import DIFFUSERS_NAMES, SCHEDULERS
from engines.plan import Plan
from engines.techniques.base import Card, Parameter, Target, Technique, register

TITLES: Final = {"dpm++2m": "DPM++ 2M", "unipc": "UniPC", "euler": "Euler", "ddim": "DDIM"}
FOLLOWS_FLOWS: Final = ("dpm++2m", "unipc")
"""Solvers that also take the straight path of flow matching."""


@register
@dataclass(frozen=True, init=False)
class Scheduler(Technique):
    """Exchange the solver; prediction type and noise schedule stay the model's own.

    Of a flow-matching model the path and its shift stay, as diffusers' solvers keep them with
    `use_flow_sigmas`; the noise levels along it are then the solver's.

    The parameter is called `name`; the value keeps it as `solver`, since every
    technique has a `name` of its own.
    """

    solver: str

    name = "scheduler"
    title = "Scheduler"
    summary = "Use another solver, which reaches the same quality in fewer steps."
    order = 30
    export = "host-loop"
    parameters = (
        Parameter("name", "choice", "dpm++2m", "The solver.", choices=tuple(TITLES), attribute="solver"),
    )

    def __init__(self, name: str = "dpm++2m") -> None:
        object.__setattr__(self, "solver", name)
        self.__post_init__()

    def explain(self) -> str:
        return (
            f"{TITLES[self.solver]} integrates the same noise schedule in place of the model's own scheduler."
        )

    def label(self) -> str:
        return TITLES[self.solver]

    def apply(self, plan: Plan) -> Plan:
        config = plan.loop.scheduler_config
        if plan.loop.scheduler == "flow-euler":
            config = {
                **config,
                "prediction_type": "flow_prediction",
                "use_flow_sigmas": True,
                "flow_shift": config.get("shift", 1.0),
            }
        if self.solver == "ddim" and "clip_sample" not in config:
            # DDIM clips where nothing is said, and a latent of a model that was not made with it is wider
            saved = SCHEDULERS.get(DIFFUSERS_NAMES.get(str(config.get("_class_name")), plan.loop.scheduler))
            clips = saved is not None and saved.defaults.get("clip_sample", False)
            config = {**config, "clip_sample": bool(clips)}
        return replace(plan, loop=replace(plan.loop, scheduler=self.solver, scheduler_config=config))

    def objection(self, plan: Plan) -> str | None:
        config = plan.loop.scheduler_config
        if config.get("prediction_type") == "flow_prediction" and self.solver not in FOLLOWS_FLOWS:
            return self._no_flow()
        linear = config.get("use_dynamic_shifting") and config.get("time_shift_type") == "linear"
        if self.solver == "dpm++2m" and (config.get("shift_terminal") or linear):
            return (
                "The model's path is shifted in a way (shift_terminal, or time_shift_type linear) that DPM++ "
                "2M here cannot follow; choose UniPC."
            )
        return super().objection(plan)

    def applies(self, card: Card, target: Target) -> str | None:
        saved = card.component("scheduler")
        if saved is not None and saved.kind.startswith("FlowMatch") and self.solver not in FOLLOWS_FLOWS:
            return self._no_flow()
        if saved is not None and DIFFUSERS_NAMES.get(saved.kind) == "ddpm-cosine":
            return (
                f"The model's noise schedule is continuous and {TITLES[self.solver]} here follows one of"
                " single timesteps; keep its own scheduler."
            )
        if saved is not None and DIFFUSERS_NAMES.get(saved.kind) == self.solver:
            return f"The model uses {TITLES[self.solver]} already; choose another scheduler."
        return super().applies(card, target)

    def _no_flow(self) -> str:
        return (
            f"The model's denoiser predicts a flow, which {TITLES[self.solver]} here cannot follow;"
            " choose DPM++ 2M or UniPC."
        )
