"""Where the Python modules of TensorRT-RTX and TensorRT 11 differ."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from engines.errors import BuildError


def module() -> Any:
    """`tensorrt_rtx` where it is installed, else `tensorrt`.

    Raises:
        BuildError: neither is, or its libraries do not load.
    """
    for name in ("tensorrt_rtx", "tensorrt"):
        if find_spec(name) is not None:
            try:
                return importlib.import_module(name)
            except (ImportError, OSError) as error:
                raise BuildError(f"{name} does not load ({error})") from error
    raise BuildError("neither tensorrt_rtx nor tensorrt is installed")


def is_rtx(trt: Any) -> bool:
    return hasattr(trt, "ComputeCapability")


def network_flags(trt: Any) -> int:
    """Strongly typed; TensorRT 11 knows no other networks and may drop the flag."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def set_targets(trt: Any, config: Any) -> list[str]:
    """The cards that an engine is for: TensorRT-RTX's desktop generations, or the card in this machine.

    Without a GPU, TensorRT-RTX's default is every generation that it serves but Turing.
    """
    if not is_rtx(trt):
        return ["this GPU"]
    wanted = [trt.ComputeCapability.SM80, trt.ComputeCapability.SM86, trt.ComputeCapability.SM89]
    wanted += [trt.ComputeCapability.SM120]
    config.num_compute_capabilities = len(wanted)
    for index, capability in enumerate(wanted):
        config.set_compute_capability(capability, index)
    return [str(capability).rpartition(".")[2] for capability in wanted]


def runtime_config(trt: Any, engine: Any) -> Any:
    """With CUDA graphs inside the runtime where it has them; `None` where contexts take no configuration."""
    if not hasattr(engine, "create_runtime_config"):
        return None
    config = engine.create_runtime_config()
    strategy = getattr(trt, "CudaGraphStrategy", None)
    if strategy is not None and hasattr(config, "cuda_graph_strategy"):
        config.cuda_graph_strategy = strategy.WHOLE_GRAPH_CAPTURE
    return config
