"""ONNX Runtime: on the CPU, on CUDA, on DirectML, and by Windows ML's catalogue of providers.

The file is portable, so it can be made where the device is absent; the CPU
provider then takes the device's place in checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final

from engines import drivers, installing
from engines.backends import directml, half_range
from engines.backends.base import Artifact, Availability, Backend, Built, Options
from engines.backends.guard import Component
from engines.backends.onnx_files import FORMAT, MODEL, converted, files, precision_facts
from engines.backends.onnx_int8 import FORM, quantise
from engines.backends.onnx_narrow import BLOCK, OPERATOR, narrow
from engines.backends.providers import OnnxComponent
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.paths import link
from engines.plan import Precision

OPTIONS: Final[Mapping[str, str]] = {"session.force_spinning_stop": "1"}
"""Session entries.  Threads that go on spinning after a call would steal time from whatever runs next."""
BUILD: Final[Mapping[str, str]] = {
    "exporter": "torch.onnx, its own optimiser off",
    "batch": "dynamic",
}
"""What an ONNX file was made with, as a package tells it."""
QUANTISED: Final[Mapping[str, str]] = {
    "quantisation": "QDQ of Conv, Gemm, and MatMul with a weight; weights int8 by channel, activations"
    " uint8, ranges by minimum and maximum",
}
WHEELS: Final[Mapping[str, tuple[str, ...]]] = {
    "cuda": ("onnxruntime-gpu",),
    "directml": ("onnxruntime-directml",),
    "windowsml": ("onnxruntime-windowsml", "windowsml"),
}
"""The distributions that bring a device's provider."""
BITS: Final[Mapping[Precision, int]] = {"w8": 8, "w4": 4}
DRIVERS: Final[Mapping[str, Callable[[], str]]] = {
    "cuda": lambda: drivers.nvidia(),
    "directml": lambda: drivers.directx(),
    "windowsml": lambda: drivers.windows_ml(),
}
"""Why a device is not on this machine, whatever is installed."""


class OnnxRuntime(Backend):
    name = "onnxruntime"
    title = "ONNX Runtime"
    packages = ("onnxruntime", "onnx", "onnxscript")
    builds_anywhere = True
    precisions: ClassVar = {
        "fp32": "",
        "fp16": "",
        "bf16": "ONNX Runtime's kernels compute convolutions in fp32 or fp16 only",
        "int8": "",
        "w8": "",
        "w6": "ONNX Runtime keeps weights in 8 or 4 bits",
        "w4": "",
    }

    def version(self) -> str:
        """Of whichever wheel brought the module."""
        found = drivers.installed(*drivers.RUNTIMES)
        return metadata.version(found[-1] if found else "onnxruntime")

    def unfit(self) -> Availability | None:
        reason, remedy = drivers.runtimes_in_conflict()
        return Availability("missing", reason, remedy) if reason else None

    def absent(self, device: str) -> str:
        if device == "cpu":
            return ""
        if reason := DRIVERS[device]():
            return reason
        lacking = [wheel for wheel in WHEELS[device] if not drivers.installed(wheel)]
        return f"{lacking[0]} is not installed" if lacking else ""

    def remedy(self, device: str) -> str:
        """The device's own wheels, in the place of the one that owns the module now."""
        if DRIVERS[device]():
            return ""
        present = drivers.installed(*drivers.RUNTIMES)
        return installing.exchange([one for one in present if one not in WHEELS[device]], *WHEELS[device])

    def stand_in(self, device: str) -> str:
        return "ONNX Runtime's CPU provider" if device != "cpu" else ""

    def settings(self, options: Options) -> tuple[str, ...]:
        """Of which form the file is: what one could not be built of, the next may be."""
        if options.device == "cpu":
            return (FORM, half_range.FORM) if half_range.needed(options) else ()
        return (f"onnx{FORMAT}",)

    def objection(self, precision: Precision, device: str) -> str:
        if precision == "fp16" and device == "cpu":
            return "ONNX Runtime's CPU kernels compute convolutions in fp32 only"
        if precision == "int8" and device == "directml":
            return "DirectML leaves quantised operators to the CPU; use fp16"
        if precision == "int8" and device == "cuda":
            return "ONNX Runtime has no int8 convolutions for CUDA; use tensorrt"
        return super().objection(precision, device)

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        bits = BITS.get(options.precision)
        in_halves = options.precision == "fp16" or (bits is not None and options.device != "cpu")
        half: Precision = "fp16" if in_halves else "fp32"
        opset = directml.OPSET if options.device in ("directml", "windowsml") else None
        source = converted(capture, self.version(), half, opset)
        facts: dict[str, Any] = {"options": dict(OPTIONS), "build": dict(BUILD)}
        if bits is not None:
            facts["narrow_products"] = narrow(source / MODEL, folder / MODEL, bits)
            facts["build"] |= {
                "weights": f"of matrix products in {bits} bits, blocks of {BLOCK} ({OPERATOR})"
            }
        elif options.precision == "int8":
            if options.calibration is None:
                raise BuildError("int8 needs calibration data")
            samples = options.calibration.samples(capture.component)
            quantise(source / MODEL, folder / MODEL, samples, half_range=half_range.needed(options))
            facts["calibration"] = options.calibration.facts
            facts["build"] |= {**QUANTISED, "range": half_range.NOTE}
        else:
            for file in files(source / MODEL):
                link(file, folder / file.name)
        if opset is not None:
            facts["left_to_cpu"] = directml.lacking(folder / MODEL)
        if options.device != "cpu":
            facts |= precision_facts(folder / MODEL)
        return Built([file.name for file in files(folder / MODEL)], facts)

    def remarks(self, artifact: Artifact) -> Sequence[str]:
        said = []
        if artifact.metadata.get("narrow_products") == 0:
            said.append(
                f"{artifact.capture.component}: ONNX Runtime keeps weights of matrix products alone in"
                f" {BITS[artifact.precision]} bits, and it has none."
            )
        left = artifact.metadata.get("left_to_cpu", ())
        if not left:
            return said
        whose = "DirectML" if artifact.device == "directml" else "DirectML, Windows ML's last resort,"
        lacks = f"{whose} has no {' and no '.join(left)}"
        cost = "computed on the CPU, with a copy of what goes in and what comes out each time"
        return (*said, f"{artifact.capture.component}: {lacks}: {cost}.")

    def component_of(self, artifact: Artifact) -> Component:
        place = "cpu" if self.absent(artifact.device) else artifact.device
        return OnnxComponent(artifact.folder / MODEL, artifact.metadata["options"], place)
