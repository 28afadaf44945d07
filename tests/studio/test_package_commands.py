"""`sign`, `verify`, `diff` and `package add-variant` by command, and what they say when all is not well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from agent.candidate import Step
from engines import drivers
from engines.backends.serves import devices_of
from engines.package import sums
from engines.package.components import OPENS
from engines.package.manifest import Engine
from engines.package.write import pack, write
from studio.cli import main
from studio.layouts import PRECISIONS, VARIANTS
from studio.work.export import export_candidate
from studio.work.torch_parts import BACKEND
from tests.engines.package_parts import contents
from tests.packaging.clean_root import disk
from tests.studio.recorded_run import add, begin


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for engine in ("onnxruntime", "openvino"):
        (folder / engine).mkdir()
        write(contents(folder / engine, engine), folder / f"tiny-{engine}")
    return folder


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "tiny-onnxruntime", tmp_path / "tiny")
    pack(tmp_path / "tiny")
    return tmp_path / "tiny"


class Shell:
    """Commands in this process: exit status, stdout, stderr."""

    def __init__(self, capfd: pytest.CaptureFixture[str], home: Path) -> None:
        self._capfd, self._home = capfd, home

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._capfd.readouterr()
        status = main([*map(str, arguments), "--home", str(self._home)])
        said = self._capfd.readouterr()
        return status, said.out, said.err

    def document(self, *arguments: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*arguments, "--json")[1])
        return found

    def refused(self, *arguments: object) -> str:
        status, _, error = self(*arguments)
        assert status == 1
        assert len(error.strip().splitlines()) == 1, error
        assert error.startswith("pareto-studio: ")
        return error


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    return Shell(capfd, tmp_path / "home")


def test_a_package_is_signed_with_a_new_key_and_verified_with_its_public_half(
    shell: Shell, package: Path, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    archives = [package.with_suffix(suffix) for suffix in (".pareto", ".zip")]
    shutil.copy(*archives)
    status, said, _ = shell("sign", package, "--new-key", key)
    assert status == 0
    assert "keep it to yourself" in said
    for place in (package, *archives):  # what lies beside it is signed with it
        found = shell.document("verify", place, "--key", f"{key}.pub")
        assert found["ok"]
        assert found["signature"]["checked"]
    assert "Signed, it says" in shell("verify", package)[1]
    shell("sign", "--new-key", tmp_path / "other.pem")
    assert "not made by the key in other.pem.pub" in shell.refused(
        "verify", package, "--key", tmp_path / "other.pem.pub"
    )
    (package / "golden.png").write_bytes(b"")
    assert "golden.png was changed" in shell.refused("verify", package, "--key", f"{key}.pub")


def test_signing_without_what_it_needs_gets_a_sentence(shell: Shell, package: Path, tmp_path: Path) -> None:
    assert "--new-key FILE to make one" in shell.refused("sign", package)
    assert "which package" in shell.refused("sign", "--key", tmp_path / "key.pem")
    assert "cannot be read" in shell.refused("sign", package, "--key", tmp_path / "absent.pem")
    assert "one of the two" in shell.refused("verify", package, "--key", "a", "--certificate", "b")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_on_a_full_disk_a_package_and_its_keys_stay_as_they_were(
    shell: Shell, made: Path, tmp_path: Path
) -> None:
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount")
    with disk(tmp_path / "small") as leave:
        place = tmp_path / "small" / "tiny"
        shutil.copytree(made / "tiny-onnxruntime", place)
        archive = pack(place)
        before = shell.document("verify", place)["id"]
        leave(0)
        tries: list[list[object]] = [
            ["sign", place, "--new-key", place.parent / "key.pem"],
            ["sign", place, "--new-key", tmp_path / "key.pem"],
            ["package", "add-variant", place, "--from", made / "tiny-openvino"],
        ]
        for asked in tries:
            assert "is full" in shell.refused(*asked)
            assert {path.name for path in place.parent.iterdir()} == {"tiny", "tiny.pareto"}
            for one in (place, archive):
                assert shell.document("verify", one)["id"] == before
        leave(64 << 20)
        shell("sign", place, "--new-key", place.parent / "key.pem")
        assert shell.document("verify", archive, "--key", place.parent / "key.pem.pub")["ok"]


@pytest.mark.slow
def test_variants_of_another_package_are_added_proved_and_told(
    shell: Shell, package: Path, made: Path
) -> None:
    shell("sign", package, "--new-key", package.parent / "key.pem")
    found = shell.document("package", "add-variant", package, "--from", made / "tiny-openvino", "--first")
    assert found["added"] == ["openvino-cpu-fp32"]
    assert found["unsigned"]
    assert found["verified"], found["text"]
    assert [row["name"] for row in found["variants"]] == ["openvino-cpu-fp32", "onnxruntime-cpu-fp32"]
    assert not (package / sums.SIGNATURE).exists()
    told = shell.document("verify", package.with_suffix(".pareto"))
    assert told["id"] == found["id"]
    assert {row["name"]: row["verified"] for row in told["variants"]} == {
        "openvino-cpu-fp32": True,
        "onnxruntime-cpu-fp32": False,
    }
    assert "has these variants already" in shell.refused(
        "package", "add-variant", package, "--from", made / "tiny-openvino"
    )
    status, said, _ = shell("diff", made / "tiny-onnxruntime", package)
    assert status == 1
    assert "denoiser openvino-cpu-fp32" in said
    assert shell.document("diff", package, package)["same"]
    assert {path.name for path in package.parent.iterdir()} <= {
        "tiny", "tiny.pareto", "key.pem", "key.pem.pub", "home",
    }  # fmt: skip


def test_front_ends_offer_the_engines_and_devices_that_a_package_can_hold() -> None:
    offered = {name: set(devices) for name, (_, devices) in VARIANTS.items()}
    assert offered == {
        name: set(OPENS[name]) & set(devices_of(BACKEND.get(name, cast("Any", name)))) for name in OPENS
    }
    assert set(PRECISIONS) <= set(get_args(Engine.model_fields["precision"].annotation))


def test_a_variant_needs_a_folder_and_a_run_that_is_there(shell: Shell, package: Path) -> None:
    archive = package.with_suffix(".pareto")
    assert "unpack the package first" in shell.refused(
        "package", "add-variant", archive, "--engine", "openvino"
    )
    shell.refused("package", "add-variant", package, "--engine", "openvino")
    assert "does not serve cuda" in shell.refused(
        "package", "add-variant", package, "--engine", "openvino", "--device", "cuda"
    )
    assert "cannot open aoti on cuda" in shell.refused(
        "package", "add-variant", package, "--engine", "aoti", "--device", "cuda"
    )
    assert "no precision fp7" in shell.refused(
        "package", "add-variant", package, "--engine", "openvino", "--precision", "fp7"
    )


@pytest.mark.slow
def test_a_package_of_a_run_gets_further_engines_built_and_one_of_them_proved(
    shell: Shell, tmp_path: Path
) -> None:
    """From a run, with engines for a Mac at export, then ONNX Runtime by `add-variant`."""
    folder = tmp_path / "home" / "runs" / "r"
    recipe = (Step("fewer-steps", {"steps": 4}), Step("engine", {"backend": "openvino"}))
    with begin(folder) as journal:
        add(journal, folder, "c001", recipe)
    exported = export_candidate(folder, "c001", tmp_path / "made", also=("mlx",))
    package = Path(exported["package"])
    found = shell.document("package", "add-variant", package, "--engine", "onnxruntime", "--first")
    assert found["added"] == ["onnxruntime-cpu-fp32"]
    assert found["verified"], found["text"]
    told = shell.document("verify", package)
    names = [row["name"] for row in told["variants"]]
    assert names[:2] == ["onnxruntime-cpu-fp32", "openvino-cpu-fp32"]
    assert {name.rpartition("-")[0] for name in names[2:]} == {"mlx-mlx"}  # what leaves fp16 is built in fp32
    assert [row["verified"] for row in told["variants"]][:2] == [True, True]
    assert not any(row["verified"] for row in told["variants"][2:])
    facts = json.loads((package / sums.MANIFEST).read_text())["additional_metadata"]
    assert facts["source_model"]["files"]
    assert facts["golden"]["by_precision"]["fp16"]
    assert facts["prompt_cache_key"]
    if find_spec("tensorrt_rtx") is not None and drivers.nvidia():
        plans = shell.document(
            "package", "add-variant", package, "--engine", "tensorrt", "--precision", "fp32"
        )
        assert plans["added"] == ["tensorrt-cuda-fp32"]
        assert not plans["verified"]
        assert "was built, not verified on device: there is no NVIDIA driver" in plans["text"]
        assert shell.document("verify", package)["native"]
        assert (package / "requirements-tensorrt.txt").is_file()
