"""ONNX files from captured programs: fp32, fp16 and bf16 with every cast in the graph.

They come from the captured program by torch's exporter, without its own
optimiser (runtimes optimise when they open the file, and the exporter's passes
take longer than the export).  Weights in fewer bits: `onnx_int8`, `onnx_narrow`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.backends.lowered import HALVES, program_of
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.paths import cache_folder, digest, locked, new_folder
from engines.plan import Precision

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL: Final = "model.onnx"
FEW: Final = 64
"""Values up to which a constant is axes or a shape, and no weight."""
FORMAT: Final = 4
"""Raise it when the same program becomes another file."""
LARGEST: Final = 2**31 - 2**20
"""Bytes that fit into one ONNX file; beyond it weights would lie in a second file."""


def converted(
    capture: Capture, version: str, precision: Precision = "fp32", opset: int | None = None
) -> Path:
    """The folder of a capture's ONNX file: what is shipped, and what int8 and other engines start from.

    Args:
        version: of the runtime that it is for.
        precision: fp32, fp16 or bf16.
        opset: of the operators; the exporter's own if not given.

    Raises:
        BuildError: the exporter refuses the program, or the file would be too large.
    """
    import torch

    parts: tuple[object, ...] = (FORMAT, capture.key, version, torch.__version__)
    if precision in HALVES or opset:
        parts = (*parts, precision if precision in HALVES else "fp32", opset)
    folder = cache_folder("onnx") / digest(*parts)
    with locked(folder):
        if not folder.is_dir():
            with new_folder(folder) as fresh, quiet():
                _export(capture, precision, opset, fresh / MODEL)
    return folder


def _export(capture: Capture, precision: Precision, opset: int | None, path: Path) -> None:
    import torch

    chosen: dict[str, Any] = {} if opset is None else {"opset_version": opset}
    program = torch.onnx.export(
        _with_one_type(_without_sequences(_without_idle_squeezes(program_of(capture, precision)))),
        dynamo=True,
        optimize=False,
        verbose=False,
        input_names=[spec.name for spec in capture.inputs],
        output_names=[spec.name for spec in capture.outputs],
        **chosen,
    )
    if program is None:
        raise BuildError("torch.onnx.export returned nothing")
    _with_plain_axes(program.model.graph)
    program.save(str(path))


def _with_plain_axes(graph: Any) -> None:
    """Constants that the file would only reshape are written as they are used.

    The exporter reshapes the axes of every mean and sum, and TensorRT wants axes that are constants: without
    this it reads no RMS norm, which are in T5, Gemma, SD 3, FLUX and Sana.
    """
    import onnx_ir

    for node in list(graph):
        if node.op_type != "Reshape" or node.domain or node.outputs[0].is_graph_output():
            continue
        given = [onnx_ir.convenience.get_const_tensor(one) for one in node.inputs if one is not None]
        if any(one is None or one.size > FEW for one in given):
            continue
        values, shape = (one.numpy() for one in given if one is not None)
        tensor = onnx_ir.tensor(values.reshape(shape.tolist()))
        plain = onnx_ir.node("Constant", [], attributes={"value": tensor})
        graph.insert_before(node, plain)
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], plain.outputs[0])
        graph.remove(node, safe=True)


def _without_idle_squeezes(program: ExportedProgram) -> ExportedProgram:
    """torch leaves a dimension that is not 1 where it is told to squeeze it; ONNX refuses the graph.

    PixArt's last layer does so.
    """
    import torch

    idle = []
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.squeeze.dim:
            given, at = node.args
            size = given.meta["val"].shape[at]
            if isinstance(size, int) and size != 1 and all(user.op != "output" for user in node.users):
                idle.append(node)
    for node in idle:
        node.replace_all_uses_with(node.args[0])
        program.graph.erase_node(node)
    if idle:
        program.graph_module.recompile()
    return program


def _without_sequences(program: ExportedProgram) -> ExportedProgram:
    """Pieces of a tensor are slices of it: the exporter would make a sequence of them, an ONNX type that
    neither TensorRT nor DirectML knows.

    GEGLU in every transformer block splits so; FLUX cuts text from picture, pieces of other lengths.
    """
    import operator

    import torch

    aten = torch.ops.aten
    graph, changed = program.graph, False
    for node in list(graph.nodes):
        if any(user.target is not operator.getitem for user in node.users):
            continue
        cut = _pieces(node)
        if cut is None:
            continue
        given, at, places = cut
        for user in list(node.users):
            first, last = places[user.args[1]]
            with graph.inserting_before(user):
                piece = graph.call_function(aten.slice.Tensor, (given, at, first, last), {})
            piece.meta = {**user.meta, "val": node.meta["val"][user.args[1]]}
            user.replace_all_uses_with(piece)
            graph.erase_node(user)
        graph.erase_node(node)
        changed = True
    if changed:
        program.graph_module.recompile()
    return program


def _with_one_type(program: ExportedProgram) -> ExportedProgram:
    """torch joins tensors of unlike types in the wider one; ONNX refuses a graph that does.

    SDXL in halves joins its pooled embedding with its sizes so, which are computed in fp32.
    """
    import torch

    aten = torch.ops.aten
    changed = False
    for node in list(program.graph.nodes):
        if node.target not in (aten.cat.default, aten.concat.default, aten.concatenate.default):
            continue
        wanted = node.meta["val"].dtype
        joined = []
        for given in node.args[0]:
            one = given
            if given.meta["val"].dtype != wanted:
                with program.graph.inserting_before(node):
                    one = program.graph.call_function(aten.to.dtype, (given, wanted), {})
                one.meta = {**node.meta, "val": given.meta["val"].to(wanted)}
                changed = True
            joined.append(one)
        node.update_arg(0, joined)
    if changed:
        program.graph_module.recompile()
    return program


def _pieces(node: Any) -> tuple[Any, int, list[tuple[int, int]]] | None:
    """Of a node that cuts: what it cuts, along which axis, and where each piece begins and ends.

    `None` of other nodes, and where sizes are not known, as along the batch.
    """
    import torch

    aten = torch.ops.aten
    if node.target not in (aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default):
        return None
    given, count, at = (*node.args, 0)[:3]
    size = given.meta["val"].shape[at]
    if node.target is aten.split_with_sizes.default:
        lengths = list(count)
    elif isinstance(size, int):
        length = -(-size // count) if node.target is aten.chunk.default else count
        lengths = [min(length, size - first) for first in range(0, size, length)]
    else:
        return None
    if not all(isinstance(one, int) for one in (size, *lengths)):
        return None
    ends = list(itertools.accumulate(lengths))
    return given, at, [(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def files(model: Path) -> tuple[Path, ...]:
    """An ONNX model and, where it has more than 2 GiB of weights, the second file that holds them."""
    weights = model.with_name(model.name + ".data")
    return (model, weights) if weights.is_file() else (model,)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporter and the quantiser print and log their progress; an engine's output is its files."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def precision_facts(path: Path) -> dict[str, Any]:
    """What an ONNX file computes in: its opset, operators, and how many weights are of which type."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    operators: dict[str, int] = {}
    weights: dict[str, int] = {}
    for node in model.graph.node:
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    for initializer in model.graph.initializer:
        name = onnx.TensorProto.DataType.Name(initializer.data_type).lower()
        weights[name] = weights.get(name, 0) + 1
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    return {"opset": int(opset), "operators": operators, "weights": weights}
