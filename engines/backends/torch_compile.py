"""torch.compile: ahead of time for the CPU (AOTInductor), in the process with CUDA graphs for a GPU.

Ahead of time, because a candidate's process must not trace and compile again:
opening the package takes a moment, compiling minutes.  On a GPU the compiler's
cache is kept instead, which spares the next process all but the tracing.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from engines import drivers, installing
from engines.backends.base import Artifact, Availability, Backend, Built, Options, Supplement
from engines.backends.guard import Arrays, Component, first_line
from engines.backends.lowered import program_of
from engines.backends.torch_graphs import GraphedComponent, quantising_objection
from engines.backends.torch_ways import refuse_slow_bf16
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.package.torch_files import COMPILERS, INSTALL
from engines.paths import cache_folder, digest
from engines.plan import NARROW, Precision

MODEL: Final = "model.pt2"
KERNELS: Final = "kernels.cache"
"""What torch.compile keeps for a card, as `torch.compiler.save_cache_artifacts` gives it."""


class TorchCompile(Backend):
    name = "compile"
    title = "torch.compile"
    packages = ("torch",)
    version_bound = True
    precisions: ClassVar = {
        "fp32": "",
        "fp16": "",
        "bf16": "",
        "int8": "",
        "fp8": "",
        **dict.fromkeys(NARROW, "torch.compile keeps no weights in few bits, which save memory and not time"),
    }

    def unfit(self) -> Availability | None:
        if not any(shutil.which(name) for name in COMPILERS):
            return Availability("missing", "there is no C++ compiler", INSTALL.get(sys.platform, ""))
        return None

    def absent(self, device: str) -> str:
        return drivers.torch_on(device)

    def remedy(self, device: str) -> str:
        return installing.torch_for_card() if device == "cuda" and not drivers.nvidia() else ""

    def supplements(self, device: str) -> Sequence[Supplement]:
        return (Supplement("torchao", "fp8 and int8", "cuda"),) if device == "cuda" else ()

    def objection(self, precision: Precision, device: str) -> str:
        if device == "cpu" and precision == "int8":
            return "quantised programs are not made for it yet"
        if device == "cpu" and precision in ("fp16", "fp8"):
            return f"a CPU computes {precision} slower than fp32; use bf16"
        return super().objection(precision, device) or quantising_objection(precision)

    def uses_channels_last(self) -> bool:
        return True

    def machine(self) -> tuple[str, ...]:
        return (platform.system(), platform.machine(), _processor())

    def calibrates(self, device: str) -> bool:
        return device == "cpu"

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        from torch._inductor import aoti_compile_and_package

        if options.device != "cpu":
            return _for_card(capture, options.precision, folder)
        refuse_slow_bf16(options)
        program = program_of(capture, options.precision)
        settings: dict[str, Any] = {"layout_optimization": True} if options.channels_last else {}
        with _inductor_cache(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                aoti_compile_and_package(program, package_path=str(folder / MODEL), inductor_configs=settings)
            except Exception as error:
                raise BuildError(f"inductor cannot compile it ({first_line(error)})") from error
        return Built((MODEL,), {"options": {}})

    def _on_card(self, artifact: Artifact) -> Component:
        import torch

        if artifact.files:
            torch.compiler.load_cache_artifacts((artifact.folder / KERNELS).read_bytes())
        return _graphed(artifact.capture, artifact.precision)

    def component_of(self, artifact: Artifact) -> Component:
        if artifact.device != "cpu":
            return self._on_card(artifact)
        from torch._inductor import aoti_load_package

        with warnings.catch_warnings(), _no_test_programs():
            warnings.simplefilter("ignore")
            package = aoti_load_package(str(artifact.folder / MODEL))
        capture = artifact.capture
        return CompiledComponent(
            package, [spec.name for spec in capture.inputs], [spec.name for spec in capture.outputs]
        )


def _for_card(capture: Capture, precision: Precision, folder: Path) -> Built:
    """Compile for one row and for more, and keep the compiler's cache: the next process reads it."""
    import torch

    component = _graphed(capture, precision)
    with _inductor_cache():
        for rows in (2, 1):
            component(capture.example(rows))
    kept = torch.compiler.save_cache_artifacts()
    facts: dict[str, Any] = {
        "options": {},
        "graphs": True,
        "regions": component.regions,
        "quantised_layers": component.quantised,
    }
    if kept is None:
        return Built((), facts)
    (folder / KERNELS).write_bytes(kept[0])
    return Built((KERNELS,), facts)


def _graphed(capture: Capture, precision: Precision) -> GraphedComponent:
    return GraphedComponent(
        Capture(capture.model, capture.structure).module,
        [spec.name for spec in capture.inputs],
        [spec.name for spec in capture.outputs],
        precision,
        "cuda",
        channels_last=True,
        compiled=True,
    )


class CompiledComponent:
    """A loaded package as a function from arrays to arrays."""

    def __init__(self, package: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._package, self._inputs, self._outputs = package, tuple(inputs), tuple(outputs)

    def __call__(self, inputs: Arrays) -> Arrays:
        import torch

        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._inputs]
        with torch.inference_mode():
            found = self._package(*tensors)
        values = found if isinstance(found, tuple | list) else (found,)
        named = zip(self._outputs, values, strict=True)
        return {name: value.float().contiguous().numpy() for name, value in named}


@contextmanager
def _no_test_programs() -> Iterator[None]:
    """Loading compiles test programs to see which vector instructions work, only to warn of others.

    That takes seconds, and a candidate's process may not write where they go;
    an artifact's name already holds the processor that it was built on.
    """
    from torch._inductor import codecache

    asked = codecache.get_device_information
    codecache.get_device_information = lambda device_type: {}  # noqa: ARG005 - torch's own signature
    try:
        yield
    finally:
        codecache.get_device_information = asked


@contextmanager
def _inductor_cache() -> Iterator[None]:
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(cache_folder("inductor"))
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _processor() -> str:
    """Native code is tied to the CPU's instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return digest([line for line in lines if line.startswith(("model name", "flags", "Features"))][:2])
