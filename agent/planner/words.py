"""How techniques are called in a sentence."""

from __future__ import annotations

from typing import Final

ENGINES: Final = {
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "compile": "torch.compile",
    "torch": "torch",
}
SOLVERS: Final = {"ddim": "DDIM", "dpm++2m": "DPM++ 2M", "unipc": "UniPC", "euler": "Euler", "lcm": "LCM"}


def engine_name(backend: str) -> str:
    return ENGINES.get(backend, backend)


def solver_name(solver: str) -> str:
    return SOLVERS.get(solver, solver)


def title_of(token: str) -> str:
    """A technique as a sentence names it: `tiny-decoder` -> `the tiny decoder`."""
    name, _, choice = token.partition("/")
    if name == "engine":
        return engine_name(choice)
    if name == "scheduler":
        return f"the {solver_name(choice)} solver"
    plain = {
        "student": "the few-step student",
        "tiny-decoder": "the tiny decoder",
        "prompt-cache": "the prompt cache",
        "fused-qkv": "fused QKV",
    }
    return plain.get(name, name.replace("-", " "))
