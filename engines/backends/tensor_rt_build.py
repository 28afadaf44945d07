"""Engines from ONNX files: strongly typed, the batch dynamic within a profile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.backends.tensor_rt_names import is_rtx, module, network_flags, set_targets
from engines.errors import BuildError


def logger(trt: Any) -> Any:
    """One that keeps errors: TensorRT returns nothing and logs the reason."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(text.split()))

    return Log()


def build_engine(
    source: Path,
    shapes: Mapping[str, tuple[int, ...]],
    batches: tuple[int, int, int],
    timing: Path,
    *,
    sparse: bool = False,
) -> bytes:
    """A serialised engine.

    Args:
        source: the ONNX file, every precision written in it.
        shapes: of the inputs, without the batch.
        batches: least, best and largest.
        timing: where the timing cache is kept between builds on this machine.
        sparse: weights have a 2:4 pattern, and kernels that skip the zeros may be chosen.

    Raises:
        BuildError: an operator that TensorRT lacks, or no engine for another reason; its own words.
    """
    trt = module()
    log = logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(source)):
        reasons = [_placed(parser.get_error(index), source) for index in range(parser.num_errors)]
        raise BuildError(f"TensorRT cannot read its ONNX file ({_first([*reasons, *log.errors])})")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        name = network.get_input(index).name
        profile.set_shape(name, *((batch, *shapes[name]) for batch in batches))
    config.add_optimization_profile(profile)
    config.set_flag(trt.BuilderFlag.STRICT_NANS)
    if sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    set_targets(trt, config)
    with _timing(trt, config, timing):
        serialised = builder.build_serialized_network(network, config)
    if serialised is None:
        raise BuildError(f"TensorRT built no engine ({_first(log.errors)})")
    return bytes(serialised)


def _placed(error: Any, source: Path) -> str:
    """The parser's words, after the operator and the innermost module of the model that it comes from."""
    import ast

    import onnx

    operator, name = str(error.node_operator()), str(error.node_name())
    if not operator or not name:
        return str(error.desc())
    graph = onnx.load(str(source), load_external_data=False).graph
    told = {
        one.key: one.value for node in graph.node if node.name == name for one in node.metadata_props
    }.get("pkg.torch.onnx.name_scopes", "[]")
    scopes = [scope for scope in ast.literal_eval(told)[:-1] if scope]  # the last is the node itself
    return f"{operator}{f' in {scopes[-1]}' if scopes else ''}: {error.desc()}"


def _first(reasons: list[str]) -> str:
    return reasons[0][:200] if reasons else "it gave no reason"


@contextlib.contextmanager
def _timing(trt: Any, config: Any, path: Path) -> Iterator[None]:
    """Measured kernels from earlier builds here; TensorRT-RTX measures on the user's card, not now."""
    if is_rtx(trt):
        yield
        return
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    yield
    partial = path.with_suffix(".partial")
    partial.write_bytes(bytes(cache.serialize()))
    partial.replace(path)


def validity(engine: bytes) -> dict[str, Any]:
    """What the header of an engine says of this machine; read without a GPU.

    `state`: `VALID`, `SUBOPTIMAL`, `INVALID` (for no reason where there is no GPU), or `UNKNOWN`;
    `reasons`: of `UNSUPPORTED_CC`, `VERSION_MISMATCH`, `MALFORMED_ENGINE` and the like.
    """
    trt = module()
    runtime = trt.Runtime(logger(trt))
    if not hasattr(runtime, "get_engine_validity"):
        return {"state": "UNKNOWN", "reasons": []}
    state, diagnostics = runtime.get_engine_validity(engine)
    return {"state": state.name, "reasons": _names(trt.EngineInvalidityDiagnostics, diagnostics)}


def _names(kind: Any, bits: Any) -> list[str]:
    value = int(bits)
    members: Mapping[str, Any] = kind.__members__
    return [name for name, member in members.items() if int(member) and value & int(member)]
