"""Triton's schema and server, each out of its wheel without what that wheel asks for beside it.

Neither can be a dependency: the client holds other libraries back, the server wants an older numpy.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any, Final

import pytest

CLIENT: Final = "tritonclient==2.73.0"
SERVER: Final = "nvidia-pytriton==0.7.0"
BACKEND: Final = Path(__file__).with_name("triton_onnxruntime_backend.py")
_ROOT: Final = Path(__file__).resolve().parents[2]


def unpack(folder: Path, *wheels: str, alone: bool = True) -> None:
    """Put wheels into a folder, `alone` without what they ask for; skips the test where none can be had."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(_ROOT / ".uv" / "bin"))
    if uv is None:
        pytest.skip(f"there is no uv here to get {wheels[0]}")
    get = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder), *wheels]
    get += ["--no-deps"] if alone else []
    done = subprocess.run(get, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        pytest.skip(f"{wheels[0]} cannot be had here ({done.stderr.strip()[-200:]})")


class Schema:
    """Triton's own `model_config.proto`."""

    def __init__(self, folder: Path) -> None:
        unpack(folder, CLIENT)
        path = folder / "tritonclient" / "grpc" / "model_config_pb2.py"
        spec = util.spec_from_file_location("triton_model_config_pb2", path)
        assert spec is not None
        assert spec.loader is not None
        self.messages: Any = util.module_from_spec(spec)
        spec.loader.exec_module(self.messages)

    def parse(self, text: str) -> Any:
        """A configuration; raises where it does not fit."""
        text_format = importlib.import_module("google.protobuf.text_format")
        return text_format.Parse(text, self.messages.ModelConfig())


def server(folder: Path) -> Path:
    """A folder for the path that holds `tritonserver`; backends beside it as in NVIDIA's containers.

    The server and its Python backend are NVIDIA's own, out of a wheel that holds no ONNX Runtime backend: a
    python-based one of that name takes its place.  Its Python hears of no PYTHONPATH and looks beside its own
    module, where its wheels are put.
    """
    wheel, backends = folder / "wheel", folder / "backends"
    unpack(wheel, SERVER)
    inside = wheel / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = inside / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        pytest.skip(f"{SERVER} knows no Python {version}")
    shutil.copytree(inside / "backends" / "python", backends / "python")
    shutil.copy2(stub, backends / "python")
    (backends / "python" / stub.name).chmod(0o755)
    unpack(backends / "python", "numpy<2", "onnxruntime", "tokenizers", alone=False)
    (backends / "onnxruntime").mkdir()
    shutil.copyfile(BACKEND, backends / "onnxruntime" / "model.py")
    (folder / "bin").mkdir()
    start = folder / "bin" / "tritonserver"
    libraries = wheel / "nvidia_pytriton.libs"
    start.write_text(
        f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{inside / "bin" / "tritonserver"}" "$@"\n'
    )
    start.chmod(0o755)
    (inside / "bin" / "tritonserver").chmod(0o755)
    return folder / "bin"
