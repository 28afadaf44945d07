"""What a package says of the model it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.work.package_contents import _public


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("owner/model", "owner/model"),
        ("/home/anna/models/sdxl", "sdxl"),
        ("owner/model + /home/anna/style.safetensors", "owner/model + style.safetensors"),
        ("/home/anna/sdxl + /home/anna/style.safetensors", "sdxl + style.safetensors"),
        (
            "/home/anna/sdxl + student=/home/anna/lcm.safetensors:lcm + tiny-decoder=/home/anna/taesd",
            "sdxl + student=lcm.safetensors:lcm + tiny-decoder=taesd",
        ),
    ],
)
def test_no_folder_of_the_makers_machine_is_in_a_package(source: str, said: str) -> None:
    assert _public(source) == said


def test_a_folder_named_from_here_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert _public("mine/model") == "model"
