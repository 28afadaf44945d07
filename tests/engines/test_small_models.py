"""The command that writes a small model of a family."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.models.card import describe
from engines.models.load import open_model
from engines.models.small.__main__ import main
from engines.models.small.families import MAKERS


def test_a_small_model_is_written_once_and_can_be_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pixart-sigma", "--folder", str(tmp_path / "new")]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert [path.name for path in folder.parent.iterdir()] == ["small-pixart-sigma"]
    card = describe(open_model(str(folder)))
    assert (card.name, card.family) == ("Small pixart-sigma", "pix-art-sigma")
    assert 0 < card.memory < 10e6
    written = (folder / "model_index.json").stat().st_mtime_ns
    assert main(["pixart-sigma", "--folder", str(tmp_path / "new")]) == 0
    assert (folder / "model_index.json").stat().st_mtime_ns == written


def test_the_families_are_listed_and_another_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.split() == list(MAKERS)
    assert main(["sd9", "--folder", str(tmp_path / "new")]) == 1
    assert capsys.readouterr().err.startswith("There is no family sd9; there are: sd15, ")
    (tmp_path / "file").write_text("")
    assert main(["sd15", "--folder", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.startswith("The model could not be written to ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
