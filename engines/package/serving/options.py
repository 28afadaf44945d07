"""The server's part of a package's command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from engines.errors import PackageError
from engines.package.processors import cores

if TYPE_CHECKING:
    from engines.package.runner import Package
    from engines.package.serving.controller import MakePlanner
    from engines.package.serving.values import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `--serve`."""
    group = parser.add_argument_group("server (--serve)")
    group.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    group.add_argument("--port", type=whole(0, 65535), default=8000, help="0: any free one")
    group.add_argument(
        "--threshold", type=_real(0.0, 1e9), help="light pictures with a lower score are deferred"
    )
    group.add_argument(
        "--objective",
        type=_real(1e-3, 3600.0),
        metavar="SECONDS",
        help="latency objective: threshold, batches and processes are planned for it from measured load",
    )
    group.add_argument(
        "--deadline", type=_real(1e-3, 3600.0), metavar="SECONDS", help="for requests that name none"
    )
    for role in ("light", "heavy"):
        group.add_argument(f"--{role}-workers", type=whole(1, 256), default=1, metavar="N", help="processes")
        group.add_argument(
            f"--{role}-batch", type=whole(1, 256), default=4, metavar="N", help="largest batch"
        )
    group.add_argument(
        "--wait-ms", type=_real(0.0, 60_000.0), default=5.0, metavar="MS", help="to fill a batch"
    )
    group.add_argument(
        "--queue", type=whole(1, 100_000), default=64, metavar="N", help="that may wait for each model"
    )
    group.add_argument(
        "--threads",
        type=whole(1, 1024),
        metavar="N",
        help="of each process (default: the cores, shared out); without --serve, of this one",
    )
    group.add_argument(
        "--grace", type=_real(0.0, 3600.0), default=30.0, metavar="SECONDS", help="for answers when stopping"
    )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """How the server starts its engine processes; not for people."""
    parser.add_argument("--engine", choices=("light", "heavy"), help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=whole(1, 1024), default=1, help=argparse.SUPPRESS)
    parser.add_argument("--sealed", action="store_true", help=argparse.SUPPRESS)


def read_seal(requests: IO[str]) -> dict[str, Any]:
    """The first line that an engine process is given: what the server checked (`Seal.hand_on`)."""
    found: dict[str, Any] = json.loads(requests.readline())
    return found


def run_engine(package: Package, options: argparse.Namespace, answers: Any) -> None:
    """Be an engine process until the input ends."""
    from engines.package.cascade import PackageEngine
    from engines.package.serving.engine import serve_engine, sizes_to_warm

    engine = PackageEngine(package, options.engine, options.batch)
    serve_engine(engine, sys.stdin, answers, sizes_to_warm(options.batch))


def run_server(package: Package, options: argparse.Namespace, make_planner: MakePlanner | None) -> None:
    """Be the server until told to stop.

    Raises:
        PackageError: the port is taken, or an engine does not start.
    """
    from engines.package.serving.server import Commands, Options, Server, engine_command, serve

    cascade = package.facts.get("cascade")
    planner = None
    if options.objective is not None:
        if cascade is None or make_planner is None:
            raise PackageError("Only cascades are planned for a latency objective; leave --objective out.")
        planner = make_planner(package.facts, options.objective)
    settings = settings_of(package, options)
    processes = settings.heavy.workers + (settings.light.workers if cascade else 0)
    threads = options.threads or max(1, cores() // processes)
    more = ["--threads", str(threads), *(["--device", package.device] if package.device else [])]
    more += ["--allow-native"] if package.allow_native else []
    if package.trust is not None:
        more += ["--key", str(package.trust.key.absolute())] if package.trust.key is not None else []
        more += [
            word for path in package.trust.certificates for word in ("--certificate", str(path.absolute()))
        ]
    server = Server(
        model_of(package),
        Commands(
            heavy=engine_command(package.folder, "heavy", "--sealed", *more),
            light=engine_command(package.folder, "light", "--sealed", *more) if cascade else None,
            greeting=json.dumps(package.seal.hand_on()).encode() + b"\n",
        ),
        Options(
            settings,
            host=options.host,
            port=options.port,
            deadline=options.deadline or options.objective or 60.0,
            queue=options.queue,
            grace=options.grace,
        ),
        planner=planner,
        say=_say,
    )
    serve(server, as_json=options.json)


def settings_of(package: Package, options: argparse.Namespace) -> Settings:
    """What the command line says, the manifest's threshold where it says nothing.

    Raises:
        PackageError: a threshold for one model alone.
    """
    from engines.package.serving.values import Settings, Tuning

    cascade = package.facts.get("cascade")
    if options.threshold is not None and cascade is None:
        raise PackageError("This package is one model and has no threshold; leave --threshold out.")
    threshold = options.threshold
    if threshold is None:
        threshold = float(cascade["threshold"]) if cascade else 0.0
    wait = options.wait_ms / 1000
    return Settings(
        threshold,
        light=Tuning(options.light_batch, wait, options.light_workers),
        heavy=Tuning(options.heavy_batch, wait, options.heavy_workers),
    )


def model_of(package: Package) -> Any:
    """What clients are told that they talk to."""
    from datetime import datetime

    from engines.package.serving.api import Model

    output = package.facts["output"]
    return Model(
        name=package.manifest["package_name"],
        id=package.id,
        created=int(datetime.fromisoformat(package.facts["created"]).timestamp()),
        width=int(output["width"]),
        height=int(output["height"]),
        cascade=bool(package.facts.get("cascade")),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def whole(low: int, high: int) -> Callable[[str], int]:
    """An argument that is a whole number."""

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {low} to {high}")
        return value

    return whole_number


def _real(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} must be a number from {low:g} to {high:g}")
        return value

    return number
