"""The table of samplers and presets: measure candidates, then replay every contender on the measured table.

python -m studio.work.samplers measure TABLE --minutes 7     again and again: it goes on where it was
python -m studio.work.samplers replay TABLE --out REPORT.md
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from studio.errors import RunError
from studio.record.settings import write_atomically
from studio.work.failure import explain

if TYPE_CHECKING:
    from agent.bench.table import Row
    from agent.candidate import Recipe, Verdict
    from agent.evaluate.judge import Judge
    from agent.planner.context import Context

COUNT: Final = 400
LEAST: Final = 30
"""Candidates without which a replay says nothing."""
_SLOW: Final = "engine/compile"
"""Left out unless asked for: a minute of compiling for each structure."""


def known(path: Path, facts: dict[str, Any]) -> Context:
    """The context that a table's recipes belong to.

    Raises:
        RunError: the model is another one than when the table was measured.
    """
    from agent.evolution.front import reference_point
    from agent.planner.context import prepare
    from engines.models.card import describe
    from engines.models.load import open_model
    from engines.workload import Workload

    opened = open_model(facts["source"])
    if opened.hash != facts["hash"]:
        raise RunError(f"The model {facts['source']} is another one than the table {path} was measured with.")
    context = prepare(
        facts["source"],
        describe(opened),
        facts["target"],
        Workload.model_validate(facts["workload"]),
        metric=facts["metric"],
        tolerance=facts["tolerance"],
    )
    left_out, check, space = frozenset(facts["without"]), context.check, context.space

    def checked(recipe: Recipe) -> list[str]:
        unwanted = [token for token in map(space.token, space.canonical(recipe)) if token in left_out]
        return [f"The table leaves {token} out." for token in unwanted] + list(check(recipe))

    if "baseline" not in facts:
        return replace(context, check=checked)
    from agent.bench.table import Table

    reference = reference_point(Table(facts).baseline, facts["worst_loss"])
    return replace(context, check=checked, reference=reference)


def measure(given: argparse.Namespace) -> int:
    """Judge candidates until the table has enough of them or the time is up."""
    from agent.bench.spread import next_recipe
    from agent.bench.table import append, read
    from agent.coder import title
    from agent.evaluate.judge import Judge
    from agent.planner.structures import Fits
    from engines.workload import Workload

    path: Path = given.table
    until = time.monotonic() + 60 * given.minutes
    facts = _facts(given) if not path.exists() else dict(read(path).facts)
    context = known(path, facts)
    print(f"Opening {facts['model']} on {facts['target']}.", flush=True)
    folder = Path(tempfile.gettempdir()) / "pareto-studio-samplers" / str(facts["hash"])[:16]
    folder.mkdir(parents=True, exist_ok=True)
    workload = Workload.model_validate(facts["workload"])
    with Judge(
        facts["source"],
        facts["target"],
        workload,
        folder,
        metric=facts["metric"],
        gate=facts["gate"],
        patient=True,  # the table is of really measured candidates, all of them in full
    ) as judge:
        first = judge.baseline()
        if first.state != "passed" or first.latency is None:
            raise RunError(first.reason)
        if "baseline" not in facts:
            facts["baseline"] = {
                "seconds": [first.latency.value, first.latency.low, first.latency.high],
                "stages": dict(first.stages),
            }
            append(path, facts)
            context = known(path, facts)
        table = read(path)
        while len(table.rows) < given.count and time.monotonic() < until:
            found = next_recipe(context, table, Fits(context.check, context.space), facts["seed"])
            if found is None:
                print("Every recipe that fits is measured.")
                return 0
            row = _measured(judge, context, *found)
            append(path, row.to_json())
            table = read(path)
            times = "" if row.speedup is None else f" {row.speedup.value:.2f}x"
            print(
                f"{len(table.rows)}/{given.count} {row.state}{times} in {row.took:.0f} s: "
                f"{title(row.recipe)} {row.reason}",
                flush=True,
            )
    return 0


def replay(given: argparse.Namespace) -> int:
    """Search the table with every contender and print what came of it."""
    from agent.bench.contenders import World
    from agent.bench.replay import report, search_all
    from agent.bench.table import read

    table = read(given.table)
    world = World(known(given.table, dict(table.facts)), table)
    if len(world.rows) < LEAST:
        raise RunError(
            f"The table {given.table} has {len(world.rows)} candidates that passed; measure {LEAST} or more."
        )

    def tell(name: str, seed: int) -> None:
        print(f"{name}: seed {seed}", file=sys.stderr, flush=True)

    text = report(world, search_all(world, given.seeds, given.kept, tell))
    if given.out is not None:
        write_atomically(given.out, text)
    print(text)
    return 0


def _facts(given: argparse.Namespace) -> dict[str, Any]:
    """What all candidates of a new table are measured on."""
    from agent.bench.table import FORMAT
    from agent.evaluate.judge import GATE
    from agent.loop import Settings
    from studio.work.ready import prepare

    ready = prepare(given.model, given.device, {}, None, 0, Path())
    return {
        "format": FORMAT,
        "model": ready.card.name,
        "source": given.model,
        "hash": ready.card.hash,
        "target": given.device,
        "workload": ready.workload.model_dump(mode="json"),
        "metric": ready.metric.name,
        "tolerance": ready.tolerance,
        "worst_loss": Settings().worst_loss,
        "gate": GATE,
        "seed": 0,
        "without": [] if given.all_engines else [_SLOW],
        "machine": ready.machine,
        "date": time.strftime("%Y-%m-%d"),
    }


def _measured(judge: Judge, context: Context, recipe: Recipe, why: str) -> Row:
    from agent.bench.table import Row
    from agent.candidate import Candidate, Proposal
    from agent.coder import ScriptWriter

    proposal = Proposal(recipe, why, "new")
    script = ScriptWriter().write(proposal, context)
    found: Verdict = judge.judge(Candidate("c001", 1, proposal, script), lambda _stage, _message: None)
    return Row(
        recipe,
        found.state,
        why,
        found.reason,
        found.speedup,
        found.latency,
        found.loss,
        found.metrics.get("psnr"),
        found.memory,
        found.stages,
        found.seconds,
        os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="studio.work.samplers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure", help="judge candidates and add them to a table")
    one.add_argument("table", type=Path, help="a file; a new one is begun, an old one is gone on with")
    one.add_argument("--model", default="tiny-scenes", help="of a new table")
    one.add_argument("--device", default="cpu", help="of a new table")
    one.add_argument("--count", type=int, default=COUNT, help=f"rows that are enough (default: {COUNT})")
    one.add_argument("--minutes", type=float, default=1e6, help="no candidate is begun after these")
    one.add_argument(
        "--all-engines", action="store_true", help=f"with {_SLOW}, which takes a minute a structure"
    )
    two = commands.add_parser("replay", help="search a table with presets and samplers; prints Markdown")
    two.add_argument("table", type=Path, help="a measured table")
    two.add_argument("--seeds", type=int, default=20, help="searches of each contender (default: 20)")
    two.add_argument(
        "--kept", type=Path, help="a file of finished searches: a replay that is stopped goes on"
    )
    two.add_argument("--out", type=Path, help="write the report here too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the command did what it says."""
    given = _parser().parse_args(arguments)

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        return measure(given) if given.command == "measure" else replay(given)
    except KeyboardInterrupt:
        print("Stopped; run the same command again to go on.", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - a user never sees a traceback
        print(explain(error).text, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
