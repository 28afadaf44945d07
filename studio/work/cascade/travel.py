"""What a cascade's package carries of the Studio: the planner, as it is."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
PLANNER: Final = "studio.plan.replan"


def planner_files() -> dict[str, bytes]:
    """The planner's module and all of the Studio that it imports: path in the package -> content.

    Imports inside functions count: they are wanted sooner or later.
    """
    found: dict[str, bytes] = {}
    pending = [PLANNER]
    for module in pending:
        path = _path(module)
        name = path.relative_to(ROOT).as_posix()
        if name in found:
            continue
        found[name] = path.read_bytes()
        parents = module.split(".")[:-1]
        pending += [".".join(parents[: at + 1]) for at in range(len(parents))]
        for node in ast.walk(ast.parse(found[name])):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("studio"):
                pending.append(str(node.module))
    return found


def _path(module: str) -> Path:
    place = ROOT.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
