"""The README of a layout: what it is, how it is used, what is not in it, and how it was checked."""

from __future__ import annotations

from collections.abc import Sequence

from engines.layouts.base import Layout, Subject


def readme(layout: Layout, subject: Subject, proof: Sequence[str]) -> str:
    """Markdown; `proof` are sentences."""
    facts = subject.facts
    lines = [f"# {facts.source_model.name}, {subject.title}: {layout.title}", "", layout.summary, ""]
    lines += ["## Use", "", layout.used(subject), ""]
    if subject.left_out:
        lines += ["## What is not in it", "", *(f"- {sentence}" for sentence in subject.left_out), ""]
    latency = facts.evidence.latency
    if latency is not None and latency.speedup is not None:
        ratio = latency.speedup
        measured = (
            f"The candidate was {ratio.value:.1f} times as fast ({ratio.low:.1f} to {ratio.high:.1f}) as the"
            f" model as its authors ship it, {latency.seconds.value:.3g} s a picture, on"
            f" {latency.measured_on}: by the Studio's own engines. {layout.title} itself was not timed."
        )
        lines += ["## Measured", "", measured, ""]
    lines += ["## Checked", "", *proof, ""]
    source = facts.source_model
    origin = (
        f"Made by Pareto Studio {facts.tool.version} from {source.name} ({source.source},"
        f" {source.hash[:16]}); `pareto-studio.json` has the whole record, `SHA256SUMS` the digest of every"
        f" file. The weights keep the model's licence: {source.licence or 'unknown'} (`LICENSE`)."
    )
    lines += ["## Where it comes from", "", origin, ""]
    return "\n".join(lines)
