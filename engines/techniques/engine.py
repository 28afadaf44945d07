"""Which engine runs the components."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, get_args

from engines.backends.serves import SERVES, devices_of
from engines.plan import Backend, Plan
from engines.techniques.base import Card, Parameter, Target, Technique, device_of, register

TITLES: Final[dict[str, str]] = {
    "torch": "torch",
    "compile": "torch.compile",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tensorrt": "TensorRT",
    "mlx": "MLX",
    "coreml": "Core ML",
}
DEVICES: Final[dict[str, tuple[str, ...]]] = {name: devices_of(name) for name in get_args(Backend)}
"""Devices that this version runs each engine on, or builds for."""


@register
@dataclass(frozen=True)
class Engine(Technique):
    """Build every component with one engine from the same capture."""

    backend: Backend = "openvino"

    name = "engine"
    title = "Engine"
    summary = "Run the components on another engine than eager torch."
    order = 90
    export = "kernel"
    parameters = (Parameter("backend", "choice", "openvino", "The engine.", choices=get_args(Backend)),)

    def explain(self) -> str:
        if self.backend == "torch":
            return "The components run in eager torch, like the baseline."
        title = TITLES[self.backend]
        return f"Every component is built with {title} from its capture and checked against eager torch."

    def label(self) -> str:
        return TITLES[self.backend]

    def apply(self, plan: Plan) -> Plan:
        return replace(plan, backend=self.backend)

    def applies(self, card: Card, target: Target) -> str | None:
        device = device_of(target)
        if device not in DEVICES[self.backend]:
            others = " or ".join(SERVES.get(device, ()))
            advice = f"use {others}" if others else "choose another device"
            return f"{TITLES[self.backend]} does not serve {device} in this version; {advice}."
        return super().applies(card, target)
