"""A captured program as `graph.json` and `weights.safetensors`, which `engines.package.torch_graph` reads.

Eager torch and torch.compile run modules of diffusers here and keep no files;
what a package runs in their place is this program, compared with eager first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.backends import parity
from engines.backends.lowered import program_of
from engines.backends.torch_quantised import Quantised, beside, place_of, quantised, torchao
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.package import torch_files
from engines.package.runtimes import BY_TORCHAO
from engines.package.torch_graph import FORMAT, GRAPH, PYTHON, QUANTISED, WEIGHTS, is_word
from engines.paths import cache_folder, digest, locked, new_folder, read_json, write_json
from engines.plan import Precision

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.fx import Node

CHECKS: Final = ("_assert_scalar", "_assert_tensor_metadata", "_assert_async", "sym_constrain_range")
"""Beginnings of operators that compute nothing."""
_FUNCTIONS: Final = {function: name for name, function in PYTHON.items()}
_PARITY: Final = "parity.json"


@dataclass(frozen=True, slots=True)
class Program:
    """A component's program on disk."""

    folder: Path
    parity: Mapping[str, Any]
    """`max_abs` and `psnr` in dB of what it computes, read back, against eager fp32."""
    torchao: str = ""
    """The version that quantised some of its weights; empty where none are its."""

    @property
    def files(self) -> dict[str, Path]:
        return {name: self.folder / name for name in (GRAPH, WEIGHTS)}


def program(capture: Capture, precision: Precision, device: str = "cpu") -> Program:
    """A component's program, from the cache or written now and compared.

    Args:
        device: what it is for: where weights are torchao's, it says what is computed outside them.

    Raises:
        BuildError: it calls what is none of torch's own operators, or computes something else than eager;
            torchao is wanted and not installed.
        CaptureError: torch.export refuses it.
    """
    facts: tuple[object, ...] = (precision, metadata.version("torch"))
    if precision in BY_TORCHAO:
        facts = (*facts, torchao(precision), device)
    key = digest("program", FORMAT, capture.key, *facts)
    folder = cache_folder("programs") / key
    with locked(folder):
        found = read_json(folder / _PARITY)
        if found is None:
            with new_folder(folder, replace=True) as fresh:
                inputs, outputs = ([one.name for one in both] for both in (capture.inputs, capture.outputs))
                written = program_of(capture, beside(precision, device))
                version = save(written, inputs, outputs, fresh, quantised(capture, precision, device))
                found = _compared(capture, precision, fresh, place_of(precision, device))
                found |= {"torchao": version}
                write_json(fresh / _PARITY, found)
    return Program(folder, found, str(found.get("torchao", "")))


def _compared(capture: Capture, precision: Precision, folder: Path, place: str) -> dict[str, Any]:
    """One batch of two and one of one, for a program may have learned the size that it was captured at."""
    cases = [capture.example(batch=2, seed=1), capture.example(batch=1, seed=2)]
    capture.release()
    wanted = [capture.reference(inputs) for inputs in cases]
    capture.release()
    try:
        component = torch_files.program(folder / GRAPH, {}, place, compiled=False)
    except ValueError as error:
        raise BuildError(str(error)) from error
    found = [parity.compare(component(one), reference) for one, reference in zip(cases, wanted, strict=True)]
    for evidence in found:
        parity.check(evidence, precision)
    return {"max_abs": max(one["max_abs"] for one in found), "psnr": min(one["psnr"] for one in found)}


def save(
    program: ExportedProgram,
    inputs: Sequence[str],
    outputs: Sequence[str],
    folder: Path,
    narrow: Quantised | None = None,
) -> str:
    """Write both files, and return the version of torchao where it keeps some of the weights.

    Args:
        inputs: the component's names for what the program takes, in its order; `outputs` likewise.
        narrow: weights that take the place of the program's own.

    Raises:
        BuildError: the program calls something that is none of torch's own operators; it is named.
    """
    from safetensors.torch import save_file

    signature = program.graph_signature
    lifted = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    names = dict(zip(signature.user_inputs, (f"in:{name}" for name in inputs), strict=True))
    nodes: list[dict[str, Any]] = []
    given: list[Any] = []
    for node in program.graph.nodes:
        if node.op == "output":
            given = [_value(one, names) for one in node.args[0]][-len(outputs) :]
        elif node.op == "get_attr":
            raise BuildError(f"it holds a program of its own ({node.name})")
        elif node.op == "call_function" and not _is_check(node):
            nodes.append(_call(node, names))
    nodes = _used(nodes, given)
    used = {name for node in nodes for name in references([node["args"], node["named"]])}
    constants = {name: lifted[name] for name in sorted(used | set(references(given))) if name in lifted}
    values = {**program.state_dict, **program.constants}
    wanted = set(constants.values())
    plain, said = narrow.flat(wanted) if narrow else ({}, {})
    weights = _apart({name: values[name] for name in sorted(wanted - said.keys())}) | plain
    text: dict[str, Any] = {
        "format": FORMAT, "inputs": list(inputs), "outputs": given, "names": list(outputs),
        "constants": constants, "nodes": nodes,
    }  # fmt: skip
    version = narrow.version if narrow and said else ""
    if version:
        text[QUANTISED] = {"torchao": version, "weights": said}
    save_file(weights, folder / WEIGHTS)
    (folder / GRAPH).write_text(json.dumps(text), encoding="utf-8")
    return version


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that share no memory, as the file wants them: tied weights are there twice."""
    found: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().contiguous()
        found[name] = own.clone() if own.untyped_storage().data_ptr() in storages else own
        storages.add(found[name].untyped_storage().data_ptr())
    return found


def _is_check(node: Node) -> bool:
    return str(node.target).removeprefix("aten.").startswith(CHECKS)


def _call(node: Node, names: Mapping[str, str]) -> dict[str, Any]:
    import torch

    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":  # noqa: SLF001 - no public name
        operator = str(target)
    elif target in _FUNCTIONS:
        operator = _FUNCTIONS[target]
    else:
        raise BuildError(f"it calls {target}, which is none of torch's own operators")
    try:
        return {
            "name": node.name,
            "operator": operator,
            "args": [_value(one, names) for one in node.args],
            "named": {key: _value(one, names) for key, one in node.kwargs.items()},
            "writes": isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable,  # noqa: SLF001
        }
    except TypeError as error:
        raise BuildError(f"its {operator} takes {error}, which no graph here holds") from error


def _value(value: Any, names: Mapping[str, str]) -> Any:
    import torch

    if isinstance(value, torch.fx.Node):
        return {"ref": names.get(value.name, value.name)}
    if isinstance(value, list | tuple):
        return [_value(one, names) for one in value]
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.memory_format):
        return {"memory": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": "here"}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, str) and not is_word(value):
        raise TypeError(f"the word {value!r}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if value == torch.strided:
        return None
    raise TypeError(type(value).__name__)


def _used(nodes: list[dict[str, Any]], outputs: list[Any]) -> list[dict[str, Any]]:
    """Only what an output needs, and what writes into what one needs."""
    needed = set(references(outputs))
    kept = []
    for node in reversed(nodes):
        if node["name"] in needed or node["writes"]:
            kept.append({key: one for key, one in node.items() if key != "writes"})
            needed.update(references([node["args"], node["named"]]))
    return kept[::-1]


def references(value: Any) -> list[str]:
    """Names of the nodes that an argument refers to."""
    if isinstance(value, dict):
        return [value["ref"]] if "ref" in value else [one for v in value.values() for one in references(v)]
    if isinstance(value, list):
        return [name for one in value for name in references(one)]
    return []
