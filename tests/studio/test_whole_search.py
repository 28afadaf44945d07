"""A whole search as a user starts it: every technique there is, every engine really built."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

MEMORY_ONLY = {"vae-tiling", "vae-slicing"}
"""They make a picture slower and need less memory: nothing to try where memory was not asked for."""
WASTED = 3
"""Candidates of 28 that may fail."""


@pytest.mark.slow
def test_a_whole_search_of_everything_ends_and_wastes_little(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["optimize", "tiny-scenes", "--device", "cpu", "--generations", "4", "--population", "7"]
    done = run(
        [sys.executable, "-m", "studio", *command, "--no-certify", "--json", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    events: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]
    proposed = [one["data"] for one in events if one.get("type") == "candidate.proposed"]
    judged = {
        one["data"]["id"]: one["data"]["verdict"] for one in events if one.get("type") == "candidate.judged"
    }
    finished = next(one["data"] for one in events if one.get("type") == "run.finished")
    with capsys.disabled():
        print()
        for generation in range(1, 5):
            for one in (one for one in proposed if one["generation"] == generation):
                verdict = judged[one["id"]]
                speed = f"{verdict['speedup']['value']:.1f}x" if verdict["speedup"] else verdict["reason"]
                words = f"{generation} {one['id']} {verdict['state']:9} {verdict['seconds']:5.1f} s"
                print(f"{words} {speed:>8}  {one['title']}")
        print(f"{finished['seconds']:.0f} s in all")
    assert finished["reason"] == "done"
    assert len([one for one in proposed if one["generation"]]) >= 28
    tried = {step["technique"] for one in proposed for step in one["recipe"]}
    assert not tried & MEMORY_ONLY
    assert sum(verdict["state"] != "passed" for verdict in judged.values()) <= WASTED
    good = [
        verdict["speedup"]["value"]
        for verdict in judged.values()
        if verdict["state"] == "passed" and verdict["loss"]["value"] <= 0.02
    ]
    assert max(good) > 20  # 35 to 45 on the machines tried
