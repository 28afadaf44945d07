"""A package names where its model came from, and no folder of the machine that made it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from studio.work.public_source import added, added_licences, public


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


def test_files_of_the_hubs_cache_have_their_repositorys_name_and_licence(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    cache = tmp_path / "hub"
    kept = cache / "models--other--a--lora" / "snapshots" / ("0" * 40)
    (kept / "sub").mkdir(parents=True)
    (kept / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    lora = kept / "sub" / "weights.safetensors"
    own, plain = tmp_path / "own.safetensors", tmp_path / "x.safetensors"
    save_file({"w": np.zeros(1, np.float32)}, lora)
    save_file({"w": np.ones(1, np.float32)}, own, metadata={"modelspec.license": "openrail++"})
    save_file({"w": np.ones(2, np.float32)}, plain)
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")  # of anything
    source = f"owner/model + {lora} + student={own}:lcm + {plain}"
    assert public(source) == "owner/model + other/a--lora + student=own.safetensors:lcm + x.safetensors"
    assert public(str(kept)) == "other/a--lora"
    assert {Path(path).name: one for path, one in added_licences(source).items()} == {
        "weights.safetensors": "cc-by-nc-4.0",
        "own.safetensors": "openrail++",
    }


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
