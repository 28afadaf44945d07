"""The worker's commands about the language model, over its real pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.messages_service import MODEL, MessagesService

KEY = "sk-canary-5512aa90c3e1"


def test_a_key_given_over_the_pipe_is_used_and_comes_back_nowhere(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {
        **{name: value for name, value in os.environ.items() if "KEY" not in name},
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    with MessagesService([], key=KEY) as service:
        asked: list[tuple[str, dict[str, Any]]] = [
            ("llm_about", {"url": service.url}),
            ("llm_models", {"url": service.url}),
            ("llm_key", {"url": service.url, "key": KEY}),
            ("llm_models", {"url": service.url}),
            ("llm_key", {"url": "ftp://nowhere", "key": KEY}),
            ("steer", {"text": "try without int8"}),
            ("decide", {"candidate": "c001", "run": True}),
            ("steer", {"words": "x"}),
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", "studio.work.worker", "--home", str(home)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        answers: dict[int, dict[str, Any]] = {}
        lines: list[str] = []
        # Light commands are answered in turn by one thread; one after the other keeps the order of this test.
        for number, (command, arguments) in enumerate(asked, 1):
            process.stdin.write(
                json.dumps({"job": number, "command": command, "arguments": arguments}) + "\n"
            )
            process.stdin.flush()
            while number not in answers:
                line = process.stdout.readline()
                assert line, "the worker ended"
                lines.append(line)
                found = json.loads(line)
                if found["type"] in ("job.done", "job.failed"):
                    answers[found["data"]["job"]] = found
        _, errors = process.communicate(timeout=60)
    kinds = [answers[number]["type"] for number in range(1, len(asked) + 1)]
    assert kinds == [f"job.{how}" for how in ("done", "failed", "done", "done", *["failed"] * 4)]
    assert answers[1]["data"]["result"]["key"] == "none"
    assert "refuses the key" in answers[2]["data"]["text"]
    assert answers[3]["data"]["result"]["kept"] == "sitting"
    assert [one["id"] for one in answers[4]["data"]["result"]["models"]] == [MODEL]
    assert "no address" in answers[5]["data"]["text"]
    assert answers[6]["data"]["text"] == "There is no run to steer."
    assert answers[7]["data"]["text"] == "There is no run to decide about."
    assert KEY not in "".join(lines) + errors
    assert not [path for path in home.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
