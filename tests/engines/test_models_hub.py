"""Downloading from a hub: a real HTTP server on loopback, a real client in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.models.load import open_model
from tests.engines.small_model import write_small_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLIENT = """
import sys
from engines.errors import ModelError
from engines.models.load import open_model
said = []
try:
    model = open_model("somebody/small", lambda done, total, doing: said.append((done, total, doing)))
    print("OPENED", model.hash, model.revision, said[-1] if said else "")
except ModelError as error:
    print("SAID", error, getattr(error, "wants", ""))
"""


class Hub(BaseHTTPRequestHandler):
    """What the client asks a hub for one repository."""

    folder: Path
    asked: list[str]
    breaks: dict[str, int]
    """Bytes after which the connection breaks, once for each file that is named."""
    refusals: dict[str, tuple[int, dict[str, str]]]
    """By token ("" for none): status and headers that its files are refused with."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_given: Any) -> None:
        pass

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def answer(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    @property
    def refusal(self) -> tuple[int, dict[str, str]] | None:
        return self.refusals.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        names = [one.relative_to(self.folder).as_posix() for one in self.files()]
        if path.startswith("/api/models/somebody/small/tree"):
            entries = [
                {"type": "file", "path": name, "size": (self.folder / name).stat().st_size, "oid": "0" * 40}
                for name in names
            ]
            self.answer(entries)
        elif path.startswith("/api/models/somebody/small"):
            self.answer(
                {"id": "somebody/small", "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
            )
        elif "/resolve/" in path and self.refusal is not None:
            status, headers = self.refusal
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif "/resolve/" in path:
            self.file(path.split("/resolve/")[1].partition("/")[2])
        else:
            self.send_error(404)

    def file(self, name: str) -> None:
        content = (self.folder / name).read_bytes()
        start = 0
        asked = self.headers.get("Range")
        if asked and asked.startswith("bytes="):
            start = int(asked.removeprefix("bytes=").partition("-")[0] or 0)
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.asked.append(f"{name} {start}")
            if name in self.breaks:
                self.wfile.write(content[start : self.breaks.pop(name)])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.wfile.write(content[start:])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, type[Hub]]]:
    folder = write_small_model(tmp_path / "model")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"never fetched")
    (folder / "small.safetensors").write_bytes(b"never fetched")
    handler = type("Handler", (Hub,), {"folder": folder, "asked": [], "breaks": {}, "refusals": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def client(endpoint: str, home: Path, **more: str) -> str:
    wanted = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "PARETO_STUDIO_CACHE": str(home / "cache"),
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", CLIENT], env=os.environ | wanted, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith(("OPENED", "SAID"))]
    assert lines, done.stderr[-2000:]
    return lines[-1]


def test_a_model_of_the_hubs_cache_knows_its_commit_and_keeps_it_with_what_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    plain = write_small_model(tmp_path / "plain")
    kept = tmp_path / "models--somebody--small" / "snapshots" / COMMIT
    kept.parent.mkdir(parents=True)
    plain.rename(kept)
    model = open_model(kept)
    assert model.revision == COMMIT
    assert write_small_model(plain).is_dir()
    assert open_model(plain).revision == ""
    tiny = tmp_path / "tiny"
    shutil.copytree(kept / "tiny_vae", tiny)
    assert open_model(f"{kept} + tiny-decoder={tiny}").revision == COMMIT


@pytest.mark.slow
def test_a_hub_model_is_fetched_once_with_progress_and_opens_offline_afterwards(
    hub: tuple[str, type[Hub]], tmp_path: Path
) -> None:
    endpoint, handler = hub
    first = client(endpoint, tmp_path / "home")
    assert first.startswith("OPENED")
    assert first.split()[2] == COMMIT
    assert "Downloading somebody/small" in first
    fetched = {line.split()[0] for line in handler.asked}
    assert "unet/diffusion_pytorch_model.safetensors" in fetched
    assert not {name for name in fetched if name.endswith(".bin") or name == "small.safetensors"}
    handler.asked.clear()
    assert client(endpoint, tmp_path / "home", HF_HUB_OFFLINE="1").split()[1] == first.split()[1]
    assert handler.asked == []
    said = client(endpoint, tmp_path / "other", HF_HUB_OFFLINE="1")
    assert "cannot be reached (HF_HUB_OFFLINE is set)" in said


@pytest.mark.slow
def test_a_download_that_breaks_off_goes_on_where_it_was(hub: tuple[str, type[Hub]], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    endpoint, handler = hub
    weights = "unet/diffusion_pytorch_model.safetensors"
    # the client writes to the disk in pieces of ten million bytes
    padding = {"padding": np.zeros(3_500_000, np.float32)}
    save_file(load_file(handler.folder / weights) | padding, handler.folder / weights)
    handler.breaks[weights] = 12_000_000
    said = client(endpoint, tmp_path / "home")
    assert said.startswith("OPENED"), said
    starts = [int(line.split()[1]) for line in handler.asked if line.startswith(weights)]
    assert starts[0] == 0
    assert 0 < starts[-1] <= 12_000_000, "it was fetched from its beginning again"


GATED = {
    "": (
        401,
        {
            "X-Error-Code": "GatedRepo",
            "X-Error-Message": "Access to model somebody/small is restricted. You must have access to it and"
            " be authenticated to access it. Please log in.",
        },
    ),
    "hf_stranger": (
        403,
        {
            "X-Error-Code": "GatedRepo",
            "X-Error-Message": "Access to model somebody/small is restricted and you are not in the"
            " authorized list.",
        },
    ),
    "hf_narrow": (
        403,
        {
            "X-Error-Message": "Please enable access to public gated repositories in your fine-grained token"
            " settings to view this repository."
        },
    ),
    "hf_expired": (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
}
"""What the hub answers for the files of a gated model; its list of files is public."""


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "is gated: accept its licence on {page}, then give your token (in the window"),
        pytest.param(
            "hf_stranger",
            "the account of your token has no access to it: accept its licence on {page}",
            marks=pytest.mark.slow,
        ),
        ("hf_narrow", "refuses somebody/small to your token (Please enable access to public gated"),
        pytest.param(
            "hf_expired",
            "refuses somebody/small to your token (Invalid credentials",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["no token", "no access", "too narrow", "expired"],
)
def test_a_gated_model_says_on_which_page_its_licence_is_and_what_becomes_of_the_token(
    hub: tuple[str, type[Hub]], tmp_path: Path, token: str, says: str
) -> None:
    endpoint, handler = hub
    handler.refusals = GATED
    nobody = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "HF_TOKEN": token}
    said = client(endpoint, tmp_path / "home", **nobody)
    assert says.format(page=f"{endpoint}/somebody/small") in said
    assert said.endswith("hub_token")
    assert "hf_" not in said
    assert handler.asked == []


@pytest.mark.slow
def test_a_gated_model_opens_by_command_for_a_token_that_may(
    hub: tuple[str, type[Hub]], tmp_path: Path
) -> None:
    endpoint, handler = hub
    handler.refusals = GATED

    def inspect(token: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": token,
            "PARETO_STUDIO_CACHE": str(tmp_path / "cache"), "PARETO_STUDIO_HOME": str(tmp_path / "studio"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }  # fmt: skip
        command = [sys.executable, "-m", "studio", "inspect", "somebody/small"]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    refused = inspect("")
    assert refused.returncode == 1
    assert "is gated" in " ".join(refused.stderr.split()), refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    opened = inspect("hf_member")
    assert opened.returncode == 0, opened.stderr
    assert "Weights in fp32" in " ".join(opened.stdout.split())


@pytest.mark.slow
def test_a_gated_model_opens_in_the_worker_once_the_window_has_given_the_token(
    hub: tuple[str, type[Hub]], tmp_path: Path
) -> None:
    endpoint, handler = hub
    handler.refusals = GATED
    environment = os.environ | {
        "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "",
        "PARETO_STUDIO_CACHE": str(tmp_path / "cache"),
        "PYTHON_KEYRING_BACKEND": "tests.engines.file_keyring.FileKeyring",
        "TEST_KEYRING": str(tmp_path / "keyring.json"),
    }  # fmt: skip
    asked = [
        ("inspect", {"model": "somebody/small"}),
        ("hub_token", {"token": "hf_member"}),
        ("inspect", {"model": "somebody/small"}),
        ("hub_token", {"token": ""}),
    ]
    requests = "".join(
        json.dumps({"job": number, "command": command, "arguments": arguments}) + "\n"
        for number, (command, arguments) in enumerate(asked, 1)
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "studio.work.worker", "--home", str(tmp_path / "studio")],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(requests)
    process.stdin.flush()
    answers: dict[int, dict[str, Any]] = {}
    said = ""
    while len(answers) < len(asked):
        line = process.stdout.readline()
        assert line, answers
        said += line
        event = json.loads(line)
        if event["type"] in ("job.done", "job.failed"):
            answers[event["data"]["job"]] = event["data"]
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert answers[1]["wants"] == "hub_token"
    assert answers[2]["result"] == {"kept": True}
    assert answers[3]["result"]["card"]["source"] == "somebody/small"
    assert answers[4]["result"] == {"kept": False}
    assert "hf_member" not in said
