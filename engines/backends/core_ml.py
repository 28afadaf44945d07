"""Core ML, from the captured component: fp16, palettes or linear int8 for the weights, by compute unit.

coremltools converts under Linux too; running needs macOS.  The Neural Engine
wants fixed shapes, so a package holds one function for each batch of one and
two, sharing their weights; other batches are computed in pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from engines import drivers
from engines.backends.base import Artifact, Backend, Built, Options
from engines.backends.guard import Component
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.plan import Precision, Units

PACKAGE: Final = "model.mlpackage"
FORMAT: Final = 2
"""Raise it when the same program becomes another package, or one that was refused becomes one."""
BATCHES: Final = (1, 2)
"""One picture without guidance, and with it."""
UNITS: Final[Mapping[Units, str]] = {
    "all": "ALL",
    "gpu": "CPU_AND_GPU",
    "neural-engine": "CPU_AND_NE",
    "cpu": "CPU_ONLY",
}
SPLIT: Final[tuple[Units, ...]] = ("neural-engine",)
"""Units that want attention one head at a time; the other form on the wrong unit runs at a hundredth of the
speed (apple/ml-stable-diffusion, issue 271), so that the unit decides and nobody can pair them wrongly."""


class CoreMl(Backend):
    name = "coreml"
    title = "Core ML"
    packages = ("coremltools",)
    extra = "coreml"
    builds_anywhere = True
    precisions: ClassVar = {
        "fp32": "",
        "fp16": "",
        "w8": "",
        "w6": "",
        "w4": "",
        "bf16": "Apple's units compute in fp16; use fp16",
        "int8": "activations in int8 need data that is not collected for Core ML yet; use w8",
        "fp8": "Apple's units have no float8; use w8",
    }

    def absent(self, device: str) -> str:  # noqa: ARG002 - it serves one
        return drivers.macos()

    def settings(self, options: Options) -> tuple[str, ...]:
        form = f"form{FORMAT}"
        return (form, "split-einsum") if options.units in SPLIT else (form,)

    def objection(self, precision: Precision, device: str) -> str:
        return super().objection(precision, device)

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        from engines.backends.core_ml_convert import convert

        facts = convert(capture, folder / PACKAGE, options.precision, BATCHES, split=options.units in SPLIT)
        files = [path.relative_to(folder).as_posix() for path in sorted((folder / PACKAGE).rglob("*"))]
        return Built(
            [name for name in files if (folder / name).is_file()],
            {"options": {"compute_units": UNITS[options.units]}, **facts},
        )

    def examine(self, artifact: Artifact) -> Mapping[str, Any]:
        """Raises `BuildError` where the package has not the interface that was asked for."""
        from engines.backends.core_ml_convert import described

        found = described(artifact.folder / PACKAGE)
        names = [spec.name for spec in artifact.capture.inputs]
        outputs = [spec.name for spec in artifact.capture.outputs]
        for function in found["functions"]:
            if function["inputs"] != names or function["outputs"] != outputs:
                raise BuildError(f"its {function['name']} takes {function['inputs']}, not {names}")
        return found

    def component_of(self, artifact: Artifact) -> Component:
        from engines.backends.core_ml_run import CoreMlComponent

        return CoreMlComponent(
            artifact.folder / PACKAGE,
            [spec.name for spec in artifact.capture.inputs],
            [spec.name for spec in artifact.capture.outputs],
            str(artifact.metadata["options"]["compute_units"]),
        )
