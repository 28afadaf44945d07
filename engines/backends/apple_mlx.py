"""MLX, from the captured program: our own lowering, no model written again.

On a Mac it runs on the GPU.  MLX's CPU build for Linux computes the same graph
slowly: it stands in for the device in checks, and says so.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from engines.backends.base import Artifact, Backend, Built, Options
from engines.backends.guard import Component
from engines.backends.lowered import program_of
from engines.capture.capture import Capture
from engines.plan import Precision

BITS: Final[dict[Precision, int]] = {"w8": 8, "w4": 4}


class AppleMlx(Backend):
    name = "mlx"
    title = "MLX"
    packages = ("mlx",)
    extra = "mlx"
    builds_anywhere = True
    precisions: ClassVar = {
        "fp32": "",
        "fp16": "",
        "bf16": "",
        "w8": "",
        "w4": "",
        "int8": "MLX quantises weights, not activations; use w8",
        "fp8": "MLX quantises weights, not activations; use w8",
        "w6": "its groups hold 4 or 8 bits a weight here; use w8 or w4",
    }

    def absent(self, device: str) -> str:  # noqa: ARG002 - it serves one
        if sys.platform == "darwin" and platform.machine() == "arm64":
            return ""
        return "MLX's GPU is an Apple chip's"

    def stand_in(self, device: str) -> str:  # noqa: ARG002
        return "MLX on this machine's CPU" if find_spec("mlx") is not None else ""

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        from engines.backends.mlx_graph.lower import lower
        from engines.backends.mlx_graph.operators import table
        from engines.backends.mlx_graph.run import PROGRAM, WEIGHTS
        from engines.backends.mlx_graph.save import save

        half: Precision = options.precision if options.precision in ("fp32", "bf16") else "fp16"
        bits = BITS.get(options.precision, 0)
        names = [spec.name for spec in capture.inputs]
        program, weights = lower(program_of(capture, half), names, table(), bits)
        save(replace(program, names=[spec.name for spec in capture.outputs]), weights, folder)
        quantised = sum(one.kind == "quantised" for one in program.constants.values())
        facts = {
            "options": {},
            "operators": len(program.nodes),
            "quantised": quantised,
            "excluded": [
                one.tensor
                for name, one in program.constants.items()
                if bits and one.kind != "quantised" and weights[name].ndim >= 2
            ],
        }
        return Built((PROGRAM, WEIGHTS), facts)

    def component_of(self, artifact: Artifact) -> Component:
        from engines.backends.mlx_graph.run import open_folder

        return open_folder(artifact.folder)
