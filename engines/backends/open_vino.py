"""OpenVINO on CPU, Intel GPU and NPU: precision by explicit hint, int8 by NNCF post-training quantisation.

On a CPU with bf16 OpenVINO turns to bf16 by itself, so the precision hint is
always given.  Models are compiled with static shapes, one for each batch
size that occurs: dynamic ones run at half the speed, and an NPU takes no others.
The files are the same for every device: where a GPU is absent, the CPU plugin
can take its place in checks.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from engines import drivers
from engines.backends import half_range
from engines.backends.base import Artifact, Backend, Built, Options, Supplement
from engines.backends.guard import Arrays, Component, ordered
from engines.capture.capture import Capture
from engines.capture.structure import LOW_RANK
from engines.errors import BuildError
from engines.paths import cache_folder, digest, link, locked, new_folder
from engines.plan import Precision

MODEL: Final = "model.xml"
WEIGHTS: Final = "model.bin"
HINTS: Final[dict[Precision, str]] = {
    "fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "bf16", "w8": "f32", "w4": "f32",
}  # fmt: skip
MODES: Final[Mapping[Precision, str]] = {"w8": "INT8_SYM", "w4": "INT4_SYM"}
"""Weights alone, by NNCF's name of the mode; symmetric, as NPUs want them."""
GROUP: Final = 64
"""Weights of 4 bits that share a scale; fewer where a layer is narrower."""
LEAST_GROUP: Final = 16
PLUGINS: Final = {"cpu": "CPU", "intel-gpu": "GPU", "intel-npu": "NPU"}
LEFT: Final = "ScaledDotProductAttention"
"""What is not quantised."""
LARGE: Final = 2**30
"""Bytes of weights above which one dynamic model serves all batch sizes, to spare memory."""


class OpenVino(Backend):
    name = "openvino"
    title = "OpenVINO"
    packages = ("openvino",)
    builds_anywhere = True
    precisions: ClassVar = {
        "fp32": "",
        "fp16": "",
        "bf16": "",
        "int8": "",
        "w8": "",
        "w6": "OpenVINO keeps weights in 8 or 4 bits",
        "w4": "",
    }

    def absent(self, device: str) -> str:
        return {"intel-gpu": drivers.intel_gpu, "intel-npu": drivers.intel_npu}.get(device, str)()

    def stand_in(self, device: str) -> str:
        return "OpenVINO on the CPU" if device != "cpu" else ""

    def supplements(self, device: str) -> Sequence[Supplement]:  # noqa: ARG002
        return (Supplement("nncf", "int8 and weights in 8 and 4 bits"),)

    def settings(self, options: Options) -> tuple[str, ...]:
        """Of int8, which range its weights have."""
        return (half_range.FORM,) if half_range.needed(options) else ()

    def objection(self, precision: Precision, device: str) -> str:
        if device == "cpu" and precision == "fp16":
            return "OpenVINO's CPU plugin computes in f32 or bf16; use bf16"
        if device == "intel-npu" and precision in ("fp32", "bf16"):
            return "an NPU computes in fp16 and int8"
        if device == "intel-gpu" and precision == "bf16":
            return "OpenVINO's GPU plugin computes in f32 or f16; use fp16"
        return super().objection(precision, device)

    def machine(self) -> tuple[str, ...]:
        # The IR is portable; whether it may run in bf16 depends on the CPU.
        return ("bf16",) if has_bf16() else ()

    def _build(self, capture: Capture, options: Options, folder: Path) -> Built:
        import openvino

        if options.precision == "bf16" and options.device == "cpu" and not has_bf16():
            raise BuildError("this CPU has no bf16 instructions")
        source = converted(capture, self.version())
        facts: dict[str, Any] = {
            "options": properties(options.precision, options.device),
            "build": {"weights": "fp32, not compressed", "batch": "dynamic"},
        }
        if options.precision == "int8":
            if options.calibration is None:
                raise BuildError("int8 needs calibration data")
            samples = options.calibration.samples(capture.component)
            half = half_range.needed(options)
            model = quantise(openvino.Core().read_model(source / MODEL), capture, samples, half_range=half)
            openvino.save_model(model, folder / MODEL, compress_to_fp16=False)
            facts["calibration"] = options.calibration.facts
            facts["build"] |= {"quantisation": "NNCF after training, mixed preset, fast bias correction"}
            facts["build"] |= {"range": half_range.NOTE} if half else {}
            facts["excluded"] = [LEFT]
        elif options.precision in MODES:
            model = narrow(openvino.Core().read_model(source / MODEL), options.precision)
            openvino.save_model(model, folder / MODEL, compress_to_fp16=False)
            facts["build"] |= {"weights": f"NNCF {MODES[options.precision]}, not calibrated"}
        else:
            for name in (MODEL, WEIGHTS):
                link(source / name, folder / name)
        return Built((MODEL, WEIGHTS), facts)

    def component_of(self, artifact: Artifact) -> Component:
        capture = artifact.capture
        return OpenVinoComponent(
            artifact.folder / MODEL,
            {spec.name: spec.shape for spec in capture.inputs},
            [spec.name for spec in capture.outputs],
            *self._place(artifact),
        )

    def _place(self, artifact: Artifact) -> tuple[dict[str, str], str]:
        """Properties and plugin; where the device is absent, the CPU in fp32."""
        if self.absent(artifact.device):
            return properties(artifact.precision if artifact.precision in MODES else "fp32"), "CPU"
        return artifact.metadata["options"], PLUGINS[artifact.device]


