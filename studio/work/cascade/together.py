"""Both sides of an exported cascade as the contents of one package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engines.package.cascade import LIGHT, encode
from engines.package.evidence import Interval
from engines.package.manifest import CascadeFacts, Discriminator, Facts, Operation
from engines.package.write import TOKENIZER, Contents, cluster_program, program
from studio.plan.cascade import Cascade
from studio.plan.deferral import Interval as Measured
from studio.plan.deferral import deferred_share
from studio.record.sides import Side
from studio.work.cascade.engine import Judging
from studio.work.cascade.network import SIDE, WORDS
from studio.work.cascade.travel import PLANNER, planner_files
from studio.work.export import Own

GOLDEN_LIGHT: Final = "golden-light.png"
SCORE_TOLERANCE: Final = 0.01
"""How far a golden score may be off on another machine; fp32 rounding stays far below."""
_TARGETS: Final = {
    "better": "the heavy picture is not better by more than {margin:g}",
    "votes": "the heavy picture is not better by more than {margin:g}, or a person prefers the light one",
    "real": "the picture looks real rather than generated",
}
"""What a score is the probability of, by `Cascade.target`."""


@dataclass(frozen=True, eq=False)
class Half:
    """One side of the pair: its package's contents and the Studio's own picture."""

    side: Side
    contents: Contents
    own: Own
    backend: str


def together(
    name: str, cascade: Cascade, threshold: float, light: Half, heavy: Half, judges: Sequence[Judging]
) -> Contents:
    """Both sides' contents as one; components of the light one get their prefix.

    Args:
        judges: the discriminator's variants, first the one that is tried first.
    """
    engines = (
        *(replace(part, component=LIGHT + part.component) for part in light.contents.engines),
        *heavy.contents.engines,
        *(judge.engine for judge in judges),
    )

    def facts(tokenizer: str) -> Facts:
        first, second = light.contents.facts(tokenizer), heavy.contents.facts(tokenizer)
        golden = first.golden.model_copy(update={"image": GOLDEN_LIGHT})
        known = {wheel.name for wheel in second.wheels}
        both = (*second.wheels, *(wheel for wheel in first.wheels if wheel.name not in known))
        both_facts = CascadeFacts(
            light=first.model_copy(update={"golden": golden}),
            discriminator=_discriminator(cascade, float(judges[0].scores[0])),
            threshold=threshold,
            share=float(deferred_share(cascade.pairs.scores, [threshold])[0]),
            curve=tuple(
                Operation(
                    threshold=one.threshold,
                    share=one.share,
                    seconds=_interval(one.seconds),
                    quality=_interval(one.quality),
                )
                for one in cascade.curve
            ),
            guarded=cascade.guarded,
            guarded_rate=cascade.guarded_rate,
        )
        return second.model_copy(update={"cascade": both_facts, "wheels": both})

    return replace(
        heavy.contents,
        name=name,
        description=f"{cascade.light_title} before {cascade.heavy_title}",
        engines=engines,
        facts=facts,
        light_tokenizers=_tokenizers(light.contents),
        readme=_readme(name, cascade, threshold, light, heavy),
        licence=_licence(light, heavy),
        more={
            "run.py": program(PLANNER).encode(),
            "ray_app.py": cluster_program(PLANNER).encode(),
            GOLDEN_LIGHT: encode(light.own.picture),
            **planner_files(),
        },
    )


def _tokenizers(contents: Contents) -> dict[str, Path]:
    first = {} if contents.tokenizer is None else {TOKENIZER: contents.tokenizer}
    return {**first, **contents.tokenizers}


def _licence(light: Half, heavy: Half) -> str:
    """One text where both models have it, else each model's under its name."""
    texts = {half.contents.licence: half.side.started.model.name for half in (light, heavy)}
    if len(texts) == 1:
        return heavy.contents.licence
    return "\n".join(f"{name}\n{'=' * len(name)}\n\n{text}" for text, name in texts.items())


def _interval(found: Measured) -> Interval:
    return Interval(value=found.value, low=found.low, high=found.high)


def _discriminator(cascade: Cascade, golden: float) -> Discriminator:
    auc = cascade.scorers[0].auc
    return Discriminator(
        side=SIDE,
        words=WORDS,
        target=_TARGETS.get(cascade.target, cascade.target).format(margin=cascade.margin),
        metric=cascade.metric,
        margin=cascade.margin,
        samples=len(cascade.samples),
        auc=None if auc is None else _interval(auc),
        brier=cascade.brier,
        seconds=cascade.discriminator_seconds,
        golden_score=golden,
        score_tolerance=SCORE_TOLERANCE,
    )


def _readme(name: str, cascade: Cascade, threshold: float, light: Half, heavy: Half) -> str:
    share = float(deferred_share(cascade.pairs.scores, [threshold])[0])
    prompt = light.own.prompt
    cards = [half.side.started.model for half in (light, heavy)]
    two = [f"Light is of the model {cards[0].name} ({cards[0].licence}), heavy of {cards[1].name}"]
    two += [f"({cards[1].licence}); each has its own engines and tokenizer in here.", ""]
    return "\n".join(
        [
            f"# {name}: a light and a heavy model",
            "",
            f"{cascade.light_title} answers first; a discriminator scores its picture; below {threshold:.4g}",
            f"{cascade.heavy_title} draws it anew ({share:.0%} of {len(cascade.samples)} measured prompts).",
            "",
            *(two if cards[0].hash != cards[1].hash else ()),
            "Needs Python 3.11, 3.12 or 3.13 and the wheels in `requirements.txt`; no torch, no diffusers.",
            "",
            "    python -m venv env && env/bin/python -m pip install -r requirements.txt",
            f'    env/bin/python run.py --prompt "{prompt}" --out picture.png   # says which, and the score',
            "    env/bin/python run.py --serve --port 8000                # one process per model",
            "    env/bin/python run.py --serve --objective 2              # plans itself for 2 s",
            "    env/bin/python run.py --self-test",
            "    python ray_app.py --heavy-workers 4        # on a Ray cluster; needs `ray[serve]`",
            "",
            "    curl localhost:8000/v1/images/generations -H 'Content-Type: application/json' \\",
            f"      -d '{json.dumps({'prompt': prompt, 'deadline_ms': 5000})}'",
            "",
            "The answer says light or heavy, the score and the times. `/metrics` is for Prometheus,",
            "`/health` for whoever restarts it, `PUT /v1/threshold` moves the threshold while it serves.",
            "Every byte is checked against `SHA256SUMS` before anything is loaded.",
            "",
        ]
    )
