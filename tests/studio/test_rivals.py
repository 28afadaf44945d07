"""What others' defaults reach, beside a run's candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.models.load import open_model
from engines.scenes import grammar, render
from studio.errors import RunError
from studio.work.rivals.table import RIVALS, SCRIPTS, Contender, compete, main, report
from tests.studio.test_report import write_run
from tests.studio.ui.window_recording import restored

RECORDED = Path(__file__).parents[1] / "data" / "recorded-run"


def contender(name: str, title: str, seconds: list[float], pictures: list[Any]) -> Contender:
    made = Contender(name, title, None)  # type: ignore[arg-type]
    made.seconds, made.pictures = seconds, pictures
    return made


def test_the_table_says_who_is_faster_by_how_much_and_what_it_costs() -> None:
    scenes = [grammar.sample(np.random.default_rng(at), split="held_out") for at in range(12)]
    drawn = [render.draw(scene, np.random.default_rng(at)) for at, scene in enumerate(scenes)]
    noise = np.random.default_rng(0)
    steady = [1.0 + 0.01 * at for at in range(12)]
    table = report(
        open_model("tiny-scenes"),
        [
            contender("c000", "baseline", steady, drawn),
            contender("onnxruntime_default", "ORT", [one / 2 for one in steady], drawn),
            contender(
                "c009",
                "ours",
                [one / 8 for one in steady],
                [noise.integers(0, 255, one.shape, dtype=np.uint8) for one in drawn],
            ),
        ],
        [scene.caption for scene in scenes],
    )
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("|")}
    assert "1 (1 to 1)" in rows["baseline (c000)"]
    assert "2 (2 to 2)" in rows["ORT"]
    assert "+0.00 (+0.00 to +0.00)" in rows["ORT"]
    assert "8 (8 to 8)" in rows["ours (c009)"]
    assert list(rows)[2:] == ["baseline (c000)", "ORT", "ours (c009)"]
    last = table.splitlines()[-1]
    assert last.startswith("- ours (c009): 4 (4 to 4) times as fast")
    assert float(last.split("loss ")[1].split(" ")[0]) > 20


def test_a_run_without_a_winner_and_too_few_rounds_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--rounds", "2"]) == 1
    assert "at least 8" in capsys.readouterr().err
    with pytest.raises(RunError):
        compete(write_run(tmp_path), ["c404"], 8)


def test_every_rival_has_its_script() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} == set(RIVALS)


@pytest.mark.slow
def test_rivals_and_a_candidate_draw_the_same_prompts_for_real(tmp_path: Path) -> None:
    table = compete(restored(tmp_path, RECORDED), ["c024"], 8)
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 2 + len(RIVALS)
    # The rivals carry out the same arithmetic; GenAI visits other timesteps.
    assert sum(float(row.split("|")[5].split()[0]) > 40 for row in rows if "dB" in row) >= 2
