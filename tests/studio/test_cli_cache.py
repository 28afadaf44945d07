"""`pareto-studio cache`: what it holds, and emptying it by kind."""

from __future__ import annotations

import json
from pathlib import Path

from tests.studio.test_cli import refused, run


def test_the_cache_is_listed_and_emptied_and_a_wrong_name_is_said(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "engines" / "a").mkdir(parents=True)
    (cache / "engines" / "a" / "model.bin").write_bytes(bytes(2_000_000))
    places = {"PARETO_STUDIO_CACHE": str(cache)}

    said = refused(run("cache", "--empty", "runs", home=tmp_path, **places))
    assert "holds no 'runs'" in said
    shown = run("cache", home=tmp_path, **places)
    assert "2.0 MB" in shown.stdout
    assert "Built engines" in shown.stdout
    emptied = run("cache", "--empty", "engines", "--json", home=tmp_path, **places)
    assert json.loads(emptied.stdout)["freed"] == 2_000_000
    assert not (cache / "engines").exists()
