"""The host loop as a model of NVIDIA Triton's Python backend; the components are called by BLS.

    inputs   prompt  TYPE_STRING (1,), seed TYPE_UINT64 (1,) a request's row
    output   image   TYPE_UINT8 (H, W, 3), of video (F, H, W, 3)

Beside it lie settings.json, the tokenizers and the host loop (`engines/hostloop`:
numpy and tokenizers) as they are.  All requests that wait together are drawn together.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


class TritonPythonModel:
    """What the Python backend looks for in `model.py`."""

    def initialize(self, args: dict[str, str]) -> None:
        self.triton: Any = importlib.import_module("triton_python_backend_utils")
        folder = Path(args["model_repository"]) / args["model_version"]
        sys.path.insert(0, str(folder))
        hostloop: Any = importlib.import_module("engines.hostloop")
        tokenizers: Any = importlib.import_module("tokenizers")
        found = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        settings = hostloop.LoopSettings.from_json(found["host_loop"])
        words = {
            name: tokenizers.Tokenizer.from_file(str(folder / path))
            for name, path in found["tokenizers"].items()
        }
        components = {
            name: self.component(model, found["outputs"][name]) for name, model in found["components"].items()
        }
        self.loop = hostloop.Loop(components, words, settings)

    def component(self, model: str, outputs: list[str]) -> Any:
        """One of the repository's other models as a function from named arrays to named arrays."""
        triton = self.triton

        def call(inputs: dict[str, Any]) -> dict[str, Any]:
            given = [
                # A row of single numbers is (B, 1) to Triton, which gives (B,) to the model.
                triton.Tensor(name, np.ascontiguousarray(value if value.ndim > 1 else value[:, None]))
                for name, value in inputs.items()
            ]
            request = triton.InferenceRequest(
                model_name=model,
                requested_output_names=outputs,
                inputs=given,
                preferred_memory=triton.PreferredMemory(triton.TRITONSERVER_MEMORY_CPU, 0),
            )
            answer = request.exec()
            if answer.has_error():
                raise triton.TritonModelException(answer.error().message())
            return {name: triton.get_output_tensor_by_name(answer, name).as_numpy() for name in outputs}

        return call

    def execute(self, requests: list[Any]) -> list[Any]:
        triton = self.triton
        prompts: list[str] = []
        seeds: list[int] = []
        rows: list[int] = []
        for request in requests:
            said = triton.get_input_tensor_by_name(request, "prompt").as_numpy().reshape(-1)
            prompts += [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in said]
            seeds += triton.get_input_tensor_by_name(request, "seed").as_numpy().reshape(-1).tolist()
            rows.append(len(said))
        try:
            images = self.loop.generate(prompts, seeds).images
        except Exception as error:  # noqa: BLE001 - Triton answers with it; the server stays up
            failed = triton.TritonError(" ".join(str(error).split()))
            return [triton.InferenceResponse(output_tensors=[], error=failed) for _ in requests]
        answers, at = [], 0
        for count in rows:
            part = np.ascontiguousarray(images[at : at + count])
            answers.append(triton.InferenceResponse(output_tensors=[triton.Tensor("image", part)]))
            at += count
        return answers
