"""Where the Python modules of TensorRT-RTX and TensorRT 11 differ."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any, Final

from engines import drivers
from engines.errors import BuildError

RTX: Final = "tensorrt_rtx"
SERVER: Final = "tensorrt"
USUAL: Final = ("SM80", "SM86", "SM89", "SM120")
"""TensorRT-RTX's own default: Ampere, Ada and Blackwell."""
OWN_CARD: Final = "this GPU"
"""What a server's engine is for, and nothing else."""
ASKED_FOR: Final = ("SM75", "SM121")
"""Served too, but built for only where the card here is one: Turing, and Blackwell in small computers."""


def chosen() -> str:
    """The module for the card of this machine: `tensorrt_rtx` for desktop cards and where there is none,
    `tensorrt` for others; the other one where only that is installed.
    """
    wanted = (SERVER, RTX) if drivers.beyond_rtx() else (RTX, SERVER)
    return next((name for name in wanted if find_spec(name) is not None), wanted[0])


def module() -> Any:
    """The chosen module.

    Raises:
        BuildError: it is not installed, or its libraries do not load.
    """
    name = chosen()
    if find_spec(name) is None:
        raise BuildError("neither tensorrt_rtx nor tensorrt is installed")
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise BuildError(f"{name} does not load ({error})") from error


def is_rtx(trt: Any) -> bool:
    return hasattr(trt, "ComputeCapability")


def network_flags(trt: Any) -> int:
    """Strongly typed; TensorRT 11 knows no other networks and may drop the flag."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def targets() -> tuple[str, ...]:
    """The generations that a TensorRT-RTX engine is for: the usual ones, and this machine's where that is
    one that must be asked for.
    """
    cards = drivers.nvidia_cards()
    own = "SM{}{}".format(*cards[0].capability) if cards else ""
    return (own, *USUAL) if own in ASKED_FOR else USUAL


def set_targets(trt: Any, config: Any) -> list[str]:
    """The cards that an engine is for, set and named: see `targets`, or the card in this machine."""
    if not is_rtx(trt):
        return [OWN_CARD]
    wanted = [getattr(trt.ComputeCapability, name) for name in targets()]
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
