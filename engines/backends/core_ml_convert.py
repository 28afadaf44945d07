"""From a component to a Core ML package, and what is in one."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.backends.core_ml_axes import within_five_axes
from engines.backends.lowered import place
from engines.backends.split_einsum import split_attention
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.plan import Precision

if TYPE_CHECKING:
    from torch.export import ExportedProgram

PALETTES: Final[dict[Precision, int]] = {"w6": 6, "w4": 4}
TARGET: Final = "macOS15"
"""The oldest system that opens it."""
FRONTEND: Final = "coremltools.converters.mil.frontend.torch"
SMALLEST: Final = 512
"""Values of a weight below which it is left alone."""
EMPTY: Final = ("alias", "detach", "lift_fresh_copy")
"""Operators that pass their input on, and that coremltools does not know."""


def convert(
    capture: Capture, path: Path, precision: Precision, batches: Sequence[int], *, split: bool
) -> dict[str, Any]:
    """Write a package with one function for each batch, and return what it took.

    Raises:
        BuildError: coremltools lacks an operator or refuses the program; its own words.
    """
    with _quiet():
        coremltools = _tools()
        target = coremltools.utils.MultiFunctionDescriptor()
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".functions-") as place:
            for batch in batches:
                model = _model(capture, precision, batch, split=split)
                single = Path(place) / f"{batch}.mlpackage"
                model.save(str(single))
                target.add_function(str(single), "main", f"batch{batch}")
            target.default_function_name = f"batch{batches[0]}"
            coremltools.utils.save_multifunction(target, str(path))
    return {
        "attention": "split-einsum" if split else "whole",
        "batches": list(batches),
        "build": {"deployment_target": TARGET},
    }


def _model(capture: Capture, precision: Precision, batch: int, *, split: bool) -> Any:
    coremltools = _tools()
    program = _program(capture, batch, split=split)
    whole = coremltools.precision.FLOAT32 if precision == "fp32" else coremltools.precision.FLOAT16
    try:
        model = coremltools.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=getattr(coremltools.target, TARGET),
            compute_precision=whole,
            skip_model_load=True,
        )
    except (NotImplementedError, ValueError, RuntimeError, TypeError, KeyError, IndexError) as error:
        raise BuildError(_refusal(error, program)) from error
    return _renamed(_compressed(model, precision), capture)


def _refusal(error: Exception, program: ExportedProgram) -> str:
    """coremltools' own words, with the operator and its place in the model where it was at one.

    Its converter holds the operator in the frame that raised; what fails later (as more than five axes do)
    names it.
    """
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    found = next(
        (
            getattr(frame.f_locals.get("node"), "name", "")
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_name == "convert_single_node"
        ),
        "",
    )
    named = found or "".join(re.findall(r'(?:Layer "|Unsupported fx node )(\w+)', reason)[:1])
    for node in program.graph.nodes:
        if node.name == named:
            where = place(node)
            inside = f" in {where}" if where else ""
            return f"coremltools cannot convert {node.target}{inside} ({reason})"
    return f"coremltools cannot convert it ({reason})"


def _program(capture: Capture, batch: int, *, split: bool) -> ExportedProgram:
    """Captured again with a fixed batch: flexible shapes keep a model off the Neural Engine."""
    import torch

    example = capture.example(batch=batch)
    given = tuple(torch.from_numpy(example[spec.name]) for spec in capture.inputs)
    attention = split_attention() if split else contextlib.nullcontext()
    with torch.no_grad(), attention:
        captured = torch.export.export(capture.module, given, strict=False)
        program: ExportedProgram = captured.run_decompositions({})
    program = within_five_axes(_with_known_operators(program))
    for node in list(program.graph.nodes):
        if node.op == "call_function" and str(node.target).split(".")[1:2] in ([one] for one in EMPTY):
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    return program


def _with_known_operators(program: ExportedProgram) -> ExportedProgram:
    """What coremltools has no converter for is decomposed by torch, and nothing else: attention stays whole.

    The masks of text encoders are made of such operators.
    """
    import torch

    registry: Any = importlib.import_module(f"{FRONTEND}.torch_op_registry")
    names: Any = importlib.import_module(f"{FRONTEND}.utils")
    known: Any = registry._TORCH_OPS_REGISTRY.name_to_func_mapping  # noqa: SLF001 - it has no public name
    used: list[Any] = [node.target for node in program.graph.nodes]
    lacking = {
        operator
        for operator in used
        if isinstance(operator, torch._ops.OpOverload)  # noqa: SLF001 - the class has no public name
        and str(operator).split(".")[1] not in EMPTY
        and names.sanitize_op_kind(f"{operator.namespace}::{str(operator).partition('.')[2]}") not in known
    }
    table = torch.export.default_decompositions()
    chosen = {operator: table[operator] for operator in lacking if operator in table}
    return program.run_decompositions(chosen) if chosen else program


def _compressed(model: Any, precision: Precision) -> Any:
    """Weights in fewer bits; they are widened again on the device, which saves memory rather than time."""
    optimise: Any = importlib.import_module("coremltools.optimize.coreml")

    if precision == "w8":
        linear = optimise.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=SMALLEST)
        return optimise.linear_quantize_weights(model, optimise.OptimizationConfig(global_config=linear))
    if precision in PALETTES:
        palette = optimise.OpPalettizerConfig(
            mode="kmeans", nbits=PALETTES[precision], weight_threshold=SMALLEST
        )
        return optimise.palettize_weights(model, optimise.OptimizationConfig(global_config=palette))
    return model


def _renamed(model: Any, capture: Capture) -> Any:
    """Inputs and outputs by the component's names instead of the program's."""
    coremltools = _tools()
    description = model.get_spec()
    features = (
        (description.description.input, capture.inputs),
        (description.description.output, capture.outputs),
    )
    for found, specs in features:
        for old, spec in zip([feature.name for feature in found], specs, strict=True):
            if old != spec.name:
                coremltools.utils.rename_feature(description, old, spec.name)
    return coremltools.models.MLModel(description, weights_dir=model.weights_dir, skip_model_load=True)


def described(path: Path) -> dict[str, Any]:
    """A package's specification, functions and operators, and the bytes of its weights; needs no Mac."""
    with _quiet():
        coremltools = _tools()
        model = coremltools.models.MLModel(str(path), skip_model_load=True)
        spec = model.get_spec()
    operators: Counter[str] = Counter()
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            operators.update(operation.type for operation in block.operations)
    functions = [
        {
            "name": function.name,
            "inputs": [feature.name for feature in function.input],
            "outputs": [feature.name for feature in function.output],
        }
        for function in spec.description.functions
    ]
    weights = sum(one.stat().st_size for one in path.rglob("*.bin"))
    return {
        "specification": int(spec.specificationVersion),
        "functions": functions,
        "operators": dict(operators),
        "weight_bytes": weights,
    }


def _tools() -> Any:
    """coremltools, which has no types and is not installed everywhere."""
    return importlib.import_module("coremltools")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """coremltools draws progress bars and warns of every version that it has not seen."""
    root = logging.getLogger()
    level = root.level
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
