"""A plan and an outcome in words, for the window and the terminal."""

from __future__ import annotations

from typing import Final

from studio.plan.outcome import Outcome
from studio.plan.situation import Plan, Situation

MOST_PROCESSES: Final = 256
"""That a package starts for each model."""


def seconds(value: float) -> str:
    """`38.2 ms`, `1.24 s`."""
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def quality(metric: str, value: float) -> str:
    """Shares as a percentage, everything else with four digits."""
    return f"{value:.1%}" if metric == "adherence" else f"{value:.4g}"


def difference(metric: str, value: float) -> str:
    """Of two qualities: shares in points."""
    return f"{abs(value) * 100:.1f} points" if metric == "adherence" else f"{abs(value):.3g}"


def plan_sentences(situation: Situation, plan: Plan) -> tuple[str, ...]:
    """What a plan does and what can be expected of it."""
    choices = situation.choices
    made = []
    several = len(plan.allocations) > 1
    for device, one in zip(situation.devices, plan.allocations, strict=True):
        where = f"On {one.device} " if several else ""
        parts = []
        if one.light_workers:
            who = f"{one.light_workers} of {device.workers} workers"
            parts.append(f"{who} draw light in batches of up to {one.light_batch}")
        if one.heavy_workers:
            who = f"{one.heavy_workers}" if parts else f"{one.heavy_workers} of {device.workers} workers"
            parts.append(f"{who} draw heavy in batches of up to {one.heavy_batch}")
        made.append(where + (", ".join(parts) if parts else "no worker is needed") + ".")
    if plan.share > 0:
        made.append(
            f"Pictures scored below {plan.threshold:.3g} are deferred: {plan.share:.0%} of the prompts."
        )
    else:
        made.append("Nothing is deferred: every light picture is the answer.")
    tail = "on average" if situation.tail is None else f"in {situation.tail:.0%} of cases"
    if plan.share > 0:
        made.append(
            f"A kept picture takes at most {seconds(plan.light_latency)}, a deferred one "
            f"{seconds(plan.heavy_latency)} {tail}; {seconds(situation.latency)} are allowed."
        )
    else:
        made.append(
            f"A picture takes at most {seconds(plan.light_latency)} {tail}; "
            f"{seconds(situation.latency)} are allowed."
        )
    better = "better" if plan.loss < 0 else "worse"
    gap = (
        "as heavy alone"
        if abs(plan.loss) < 1e-9
        else (f"{difference(choices.metric, plan.loss)} {better} than heavy alone")
    )
    made.append(f"Expected {choices.metric}: {quality(choices.metric, plan.quality)}, {gap}.")
    use = f"At {situation.demand:g} requests/s light is busy for {plan.light_use:.0%} of its capacity"
    made.append(use + (f", heavy for {plan.heavy_use:.0%}." if plan.share > 0 else "."))
    if not plan.exact:
        made.append("With several kinds of device this is at most a rounding of one worker from the best.")
    return tuple(made)


def serving_options(plan: Plan) -> str:
    """Options of `run.py --serve` and `ray_app.py`; empty for mixed devices or too many workers."""
    if len(plan.allocations) != 1 or max(plan.light_workers, plan.heavy_workers) > MOST_PROCESSES:
        return ""
    one = plan.allocations[0]
    return (
        f"--threshold {plan.threshold:.6g} --light-workers {max(1, one.light_workers)} --light-batch "
        f"{max(1, one.light_batch)} --heavy-workers {max(1, one.heavy_workers)} --heavy-batch "
        f"{max(1, one.heavy_batch)}"
    )


def outcome_sentence(found: Outcome) -> str:
    """One line for one policy."""
    text = f"{found.title}: {found.late.value:.2%} late ({found.late.low:.2%} to {found.late.high:.2%})"
    if found.quality is not None:
        text += f", {found.metric} {quality(found.metric, found.quality.value)}"
    return text + f", {found.deferred:.0%} deferred, 99 % within {seconds(found.latency['p99'])}"
