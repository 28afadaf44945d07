"""What each technique alone, or a whole recipe, is worth on an engine: a table for the documentation.

    python -m engines.techniques.table --model tiny-scenes --engines torch,openvino
    python -m engines.techniques.table --model FOLDER --device cuda --recipes "engine=compile; bf16"
    python -m engines.techniques.table --engines torch,compile,openvino --keep rows.jsonl

The last one goes on where it was stopped, and measures again only what it has not measured on this machine.
Each recipe takes turns with the baseline; its speed-up is a ratio with a
95 % interval, its PSNR is against the baseline's pictures of the same prompts
and seeds, its loss of adherence too where the pictures can be read.  Component
parity is the relative error of one call of the denoiser, where it is whole.
The floor is the least time that the device needs for the recipe's nominal
arithmetic (`engines.measure.floor`), as a share of the time that it took.
The baseline is the model as its authors ship it: its scheduler and steps,
guidance batched, in eager torch, in the device's plain precision.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from engines import drivers
from engines.backends.serves import plain_engine
from engines.devices import processor_name
from engines.errors import EngineError, TechniqueError
from engines.package.processors import cores
from engines.plan import Backend
from engines.techniques.base import Parameter, Technique, Value, to_step
from engines.techniques.compatibility import canonical, check, search_space
from engines.techniques.engine import Engine
from engines.workload import Workload

if TYPE_CHECKING:
    from engines.measure.bootstrap import Interval
    from engines.models.card import Card
    from engines.pipeline import Pipeline

PICTURES = 16
"""Prompts whose pictures are compared, where nothing else is asked for."""
SEED = 40_000


@dataclass(frozen=True, slots=True)
class Row:
    """One recipe as it was measured; `note` where it could not be, or what was lowered."""

    engine: str
    technique: str
    parameters: dict[str, Value]
    label: str
    speedup: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    floor: float | None = None
    """Share of the time that the device's arithmetic needs; `None` where its rates are not measured."""
    psnr: tuple[float, float, float] | None = None
    """Mean and its 95 % interval."""
    loss: tuple[float, float, float] | None = None
    """Of adherence, a share, with its interval; `None` where no reader reads the model's pictures."""
    error: float | None = None
    """Of the denoiser's answer, relative to the unchanged one's; `None` where it is in parts."""
    note: str = ""
    machine: str = ""
    day: str = ""
    """When it was measured, as 2026-11-28."""

    @property
    def key(self) -> str:
        """What it is a row of, and where it was measured."""
        return json.dumps([self.machine, self.engine, self.technique, self.parameters, self.label])


Recipe = tuple[Technique, ...]


def alone(card: Card, backends: Sequence[Backend], device: str) -> Iterator[tuple[Backend, Recipe]]:
    """Every engine alone, then every technique that fits with each choice that it has."""
    from engines.techniques import technique

    for backend in backends:
        engine = Engine(backend)
        if engine.applies(card, device):
            continue
        yield backend, (engine,)
        for axis in search_space(card, device):
            if axis.name == "engine":
                continue
            kind = technique(axis.name)
            choices = [one for one in axis.parameters if one.kind == "choice"]
            values = [{choices[0].name: choice} for choice in choices[0].choices] if choices else [{}]
            for chosen in values:
                value = kind(**{one.name: chosen.get(one.name, one.default) for one in axis.parameters})
                if not check([value, engine], card, device):
                    yield backend, canonical([value, engine])


def written(text: str, card: Card, device: str) -> Iterator[tuple[Backend, Recipe]]:
    """Recipes as `engine=compile + fewer-steps=20; svdquant=4,64`: values are those of the first parameters.

    Raises:
        TechniqueError: one of them is unknown or does not fit; all reasons.
    """
    from engines.techniques import technique

    for line in filter(None, map(str.strip, text.split(";"))):
        values = []
        for word in map(str.strip, line.split("+")):
            name, _, said = word.partition("=")
            kind = technique(name)
            given: dict[str, Any] = {one.name: one.default for one in kind.parameters_for(card)}
            for parameter, value in zip(kind.parameters, said.split(","), strict=False):
                if value:
                    given[parameter.name] = _value(parameter, value)
            values.append(kind(**given))
        if reasons := check(values, card, device):
            raise TechniqueError(f"{line}: {' '.join(reasons)}")
        engine = next((one.backend for one in values if isinstance(one, Engine)), plain_engine(device))
        yield engine, canonical(values)


