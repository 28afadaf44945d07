"""ONNX models on a Triton server that has no ONNX Runtime backend: a python-based backend of that name."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any


class TritonPythonModel:
    """What Triton looks for in a python-based backend."""

    def initialize(self, args: dict[str, str]) -> None:
        self.triton: Any = importlib.import_module("triton_python_backend_utils")
        runtime: Any = importlib.import_module("onnxruntime")
        config = json.loads(args["model_config"])
        path = Path(args["model_repository"]) / args["model_version"] / config["default_model_filename"]
        self.session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.inputs = [one["name"] for one in config["input"]]
        self.outputs = [one["name"] for one in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        triton = self.triton
        given = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        wanted = [name for name in self.outputs if name in request.requested_output_names()]
        found = self.session.run(wanted, given)
        tensors = [triton.Tensor(name, value) for name, value in zip(wanted, found, strict=True)]
        return triton.InferenceResponse(output_tensors=tensors)
