"""One run, side by side: the baseline, what others' defaults reach, and candidates of a run.

    python -m studio.work.rivals.table RUN [CANDIDATE ...] [--rounds 64] [--out FILE]

Every contender draws every prompt (fresh ones, one picture a call), in an
order that changes from round to round; who does not draw stands still.  Times
are from the request to the last byte; each pair of contenders is compared
round by round.  Without candidates, the run's winner and all whose claims held
are taken.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from engines.measure import bootstrap
from engines.measure.bootstrap import Interval
from studio.errors import RunError, StudioError
from studio.record.journal import Journal
from studio.record.state import RunState

if TYPE_CHECKING:
    from agent.evaluate.prompts import Asked
    from agent.sandbox import Process
    from engines.models.model import Model

Pixels = NDArray[np.uint8]
BASELINE: Final = "c000"
SCRIPTS: Final = Path(__file__).parent / "scripts"
GENAI: Final = "openvino_genai_default"
RIVALS: Final = {
    "diffusers_compile": ("diffusers + torch.compile", "torch"),
    GENAI: ("OpenVINO GenAI, default pipeline", "openvino_genai"),
    "onnxruntime_default": ("ONNX Runtime, default export", "onnxruntime"),
}
"""Script: title, and the module without which it cannot run."""
LEAST_ROUNDS: Final = 8
FAMILY: Final = "StableDiffusionPipeline"
"""What the rivals' scripts are written for."""


@dataclass(eq=False)
class Contender:
    """Who draws, and what came of it."""

    name: str
    title: str
    process: Process
    seconds: list[float] = field(default_factory=list)
    pictures: list[Pixels] = field(default_factory=list)

    def draw(self, asked: Asked, *, keep: bool = True) -> None:
        self.process.resume()
        answer = self.process.generate(asked.prompts, asked.seeds)
        self.process.pause()
        if keep:
            self.seconds.append(answer.seconds)
            self.pictures.append(answer.images[0])


def compete(run: Path, names: Sequence[str], rounds: int) -> str:
    """The table as Markdown.

    Raises:
        RunError: no such run or candidate, a model that the rivals cannot load, or a script that fails.
    """
    from agent.errors import AgentError
    from agent.evaluate.bench import Bench
    from agent.evaluate.prompts import Prompts
    from agent.sandbox import CandidateFailure, Limits
    from engines.models.load import open_model
    from engines.workload import Workload
    from studio.work.convert import read_candidate

    state = RunState.replay(Journal.read(run))
    if state.started is None:
        raise RunError(f"The run {run.name} holds nothing yet; wait until its baseline is measured.")
    model = open_model(state.started.model.source)
    if model.layout.pipeline != FAMILY or state.started.target != "cpu":
        raise RunError(
            f"The rivals' scripts load a {FAMILY} on the CPU; this run has a {model.layout.pipeline} "
            f"on {state.started.target}."
        )
    if model.prompt_source != "scenes":
        raise RunError(
            f"{model.name} has no captions whose adherence can be read; equal quality means nothing."
        )
    chosen = list(names) or _worth_showing(state)
    workload = Workload.model_validate(state.started.workload)
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pareto-rivals-")))
        scripts = _rivals(state, model, room)
        for name in [BASELINE, *chosen]:
            own = state.candidate(name)
            scripts[own.id] = (own.proposal.title or own.id, read_candidate(run, own.proposal).script)
        bench = Bench(
            state.started.model.source, "cpu", workload, scripts[BASELINE][1], Limits(), [model.place, room]
        )
        stack.callback(bench.close)
        entered: list[Contender] = []
        try:
            for name, (title, script) in scripts.items():
                print(f"loading {title}", file=sys.stderr, flush=True)
                recipe = () if name in RIVALS else state.candidate(name).proposal.recipe
                if recipe:  # engines may have been cleared from the cache since they were judged
                    bench.build(tuple((step.technique, dict(step.parameters)) for step in recipe))
                process = stack.enter_context(bench.process(script, trusted=name in RIVALS))
                bench.load(process)
                process.pause()
                entered.append(Contender(name, title, process))
            prompts = Prompts(tuple(workload.prompts))
            asked = [prompts.fresh(1) for _ in range(rounds)]
            warm = prompts.fresh(1)
            for one in entered:
                one.draw(warm, keep=False)
            for at, each in enumerate(asked):
                print(f"round {at + 1} of {rounds}", file=sys.stderr, flush=True)
                for one in random.Random(at).sample(entered, len(entered)):
                    one.draw(each)
        except (CandidateFailure, AgentError) as failure:
            raise RunError(f"A contender cannot draw: {failure}") from failure
    return report(model, entered, [one.prompts[0] for one in asked])


def _worth_showing(state: RunState) -> list[str]:
    held = [one.id for one in state.certified if one.held]
    found = list(dict.fromkeys([*([state.winner] if state.winner else []), *held]))
    if not found:
        raise RunError(f"The run {state.run} has no winner yet; name candidates.")
    return found


