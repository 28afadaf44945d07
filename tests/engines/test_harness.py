"""The harness: any script by one command, and the protocol that the evaluator speaks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines import harness
from engines.errors import ScriptError

GOOD = """
import numpy as np
print("said while imported")
def load(model, device, workload):
    return workload.size or 8
def generate(size, prompts, seeds):
    out = np.zeros((len(prompts), size, size, 3), np.uint8)
    out[:] = np.array(seeds, np.uint8)[:, None, None, None]
    return out
"""


def write(folder: Path, source: str) -> Path:
    path = folder / "script.py"
    path.write_text(source)
    return path


def test_one_command_makes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    script = write(tmp_path, GOOD)
    assert harness.main([str(script), "--seed", "9", "--out", str(out), "--workload", '{"size": 16}']) == 0
    assert np.asarray(Image.open(out)).shape == (16, 16, 3)
    assert "16x16 px" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def load(:", "does not parse"),
        ("def load(model, device, workload): pass", "no function generate"),
        (GOOD.replace("return out", "return out[0]"), "shape"),
        (GOOD.replace("return out", "return out.astype(int)"), "uint8"),
        (GOOD.replace("return out", "return 1 / 0"), "ZeroDivisionError"),
        (GOOD.replace("return workload.size or 8", "return 24"), "16x16 px were asked for"),
    ],
)
def test_a_bad_script_gives_one_sentence_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    arguments = [str(write(tmp_path, source)), "--out", str(tmp_path / "x.png"), "--workload", '{"size": 16}']
    assert harness.main(arguments) == 1
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert "Traceback" not in error


def test_a_missing_script_and_an_unwritable_picture_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness.main([str(tmp_path / "none.py")]) == 1
    assert "none.py cannot be read" in capsys.readouterr().err
    assert harness.main([str(write(tmp_path, GOOD)), "--out", str(tmp_path / "no" / "x.png")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def talk(script: Path, *requests: dict[str, Any]) -> tuple[list[dict[str, Any]], bytes, str]:
    lines = "".join(json.dumps(request) + "\n" for request in requests).encode()
    done = subprocess.run(
        [sys.executable, "-m", "engines.harness", "--serve"], input=lines, capture_output=True, check=True
    )
    answers, payloads, rest = [], b"", done.stdout
    while rest:
        line, _, rest = rest.partition(b"\n")
        answers.append(json.loads(line))
        size = answers[-1].get("bytes", 0)
        payloads, rest = payloads + rest[:size], rest[size:]
    return answers, payloads, done.stderr.decode()


def test_the_loop_answers_each_request_and_keeps_what_scripts_print_apart(tmp_path: Path) -> None:
    script = write(tmp_path, GOOD)
    load = {"op": "load", "script": str(script), "model": "m", "device": "cpu", "workload": {}}
    answers, pictures, printed = talk(
        script,
        {"op": "generate", "prompts": ["a"], "seeds": [1]},
        load,
        {"op": "generate", "prompts": ["a", "b"], "seeds": [5, 6], "ticket": 7},
        {"op": "dance"},
        load | {"script": str(tmp_path / "none.py")},
    )
    assert [answer["ok"] for answer in answers] == [False, True, True, False, False]
    assert answers[2]["shape"] == [2, 8, 8, 3]
    assert answers[2]["ticket"] == 7
    assert set(pictures) == {5, 6}
    assert "load before generate" in answers[0]["error"]
    assert "Traceback" in answers[4]["traceback"] or answers[4]["traceback"]
    assert "said while imported" in printed


def test_evidence_of_a_pipeline_without_any_is_empty() -> None:
    assert harness.evidence(object()) == {
        "stages": {},
        "calls": {},
        "rows": {},
        "broken": [],
        "fallbacks": [],
    }


def test_pictures_that_are_no_array_are_refused() -> None:
    with pytest.raises(ScriptError, match="list"):
        harness.check_images([1], 1)