def converted(capture: Capture, version: str) -> Path:
    """The folder of a capture's IR: the same for fp32 and bf16, and what int8 starts from."""
    import openvino

    folder = cache_folder("openvino") / digest(capture.key, version)
    with locked(folder):
        if not folder.is_dir():
            with new_folder(folder) as fresh:
                openvino.save_model(convert(capture), fresh / MODEL, compress_to_fp16=False)
    return folder


def has_bf16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def properties(precision: Precision, device: str = "cpu") -> dict[str, str]:
    """Runtime properties; the same go into a package."""
    hint = HINTS[precision]
    if precision in ("int8", *MODES) and device != "cpu":
        hint = "f16"
    elif precision == "int8" and not has_bf16():
        hint = "f32"
    found = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    if precision in MODES and device != "intel-npu":  # which does not know it
        # Else activations are quantised too, anew at every call.
        found["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
    return found


def convert(capture: Capture) -> Any:
    """The IR of a capture: named inputs and outputs, only the batch dynamic."""
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(capture.program)
    for port, spec in zip(model.inputs, capture.inputs, strict=True):
        port.get_tensor().set_names({spec.name})
    for port, spec in zip(model.outputs, capture.outputs, strict=True):
        port.get_tensor().set_names({spec.name})
    model.reshape({spec.name: [-1, *spec.shape] for spec in capture.inputs})
    _number_by_place(model)
    program = capture.program
    name_branches(model, {**program.state_dict, **program.constants})
    return model


def _number_by_place(model: Any) -> None:
    """Equal parts become equal files, for packages to share: OpenVINO numbers what has no name by all that
    the process has made so far."""
    model.set_friendly_name("model")
    for place, node in enumerate(model.get_ordered_ops()):
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_{place}")


def quantise(model: Any, capture: Capture, samples: Sequence[Arrays], *, half_range: bool = False) -> Any:
    """Post-training quantisation of activations and weights; embeddings of time stay as they are.

    Args:
        half_range: weights in seven bits (`engines.backends.half_range`).
    """
    import logging

    import nncf

    nncf.set_log_level(logging.ERROR)
    names = [spec.name for spec in capture.inputs]
    data = nncf.Dataset(list(samples), lambda sample: dict(zip(names, ordered(sample, names), strict=True)))
    is_denoiser = capture.component.startswith("denoiser")
    return nncf.quantize(
        model,
        data,
        model_type=nncf.ModelType.TRANSFORMER if is_denoiser else None,
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=True,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE if half_range else nncf.OverflowFix.FIRST_LAYER
        ),
        # Quantised scores and values cost 17 dB on a small U-Net (19.8 against 36.2 dB at worst) and save
        # nothing: attention is one kernel, and little of the work.
        ignored_scope=nncf.IgnoredScope(types=[LEFT], validate=False),
    )


def narrow(model: Any, precision: Precision) -> Any:
    """Weights in 8 bits by channel, or in 4 by group (embeddings and the last layer in 8); no activations."""
    import logging

    import nncf

    nncf.set_log_level(logging.ERROR)
    mode = nncf.CompressWeightsMode[MODES[precision]]
    whole = branches(model)
    ignored = nncf.IgnoredScope(names=whole) if whole else None
    if precision == "w8":
        return nncf.compress_weights(model, mode=mode, ignored_scope=ignored)
    return nncf.compress_weights(
        model,
        mode=mode,
        ignored_scope=ignored,
        group_size=GROUP,
        advanced_parameters=nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=LEAST_GROUP
        ),
    )


def name_branches(model: Any, values: Mapping[str, Any]) -> None:
    """Products with a low-rank branch's weights are named after it, which OpenVINO's conversion does not do.

    Args:
        values: a program's weights by name.
    """
    wanted = {name: one.detach().numpy() for name, one in values.items() if LOW_RANK in name}
    for node in model.get_ordered_ops() if wanted else ():
        if node.get_type_name() != "MatMul":
            continue
        source = node.input_value(1).get_node()
        if source.get_type_name() != "Constant":
            continue
        shape = tuple(source.get_output_shape(0))
        alike = {name: one for name, one in wanted.items() if one.shape in (shape, shape[::-1])}
        if not alike:
            continue
        data: Any = source.get_data()
        for name, one in alike.items():
            if any(np.array_equal(turned, data) for turned in (one, one.T)):
                node.set_friendly_name(name)


def branches(model: Any) -> list[str]:
    """Products of low-rank branches, which stay as they are (`engines.capture.low_rank`)."""
    names = (node.get_friendly_name() for node in model.get_ordered_ops())
    return [name for name in names if LOW_RANK in name]


class OpenVinoComponent:
    """Compiles for a batch size when it first occurs."""

    def __init__(
        self,
        path: Path,
        shapes: dict[str, tuple[int, ...]],
        outputs: Sequence[str],
        options: dict[str, str],
        plugin: str = "CPU",
    ) -> None:
        import openvino

        self._core = openvino.Core()
        self._path, self._shapes, self._options = path, shapes, dict(options)
        self._outputs, self._plugin = tuple(outputs), plugin
        self._static = plugin == "NPU" or path.with_suffix(".bin").stat().st_size < LARGE
        self._requests: dict[int, Any] = {}
        self._model = self._core.read_model(path)

    def _request(self, batch: int) -> Any:
        size = batch if self._static else -1
        if size not in self._requests:
            self._model.reshape({name: [size, *shape] for name, shape in self._shapes.items()})
            compiled = self._core.compile_model(self._model, self._plugin, self._options)
            self._requests[size] = compiled.create_infer_request()
        return self._requests[size]

    def __call__(self, inputs: Arrays) -> Arrays:
        arrays = ordered(inputs, tuple(self._shapes))
        found = self._request(len(arrays[0])).infer(arrays, share_inputs=True)
        return {name: found[index].copy() for index, name in enumerate(self._outputs)}
