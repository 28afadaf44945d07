"""The command line of `pareto-studio cascade`; imports `argparse` only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from studio.cli.walls_argument import add_walls

RUN = "a run's name, the beginning of it, its folder, or `last`; its trained cascade is used"


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return value


def _not_negative(text: str) -> float:
    return 0.0 if text in ("0", "0.0") else _positive(text)


def _tail(text: str) -> float | None:
    if text == "mean":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be `mean` or a quantile from 0.5 to below 1")
    return value


def _workers(text: str) -> dict[str, int]:
    """`16`, or by device `a=8,b=4`."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, count = part.rpartition("=")
        if not count.strip().isdigit():
            raise argparse.ArgumentTypeError(
                f"{text!r} is no number of workers; write 16, or a=8,b=4 by device"
            )
        found[name.strip()] = int(count)
    if "" in found and len(found) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} names only some devices; write a=8,b=4")
    return found


def _loss(text: str) -> tuple[float, int, float | None]:
    """`60:3` or `60:3:120`: at 60 s worker 3 is lost, back at 120 s."""
    parts = text.split(":")
    try:
        at, worker, back = float(parts[0]), int(parts[1]), float(parts[2]) if len(parts) > 2 else None
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no loss; write seconds:worker or seconds:worker:back"
        ) from None
    return at, worker, back


def _tables(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("tables", "a run's own measured pair, or files of any system")
    group.add_argument("--run", help=RUN)
    group.add_argument(
        "--light", default="", help="light candidate of the run or OTHER_RUN/CANDIDATE, or name in a CSV"
    )
    group.add_argument(
        "--heavy", default="", help="heavy candidate of the run or OTHER_RUN/CANDIDATE, or name in a CSV"
    )
    group.add_argument("--speeds", type=Path, metavar="DIR", help="another run to take the times from")
    group.add_argument("--profiles", type=Path, metavar="FILE", help="latency by batch size, JSON or CSV")
    group.add_argument("--confidences", type=Path, metavar="FILE", help="scores by prompt, or a curve f(t)")
    group.add_argument("--quality", type=Path, metavar="FILE", help="quality by deferred share, or by prompt")
    group.add_argument(
        "--discriminator-ms", type=_not_negative, help="time of one score (default: of the tables)"
    )
    group.add_argument("--swap-ms", type=_not_negative, help="time to load a model (default: of the tables)")


def _service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=_workers, metavar="N", help="how many: 16, or a=8,b=4 by device")
    parser.add_argument("--slo", type=_positive, required=True, metavar="MS", help="latency objective")
    parser.add_argument("--headroom", type=_positive, default=1.2, help="capacity over load (default: 1.2)")
    parser.add_argument("--tail", type=_tail, default=0.9, help="quantile of times, or mean (default: 0.9)")
    parser.add_argument(
        "--batch-wait",
        type=_not_negative,
        default=0.0,
        metavar="MS",
        help="wait for batches to fill (default: 0)",
    )


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text!r} must be a percentage between 0 and 100")
    return value


def _candidates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="last", help="a run's name or folder (default: last)")
    parser.add_argument(
        "--light",
        default="",
        help="candidate that answers first (default: a quick one); of another run: OTHER_RUN/CANDIDATE",
    )
    parser.add_argument(
        "--heavy", default="", help="candidate for the rest (default: the best), of this run or another's"
    )


