"""A Triton server for a moment: to see that it loads a repository and what it draws.

`tritonserver` is looked for on the path, as in NVIDIA's containers, with its backends beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from engines.errors import PackageError
from engines.layouts.base import Pixels

START_SECONDS: Final = 180
ANSWER_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Installed:
    """Where a server lies."""

    binary: Path
    backends: Path

    @property
    def borrowed(self) -> bool:
        """Its ONNX Runtime backend is one in Python, not Triton's own."""
        return (self.backends / "onnxruntime" / "model.py").is_file()


def installed() -> Installed | None:
    """The server that is here, if there is one with the backends that a repository asks for."""
    found = shutil.which("tritonserver")
    if found is None:
        return None
    binary = Path(found).resolve()
    backends = binary.parents[1] / "backends"
    if not all((backends / name).is_dir() for name in ("python", "onnxruntime")):
        return None
    return Installed(binary, backends)


class Serving:
    """A server that answers on this machine."""

    def __init__(self, address: str) -> None:
        self._address = address

    @property
    def version(self) -> str:
        return str(self._asked("v2")["version"])

    def draw(self, model: str, prompts: list[str], seeds: list[int]) -> Pixels:
        """Pictures (N, H, W, 3) of one request.

        Raises:
            PackageError: the server refuses, with its own words.
        """
        rows = len(prompts)
        request = {
            "inputs": [
                {"name": "prompt", "shape": [rows, 1], "datatype": "BYTES", "data": prompts},
                {"name": "seed", "shape": [rows, 1], "datatype": "UINT64", "data": seeds},
            ]
        }
        answer = self._asked(f"v2/models/{model}/infer", request)["outputs"][0]
        return np.array(answer["data"], dtype=np.uint8).reshape(answer["shape"])

    def _asked(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._address}/{path}", data)  # noqa: S310 - on loopback
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read().decode("utf-8", "replace")[:300]
            raise PackageError(f"Triton refused the request ({said}).") from None
        except (OSError, ValueError) as error:
            raise PackageError(f"Triton did not answer ({error}).") from None


@contextmanager
def serving(found: Installed, repository: Path, room: Path) -> Iterator[Serving]:
    """Run the server on a repository; `room` is an empty folder for what it needs meanwhile.

    Raises:
        PackageError: it does not load the repository, with its own words.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(found.binary),
        "--model-repository",
        str(repository),
        "--backend-directory",
        str(found.backends),
    ]
    command += ["--http-address", "127.0.0.1", "--http-port", str(port), "--http-thread-count", "2"]
    command += ["--allow-grpc", "false", "--allow-metrics", "false"]
    command += ["--backend-config", f"python,shm-region-prefix-name=pareto-{os.getpid()}"]
    environment = _outside(os.environ) | {"PYTHONDONTWRITEBYTECODE": "1"}
    log = room / "server.log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=room,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/v2/health/ready", log)
        yield Serving(f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _outside(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables without an active virtual environment, whose packages the server's own Python would take.

    Its interface to numpy is of version 1: of numpy 2 it reads arrays wrongly and goes down.
    """
    kept = {name: value for name, value in environment.items() if name != "VIRTUAL_ENV"}
    if active := environment.get("VIRTUAL_ENV"):
        places = kept.get("PATH", "").split(os.pathsep)
        kept["PATH"] = os.pathsep.join(one for one in places if Path(one).parent != Path(active))
    return kept


def _wait(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(ready, timeout=5):  # noqa: S310 - on loopback
                return
        except OSError:
            time.sleep(0.2)
    said = [
        line for line in log.read_text("utf-8", "replace").splitlines() if "failed" in line or "rror" in line
    ]
    raise PackageError(f"Triton does not load the repository ({(said or ['no reason given'])[-1][:300]}).")
