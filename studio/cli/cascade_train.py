"""`pareto-studio cascade train` and `cascade reuse`: what is learned and measured of a pair."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from studio.cli import show
from studio.cli.cascade import show_cascade
from studio.cli.terminal import Terminal
from studio.record.journal import Journal
from studio.record.library import find_run
from studio.record.state import RunState


def train(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Train a discriminator on two candidates of a run."""
    from engines.workload import read_prompts
    from studio.work.discriminator import discriminator

    light, heavy = _pair(given, home)
    prompts = list(read_prompts(given.prompts.expanduser())) if given.prompts else None
    with show.progress(terminal) as job_of:
        result: dict[str, Any] = discriminator(
            job_of(home),
            run=given.run,
            light=light,
            heavy=heavy,
            prompts=prompts,
            count=given.count,
            margin=given.margin,
            seed=given.seed,
            target=given.target,
            real=str(given.real.expanduser()) if given.real else "",
            rate=given.guarantee / 100,
            without_walls=given.without_walls,
        )
    terminal.document(result)
    show_cascade(terminal, result)
    return 0


def reuse(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """Measure what can be done with a deferred prompt."""
    from studio.work.cascade.reuse import reuse as measured

    light, heavy = _pair(given, home)
    with show.progress(terminal) as job_of:
        result = measured(
            job_of(home),
            run=given.run,
            light=light,
            heavy=heavy,
            share=given.share,
            count=given.count,
            pixels=given.pixels,
            attention=not given.no_attention,
            without_walls=given.without_walls,
        )
    terminal.document(result)
    show_cascade(terminal, result)
    return 0


def _pair(given: argparse.Namespace, home: Path) -> tuple[str, str]:
    """The named pair, or the one that the main job would take."""
    if given.light and given.heavy:
        return given.light, given.heavy
    from studio.record.default_pair import light_and_heavy

    light, heavy = light_and_heavy(RunState.replay(Journal.read(find_run(home, given.run))))
    return given.light or light, given.heavy or heavy