def _value(parameter: Parameter, text: str) -> Value:
    numbers = [type(one) for one in parameter.choices if isinstance(one, int | float)]
    try:
        if numbers:
            return numbers[0](text)
        return int(text) if parameter.kind == "int" else float(text) if parameter.kind == "float" else text
    except ValueError:
        raise TechniqueError(f"{text!r} is no number; write for example fewer-steps=20.") from None


class Bench:
    """The baseline and its pictures, and what a recipe is worth beside it."""

    def __init__(
        self, model: str, device: str, seconds: float, steps: int | None = None, pictures: int = PICTURES
    ) -> None:
        from engines.models.load import open_model
        from engines.scenes.grammar import captions
        from engines.scenes.reader import load_reader

        self.workload = Workload(steps=steps)
        self.model, self.device = model, device
        self.seconds = seconds
        opened = open_model(model)
        scenes = opened.prompt_source == "scenes"
        self.prompts = (
            captions(64, seed=SEED) if scenes else [f"a photograph of {i} birds" for i in range(64)]
        )
        self.shown = self.prompts[:pictures]
        self.baseline = self._pipeline(())
        self.pictures = self._pictures(self.baseline)
        self.reader = load_reader(opened.path / "reader.safetensors") if scenes else None

    def _pipeline(self, recipe: Sequence[Technique]) -> Pipeline:
        from engines.pipeline import build, plan

        return build(plan(self.model, self.device, self.workload, recipe))

    def _pictures(self, pipeline: Pipeline):  # type: ignore[no-untyped-def]
        return pipeline.generate(self.shown, list(range(SEED, SEED + len(self.shown)))).images

    def measure(self, backend: Backend, recipe: Recipe) -> Row:
        """Build one recipe, compare its pictures, and time it in alternation with the baseline."""
        from engines.measure import adherence, bootstrap, images, timing

        row = self.named(backend, recipe)
        try:
            pipeline = self._pipeline(recipe)
        except EngineError as error:
            return replace(row, note=str(error))
        drawn = self._pictures(pipeline)
        psnr = _three(bootstrap.mean(images.psnr(drawn, self.pictures)))
        loss = None
        if self.reader is not None:
            read = self.reader.adherence
            loss = _three(adherence.paired_loss(read(self.pictures, self.shown), read(drawn, self.shown)))

        def timed(made: Pipeline) -> timing.Timed:
            def call(turn: int, place: int) -> float:
                index = turn + 101 * place
                prompt = self.prompts[index % len(self.prompts)]
                return sum(made.generate([prompt], [SEED + index]).seconds.values())

            return call

        for warm in (self.baseline, pipeline):
            timed(warm)(0, 0)
        found = timing.alternate(timed(self.baseline), timed(pipeline), seconds=self.seconds)
        seconds = found.latency.value
        speedup, low, high = _three(found.speedup)
        return replace(
            row,
            speedup=speedup,
            low=low,
            high=high,
            seconds=seconds,
            floor=self._floor(pipeline, seconds),
            psnr=psnr,
            loss=loss,
            error=self._error(pipeline),
            note=" ".join(pipeline.fallbacks),
        )

    def named(self, backend: Backend, recipe: Recipe) -> Row:
        """The row of a recipe before it is measured."""
        others = [one for one in recipe if not isinstance(one, Engine)]
        step = to_step(others[0] if others else recipe[0])
        label = " + ".join(one.label() for one in others) or "(engine alone)"
        today = str(dt.datetime.now(tz=dt.UTC).date())
        place = device_name(self.device)
        return Row(backend, step.technique, dict(step.parameters), label, machine=place, day=today)

    def _floor(self, pipeline: Pipeline, seconds: float) -> float | None:
        from engines.measure import floor

        found = floor.least(pipeline.plan)
        return None if found is None else found / seconds

    def _error(self, pipeline: Pipeline) -> float | None:
        if "denoiser" not in pipeline.loaded or "denoiser" not in self.baseline.loaded:
            return None
        inputs = self.baseline.artifacts["denoiser"].capture.example()
        wanted, found = (
            one.loaded["denoiser"].component(inputs)["prediction"] for one in (self.baseline, pipeline)
        )
        ratio = float(((found - wanted) ** 2).sum() / (wanted**2).sum())
        return math.sqrt(ratio)


