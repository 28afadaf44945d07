"""`pareto-studio cascade`: plan, simulate, tables, benchmark; training is in `cascade_train`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli.show import escape, table
from studio.cli.terminal import Terminal
from studio.errors import PlanError

if TYPE_CHECKING:
    from studio.plan.outcome import Outcome
    from studio.plan.profile import Device
    from studio.plan.tables import Tables


def cascade(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    """One of the subcommands."""
    if given.cascade in ("train", "reuse"):
        from studio.cli import cascade_train

        does = cascade_train.train if given.cascade == "train" else cascade_train.reuse
        return does(given, home, terminal)
    return {"plan": _plan, "simulate": _simulate, "tables": _tables, "benchmark": _benchmark}[given.cascade](
        given, home, terminal
    )


def read_tables(given: argparse.Namespace, home: Path) -> Tables:
    """What the command line names: files, or a run's own pair.

    Raises:
        PlanError: neither, or something that cannot be used.
    """
    files = (given.profiles, given.confidences, given.quality)
    if any(files):
        found = _from_files(given)
    elif given.run:
        from studio.work.cascade.pair import pair_tables

        found = pair_tables(home, given.run, given.light, given.heavy, speeds=given.speeds)
    else:
        raise PlanError("Give --run, or all of --profiles, --confidences and --quality.")
    if getattr(given, "workers", None):
        found = found.with_workers(given.workers)
    return replace(found, devices=tuple(_changed(device, given) for device in found.devices))


def _from_files(given: argparse.Namespace) -> Tables:
    from studio.plan.tables import Tables, read_confidences, read_profiles, read_quality

    for name in ("profiles", "confidences", "quality"):
        if getattr(given, name) is None:
            raise PlanError(f"--{name} is missing; tables are profiles, confidences and quality together.")
    confidences, ids = read_confidences(given.confidences.expanduser())
    return Tables(
        devices=read_profiles(given.profiles.expanduser(), given.light or "light", given.heavy or "heavy"),
        confidences=confidences,
        quality=read_quality(given.quality.expanduser()),
        prompt_ids=ids,
        title=given.profiles.stem,
    )


def _changed(device: Device, given: argparse.Namespace) -> Device:
    from studio.plan.profile import per_image

    if given.discriminator_ms is not None:
        scorer = per_image("discriminator", given.discriminator_ms / 1e3, device.light.largest)
        device = replace(device, discriminator=scorer)
    if given.swap_ms is not None:
        seconds = given.swap_ms / 1e3
        device = replace(
            device,
            light=replace(device.light, load_seconds=seconds),
            heavy=replace(device.heavy, load_seconds=seconds),
        )
    return device


def _plan(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.plan.planner import plan
    from studio.plan.sentences import plan_sentences, serving_options
    from studio.plan.situation import Situation

    tables = read_tables(given, home)
    situation = Situation(
        devices=tables.devices,
        choices=tables.choices(),
        demand=given.rate,
        latency=given.slo / 1e3,
        goal=given.goal,
        max_loss=given.max_loss,
        headroom=given.headroom,
        tail=given.tail,
        batch_wait=given.batch_wait / 1e3,
    )
    start = time.perf_counter()
    found = plan(situation)
    took = time.perf_counter() - start
    words = plan_sentences(situation, found)
    options = serving_options(found)
    terminal.document(
        {"plan": asdict(found), "sentences": list(words), "serve": options, "seconds_computed": took}
    )
    for sentence in words:
        terminal.say(escape(sentence))
    if options and not terminal.machine:
        for way in ("python run.py --serve", "python ray_app.py --address auto"):
            terminal.console.print(f"Serve a package so: {way} {options}", markup=False, soft_wrap=True)
    terminal.say(f"[dim]Planned in {took * 1e3:.2f} ms.[/]")
    return 0


def _simulate(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.plan.policies import POLICIES, chosen
    from studio.plan.sentences import outcome_sentence
    from studio.plan.service import Service, WorkerLoss
    from studio.plan.simulator import simulate
    from studio.plan.traces import spelled

    names = chosen([name.strip() for name in given.policy.split(",") if name.strip()])
    tables = read_tables(given, home)
    trace = spelled(given.trace, given.seed).scaled(given.load)
    service = Service(
        latency=given.slo / 1e3,
        routing=given.routing,
        batch_wait=given.batch_wait / 1e3,
        drop_after=None if given.keep_late else 1.0,
        queue_limit=given.queue,
        interval=given.interval,
        headroom=given.headroom,
        tail=given.tail,
        losses=tuple(WorkerLoss(*one) for one in given.lose),
    )
    found: list[Outcome] = []
    for name in names:
        policy = POLICIES[name](tables, service, trace)
        found.append(simulate(tables, service, trace, policy, seed=given.seed))
        if len(names) == 1:
            terminal.say(escape(outcome_sentence(found[-1])))
    terminal.document(
        {
            "trace": {
                "name": trace.name,
                "requests": len(trace),
                "seconds": trace.seconds,
                "rate": trace.rate,
            },
            "service": asdict(service),
            "policies": [one.to_json(timeline=not given.no_timeline) for one in found],
        }
    )
    if len(names) > 1:
        _show(terminal, found)
    return 0


def _show(terminal: Terminal, found: list[Outcome]) -> None:
    if terminal.machine:
        return
    from studio.plan.sentences import quality, seconds

    first = found[0]
    terminal.say(f"{first.requests:,} requests of {escape(first.trace)}")
    shown = table(
        "Policy", ">Late", ">95 %", f">{first.metric}", ">95 %", ">Deferred", ">Median", ">99 %", ">Dropped"
    )
    for one in found:
        worth, interval = ("–", "") if one.quality is None else (quality(one.metric, one.quality.value), "")
        if one.quality is not None and one.quality.low == one.quality.low:
            interval = f"{quality(one.metric, one.quality.low)} – {quality(one.metric, one.quality.high)}"
        shown.add_row(
            escape(one.title),
            f"{one.late.value:.2%}",
            f"{one.late.low:.2%} – {one.late.high:.2%}",
            worth,
            interval,
            f"{one.deferred:.0%}",
            seconds(one.latency["p50"]),
            seconds(one.latency["p99"]),
            str(one.dropped),
        )
    terminal.console.print(shown)
    for note in dict.fromkeys(one.quality_note for one in found if one.quality_note):
        terminal.say(f"[dim]{escape(note)}[/]")


def _tables(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.plan.tables import write_tables
    from studio.record.settings import write_atomically

    tables = read_tables(given, home)
    folder: Path = given.out.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, document in write_tables(tables).items():
        path = folder / f"{name}.json"
        write_atomically(path, json.dumps(document, ensure_ascii=False) + "\n")
        paths[name] = str(path)
    terminal.document({"files": paths})
    terminal.say(f"Written to {escape(folder)}: profiles.json, confidences.json, quality.json")
    return 0


def _benchmark(given: argparse.Namespace, home: Path, terminal: Terminal) -> int:
    from studio.plan.benchmark import markdown

    tables = read_tables(given, home)
    text, document = markdown(
        tables,
        latency=None if given.slo is None else given.slo / 1e3,
        rate=given.rate,
        seed=given.seed,
    )
    terminal.document(document)
    if not terminal.machine:
        terminal.console.print(text, markup=False, soft_wrap=True)
    return 0
