"""Candidates that torch runs become packages too, proved where there is torch and no diffusers."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.candidate import Step
from engines.backends.base import Artifact
from engines.backends.torch_ways import has_bf16
from engines.errors import FallbackWarning, PackageError
from engines.package import torch_files
from engines.package.runner import Package, read_picture
from engines.package.verify import verify
from studio.errors import ExportError
from studio.work.add_variant import add_variant
from studio.work.export import export_candidate
from studio.work.exportable import exportable
from studio.work.job import Job
from studio.work.package_contents import packed
from tests.studio.recorded_run import add, begin

BASE = (Step("fewer-steps", {"steps": 4}), Step("feature-cache", {"interval": 2}))
COMPILE = Step("engine", {"backend": "compile"})

_WITHOUT = pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed")
_TORCHAO = pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed")
_COMPILER = pytest.mark.skipif(bool(torch_files.lacks_compiler()), reason="no C++ compiler")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "r"
    with begin(folder) as journal:
        add(journal, folder, "c001", BASE)
        add(journal, folder, "c002", (*BASE[:1], COMPILE))
        add(journal, folder, "c003", (*BASE[:1], Step("bf16")))
    return folder


def test_a_candidate_on_torch_can_be_exported_and_what_it_needs_is_said(run: Path, tmp_path: Path) -> None:
    for name in ("c001", "c002", "c003"):
        found = exportable(Job(home=tmp_path), "r", name)
        assert found["ok"]
        assert not found["explore_only"]
        text = next(one["text"] for one in found["checks"] if one["name"] == "exportable")
        assert "needs torch" in text


@pytest.mark.parametrize(
    ("backend", "precision", "options", "words"),
    [
        pytest.param("compile", "int8", {}, "torchao is not installed", marks=_WITHOUT),
        pytest.param("torch", "w8", {}, "torchao is not installed", marks=_WITHOUT),
        ("torch", "fp16", {"cast": True}, "choose a candidate without layerwise-casting"),
    ],
)
def test_weights_that_only_a_running_torch_has_are_refused_with_the_reason(
    run: Path, backend: Any, precision: Any, options: dict[str, Any], words: str
) -> None:
    from engines.capture.capture import Capture
    from engines.capture.structure import Structure
    from engines.models.load import open_model

    model = open_model("tiny-scenes")
    capture = Capture(model, Structure("decoder", model.latent(model.size)))
    artifact = Artifact(
        capture, backend, precision, False, "", run, {"version": "1", "files": [], "options": options},
        device="cuda",
    )  # fmt: skip
    with pytest.raises(ExportError, match=words):
        packed(artifact)


@pytest.mark.slow
def test_eager_with_cached_features_is_packed_proved_and_extended(run: Path, tmp_path: Path) -> None:
    result = export_candidate(run, "c001")
    place = Path(result["package"])
    facts = verify(place).manifest.additional_metadata
    assert facts.built_for.engine == "eager"
    assert result["proof"]["psnr"] == 100
    assert {"denoiser_full", "denoiser_shallow"} <= set(verify(place).manifest.components)
    for component in verify(place).manifest.components.values():
        (variant,) = component.variants.values()
        assert variant.additional_metadata.parity is not None
        assert variant.additional_metadata.parity.max_abs < 1e-3
    # blocked, and not only absent from its requirements
    blocked = (
        "import runpy, sys\n"
        "for name in ('diffusers', 'transformers', 'studio'): sys.modules[name] = None\n"
        f"sys.argv = ['run.py', *{{}}]\nrunpy.run_path({str(place / 'run.py')!r}, run_name='__main__')\n"
    )
    for arguments in (["--info", "--json"], ["--self-test", "--json"], ["--benchmark", "2", "--json"]):
        command = [sys.executable, "-I", "-c", blocked.format(arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])
        if arguments[0] == "--self-test":
            assert (said["passed"], said["psnr"]) == (True, 100)
    if has_bf16():
        added = add_variant(Job(home=tmp_path), str(place), engine="eager", precision="bf16")
        assert added["verified"], added["text"]
    weights = next(place.rglob("weights.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(PackageError, match="was changed after the package was made"):
        Package(place)


@pytest.mark.slow
@_COMPILER
def test_compiled_is_packed_as_code_and_as_the_program_that_it_was_made_of(run: Path) -> None:
    result = export_candidate(run, "c002")
    place = Path(result["package"])
    checked = verify(place)
    order = checked.manifest.components["denoiser"].additional_metadata.order
    assert order == ("aoti-cpu-fp32", "compile-cpu-fp32", "eager-cpu-fp32")
    assert checked.manifest.components["denoiser"].variants["aoti-cpu-fp32"].compatibility_string
    assert all(name.endswith(".pt2") for name in checked.native)
    assert [one.variants["denoiser"] for one in checked.manifest.additional_metadata.verified_on] == list(
        order
    )
    golden = read_picture(place / "golden.png")
    facts = checked.manifest.additional_metadata.golden
    native = Package(place, allow_native=True)
    np.testing.assert_array_equal(native.generate([facts.prompt], [facts.seed])[0], golden)
    plain = Package(place, "eager")
    assert plain.self_test()["passed"]
    unsigned = Package(place)
    with pytest.warns(FallbackWarning, match="machine code"):
        _ = unsigned.loaded
    assert any("machine code (model.pt2)" in text for text in unsigned.fallbacks)


@pytest.mark.slow
@_COMPILER
def test_a_package_of_another_engine_takes_torch_as_a_further_variant(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r"
    with begin(folder) as journal:
        add(journal, folder, "c001", (*BASE[:1], Step("engine", {"backend": "openvino"})))
    place = Path(export_candidate(folder, "c001", also=["eager"])["package"])
    pins = (place / "requirements-torch.txt").read_text()
    assert "torch==" in pins
    assert "torch==" not in (place / "requirements.txt").read_text()
    added = add_variant(Job(home=tmp_path), str(place), engine="compile")
    assert added["verified"], added["text"]
    assert added["added"] == ["compile-cpu-fp32"]
    order = verify(place).manifest.components["decoder"].additional_metadata.order
    assert order == ("openvino-cpu-fp32", "eager-cpu-fp32", "compile-cpu-fp32")


@pytest.mark.slow
@_TORCHAO
def test_weights_of_torchaos_are_packed_small_proved_and_need_torchao_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r"
    with begin(folder) as journal:
        add(journal, folder, "c001", (*BASE[:1], Step("weight-bits", {"bits": 8})))
    place = Path(export_candidate(folder, "c001")["package"])
    denoiser = verify(place).manifest.components["denoiser"].variants["eager-cpu-w8"]
    facts = denoiser.additional_metadata
    assert facts.build_options == {"torchao": metadata.version("torchao")}
    assert facts.parity is not None
    assert facts.parity.psnr is not None
    assert facts.parity.psnr > 25
    assert f"torchao=={metadata.version('torchao')}" in (place / "requirements.txt").read_text().splitlines()
    plain = add_variant(Job(home=tmp_path), str(place), engine="eager", precision="fp32")
    assert plain["verified"], plain["text"]
    sizes = {
        name: sum(file.bytes for file in one.additional_metadata.files)
        for name, one in verify(place).manifest.components["denoiser"].variants.items()
    }
    assert sizes["eager-cpu-w8"] < 0.9 * sizes["eager-cpu-fp32"]
    with pytest.MonkeyPatch.context() as patch:
        for name in [one for one in sys.modules if one.partition(".")[0] == "torchao"]:
            patch.setitem(sys.modules, name, None)
        patch.setitem(sys.modules, "torchao", None)
        without = Package(place)
        assert without.self_test()["passed"]
        ((name, reason),) = without.choices["denoiser"].passed_over
    assert (name, reason) == ("eager-cpu-w8", torch_files.LACKS_TORCHAO)
