"""Components on torch: a captured program, eager or compiled, or AOTInductor's; travels in a package."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.errors import PackageError

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]

COMPILERS: Final = ("g++", "clang++", "c++", "cl")
INSTALL: Final = {
    "linux": "apt install g++",
    "darwin": "xcode-select --install",
    "win32": "winget install Microsoft.VisualStudio.2022.BuildTools",
}
COMPILES: Final = (
    "torch.compile compiles when a picture is first made, which takes from seconds to minutes; later "
    "pictures do not wait for it."
)
LACKS_TORCHAO: Final = (
    "Its weights are quantised by torchao, which is not installed; `run.py --info` names the file of wheels"
    " that brings it."
)


def lacks_compiler() -> str:
    """Why torch.compile cannot be used here, as a sentence; empty where it can."""
    if any(shutil.which(name) for name in COMPILERS):
        return ""
    advice = INSTALL.get(sys.platform, "")
    return "torch.compile needs a C++ compiler, and this machine has none" + (
        f"; install one: {advice}." if advice else "."
    )


def program(model_file: Path, options: Mapping[str, str], device: str, *, compiled: bool) -> Component:
    """A captured program as `engines.package.torch_graph` reads it.

    Args:
        options: `channels_last` ("true"), `threads`.

    Raises:
        PackageError: the device or the compiler is not there, or torchao, whose weights it has.
        ImportError, ValueError, OSError: torch is not there, or the files are none that it knows.
    """
    import torch

    from engines.package.torch_graph import Graph

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[device]:
        raise PackageError(f"torch finds no {device} device on this machine.")
    if compiled and device == "cpu" and (reason := lacks_compiler()):
        raise PackageError(reason)
    _limit(options)
    try:
        graph = Graph(model_file.parent, device).eval()
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "torchao":
            raise
        raise PackageError(LACKS_TORCHAO) from None
    last = options.get("channels_last") == "true"
    if last:
        graph = graph.to(memory_format=torch.channels_last)
    function: Any = torch.compile(graph, dynamic=False) if compiled else graph

    def call(arrays: Arrays) -> Arrays:
        given = [_tensor(arrays[name]).to(device) for name in graph.inputs]
        if last:
            given = [
                one.contiguous(memory_format=torch.channels_last) if one.ndim == 4 else one for one in given
            ]
        if compiled and len(given[0]) > 1:  # once for one row, once for any other number
            for one in given:
                torch._dynamo.maybe_mark_dynamic(one, 0)  # noqa: SLF001 - torch's documentation has it so
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of inductor, about this machine
            return _arrays(graph.outputs, function(*given))

    return call


def native(model_file: Path, options: Mapping[str, str]) -> Component:
    """What AOTInductor compiled, which is machine code: whoever calls this has asked whether it may run.

    Args:
        options: `inputs` and `outputs` (names, separated by blanks), `threads`.
    """
    import torch

    _limit(options)
    # Not by `torch._inductor`: its reader takes whatever else lies in the archive, pickles included.
    loader: Any = torch._C._aoti.AOTIModelPackageLoader(str(model_file), "model", False, 1, -1)  # noqa: SLF001
    inputs, outputs = options["inputs"].split(), options["outputs"].split()

    def call(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            return _arrays(outputs, loader.boxed_run([_tensor(arrays[name]) for name in inputs]))

    return call


def _limit(options: Mapping[str, str]) -> None:
    import torch

    if threads := int(options.get("threads", 0)):
        torch.set_num_threads(threads)  # of the process: its other components have the same number


def _tensor(array: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _arrays(names: list[str], found: Any) -> Arrays:
    pairs = zip(names, found, strict=True)
    return {name: value.float().contiguous().cpu().numpy() for name, value in pairs}
