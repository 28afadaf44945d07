"""A package names where its model came from, and no folder of the machine that made it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from studio.work.public_source import added, public


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("owner/name", "owner/name"),
        ("tiny-scenes", "tiny-scenes"),
        ("/home/anna/models/sdxl", "sdxl"),
        ("~/models/sdxl", "sdxl"),
        ("../sdxl.safetensors", "sdxl.safetensors"),
        ("models/sdxl.safetensors", "sdxl.safetensors"),
        ("owner/sdxl + /home/anna/x.safetensors", "owner/sdxl + x.safetensors"),
        ("/models/a + /x/l.safetensors", "a + l.safetensors"),
        ("/models/a + owner/prior", "a + owner/prior"),
        (
            "/a/b + /x/l.safetensors + student=/x/lcm.safetensors:lcm + tiny-decoder=/x/taesd",
            "b + l.safetensors + student=lcm.safetensors:lcm + tiny-decoder=taesd",
        ),
    ],
)
def test_a_source_keeps_names_and_loses_folders(source: str, said: str) -> None:
    assert public(source) == said


def test_a_folder_with_a_plus_in_its_name_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "a + b"
    folder.mkdir()
    assert public(str(folder)) == "a + b"
    assert added(str(folder)) == ()


def test_what_was_given_beside_a_model_is_told_by_its_contents(tmp_path: Path) -> None:
    lora, decoder = tmp_path / "my: lora.safetensors", tmp_path / "taesd"
    lora.write_bytes(b"lora")
    decoder.mkdir()
    (decoder / "config.json").write_bytes(b"{}")
    found = added(f"owner/model + student={lora}:lcm + tiny-decoder={decoder}")
    assert [(one.path.partition("/")[2], one.sha256, one.bytes) for one in found] == [
        ("my_lora.safetensors", hashlib.sha256(b"lora").hexdigest(), 4),
        ("config.json", hashlib.sha256(b"{}").hexdigest(), 2),
    ]
