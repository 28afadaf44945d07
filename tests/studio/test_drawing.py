"""Pictures of a run's candidates drawn again: the user's own script is behind walls there too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sandbox import landlock
from engines.paths import cache_folder
from studio.errors import RunError
from studio.record import events
from studio.record.protocol import decode_event
from studio.record.state import RunState
from studio.work.drawing import BASELINE, Drawing
from tests.agent.targets import Targets, planted

RECORDED = Path(__file__).parents[1] / "data" / "recorded-run"
HOSTILE = sorted((Path(__file__).parents[1] / "agent" / "hostile" / "given").glob("*.py"))
GOOD = """
from engines.pipeline import build, plan
from engines.techniques import FewerSteps

RECIPE = (FewerSteps(steps=4),)


def load(model, device, workload):
    return build(plan(model, device, workload, RECIPE))


def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
"""


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[Targets]:
    (tmp_path / "model").mkdir()
    with planted(tmp_path / "model") as made:
        yield made


def run_of(folder: Path, scripts: dict[str, str]) -> RunState:
    """The recorded run's beginning, with scripts that a user gave."""
    (folder / "candidates").mkdir()
    kept = []
    for line in (RECORDED / "events.jsonl").read_text(encoding="utf-8").splitlines():
        item = decode_event(line)
        if item.type == "run.started" or item.data.get("id") == BASELINE:
            kept.append(item)
    baseline = next(item for item in kept if item.type == "candidate.proposed")
    (folder / "candidates" / "c000.py").write_text((RECORDED / baseline.data["script"]).read_text())
    for name, script in scripts.items():
        (folder / "candidates" / f"{name}.py").write_text(script)
        proposed = events.CandidateProposed(
            id=name, generation=1, origin="given", parents=(), recipe=(), title=name, why="",
            script=f"candidates/{name}.py",
        )  # fmt: skip
        kept.append(events.event(proposed, run=baseline.run))
    return RunState.replay(
        item.model_copy(update={"seq": number}) for number, item in enumerate(kept, start=1)
    )


@pytest.mark.skipif(not landlock.version(), reason="the walls of Linux")
def test_a_script_of_the_user_s_own_is_drawn_behind_walls(tmp_path: Path, targets: Targets) -> None:
    scripts = {path.stem: targets.fill(path.read_text()) for path in HOSTILE}
    state = run_of(tmp_path, {"good": GOOD, **scripts})
    with Drawing(tmp_path, state) as drawing:
        assert drawing.draw("good", ["a red house"], [1]).images.shape == (1, 64, 64, 3)
        assert drawing._processes["good"].isolation == "isolated"
        for name in scripts:
            with pytest.raises(RunError, match=f"{name} cannot draw") as refused:
                drawing.draw(name, ["a red house"], [1])
            assert "BREACH" not in str(refused.value)
            assert targets.secret not in str(refused.value)
            assert targets.touched() == "", name
    assert not (cache_folder() / "planted").exists()