def _rivals(state: RunState, model: Model, room: Path) -> dict[str, tuple[str, str]]:
    """Name: title and script of every rival whose runtime is installed."""
    found = {}
    for name, (title, module) in RIVALS.items():
        if find_spec(module) is None:
            print(f"left out: {title}; {module} is not installed", file=sys.stderr)
            continue
        script = (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")
        if name == GENAI:
            script = script.replace("{folder}", str(_genai_folder(state, model, room)))
        found[name] = (title, script)
    return found


def _genai_folder(state: RunState, model: Model, room: Path) -> Path:
    """The unchanged model as a folder for OpenVINO GenAI, in its plain spacing of the timesteps.

    GenAI cannot visit the timesteps of every saved scheduler; it takes as many steps all the same.
    """
    from engines.layouts import Subject, layout
    from engines.pipeline import build, plan, prepare
    from engines.techniques import Engine
    from engines.workload import Workload
    from studio.work.package_contents import candidate_facts, golden_of, licence_text

    assert state.started is not None
    baseline = state.candidate(BASELINE)
    workload = Workload.model_validate(state.started.workload)
    wanted = plan(model, "cpu", workload, [Engine(backend="openvino")])
    plain = {**wanted.loop.scheduler_config, "timestep_spacing": "leading", "steps_offset": 1}
    genai = layout("openvino-genai")
    spoken = genai.spoken(replace(wanted, loop=replace(wanted.loop, scheduler_config=plain)), model)
    if spoken.refused:
        raise RunError(" ".join(spoken.refused))
    artifacts = prepare(spoken.plan)
    prompt, seed = "a red house", 0
    picture = build(spoken.plan).generate([prompt], [seed]).images[0]
    golden = golden_of(spoken.plan, prompt, seed, picture)
    place = room / "genai"
    place.mkdir()
    genai.write(
        Subject(
            plan=spoken.plan,
            model=model,
            name="rival",
            title="the unchanged model",
            prompt=prompt,
            seed=seed,
            picture=picture,
            facts=candidate_facts(state, baseline, spoken.plan, model, artifacts, golden),
            licence=licence_text(model),
            artifacts=artifacts,
        ),
        place,
    )
    return place


def report(model: Model, entered: Sequence[Contender], prompts: Sequence[str]) -> str:
    """Markdown: times, speed-ups, losses with 95 % intervals; then ours against the best of the rivals."""
    from engines.measure.adherence import paired_loss
    from engines.measure.images import psnr
    from engines.scenes.reader import load_reader
    from studio.work.machine import describe_machine

    reader = load_reader(model.path / "reader.safetensors")
    facts = describe_machine()
    base = next(one for one in entered if one.name == BASELINE)
    kept = {one.name: np.stack(one.pictures) for one in entered}
    read = {name: reader.adherence(images, prompts) for name, images in kept.items()}
    day = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    made = (
        f"{day}, {facts['processor']}, {facts['cores']} cores. {len(prompts)} fresh held-out captions, one "
        "picture a call; every contender draws every caption, in an order that changes."
    )
    lines = [
        made,
        "",
        "| Contender | Per image | Times as fast as the baseline | Adherence loss, points | PSNR |",
        "|---|---|---|---|---|",
    ]
    for one in sorted(entered, key=lambda each: float(np.median(each.seconds)), reverse=True):
        lost = paired_loss(read[BASELINE], read[one.name])
        likeness = float(np.median(psnr(kept[one.name], kept[BASELINE])))
        equal = one is base or not np.isfinite(likeness)
        cells = (
            f"{one.title}" + ("" if one.name in RIVALS else f" ({one.name})"),
            f"{np.median(one.seconds) * 1000:.3g} ms",
            _range(_paired(base, one)),
            _range(lost, 100, "+.2f"),
            "equal" if equal else f"{likeness:.1f} dB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    rivals = [one for one in entered if one.name in RIVALS]
    if rivals:
        best = min(rivals, key=lambda each: float(np.median(each.seconds)))
        lines += ["", f"Against the best of the rivals, {best.title}:", ""]
        for one in entered:
            if one.name not in RIVALS and one is not base:
                lost = bootstrap.mean(read[best.name] - read[one.name])
                lines.append(
                    f"- {one.title} ({one.name}): {_range(_paired(best, one))} times as fast, "
                    f"adherence loss {_range(lost, 100, '+.2f')} points"
                )
    return "\n".join(lines)


def _paired(above: Contender, below: Contender) -> Interval:
    """Geometric mean of the ratio, round by round, with its 95 % interval."""
    found = bootstrap.mean(np.log(np.array(above.seconds) / np.array(below.seconds)))
    return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high))


def _range(found: Interval, scale: float = 1.0, digits: str = ".3g") -> str:
    value, low, high = (format(each * scale, digits) for each in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m studio.work.rivals.table", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("candidates", nargs="*", help="default: its winner and what was certified")
    parser.add_argument("--rounds", type=int, default=64, help="fresh prompts, drawn by every contender")
    parser.add_argument("--out", type=Path, help="also write the table here")
    given = parser.parse_args(arguments)
    try:
        if given.rounds < LEAST_ROUNDS:
            raise RunError(f"{given.rounds} rounds say nothing; ask for at least {LEAST_ROUNDS}.")
        text = compete(given.run, given.candidates, given.rounds)
        if given.out is not None:
            given.out.write_text(text + "\n", encoding="utf-8")
    except (StudioError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
