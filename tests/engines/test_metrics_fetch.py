"""Fetching the metrics pack: a real server on loopback, broken connections and wrong files included."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engines.errors import MetricsError
from engines.metrics_pack import fetch, place
from engines.metrics_pack.contents import ENTRIES
from tests.engines.test_models_hub import Hub

PLAIN = "plain.pth"
WEIGHTS = bytes(range(256)) * 16 * 1024
CLIENT = """
import dataclasses, json, sys
from engines.errors import EngineError
from engines.metrics_pack import contents, fetch
change = json.loads(sys.argv[1])
contents.ENTRIES["dino"] = dataclasses.replace(contents.ENTRIES["dino"], **change)
said = []
try:
    found = fetch.get("dino", lambda *given: said.append(given))
    print("HERE", found.origin, found.sha256, found.path)
except EngineError as error:
    print("SAID", error)
"""


class Shelf(Hub):
    """The hub with one more file; `cut` ends its answer early."""

    cut: int = 0
    token: str = ""

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        if self.token and self.headers.get("Authorization") != f"Bearer {self.token}":
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Error-Message", "Access is restricted.")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def file(self, name: str) -> None:
        if not self.cut or name != PLAIN:
            super().file(name)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(WEIGHTS)))
        self.end_headers()
        self.asked.append(f"{name} 0")
        self.wfile.write(WEIGHTS[: self.cut])
        self.close_connection = True


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Shelf]]]:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("model.safetensors", PLAIN):
        (folder / name).write_bytes(WEIGHTS)
    for name in ("config.json", "preprocessor_config.json", "pytorch_model.bin"):
        (folder / name).write_text("{}")
    handler = type("Handler", (Shelf,), {"folder": folder, "asked": [], "breaks": {}, "refusals": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def published(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_file_is_fetched_once_goes_on_where_it_broke_off_and_is_checked(
    shelf: tuple[str, type[Shelf]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, handler = shelf
    wanted = dataclasses.replace(
        ENTRIES["lpips"], source=f"{address}/resolve/main/{PLAIN}", **published(WEIGHTS)
    )
    monkeypatch.setitem(ENTRIES, "lpips", wanted)
    handler.cut = 3 << 20
    with pytest.raises(MetricsError, match="goes on where it broke off"):
        fetch.get("lpips", lambda *_: None)
    assert place.find("lpips") is None
    handler.cut = 0
    told: list[tuple[int, int, str]] = []
    found = fetch.get("lpips", lambda *given: told.append(given))
    assert handler.asked == [f"{PLAIN} 0", f"{PLAIN} {3 << 20}"]
    assert (found.origin, found.is_published, found.path.read_bytes()) == ("downloaded", True, WEIGHTS)
    assert told[0][1] == len(WEIGHTS) >> 20
    fetch.get("lpips", lambda *_: None)
    assert len(handler.asked) == 2


def test_a_file_with_another_checksum_is_removed_and_said(
    shelf: tuple[str, type[Shelf]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = shelf
    other: dict[str, Any] = {"size": len(WEIGHTS), "sha256": "0" * 64}
    monkeypatch.setitem(
        ENTRIES,
        "lpips",
        dataclasses.replace(ENTRIES["lpips"], source=f"{address}/resolve/main/{PLAIN}", **other),
    )
    with pytest.raises(MetricsError, match="not what was published"):
        fetch.get("lpips", lambda *_: None)
    assert place.find("lpips") is None
    assert [path.name for path in place.home("lpips").iterdir()] == []


def test_where_nobody_answers_the_sentence_says_what_to_do(
    shelf: tuple[str, type[Shelf]], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = dataclasses.replace(ENTRIES["lpips"], source="http://127.0.0.1:9/plain.pth")
    monkeypatch.setitem(ENTRIES, "lpips", nowhere)
    with pytest.raises(MetricsError, match="connect to the network"):
        fetch.get("lpips", lambda *_: None)


def client(endpoint: str, home: Path, change: dict[str, Any], **more: str) -> str:
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), **more}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps(change)],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith(("HERE", "SAID"))]
    assert lines, done.stderr[-2000:]
    return lines[-1]


def test_a_network_of_the_hub_is_fetched_by_its_commit_with_only_what_it_needs(
    shelf: tuple[str, type[Shelf]], tmp_path: Path
) -> None:
    endpoint, handler = shelf
    change = {"source": "somebody/small", **published(WEIGHTS)}
    first = client(endpoint, tmp_path / "home", change)
    assert first.startswith(f"HERE downloaded {change['sha256']}")
    assert {line.split()[0] for line in handler.asked} == {
        "model.safetensors",
        "config.json",
        "preprocessor_config.json",
    }
    handler.asked.clear()
    assert client(endpoint, tmp_path / "home", change, HF_HUB_OFFLINE="1") == first
    assert handler.asked == []
    found = place.find("dino")
    assert found is not None
    assert found.path == place.home("dino")


def test_a_gated_network_takes_the_token_from_the_system_keyring_and_shows_it_nowhere(
    shelf: tuple[str, type[Shelf]], tmp_path: Path
) -> None:
    endpoint, handler = shelf
    handler.token = "hf_something_secret"
    change = {"source": "somebody/small", **published(WEIGHTS)}
    more = {
        "PYTHON_KEYRING_BACKEND": "tests.engines.file_keyring.FileKeyring",
        "TEST_KEYRING": str(tmp_path / "keyring.json"),
        "PYTHONPATH": str(Path.cwd()),
    }
    said = client(endpoint, tmp_path / "home", change, **more)
    assert "gated: accept its licence" in said
    assert "hub-token" in said
    done = subprocess.run(
        [sys.executable, "-m", "studio", "hub-token"],
        input="hf_something_secret\n", env=os.environ | {"HF_ENDPOINT": endpoint, **more}, text=True,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert "hf_something" not in done.stdout + done.stderr
    assert "in the system keyring" in done.stdout
    assert client(endpoint, tmp_path / "home", change, **more).startswith("HERE downloaded")
