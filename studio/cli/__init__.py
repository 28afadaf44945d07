"""The commands: the same work as in the window, for people and, with `--json`, for machines.

Only `argparse` is imported here: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from studio.cli import metrics_arguments, serve_arguments
from studio.cli.cascade_arguments import add_cascade
from studio.cli.package_arguments import add_package
from studio.cli.walls_argument import add_walls
from studio.layouts import LAYOUTS

MODEL = (
    "a model folder, a .safetensors file, a hub id, or tiny-scenes; also 'MODEL + LORA.safetensors', "
    "'MODEL + PRIOR' and, for a denoiser's file, 'FILE.safetensors + FOLDER' (docs/models.md)"
)
STUDENT = (
    "a distilled LoRA as published (LCM, Lightning, Hyper-SD, DMD2, Turbo) for the technique `student`; "
    "FILE:KIND where its name does not say which (lcm, dmd2, lightning, hyper, turbo, ddim)"
)
TINY_DECODER = "a folder with an AutoencoderTiny, such as TAESD, for the technique `tiny-decoder`"
RUN = "a run's name, the beginning of it, its folder, or `last`"


def seconds(text: str) -> float:
    """`240`, `90s`, `4m`, `1h30m` in seconds."""
    rest, total, number = text.strip().lower(), 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    for letter in rest + ("" if rest[-1:] in units else "s"):
        if letter in units and number:
            total, number = total + float(number) * units[letter], ""
        elif letter.isdigit() or letter == ".":
            number += letter
        else:
            raise argparse.ArgumentTypeError(f"{text!r} is no time; write for example 240, 90s, 4m or 1h30m")
    if not total > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write for example 240, 90s, 4m or 1h30m")
    return total


def _between(low: int, high: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {low} to {high}")
        return value

    return whole_number


def _gate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gate", type=_between(16, 32), default=16, metavar="N",
        help="pictures that every candidate is judged on, 16 to 32: more take longer and tell more",
    )  # fmt: skip


def _workload(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "workload", "what everything is measured on; left out: as the model's authors ship it"
    )
    group.add_argument("--prompts", type=Path, metavar="FILE", help="your own prompts, one a line")
    group.add_argument("--size", type=_between(8, 4096), help="height and width in pixels")
    group.add_argument("--frames", type=_between(1, 512), help="of a video")
    group.add_argument("--steps", type=_between(1, 1000))
    group.add_argument("--guidance", type=float)
    group.add_argument("--negative-prompt", default="", metavar="TEXT")
    group.add_argument("--batch", type=_between(1, 64), default=1)


def _model(parser: argparse.ArgumentParser, default: str = "") -> None:
    if default:
        parser.add_argument("model", nargs="?", default=default, help=MODEL)
    else:
        parser.add_argument("model", help=MODEL)
    parser.add_argument("--student", default="", metavar="FILE", help=STUDENT)
    parser.add_argument("--tiny-decoder", default="", metavar="FOLDER", help=TINY_DECODER)


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        default="",
        metavar="WHERE",
        help="judge candidates on a Ray cluster (extra `cluster`): ray://HOST:10001, HOST:6379, auto; "
        "local:2 for two on this machine",
    )


def _wish(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--wish",
        action="append",
        default=[],
        metavar="TEXT",
        help="a sentence to the agent, for example 'try without int8'; may be given again (the built-in one "
        "reads without, no, not, avoid; with, use, only; and names of techniques and engines)",
    )


def _preset(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--preset",
        "--llm-preset",
        choices=("hybrid", "paper"),
        default="hybrid",
        help="for either agent; hybrid: it chooses structures, a Gaussian process their numbers; paper: "
        "DiffAgent's search as published (parents by fitness, nothing tunes numbers)",
    )


def _language_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "agent",
        "who plans, writes and repairs; a language model's key is taken from ANTHROPIC_API_KEY, "
        "PARETO_STUDIO_LLM_KEY or the system keyring; not verified with a live model",
    )
    group.add_argument("--agent", choices=("built-in", "llm"), default="built-in")
    group.add_argument(
        "--llm-model", default="", metavar="NAME", help="a model of the service's list (default: its first)"
    )
    group.add_argument(
        "--llm-url",
        default="",
        metavar="URL",
        help="any server of the same protocol, for example a local one",
    )
    group.add_argument(
        "--llm-budget",
        default="",
        metavar="AMOUNT",
        help="what it may cost, in US dollars (2.50) or tokens ('300k tokens'); then the run ends cleanly",
    )
    _preset(group)
    _wish(group)
    group.add_argument(
        "--approve", action="store_true", help="ask before each candidate runs, whichever agent plans"
    )


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from studio import __version__

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", help="machine output: one document, or one event a line"
    )
    common.add_argument("--home", type=Path, help="folder of runs and settings (default: PARETO_STUDIO_HOME)")

    top = argparse.ArgumentParser(
        prog="pareto-studio",
        description="Makes a diffusion model fast on this machine and shows what the speed costs in quality. "
        "Without a command the window opens; without a display the main job is done in the terminal.",
    )
    top.add_argument("--version", action="version", version=f"pareto-studio {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common]
        )

    start = add("start", "open the window; without a display do the whole main job in the terminal")
    start.add_argument(
        "--terminal", action="store_true", help="work in the terminal even where there is a display"
    )
    start.add_argument(
        "--out", type=Path, default=Path("pareto-studio-output"), help="folder of package, report, images"
    )
    start.add_argument("--budget", type=seconds, help="time for the search, for example 4m")
    add_walls(start)

    add("doctor", "say what this machine can run, what it can only build for, and why")

    inspect = add("inspect", "describe a model without running it")
    _model(inspect)

    explain = add("explain", "say why techniques go together or do not, in which order, and what they bring")
    explain.add_argument(
        "techniques", nargs="+", help="for example 'deepcache + cuda-graphs'; names of other programs will do"
    )
    explain.add_argument("--model", help=f"answer for this model: {MODEL}")
    explain.add_argument("--device", help="answer for this device (default: the one that takes most of it)")

    optimize = add("optimize", "evolve a model for a device")
    _model(optimize)
    optimize.add_argument("--device", default="cpu", help="a target that `doctor` calls ready (default: cpu)")
    optimize.add_argument("--generations", type=_between(1, 1000), default=4)
    optimize.add_argument(
        "--population", type=_between(1, 100), default=7, help="evaluations in a generation"
    )
    optimize.add_argument("--budget", type=seconds, help="time for the search, for example 4m")
    optimize.add_argument("--seed", type=_between(0, 2**31 - 1), default=0)
    optimize.add_argument(
        "--metric",
        choices=("adherence", "lpips", "clip", "cmmd", "dino", "haarpsi"),
        help="what the loss measures (default: chosen by what the model allows); see `metrics`",
    )
    _gate(optimize)
    optimize.add_argument(
        "--no-certify", action="store_true", help="skip the check on fresh prompts at the end"
    )
    optimize.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default: a new one in the home)"
    )
    _workers(optimize)
    add_walls(optimize)
    _workload(optimize)
    _language_model(optimize)

    resume = add("resume", "continue a run that was stopped or killed")
    resume.add_argument("run", help=RUN)
    resume.add_argument("--generations", type=_between(1, 1000), help="a new total")
    resume.add_argument("--budget", type=seconds, help="more time for the search")
    resume.add_argument(
        "--llm-budget", default="", metavar="AMOUNT", help="more for the language model: 2.50, '300k tokens'"
    )
    _wish(resume)
    _workers(resume)
    add_walls(resume)

    evaluate = add("evaluate", "judge a script of your own against the unchanged model")
    _model(evaluate)
    evaluate.add_argument(
        "--script", type=Path, required=True, help="a Python file that defines load and generate"
    )
    evaluate.add_argument("--device", default="cpu")
    evaluate.add_argument("--seed", type=_between(0, 2**31 - 1), default=0)
    _gate(evaluate)
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="the run's folder")
    add_walls(evaluate)
    _workload(evaluate)

    bench = add("bench", "solve tasks of five levels with an agent and print its pass rate (DiffBench)")
    bench.add_argument("model", nargs="?", help=f"{MODEL} (default: tiny-scenes)")
    bench.add_argument(
        "--model", action="append", default=[], dest="models", metavar="MODEL",
        help="a further one; may be given again: the tasks are spread over all of them",
    )  # fmt: skip
    bench.add_argument("--device", default="cpu")
    bench.add_argument(
        "--agent", choices=("built-in", "one-shot", "llm"), default="built-in",
        help="one-shot and llm ask a language model; neither was measured with a live one yet",
    )  # fmt: skip
    bench.add_argument("--levels", default="L1-L5", help="for example L1-L5, L2, or L1,L4 (default: all)")
    bench.add_argument(
        "--sample",
        type=_between(1, 100_000),
        default=60,
        help="how many of the tasks, levels in their shares",
    )
    bench.add_argument("--seed", type=_between(0, 2**31 - 1), default=0)
    bench.add_argument(
        "--search", type=_between(1, 1000), default=28, help="evaluations that find what L4 and L5 ask for"
    )
    bench.add_argument("--generations", type=_between(1, 100), default=4, help="of an agent's own search")
    bench.add_argument("--population", type=_between(1, 100), default=7)
    bench.add_argument(
        "--without", action="append", default=[], choices=("knowledge", "genetic", "debugger", "loop"),
        help="leave a part of the agent out, to see what it is worth; loop: all that follows the first "
        "script; may be given again",
    )  # fmt: skip
    bench.add_argument("--out", type=Path, metavar="DIR", help="folder of results and report")
    bench.add_argument("--llm-model", default="", metavar="NAME")
    bench.add_argument("--llm-url", default="", metavar="URL")
    bench.add_argument("--llm-budget", default="", metavar="AMOUNT")
    _preset(bench)
    add_walls(bench)
    _workload(bench)

    compare = add("compare", "make the same pictures with two candidates and measure the difference")
    compare.add_argument("run", help=RUN)
    compare.add_argument("a", help="a candidate, or baseline, winner, knee")
    compare.add_argument("b", help="another one")
    compare.add_argument("--count", type=_between(1, 256), default=16, help="pictures of each")
    add_walls(compare)

    certify = add("certify", "check a claim about a candidate on fresh prompts that no search has seen")
    certify.add_argument("run", help=RUN)
    certify.add_argument("candidate", help="a candidate, or winner, knee")
    certify.add_argument(
        "--claim",
        default="",
        metavar="TEXT",
        help="for example 'adherence loss under 1 point' or 'PSNR of 30 dB or more' (default: the run's own)",
    )
    certify.add_argument(
        "--prompts",
        type=_between(1, 100_000),
        default=200,
        metavar="N",
        help="fresh prompts, as many as the claim needs at least (default: 200)",
    )
    add_walls(certify)

    export = add("export", "write a candidate as a package that runs without the Studio")
    export.add_argument("run", help=RUN)
    export.add_argument("candidate", nargs="?", help="a candidate, or winner, knee")
    export.add_argument(
        "--cascade",
        nargs=2,
        metavar=("LIGHT", "HEAVY"),
        help="instead: two candidates with a discriminator; one may be OTHER_RUN/CANDIDATE",
    )
    export.add_argument(
        "--threshold", type=float, help="of the cascade: light pictures with a lower score are deferred"
    )
    export.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="DEVICE",
        help="put engines for this device into the package too (coreml, mlx, directml, ...): built here, not"
        " verified on it; or, on the run's own device, torch's: eager, compile, aoti; may be given again",
    )
    export.add_argument(
        "--as",
        dest="layout",
        choices=tuple(LAYOUTS),
        help="for another runtime instead: "
        + "; ".join(f"{name}: {text.rstrip('.')}" for name, (_, text) in LAYOUTS.items()),
    )
    export.add_argument("--out", type=Path, required=True, metavar="DIR")
    add_walls(export)

    serve = add("serve", "answer requests with a package over HTTP, until Ctrl-C")
    serve.add_argument("package", type=Path, help="a package's folder")
    serve_arguments.add_arguments(serve)

    add_package(commands, common, add)

    report = add("report", "write one HTML file with plots and pictures")
    report.add_argument("run", help=RUN)
    report.add_argument("--out", type=Path, metavar="FILE")

    pack = add("metrics", "list, fetch or point to the networks that judge pictures (LPIPS, CLIP, DINOv2)")
    metrics_arguments.add_arguments(pack)
    memory = add("memory", "say what earlier runs learned, on which processor, or forget it")
    memory.add_argument("--forget", action="append", metavar="NAME", help="forget this; `all` for everything")
    cache = add("cache", "say what the cache holds, or empty it")
    cache.add_argument("--empty", action="append", metavar="NAME", help="empty this; `all` for everything")
    key = add("llm-key", "keep the language model's key in the system keyring")
    key.add_argument("--llm-url", default="", metavar="URL", help="for this address (default: the service's)")
    add("hub-token", "keep your token for gated hub models in the system keyring")

    add_cascade(commands, common)

    stages = add("stages", "say what judging a run's candidates cost, stage by stage, and where they ended")
    stages.add_argument("run", help=RUN)
    add("runs", "list the runs")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all went well, 1 when not, 2 for a wrong command line, 130 when interrupted."""
    given = parser().parse_args(arguments)
    if given.command is None:
        given = parser().parse_args(["start"])
    from studio.cli.perform import perform

    return perform(given)


if __name__ == "__main__":
    sys.exit(main())
