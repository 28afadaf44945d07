"""Engine files to components; travels inside a package (numpy and the engine's runtime)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.errors import PackageError

Arrays = dict[str, NDArray[Any]]
Component = Callable[[Arrays], Arrays]

LARGE: Final = 2**30
"""Bytes of weights above which one dynamic model serves all batch sizes, to spare memory."""


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
    """Compiled with static shapes, one for each batch size that occurs: dynamic shapes halve the speed."""
    import openvino

    core = openvino.Core()
    model = core.read_model(model_file)
    inputs = {port.get_any_name(): list(port.get_partial_shape())[1:] for port in model.inputs}
    names = [port.get_any_name() for port in model.outputs]
    static = model_file.with_suffix(".bin").stat().st_size < LARGE
    requests: dict[int, Any] = {}

    def request(batch: int) -> Any:
        size = batch if static else -1
        if size not in requests:
            model.reshape({name: openvino.PartialShape([size, *shape]) for name, shape in inputs.items()})
            requests[size] = core.compile_model(model, "CPU", options).create_infer_request()
        return requests[size]

    def call(arrays: Arrays) -> Arrays:
        given = [np.ascontiguousarray(arrays[name]) for name in inputs]
        found = request(len(given[0])).infer(given, share_inputs=True)
        return {name: found[at].copy() for at, name in enumerate(names)}

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
