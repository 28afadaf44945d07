"""`pareto-studio metrics`: what is here, and nothing fetched without a word."""

from __future__ import annotations

import json
from pathlib import Path

from tests.studio.test_cli import refused, run


def test_the_pack_is_listed_and_a_download_without_consent_is_refused(tmp_path: Path) -> None:
    places = {"PARETO_STUDIO_CACHE": str(tmp_path / "cache"), "TORCH_HOME": str(tmp_path / "torch")}
    listed = run("metrics", "--json", home=tmp_path, **places)
    assert listed.returncode == 0, listed
    networks = {one["name"]: one for one in json.loads(listed.stdout)["networks"]}
    assert {name: one["present"] for name, one in networks.items()} == {
        "lpips": False,
        "clip": False,
        "dino": False,
    }
    assert networks["lpips"]["size"] == 244_408_911
    assert len(networks["dino"]["sha256"]) == 64
    said = refused(run("metrics", "get", "clip", home=tmp_path, **places))
    assert "needs consent" in said
    assert "MIT" in said
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    said = refused(run("metrics", "use", "dino", str(tmp_path / "nowhere"), home=tmp_path, **places))
    assert "DINOv2" in said
