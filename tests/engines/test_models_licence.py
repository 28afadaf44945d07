"""A model's licence is what its own folder says."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.models.hub import wanted
from engines.models.licence import licence_file, licence_of, link_texts


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\nlicense: openrail++\ntags: [a]\n---\n# Model\n", "openrail++"),
        ("---\nlicense: other\nlicense_name: stability-ai-community\n---\n", "stability-ai-community"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("---\ntags: [a]\n---\n", "Apache License"),
        ("# A card without a head\n", "Apache License"),
        ("---\nlicense: [broken\n---\n", "Apache License"),
    ],
)
def test_the_card_is_asked_first_and_the_licence_file_next(tmp_path: Path, card: str, said: str) -> None:
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    (tmp_path / "LICENSE.md").write_text("\n# Apache License\nVersion 2.0\n", encoding="utf-8")
    assert licence_of(tmp_path) == said
    target = tmp_path / "merged"
    target.mkdir()
    link_texts(tmp_path, target)
    assert licence_of(target) == said
    assert licence_file(target) == target / "LICENSE.md"


def test_a_folder_that_says_nothing_has_no_licence(tmp_path: Path) -> None:
    assert licence_of(tmp_path) == ""
    assert licence_file(tmp_path) is None


def test_card_and_licence_are_fetched_with_a_model() -> None:
    files = ["README.md", "LICENSE", "license.txt", "picture.png", "unet/README.md", "model_index.json"]
    assert wanted(files) == ["README.md", "LICENSE", "license.txt", "model_index.json"]
