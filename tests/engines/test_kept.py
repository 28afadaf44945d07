"""What the cache holds is counted and emptied by kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines import kept
from engines.errors import EngineError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(tmp_path))
    for place, size in (
        ("engines/a/model.bin", 1000),
        ("openvino/b/model.bin", 500),
        ("captures/c.pt2", 300),
        ("metrics/clip/weights", 70),
        ("of-long-ago/x", 9),
    ):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return tmp_path


def sizes() -> dict[str, int]:
    return {one.kind.name: one.bytes for one in kept.holdings()}


def test_each_kind_is_counted_and_a_file_with_two_names_once(cache: Path) -> None:
    os.link(cache / "engines" / "a" / "model.bin", cache / "openvino" / "b" / "same.bin")
    assert sizes() == {
        "engines": 1500,
        "captures": 300,
        "models": 0,
        "metrics": 70,
        "wheels": 0,
        "machine": 0,
        "other": 9,
    }
    assert kept.free() > 0


def test_emptying_one_kind_leaves_the_others(cache: Path) -> None:
    assert kept.empty(["engines"]) == 1500
    assert sizes()["engines"] == 0
    assert sizes()["captures"] == 300
    assert (cache / "metrics" / "clip" / "weights").is_file()
    assert not list(cache.glob(".old-*"))
    assert kept.empty(["other"]) == 9
    assert not (cache / "of-long-ago").exists()


def test_what_names_no_kind_is_refused_and_nothing_is_removed(cache: Path) -> None:
    with pytest.raises(EngineError, match="holds no 'runs'; there are engines, captures"):
        kept.empty(["engines", "runs"])
    assert sizes()["engines"] == 1500


def test_every_folder_of_the_cache_in_use_has_a_kind() -> None:
    """A new cache folder must say what losing it costs."""
    known = {name for kind in kept.KINDS for name in kind.folders}
    used = set()
    engines = Path(kept.__file__).parent
    for folder, call in ((engines, 'cache_folder("'), (engines.parent / "studio", 'cache() / "')):
        for path in folder.rglob("*.py"):
            for part in path.read_text(encoding="utf-8").split(call)[1:]:
                used.add(part.split('"')[0])
    assert used - {""} == known - {"inductor"} | ({"inductor"} & used)
