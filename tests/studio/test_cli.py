"""The command line: light, complete as JSON, one sentence for everything that is wrong."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.candidate import Step
from agent.errors import WallsError
from agent.sandbox import walls
from engines.models import load
from engines.models.attached import ATTACH
from engines.paths import bundled_model
from studio.cli import main, parser, seconds
from studio.cli.follow import candidate_line
from studio.cli.main_job import unused_folder
from studio.cli.perform import has_display, model_source
from studio.errors import RunError
from studio.record import library
from studio.record.described import TargetState
from studio.record.journal import Journal
from studio.record.sources import STUDENT, TINY_DECODER, WITH
from studio.record.state import RunState
from studio.ui.desk import DRAWS
from studio.work import ready
from studio.work.commands import COMMANDS
from studio.work.consent import agree
from studio.work.drawing import Drawing
from tests.studio import scripted_worker
from tests.studio.recorded_run import add, begin

FUNCTIONS = "def load(*_): ...\ndef generate(*_): ...\n"
SCRIPTED = str(Path(__file__).with_name("scripted_command.py"))


def run(*arguments: str, home: Path, program: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PARETO_STUDIO_HOME": str(home),
        "PYTHONPATH": str(Path.cwd()),
        "COLUMNS": "160",
        **more,
    }
    command = [sys.executable, program] if program else [sys.executable, "-m", "studio"]
    return subprocess.run(
        [*command, *arguments], check=False, capture_output=True, text=True, timeout=240, env=environment
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that could not do what was asked."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("pareto-studio: ")
    return lines[0]


def test_help_and_version_import_nothing_but_the_standard_library() -> None:
    code = (
        "import sys\n"
        "from studio.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as error:\n    assert error.code == 0\n"
        "heavy = ('pydantic', 'numpy', 'torch', 'rich', 'engines', 'agent', 'PySide6', 'studio.record')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in (
        "doctor",
        "inspect",
        "optimize",
        "evaluate",
        "compare",
        "export",
        "verify",
        "sign",
        "diff",
        "package",
        "report",
        "runs",
    ):
        assert name in done.stdout


@pytest.mark.parametrize("name", ["doctor", "inspect", "optimize", "resume", "evaluate", "compare", "export"])
def test_every_command_has_help_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_times_are_read_as_people_write_them() -> None:
    assert [seconds(text) for text in ("240", "90s", "4m", "1h30m", "1.5m")] == [240, 90, 240, 5400, 90]
    for text in ("", "m", "4x", "-4", "0", "s"):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(text)


@pytest.mark.parametrize(
    "line",
    [
        ["optimize"],
        ["optimize", "m", "--generations", "0"],
        ["optimize", "m", "--budget", "soon"],
        ["optimize", "m", "--size", "7"],
        ["fly"],
        ["export", "run", "c001"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_wrong(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_bad_input_gives_one_sentence_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pickle = tmp_path / "model.ckpt"
    pickle.write_bytes(b"\x80\x04")
    half = tmp_path / "half"
    half.mkdir()
    (half / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    unlisted = tmp_path / "unlisted"
    unlisted.mkdir()
    for part in bundled_model().iterdir():
        (unlisted / part.name).symlink_to(part)
    index = json.loads((unlisted / "model_index.json").read_text())
    (unlisted / "model_index.json").unlink()
    (unlisted / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxCapacitorPipeline"}))
    script = tmp_path / "absent.py"
    broken, forbidden = tmp_path / "broken.py", tmp_path / "forbidden.py"
    broken.write_text("def load(:\n")
    forbidden.write_text(f"import os\n{FUNCTIONS}")
    for line, words in (
        (["inspect", str(tmp_path / "nowhere")], "There is no model"),
        (["inspect", str(pickle)], "pickle"),
        (["inspect", str(half)], str(half)),
        (["optimize", "tiny-scenes", "--prompts", str(tmp_path / "none.txt")], "There is no prompt file"),
        (["optimize", "tiny-scenes", "--device", "abacus"], "no target abacus"),
        (["optimize", str(half)], str(half)),
        (["optimize", str(unlisted)], "diffusers has no FluxCapacitorPipeline"),
        (["evaluate", "tiny-scenes", "--script", str(script)], "cannot be read"),
        (["evaluate", "tiny-scenes", "--script", str(broken)], "does not parse"),
        # the script is read first: a model that is not there is not looked for
        (["evaluate", str(tmp_path / "nowhere"), "--script", str(forbidden)], "imports os"),
        (["resume", "nothing"], "There is no run nothing"),
        (["compare", "last", "a", "b"], "There is no run"),
        (["export", "nothing", "c001", "--out", str(tmp_path)], "There is no run nothing"),
        (["report", "nothing"], "There is no run nothing"),
        (["verify", str(tmp_path / "no-package")], "no package"),
    ):
        status = main([*line, "--home", str(tmp_path / "home")])
        out, err = capfd.readouterr()
        assert words in refused(subprocess.CompletedProcess(line, status, out, err))
    assert not list((tmp_path / "home").glob("runs/*"))


def test_json_says_what_went_wrong_as_a_document_too(tmp_path: Path) -> None:
    done = run("inspect", "/nowhere", "--json", home=tmp_path)
    assert done.returncode == 1
    assert "There is no model /nowhere" in json.loads(done.stdout)["error"]


def test_a_home_that_cannot_be_written_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file in the way")
    done = run("optimize", "x", home=tmp_path / "home", program=SCRIPTED)
    assert "cannot be created" in refused(done)


def test_where_nothing_limits_candidates_a_person_is_asked_and_a_machine_is_told_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARETO_STUDIO_WITHOUT_WALLS", "")
    monkeypatch.setattr(walls, "level", lambda: "none")
    monkeypatch.setattr(ready, "prepare", ready.prepare)
    scripted_worker.install()
    line = ["optimize", "x", "--generations", "1", "--population", "1", "--home", str(tmp_path)]
    assert main([*line, "--json"]) == 1
    assert "--without-walls" in json.loads(capfd.readouterr().out)["error"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[str] = []

    def answer(words: str) -> Callable[..., str]:
        def said(_console: object, prompt: str = "") -> str:
            asked.append(prompt)
            return words

        return said

    monkeypatch.setattr("rich.console.Console.input", answer("no"))
    assert main(line) == 1
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr("rich.console.Console.input", answer("y"))
    assert main(line) == 0
    assert len(asked) == 2
    assert "does not limit" in asked[0]


DRAWING = (
    ["compare", "r", "c000", "c001"],
    ["cascade", "train", "r", "--light", "c001", "--heavy", "c002"],
    ["certify", "r", "c001"],
)


def test_commands_that_draw_ask_first_too_where_nothing_limits_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "r"
    with begin(folder) as journal:
        for name in ("c001", "c002"):
            add(journal, folder, name, (Step("fewer-steps", {"steps": 4}),))
    monkeypatch.setenv("PARETO_STUDIO_WITHOUT_WALLS", "")
    monkeypatch.setattr(walls, "level", lambda: "none")
    for line in DRAWING:
        assert main([*line, "--home", str(tmp_path), "--json"]) == 1
        said = json.loads(capfd.readouterr().out)["error"]
        assert "Nothing runs before you agree to that." in said, line
        assert "--without-walls" in said
    state = RunState.replay(Journal.read(folder))
    with pytest.raises(WallsError, match="Nothing runs"):  # export, the playground and reuse draw by it
        Drawing(folder, state)
    for line in (*DRAWING, ["cascade", "reuse", "r"], ["export", "r", "c001", "--out", "x"]):
        assert parser().parse_args([*line, "--without-walls"]).without_walls
    for command in DRAWS:
        assert "without_walls" in inspect.signature(COMMANDS[command].load()).parameters
    agree(without_walls=True)
    Drawing(folder, state).close()


def test_doctor_and_inspect_say_the_same_to_people_and_machines(tmp_path: Path) -> None:
    told = json.loads(run("doctor", "--json", home=tmp_path).stdout)
    assert {"cpu", "cuda"} <= {target["id"] for target in told["targets"]}
    assert told["machine"]["cores"] >= 1
    engines = [one for target in told["targets"] for one in target["engines"]]
    assert all({"title", "state", "reason", "install"} == one.keys() for one in engines)
    assert {"torch eager", "OpenVINO"} <= {one["title"] for one in engines}
    shown = run("doctor", home=tmp_path)
    assert shown.returncode == 0
    assert "ready" in shown.stdout
    lines = shown.stdout.splitlines()
    at = next(line.index("Why, and") for line in lines if "Why, and" in line)
    said = "".join("".join(line[at:].split()) for line in lines)
    for target in told["targets"]:
        for engine in TargetState.model_validate(target).lacking():
            install = f". Install: {engine.install}" if engine.install else ""
            assert "".join((engine.words + install).split()) in said
    card = json.loads(run("inspect", "tiny-scenes", "--json", home=tmp_path).stdout)["card"]
    assert card["family"] == "stable-diffusion"
    assert "UNet2DConditionModel" in run("inspect", "tiny-scenes", home=tmp_path).stdout


def test_a_student_and_a_tiny_decoder_are_part_of_the_models_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--student", "few.safetensors:lightning", "--tiny-decoder", "taesd"]
    for command in ("optimize", "inspect"):
        source = model_source(parser().parse_args([command, "sd15 + style.safetensors", *options]))
        student = f"student={tmp_path / 'few.safetensors'}:lightning"
        assert source == f"sd15 + style.safetensors + {student} + tiny-decoder={tmp_path / 'taesd'}"
    assert model_source(parser().parse_args(["inspect", source])) == source
    assert (WITH, {STUDENT[:-1], TINY_DECODER[:-1]}) == (load.WITH, set(ATTACH)), "what the engines read"


def test_inspect_shows_the_student_it_was_given(tmp_path: Path) -> None:
    own = bundled_model() / "student_lora" / "pytorch_lora_weights.safetensors"
    student = ["--student", f"{own}:lcm"]
    cache = {"PARETO_STUDIO_CACHE": str(tmp_path / "cache")}
    done = run("inspect", "tiny-scenes", *student, "--json", home=tmp_path, **cache)
    card = json.loads(done.stdout)["card"]
    assert "LoRA (lcm)" in {part["kind"] for part in card["components"]}
    assert "you said so" in " ".join(card["notes"])
    assert card["name"] == "Tiny Scenes"
    assert list((tmp_path / "cache").rglob("reader.safetensors")), "adherence can be measured still"
    absent = run("inspect", "tiny-scenes", "--student", "absent.safetensors", home=tmp_path)
    assert "There is no LoRA" in refused(absent)


def test_no_runs_is_said_and_is_no_error(tmp_path: Path) -> None:
    done = run("runs", home=tmp_path)
    assert done.returncode == 0
    assert "no run" in done.stdout
    assert json.loads(run("runs", "--json", home=tmp_path).stdout) == {"runs": []}


def test_optimize_tells_machines_every_event_and_people_the_front(tmp_path: Path) -> None:
    done = run(
        "optimize", "x", "--generations", "1", "--population", "3", "--json", home=tmp_path, program=SCRIPTED
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    recorded = [line for line in lines if line["seq"]]
    assert [line["seq"] for line in recorded] == list(range(1, len(recorded) + 1))
    assert lines[-1]["type"] == "job.done"
    folder = Path(lines[-1]["data"]["result"]["folder"])
    assert len(Journal.read(folder)) == len(recorded)

    shown = run("resume", "last", "--generations", "2", home=tmp_path, program=SCRIPTED)
    assert shown.returncode == 0, shown.stderr
    assert "resumed" in shown.stdout
    assert "✓ certified" in shown.stdout or "All generations are done" in shown.stdout
    assert "descriptor itself" not in shown.stdout + shown.stderr
    assert "descriptor itself" in (tmp_path / "logs" / "commands.log").read_text()

    again = run("resume", "last", home=tmp_path, program=SCRIPTED)
    assert "has finished" in refused(again)

    listed = json.loads(run("runs", "--json", home=tmp_path).stdout)["runs"]
    assert [one["state"] for one in listed] == ["done"]
    assert "done" in run("runs", home=tmp_path).stdout
    path = Path(json.loads(run("report", "last", "--json", home=tmp_path).stdout)["path"])
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_optimize_refuses_a_folder_that_holds_a_run_and_keeps_it(tmp_path: Path) -> None:
    line = (
        "optimize",
        "x",
        "--generations",
        "1",
        "--population",
        "1",
        "--out",
        str(tmp_path / "mine"),
        "--json",
    )
    assert run(*line, home=tmp_path, program=SCRIPTED).returncode == 0
    before = (tmp_path / "mine" / "journal.sqlite").read_bytes()
    assert "already holds a run" in refused(run(*line, home=tmp_path, program=SCRIPTED))
    assert (tmp_path / "mine" / "journal.sqlite").read_bytes() == before


def test_evaluate_judges_a_script_of_the_users_own(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(FUNCTIONS)
    done = run("evaluate", "x", "--script", str(script), "--json", home=tmp_path, program=SCRIPTED)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])["data"]["result"]
    state = RunState.replay(Journal.read(Path(result["folder"])))
    assert state.candidate("c001").proposal.origin == "given"
    assert state.candidate("c001").passed
    judged = [one for one in map(json.loads, done.stdout.splitlines()) if one["type"] == "candidate.judged"]
    assert [one["data"]["verdict"]["isolation"] for one in judged] == ["isolated"] * 2
    assert state.finished is not None
    assert state.finished.text.endswith("it ran isolated.")
    verdict = state.candidate("c001").verdict
    assert verdict is not None
    assert "isolated" in candidate_line(state.candidate("c001"), state)
    bare = replace(state.candidate("c001"), verdict=verdict.model_copy(update={"isolation": "none"}))
    assert "no walls" in candidate_line(bare, state)


def test_ctrl_c_leaves_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PARETO_STUDIO_HOME": str(tmp_path),
        "PYTHONPATH": str(Path.cwd()),
        "SCRIPTED_SECONDS": "0.3",
    }
    process = subprocess.Popen(
        [sys.executable, SCRIPTED, "optimize", "x", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == "candidate.stage":
            break
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - asked < 30
    assert library.runs(tmp_path)[0].state == "interrupted"


def test_without_a_command_and_without_a_display_the_main_job_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "linux":
        assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()
    assert parser().parse_args([]).command is None


def test_results_never_go_over_what_is_there(tmp_path: Path) -> None:
    wanted = tmp_path / "out"
    assert unused_folder(wanted) == wanted.resolve()
    (wanted / "package").mkdir()
    assert unused_folder(wanted) == (tmp_path / "out-2").resolve()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be used"):
        unused_folder(tmp_path / "file" / "out")


def test_explain_says_why_techniques_go_together_or_do_not(tmp_path: Path) -> None:
    done = run("explain", "deepcache + cuda-graphs", home=tmp_path)
    assert done.returncode == 0
    assert "deepcache (feature-cache here) + cuda-graphs: yes, under a condition" in done.stdout
    assert "rule 3, PyTorch documentation" in " ".join(done.stdout.split())
    found = json.loads(run("explain", "int8", "bf16", "--json", home=tmp_path).stdout)
    assert (found["answer"], found["order"], found["together"]) == ("no", ["bf16", "int8"], None)
    assert "did you mean deepcache" in refused(run("explain", "depcache", home=tmp_path))