def add_cascade(commands: Any, common: argparse.ArgumentParser) -> None:
    """`cascade train`, `reuse`, `plan`, `simulate`, `tables`, `benchmark`."""
    text = "train and plan a light and heavy cascade, and replay traffic against it"
    cascade = commands.add_parser("cascade", help=text, description=text[0].upper() + text[1:] + ".")
    does = cascade.add_subparsers(dest="cascade", metavar="WHAT", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = does.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common]
        )
        return made

    train = add("train", "learn from two candidates of a run when the light picture is good enough")
    _candidates(train)
    train.add_argument(
        "--target",
        choices=["better", "votes", "real"],
        default="better",
        help="heavy beats light (default), the same with your blind votes, or real against generated",
    )
    train.add_argument("--count", type=int, default=240, metavar="N", help="pairs (default: 240)")
    train.add_argument("--margin", type=_not_negative, default=0.05, help="quality that is better (0.05)")
    train.add_argument("--prompts", type=Path, metavar="FILE", help="your own prompts, one a line")
    train.add_argument("--real", type=Path, metavar="DIR", help="real pictures, where nothing renders them")
    train.add_argument(
        "--guarantee",
        type=_percent,
        default=10.0,
        metavar="PERCENT",
        help="poor pictures allowed among the kept, with 95 %% confidence (default: 10)",
    )
    train.add_argument("--seed", type=int, default=0)
    add_walls(train)

    reuse = add("reuse", "measure what a deferred prompt can get, on a trained pair")
    _candidates(reuse)
    reuse.add_argument(
        "--share", type=float, default=0.4, help="deferred share whose prompts are taken (0.4)"
    )
    reuse.add_argument("--count", type=int, default=24, metavar="N", help="how many of them (default: 24)")
    reuse.add_argument("--pixels", action="store_true", help="hand the picture over, not the latent")
    reuse.add_argument("--no-attention", action="store_true", help="leave cross-attention maps out")
    add_walls(reuse)

    plan = add("plan", "threshold, batch sizes and workers for a load and a latency objective")
    _tables(plan)
    _service(plan)
    plan.add_argument("--rate", type=_positive, required=True, metavar="D", help="requests per second")
    plan.add_argument(
        "--goal",
        choices=["loss", "threshold", "workers", "cost"],
        default="loss",
        help="least quality loss (default), largest threshold as DiffServe, fewest workers, least cost",
    )
    plan.add_argument("--max-loss", type=float, help="most quality that may be lost against heavy")

    simulate = add("simulate", "replay a trace under one policy or all of them")
    _tables(simulate)
    _service(simulate)
    simulate.add_argument(
        "--trace",
        required=True,
        help="a file of arrival_ms[,prompt_id], or poisson:20:350, diurnal:4-32:350, bursts:10-40:350",
    )
    simulate.add_argument(
        "--load", type=_positive, default=1.0, metavar="F", help="times the load (default: 1)"
    )
    simulate.add_argument("--policy", default="all", help="names with commas between, or all (default)")
    simulate.add_argument("--routing", choices=["shortest", "random", "shared"], default="shortest")
    simulate.add_argument(
        "--interval", type=_positive, default=5.0, help="seconds between plans (default: 5)"
    )
    simulate.add_argument(
        "--lose",
        type=_loss,
        action="append",
        default=[],
        metavar="S:WORKER[:BACK]",
        help="lose a worker; may be repeated",
    )
    simulate.add_argument(
        "--keep-late", action="store_true", help="never drop requests that are late before they are begun"
    )
    simulate.add_argument(
        "--queue", type=int, metavar="N", help="requests that may wait in one queue; more are refused"
    )
    simulate.add_argument("--seed", type=int, default=0)
    simulate.add_argument("--no-timeline", action="store_true", help="leave the timelines out of --json")

    tables = add("tables", "write a run's measured pair as files that plan and simulate read")
    _tables(tables)
    tables.add_argument("--workers", type=_workers, metavar="N", help="how many the profiles are to name")
    tables.add_argument("--out", type=Path, required=True, metavar="DIR")

    benchmark = add("benchmark", "every policy on three traces, and the planner's time, as Markdown")
    _tables(benchmark)
    benchmark.add_argument("--workers", type=_workers, metavar="N")
    benchmark.add_argument("--slo", type=_positive, default=None, metavar="MS")
    benchmark.add_argument("--rate", type=_positive, help="mean load (default: by the tables)")
    benchmark.add_argument("--seed", type=int, default=0)
