"""Whether a script does what it declares: its pictures, time and rows against its recipe's own.

A recipe is carried out by the program's own code in a process of its own, on
the same prompts.  A script that declares nothing beyond it must draw the same
pictures with about the same work.  A script that says in words what else it
does is held to what can be checked all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.candidate import Recipe
from agent.evaluate.pairs import costs_less

Pixels = NDArray[np.uint8]

SAME: Final = 45.0
"""dB: below it pictures were not made by the declared steps, solver and guidance."""
NUMBERS: Final = 57.0
"""dB: below it they were not calculated in the declared precision.  Measured: docs/benchmarks."""
COMPARED: Final = 8
"""Pictures that are compared."""
WORK: Final = 0.7
"""Share of the declared recipe's CPU time that must be spent at least."""

CANONICAL: Final = '''"""A declared recipe, carried out by the program's own code."""

from engines.pipeline import build, plan
from engines.techniques.base import Step, from_step

RECIPE = {recipe!r}


def load(model, device, workload):
    return build(plan(model, device, workload, [from_step(Step(name, values)) for name, values in RECIPE]))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
'''

_PLAIN: Final = ast.dump(
    ast.parse("""
def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))
def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
""")
)


def is_plain(source: str) -> bool:
    """Whether a script is nothing but its recipe: imports of techniques, a literal `RECIPE`, two lines."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    functions: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            functions.append(node)
        elif isinstance(node, ast.ImportFrom):
            if node.module not in ("engines.pipeline", "engines.techniques") or node.level:
                return False
            if any(alias.asname for alias in node.names):
                return False
        elif isinstance(node, ast.Assign):
            if not _is_recipe(node):
                return False
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return False
    return ast.dump(ast.Module(functions, [])) == _PLAIN


def _is_recipe(node: ast.Assign) -> bool:
    targets, value = node.targets, node.value
    return (
        len(targets) == 1
        and isinstance(targets[0], ast.Name)
        and targets[0].id == "RECIPE"
        and isinstance(value, ast.Tuple | ast.List)
        and all(
            isinstance(one, ast.Call)
            and isinstance(one.func, ast.Name)
            and not one.args
            and all(isinstance(keyword.value, ast.Constant) for keyword in one.keywords)
            for one in value.elts
        )
    )


def compared(ours: Pixels, theirs: Pixels) -> str:
    """Whether pictures (N, H, W, 3) are the declared recipe's."""
    from agent.evaluate.conduct import likeness

    found = likeness(ours, theirs)
    middle = float(np.median(found))
    if middle < SAME or float(found.min()) < SAME - 10:
        return (
            f"The pictures are not those of the declared recipe (PSNR {found.min():.0f} to "
            f"{found.max():.0f} dB): the script does something that it does not declare."
        )
    if middle < NUMBERS:
        return (
            f"The pictures differ from the declared recipe's as another precision's do (PSNR "
            f"{middle:.0f} dB): "
            "declare the precision."
        )
    return ""


def worked(ours: Sequence[float], theirs: Sequence[float], pair: Callable[[], tuple[float, float]]) -> str:
    """Whether about as much CPU time was spent on a picture as the declared recipe needs.

    `ours` and `theirs` are seconds for a picture that were counted already; where they accuse,
    `pair` draws the same pictures by both in turn and gives what each spent.
    """
    if not ours or not theirs or float(np.median(ours)) >= WORK * float(np.median(theirs)):
        return ""
    found = costs_less(WORK, pair)
    if found is None:
        return ""
    return (
        f"It spends {found:.0%} of the CPU time on a picture that the declared recipe spends: the script "
        "leaves out or keeps what it does not declare."
    )


def rows(told: Mapping[str, int], plan: Any, pictures: int) -> str:
    """Whether the calls that a pipeline of `engines` counts are those that its recipe makes."""
    from engines.measure.floor import most
    from engines.measure.floor import rows as expected_rows

    if not told or plan is None:
        return ""
    highest = most(plan.loop)
    for name, value in expected_rows(plan.loop).items():
        if name.startswith(("text_encoder", "image_encoder")) or not plan.loop.steps:
            continue
        if not value * pictures <= told.get(name, 0) <= highest[name] * pictures:
            wanted = f"{value:g}" if value == highest[name] else f"{value:g} to {highest[name]:g}"
            return (
                f"The {name.replace('_', ' ')} computed {told.get(name, 0) / pictures:g} rows for a picture, "
                f"and the declared recipe computes {wanted}."
            )
    return ""


def same_recipe(recipe: Recipe) -> tuple[tuple[str, dict[str, object]], ...]:
    """A recipe as literals, for a script's text."""
    return tuple((step.technique, dict(step.parameters)) for step in recipe)
