"""What is published of packages comes from a command that installs and starts one as its receiver does."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.package.write import pack, write
from studio.work.package_benchmark import padded, received
from tests.engines.package_parts import contents

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_package_is_verified_installed_started_and_timed(tmp_path: Path) -> None:
    write(contents(tmp_path), tmp_path / "tiny")
    (tmp_path / "room").mkdir()
    found = dict(received(pack(tmp_path / "tiny"), tmp_path / "room"))
    assert "first start (`run.py --info`)" in found
    assert "s per GB" in found["then every byte checked, before the model's load"]
    assert found["a picture, warm, median of 5"].endswith(" s")
    assert any("promised 2 s" in much for much in found.values())


def test_a_large_package_starts_as_fast_and_its_digests_are_timed(tmp_path: Path) -> None:
    write(contents(tmp_path), tmp_path / "tiny")
    (start, much), (checked, rate) = padded(tmp_path / "tiny", 0.05, tmp_path)
    assert "with 0.05 GB beside: its start" in start
    assert "promised 2 s" in much
    assert "every byte checked" in checked
    assert "s per GB" in rate
    assert not (tmp_path / "large").exists()


def test_the_page_names_the_command_that_made_it() -> None:
    page = (ROOT / "docs" / "benchmarks" / "packages.md").read_text(encoding="utf-8")
    assert "python -m studio.work.package_benchmark" in page
    assert "later starts, median of 6" in page
