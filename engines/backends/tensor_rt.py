"""TensorRT-RTX for desktop cards, TensorRT 11 for servers: one path, their differences in `tensor_rt_names`.

Networks are strongly typed: what is computed in which precision is written in
the ONNX file that the engine is built from.  TensorRT-RTX builds without a GPU
and compiles kernels on the user's card when an engine is first opened; a
runtime cache keeps them.  An engine opens in the very version only that built it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

from engines import drivers, installing
from engines.backends.base import Artifact, Availability, Backend, Built, Options
from engines.backends.guard import Component
from engines.backends.onnx_files import FORMAT, converted, precision_facts
from engines.backends.onnx_files import MODEL as ONNX
from engines.backends.onnx_int8 import FORM, quantise
from engines.backends.tensor_rt_names import OWN_CARD, SERVER, USUAL, chosen, targets
from engines.capture.capture import Capture
from engines.errors import BuildError
from engines.paths import cache_folder, digest, locked
from engines.plan import NARROW, Precision

MODEL: Final = "model.engine"
LARGEST_BATCH: Final = 8
"""Of the profile; larger batches are computed in pieces."""
BEST_BATCH: Final = 2
"""What kernels are chosen for: one picture, guided."""


class TensorRt(Backend):
    name = "tensorrt"
    packages = ("tensorrt_rtx",)
    extra = "tensorrt"
    builds_anywhere = True
    version_bound = True
    precisions: ClassVar = {
        "fp32": "",
        "fp16": "",
        "bf16": "",
        "int8": "",
        "fp8": "float8 Q/DQ needs calibration that is not made yet; use compile for fp8",
        **dict.fromkeys(
            NARROW, "TensorRT wants weights in few bits as Q/DQ by block, which is not written yet"
        ),
    }

    @property
    def title(self) -> str:  # type: ignore[override]
        return "TensorRT" if self._server() else "TensorRT-RTX"

    def _server(self) -> bool:
        return chosen() == SERVER

    def probe(self, device: str = "") -> Availability:
        """On a server's card the other distribution is named, also beside TensorRT-RTX, which only builds."""
        found = super().probe(device)
        if found.state != "ready" and drivers.beyond_rtx() and find_spec(SERVER) is None:
            return replace(found, install=installing.lacking(SERVER, extra="tensorrt-server"))
        return found

    def missing(self) -> list[str]:
        if self._server():
            return [] if find_spec(SERVER) is not None else [SERVER]
        return super().missing()

    def unfit(self) -> Availability | None:
        if self._server() and drivers.nvidia():
            return Availability("missing", f"TensorRT builds on its own GPU only, and {drivers.nvidia()}")
        return None

    def version(self) -> str:
        found = drivers.installed(*((SERVER,) if self._server() else ("tensorrt-rtx", "tensorrt_rtx")))
        if not found:
            return "none"
        from importlib import metadata

        return metadata.version(found[0])

    def absent(self, device: str) -> str:  # noqa: ARG002 - it serves one
        return drivers.nvidia() if self._server() else drivers.tensorrt_rtx()

    def settings(self, options: Options) -> tuple[str, ...]:
        """Of which form the ONNX file is, and generations beyond the usual ones: they make another engine."""
        beyond = () if self._server() else tuple(name for name in targets() if name not in USUAL)
        form = (FORM,) if options.precision == "int8" else ()
        return (f"onnx{FORMAT}", *form, *beyond)

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        from engines.backends.tensor_rt_build import build_engine, validity

        half: Precision = options.precision if options.precision in ("fp16", "bf16") else "fp32"
        source = converted(capture, "tensorrt", half) / ONNX
        facts: dict[str, Any] = {"options": {}}
        if options.precision == "int8":
            if options.calibration is None:
                raise BuildError("int8 needs calibration data")
            quantised = folder / ONNX
            quantise(source, quantised, options.calibration.samples(capture.component), signed=True)
            source, facts["calibration"] = quantised, options.calibration.facts
        shapes = {spec.name: spec.shape for spec in capture.inputs}
        engine = build_engine(
            source,
            shapes,
            (1, BEST_BATCH, LARGEST_BATCH),
            self._timing_cache(),
            sparse=capture.component.startswith("denoiser") and capture.structure.denoiser.sparse,
        )
        (folder / MODEL).write_bytes(engine)
        facts |= {
            "profile": {"least": 1, "best": BEST_BATCH, "largest": LARGEST_BATCH},
            "header": validity(engine),
            "targets": [OWN_CARD] if self._server() else list(targets()),
            "source": precision_facts(source),
        }
        if options.precision == "int8":
            source.unlink()
        return Built((MODEL,), facts)

    def _timing_cache(self) -> Path:
        return cache_folder("tensorrt") / f"{digest(self.version())}.timing"

    def examine(self, artifact: Artifact) -> Mapping[str, Any]:
        """The header must be an engine of this version; that there is no GPU is no fault of it."""
        header = artifact.metadata["header"]
        faults = [one for one in header["reasons"] if one in ("MALFORMED_ENGINE", "VERSION_MISMATCH")]
        if faults:
            raise BuildError(f"its header says {' and '.join(faults)}")
        return {}

    def component_of(self, artifact: Artifact) -> Component:
        from engines.backends.tensor_rt_run import TensorRtComponent

        capture = artifact.capture
        kernels = cache_folder("tensorrt") / f"{artifact.key}.kernels"
        with locked(kernels):
            return TensorRtComponent(
                artifact.folder / MODEL,
                [spec.name for spec in capture.inputs],
                [spec.name for spec in capture.outputs],
                int(artifact.metadata["profile"]["largest"]),
                kernels,
            )
