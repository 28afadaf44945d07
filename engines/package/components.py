"""Engine files to components; travels inside a package (numpy and the engine's runtime)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import PackageError

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]


def load(folder: Path, engine: Mapping[str, Any]) -> Component:
    """One variant as a component.

    Args:
        folder: where the variant's files lie.
        engine: the manifest's `executor_info["pareto-studio"]`.

    Raises:
        PackageError: the runtime is missing or refuses the file.
    """
    name = str(engine["engine"])
    opener = {"openvino": _openvino, "onnxruntime": _onnxruntime}.get(name)
    if opener is None:
        raise PackageError(f"This package needs the engine {name}, which its runner does not know.")
    try:
        return opener(folder / engine["model_file"], dict(engine.get("options", {})))
    except ImportError as error:
        raise PackageError(
            f"{name} is not installed ({error}); run `python -m pip install -r requirements.txt`."
        ) from None
    except PackageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise PackageError(
            f"{name} cannot load {engine['model_file']} on this machine ({reason}); install the versions in "
            "requirements.txt, or export the package for this machine."
        ) from error


def _openvino(model_file: Path, options: dict[str, str]) -> Component:
    import openvino

    device = options.pop("DEVICE", "CPU")
    compiled = openvino.Core().compile_model(str(model_file), device, options)
    request = compiled.create_infer_request()
    names = [port.get_any_name() for port in compiled.outputs]

    def call(inputs: Arrays) -> Arrays:
        request.infer({name: np.ascontiguousarray(array) for name, array in inputs.items()})
        return {name: request.get_output_tensor(at).data.copy() for at, name in enumerate(names)}

    return call


def _onnxruntime(model_file: Path, options: dict[str, str]) -> Component:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    for key, value in options.items():
        settings.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(str(model_file), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def call(inputs: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, inputs), strict=True))

    return call
