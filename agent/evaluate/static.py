"""The first stage: what can be said of a script without running it.

A cheap filter with good feedback, no wall: the sandbox is the wall.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from typing import Any, Final

from agent.candidate import Recipe, Step

ALLOWED: Final = frozenset({
    "engines", "torch", "torchvision", "diffusers", "transformers", "numpy", "PIL", "safetensors",
    "tokenizers", "openvino", "onnxruntime", "onnx", "scipy", "tomesd", "accelerate", "triton",
    "__future__", "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "enum", "functools",
    "gc", "hashlib", "heapq", "itertools", "json", "logging", "math", "operator", "pathlib", "random", "re",
    "statistics", "string", "textwrap", "time", "types", "typing", "warnings",
})  # fmt: skip
"""Packages that a script may import."""
_FORBIDDEN: Final = frozenset({"eval", "exec", "compile", "__import__", "open", "input", "breakpoint"})
_MODULES: Final = frozenset({"builtins", "ctypes", "importlib", "os", "posix", "runpy", "shutil", "socket",
                             "subprocess", "sys"})  # fmt: skip
"""Modules that many an allowed package has imported, where they are not to be reached: `torch.os`."""
_ALLOWED_DUNDERS: Final = frozenset({"__init__", "__call__", "__name__", "__class__", "__len__",
                                     "__getitem__", "__enter__", "__exit__", "__post_init__", "__iter__",
                                     "__dict__"})  # fmt: skip
_BROAD: Final = frozenset({"Exception", "BaseException", "RuntimeError", "EngineError", "OSError"})
"""Errors that cover too much to be expected."""
_ARGUMENTS: Final = {"load": ("model", "device", "workload"), "generate": ("pipeline", "prompts", "seeds")}


@dataclass(frozen=True, slots=True)
class Examined:
    """`problem`: one sentence, empty where the script may run; `recipe`: what its `RECIPE` says."""

    problem: str = ""
    recipe: Recipe | None = None


def examine(source: str) -> Examined:
    """Parse a script; look at its functions, imports and calls."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        return Examined(f"The script does not parse: {text}{line}; correct it.")
    for problem in (_functions(tree), _imports(tree), _calls(tree), _reached(tree), _swallowed(tree)):
        if problem:
            return Examined(problem)
    return Examined("", _recipe(tree))


def declared(source: str) -> Recipe | None:
    """What a script's literal `RECIPE` says; `None` where it has none or does not parse."""
    try:
        return _recipe(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions(tree: ast.Module) -> str:
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name, arguments in _ARGUMENTS.items():
        node = found.get(name)
        if node is None:
            return f"The script defines no function {name}({', '.join(arguments)}); add it."
        given = node.args
        least = len(given.posonlyargs) + len(given.args) - len(given.defaults)
        most = sys.maxsize if given.vararg else len(given.posonlyargs) + len(given.args)
        if not least <= len(arguments) <= most or any(default is None for default in given.kw_defaults):
            return f"The script's function {name} must take {', '.join(arguments)} (line {node.lineno})."
    return ""


def _imports(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        else:
            continue
        for name in names:
            if name.split(".")[0] not in ALLOWED:
                return (
                    f"The script imports {name} (line {node.lineno}), which a script may not; "
                    "use engines, torch, diffusers, numpy or an engine's package."
                )
    return ""


def _calls(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in _FORBIDDEN and isinstance(node.ctx, ast.Load):
            return f"The script uses {node.id} (line {node.lineno}), which a script may not; do without it."
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("__")
            and node.attr.endswith("__")
            and node.attr not in _ALLOWED_DUNDERS
        ):
            return f"The script uses {node.attr} (line {node.lineno}), which a script may not; do without it."
    return ""


def _reached(tree: ast.Module) -> str:
    """A module that may not be imported, taken out of one that may: `torch.os`, `from pathlib import os`."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {alias.asname or alias.name.split(".")[0] for node in imports for alias in node.names}
    found = [
        (alias.name, node.lineno) for node in imports for alias in node.names if alias.name in _MODULES
    ] + [
        (ast.unparse(node), node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in _MODULES and _root(node) in imported
    ]
    if not found:
        return ""
    name, line = found[0]
    return (
        f"The script reaches {name} (line {line}) through another package, which a script may not; "
        "do without it."
    )


def _root(node: ast.expr) -> str:
    """`torch` of `torch.utils.data`; empty where the chain does not begin with a name."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _swallowed(tree: ast.Module) -> str:
    """A handler for whatever goes wrong that goes on: it hides which path was taken."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) == "suppress":
            if any(_name(one) in _BROAD for one in node.args):
                return f"The script suppresses every error (line {node.lineno}); name the expected one."
            continue
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(kind is None or _name(kind) in _BROAD for kind in kinds)
        if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            return (
                f"The script swallows every error (line {node.lineno}); name the error that it expects, "
                "or let it through."
            )
    return ""


def _name(node: ast.expr) -> str:
    """`suppress` of `suppress` and of `contextlib.suppress`."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _recipe(tree: ast.Module) -> Recipe | None:
    """The literal `RECIPE = (FewerSteps(steps=12), ...)`; `None` where there is none or it is computed."""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and len(node.targets) == 1
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "RECIPE"
            and isinstance(node.value, ast.Tuple | ast.List)
        ):
            try:
                return tuple(_step(element) for element in node.value.elts)
            except (ValueError, KeyError):
                return None
    return None


def _step(node: ast.expr) -> Step:
    from engines.techniques import all_techniques

    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise ValueError("not a technique with named parameters")
    kinds = {kind.__name__: kind for kind in all_techniques()}
    fields = {one.field: one.name for one in kinds[node.func.id].parameters}
    values: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("parameters by **")
        values[fields.get(keyword.arg, keyword.arg)] = ast.literal_eval(keyword.value)
    return Step(kinds[node.func.id].name, values)


def differs(declared: Recipe, written: Recipe) -> str:
    """Why what a script does is not what its candidate declares; empty where it is."""
    from engines.errors import TechniqueError
    from engines.techniques.base import from_step, to_step

    def plain(recipe: Recipe) -> dict[str, dict[str, Any]]:
        return {step.technique: dict(to_step(from_step(step)).parameters) for step in recipe}

    try:
        ours, theirs = plain(declared), plain(written)
    except TechniqueError as error:
        return str(error)
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            return (
                f"The script does not carry out its recipe: {name} is {_words(ours.get(name))} in the recipe "
                f"and {_words(theirs.get(name))} in RECIPE; make them agree."
            )
    return ""


def _words(parameters: dict[str, Any] | None) -> str:
    if parameters is None:
        return "absent"
    return ", ".join(f"{name}={value}" for name, value in parameters.items()) or "on"
