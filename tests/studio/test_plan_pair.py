"""A run's own trained pair as tables, with its own times or those of another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.cli import main
from studio.errors import PlanError, RunError
from studio.work.cascade.pair import pair_tables
from tests.studio.ui.window_recording import cascade_result, write_run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = write_run(tmp_path, generations=1, pictures=False)
    for light in ("c001", "c002"):
        place = folder / "cascade" / f"{light}-c000" / "cascade.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"key": "", **cascade_result(folder, light, "c000")}), encoding="utf-8")
    return tmp_path


def test_the_verdicts_times_and_the_cascades_scores_are_what_is_planned_with(home: Path) -> None:
    found = pair_tables(home, "last", "c001", "c000")
    (device,) = found.devices
    assert (device.light.name, device.heavy.name) == ("c001", "c000")
    assert device.heavy.batches == (1, 2, 4)
    assert device.heavy.at(1) == pytest.approx(1.9)
    assert device.heavy.at(2) == pytest.approx(2 * 1.9 / 1.3)
    assert device.heavy.at(1, 0.9) == pytest.approx(1.9 * 1.06)
    assert found.confidences.size == 120


def test_without_names_the_pair_trained_last_is_taken(home: Path) -> None:
    assert pair_tables(home, "last").title in {"c001 before c000", "c002 before c000"}


def test_times_can_come_from_another_run_of_the_same_recipes_only(home: Path, tmp_path: Path) -> None:
    run = next((home / "runs").iterdir())
    assert pair_tables(home, "last", "c001", "c000", speeds=run).devices[0].heavy.at(1) == pytest.approx(1.9)
    recorded = Path(__file__).parents[1] / "data" / "recorded-run"
    with pytest.raises(PlanError, match="no candidate c001 with the recipe"):
        pair_tables(home, "last", "c001", "c000", speeds=recorded)


def test_a_pair_that_was_not_trained_or_cannot_be_read_is_told(home: Path) -> None:
    with pytest.raises(PlanError, match="no trained discriminator for c000 and c001"):
        pair_tables(home, "last", "c000", "c001")
    with pytest.raises(RunError):
        pair_tables(home, "nothing")
    for path in home.glob("runs/*/cascade/*/cascade.json"):
        path.write_text("{", encoding="utf-8")
    with pytest.raises(PlanError, match="cannot be read"):
        pair_tables(home, "last")


def test_a_plan_from_a_run_needs_no_files(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = ["cascade", "plan", "--run", "last", "--home", str(home), "--workers", "8", "--slo", "8000"]
    assert main([*line, "--rate", "2", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["plan"]["share"] > 0
    assert main(["cascade", "tables", "--run", "last", "--home", str(home), "--out", str(home / "out")]) == 0
    assert {path.name for path in (home / "out").iterdir()} == {
        "profiles.json",
        "confidences.json",
        "quality.json",
    }
