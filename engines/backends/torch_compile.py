"""torch.compile's inductor, ahead of time: one native package for each component (AOTInductor).

Ahead of time, because a candidate's process must not trace and compile again:
opening the package takes a moment, compiling minutes.
"""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from engines.backends.base import (
    Arrays,
    Artifact,
    Availability,
    Backend,
    Built,
    Component,
    Options,
    first_line,
)
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.paths import cache_folder, digest

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

MODEL: Final = "model.pt2"
COMPILERS: Final = ("g++", "clang++", "c++", "cl")


class TorchCompile(Backend):
    name = "compile"
    title = "torch.compile"
    packages = ("torch",)
    precisions: ClassVar = {"fp32": "", "bf16": "", "int8": "quantised programs are not made for it yet"}

    def probe(self) -> Availability:
        if not any(shutil.which(name) for name in COMPILERS):
            return Availability("missing", "there is no C++ compiler", "apt install g++")
        return super().probe()

    def uses_channels_last(self) -> bool:
        return True

    def machine(self) -> tuple[str, ...]:
        return (platform.system(), platform.machine(), _processor())

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        from torch._inductor import aoti_compile_and_package

        program = capture.program if options.precision == "fp32" else _lowered(capture)
        settings: dict[str, Any] = {"layout_optimization": True} if options.channels_last else {}
        with _inductor_cache(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                aoti_compile_and_package(program, package_path=str(folder / MODEL), inductor_configs=settings)
            except Exception as error:
                raise BuildError(f"inductor cannot compile it ({first_line(error)})") from error
        return Built((MODEL,), {"options": {}})

    def component_of(self, artifact: Artifact) -> Component:
        import torch._inductor.config
        from torch._inductor import aoti_load_package

        # Without the setting, loading compiles test programs to see which vector instructions work:
        # seconds, and a candidate's process may not write where they go.
        with warnings.catch_warnings(), torch._inductor.config.patch({"cpp.vec_isa_ok": True}):
            warnings.simplefilter("ignore")
            package = aoti_load_package(str(artifact.folder / MODEL))
        capture = artifact.capture
        return CompiledComponent(
            package, [spec.name for spec in capture.inputs], [spec.name for spec in capture.outputs]
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


def _lowered(capture: Capture) -> ExportedProgram:
    """Captured again in bf16, float32 outside: casts cannot be written into a finished program."""
    import torch

    class Lowered(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Capture(capture.model, capture.structure).module.to(torch.bfloat16)

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            lowered = [
                tensor.to(torch.bfloat16) if spec.dtype == "float32" and spec.name != "timestep" else tensor
                for tensor, spec in zip(given, capture.inputs, strict=True)
            ]
            found = self.inner(*lowered)
            return tuple(value.float() for value in (found if isinstance(found, tuple) else (found,)))

    example = tuple(torch.from_numpy(capture.example()[spec.name]) for spec in capture.inputs)
    shapes = (tuple({0: torch.export.Dim.DYNAMIC} for _ in capture.inputs),)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(Lowered(), example, dynamic_shapes=shapes, strict=False)


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
