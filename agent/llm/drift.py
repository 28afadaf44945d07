"""Numeric drift as text: what a debugger is told of a candidate that ran and drew the wrong pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.candidate import BuiltEngine, Census, Verdict
from agent.planner.context import Context

_DIGITS: Final = {"psnr": 1, "consistency": 1}
"""Decimals of metrics in dB; of shares three."""


def lines(verdict: Verdict, context: Context) -> list[str]:
    """One line each: checks that failed, numbers picture by picture, parity by component, the count.

    Nothing of a candidate that came to no measurement; the prompts of pictures are not told.
    """
    found = [f"Check {name}: {said}" for name, said in verdict.robustness.items() if said != "ok"]
    found += _by_picture(verdict, context)
    if compared := [_parity(one) for one in verdict.engines]:
        found.append(f"Its engines, each alone against eager on the same inputs: {'; '.join(compared)}.")
    if verdict.census is not None:
        found.append(_count(verdict.census))
    return found


def _by_picture(verdict: Verdict, context: Context) -> Iterator[str]:
    baseline = context.baseline
    for name in dict.fromkeys(("psnr", context.metric)):
        values = [one.metrics[name] for one in verdict.samples if name in one.metrics]
        if not values:
            continue
        digits = _DIGITS.get(name, 3)
        text = ", ".join(f"{value:.{digits}f}" for value in values)
        unit = " in dB" if name in _DIGITS else ""
        own = [] if baseline is None else [one.metrics.get(name) for one in baseline.samples]
        there = ", ".join(f"{value:.{digits}f}" for value in own if value is not None)
        yield f"{name} by picture{unit}: {text}{f'; of the baseline: {there}' if there else ''}."


def _parity(one: BuiltEngine) -> str:
    psnr = "not compared" if one.psnr is None else f"{one.psnr:.1f} dB"
    return f"{one.component} on {one.engine} {one.precision} {psnr}"


def _count(found: Census) -> str:
    by = "its pipeline" if found.by == "program" else "torch's observer"
    parts = [
        f"{one.component} {one.shape}, {one.engine}: {one.calls} calls, {one.rows} rows"
        for one in found.counted
    ]
    if found.flops:
        kinds = ", ".join(f"{count} operations in {kind}" for kind, count in found.dtypes.items())
        parts.append(f"{found.flops / 1e9:.3g} GFLOP by torch ({kinds})")
    declared = f" Declared: {found.declared}." if found.declared else ""
    return f"Counted for one picture by {by}: {'; '.join(parts) or 'nothing'}.{declared}"
