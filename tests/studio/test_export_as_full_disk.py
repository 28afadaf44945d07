"""On a full disk a folder for another runtime is whole or not there, and one sentence says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.candidate import Step
from engines.errors import PackageError
from engines.layouts import LAYOUTS
from engines.package.place import is_full, sentences
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.export_as import _subject, export_candidate_as, fill, question
from studio.work.proof import unproved
from tests.packaging.clean_root import small_disk
from tests.studio.recorded_run import add, begin

FULL = r"^The disk of .* is full.*; free space or choose another place\.$"
SHARES = {"container": (0.0, 0.2, 0.7)}
"""Of the whole folder, that are free; a container's wheels are collected anew each time."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "runs" / "r"
    with begin(folder) as journal:
        recipe = (Step("fewer-steps", {"steps": 4}), Step("engine", {"backend": "openvino"}))
        add(journal, folder, "c001", recipe)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A disk of its own, and what leaves so many bytes of it free."""
    with small_disk(tmp_path) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_that_finds_no_room_leaves_nothing(
    run: Path, small: tuple[Path, Callable[[int], None]], tmp_path: Path, name: str
) -> None:
    folder, leave = small
    (tmp_path / "room").mkdir()
    state = RunState.replay(Journal.read(run))
    asked = question(run, state, "c001", name)
    subject, _ = _subject(run, state, asked, tmp_path / "room", lambda _done, _doing: None)
    fill(asked.layout, subject, tmp_path / "whole")
    size = sum(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    for share in SHARES.get(name, (0.0, 0.05, 0.5, 0.9, 0.98)):
        leave(int(share * size))
        with pytest.raises(PackageError, match=FULL), unproved(folder / "made") as partial:
            fill(asked.layout, subject, partial)
        assert [path.name for path in folder.iterdir()] == ["mine"]
    assert (folder / "mine").read_bytes() == b"years"


@pytest.mark.slow
def test_an_older_folder_stays_where_there_is_no_room_for_the_new_one(
    run: Path, small: tuple[Path, Callable[[int], None]]
) -> None:
    folder, leave = small
    before = export_candidate_as(run, "c001", "triton", folder / "made")
    for free in (0, before["bytes"] // 2, before["bytes"] - 1):
        leave(free)
        with pytest.raises(PackageError, match=FULL):
            export_candidate_as(run, "c001", "triton", folder / "made")
        assert {path.name for path in folder.iterdir()} == {"mine", "made"}
    leave(before["bytes"] + (64 << 20))
    assert export_candidate_as(run, "c001", "triton", folder / "made")["id"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_whoever_says_it(error: Exception) -> None:
    assert is_full(error)
    with pytest.raises(PackageError, match=FULL), sentences(Path("there"), 0):
        raise error
    with pytest.raises(RuntimeError, match="another"), sentences(Path("there"), 0):
        raise RuntimeError("another")


def test_a_stream_that_does_not_say_why_it_broke_is_asked_of_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = RuntimeError("basic_ios::clear: iostream error")
    with pytest.raises(RuntimeError, match="iostream"), sentences(Path("there"), 0):
        raise broken
    monkeypatch.setattr("engines.package.place._left", lambda _: 4096)
    with pytest.raises(PackageError, match=FULL), sentences(Path("there"), 0):
        raise broken