def _three(found: Interval) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def device_name(device: str) -> str:
    """The processor with its cores, or the card with the processor beside it."""
    host = f"{processor_name()}, {cores()} cores"
    cards = drivers.nvidia_cards() if device == "cuda" else ()
    return f"{cards[0].name} (beside {host})" if cards else host if device == "cpu" else f"{device}, {host}"


def kept(path: Path | None) -> dict[str, Row]:
    """Rows that were measured before, by their key; a line that a stop cut short counts as not measured."""
    found = dict[str, Row]()
    if path is not None and path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, TypeError):
                row = Row(**json.loads(text))
                found[row.key] = row
    return found


def keep(path: Path, row: Row) -> None:
    """Add a row to what was measured; after a line that was cut short, on a line of its own."""
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        cut = file.read()[-1:] not in ("", "\n")
        file.write("\n" * cut + json.dumps(asdict(row)) + "\n")


def heading(bench: Bench, days: Sequence[str] = ()) -> str:
    """Which machine, when, and what the columns mean; `days` are those of rows that were kept."""
    import torch

    days = sorted({*days, str(dt.datetime.now(tz=dt.UTC).date())})
    today = " to ".join(dict.fromkeys((days[0], days[-1])))
    base = bench.baseline.plan
    return (
        f"`python -m engines.techniques.table` on {Path(bench.model).name}, {device_name(bench.device)}, "
        f"torch {torch.__version__}, {today}.\n"
        f"Speed-up over eager torch {base.precision} ({base.loop.steps} steps) with its 95 % interval, whole "
        "pipeline, one picture at a time; share of that time that the device's arithmetic needs at least; "
        f"PSNR in dB against its pictures (60 is the cap) and points of adherence lost, means of "
        f"{len(bench.shown)} with 95 % intervals; error of one call of a whole denoiser.\n\n"
        "| Engine | Technique | Speed-up | Seconds | Floor | PSNR | Loss, points | Error | Note |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )


def line(row: Row) -> str:
    """A row of the table in Markdown."""
    if row.speedup is None or row.seconds is None or row.psnr is None:
        return f"| {row.engine} | {row.label} | | | | | | | {row.note} |"
    error = "" if row.error is None else f"{row.error:.1%}"
    psnr, low, high = row.psnr
    lost = "" if row.loss is None else "{:.1f} ({:.1f} to {:.1f})".format(*(100 * one for one in row.loss))
    least = "" if row.floor is None else f"{row.floor:.0%}"
    return (
        f"| {row.engine} | {row.label} | {row.speedup:.2f} ({row.low:.2f}-{row.high:.2f}) "
        f"| {row.seconds:.3f} | {least} | {psnr:.1f} ({low:.1f} to {high:.1f}) | {lost} | {error} "
        f"| {row.note} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, row by row as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m engines.techniques.table", description=__doc__)
    parser.add_argument("--model", default="tiny-scenes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--engines", default="torch", help=f"of {','.join(get_args(Backend))}")
    parser.add_argument("--recipes", default="", help="these instead of each technique alone, see above")
    parser.add_argument("--seconds", type=float, default=6.0, help="for timing each recipe")
    parser.add_argument("--steps", type=int, help="of the baseline; the model's own if not given")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="that are compared")
    parser.add_argument("--only", default="", help="techniques to measure, separated by commas")
    parser.add_argument("--keep", type=Path, help="JSON lines of what was measured, read and added to")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args(arguments)
    wanted = [name for name in get_args(Backend) if name in options.engines.split(",")]
    only = set(options.only.split(",")) - {""}
    if not wanted:
        print(
            f"There is no engine {options.engines}; choose of {', '.join(get_args(Backend))}.",
            file=sys.stderr,
        )
        return 2
    try:
        from engines.models.card import describe
        from engines.models.load import open_model

        card = describe(open_model(options.model))
        card = replace(card, steps=options.steps or card.steps)
        asked = list(written(options.recipes, card, options.device)) if options.recipes else None
        bench = Bench(options.model, options.device, options.seconds, options.steps, options.pictures)
        before = kept(options.keep)
        if not options.json:
            print(heading(bench, [row.day for row in before.values()]), flush=True)
        for backend, recipe in asked or alone(card, wanted, options.device):
            others = [one for one in recipe if not isinstance(one, Engine)]
            if only and (others or recipe)[0].name not in only:
                continue
            row = before.get(bench.named(backend, recipe).key)
            if row is None:
                row = bench.measure(backend, recipe)
                if options.keep:
                    keep(options.keep, row)
            print(json.dumps(asdict(row)) if options.json else line(row), flush=True)
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
