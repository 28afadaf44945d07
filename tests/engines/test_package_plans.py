"""A TensorRT-RTX plan travels in a package: named as machine code, refused with a reason where no card is."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines import drivers
from engines.errors import PackageError
from engines.package.manifest import Engine
from engines.package.runner import Package, read_picture
from engines.package.tensorrt_plan import Driver, open_plan
from engines.package.verify import verify
from engines.package.write import Contents, write
from tests.engines.package_parts import PROMPT, SEED, contents

pytestmark = [
    pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx not installed"),
    pytest.mark.skipif(not drivers.nvidia(), reason="here is a card"),
]


@pytest.fixture(scope="module")
def with_plan(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """The toy package, its decoder for NVIDIA's desktop cards first: built here, for cards that are not."""
    from engines.backends.tensor_rt_build import build_engine

    folder = tmp_path_factory.mktemp("parts")
    plain = contents(folder)
    usual = next(part for part in plain.engines if part.component == "decoder")
    plan = folder / "model.engine"
    plan.write_bytes(
        build_engine(usual.files["decoder.onnx"], {"latent": (4, 4, 4)}, (1, 2, 8), folder / "t")
    )
    facts = {"engine": "tensorrt", "model_file": "model.engine", "precision": "fp32", "device": "cuda"}
    extra = replace(
        usual,
        engine=Engine.model_validate(facts),
        files={"model.engine": plan},
        built_for=usual.built_for.model_copy(update={"device": "cuda", "engine": "tensorrt"}),
    )
    return replace(plain, engines=(extra, *plain.engines))


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
def test_a_plan_is_named_passed_over_and_the_next_variant_draws(with_plan: Contents, tmp_path: Path) -> None:
    found = write(with_plan, tmp_path / "tiny")
    assert [Path(name).name for name in found.native] == ["model.engine"]
    assert "Built for cuda too, not verified on device." in verify(tmp_path / "tiny").notes
    wheels = (tmp_path / "tiny" / "requirements-tensorrt.txt").read_text()
    assert "tensorrt-rtx==" in wheels.splitlines()[1]
    assert "torch" not in wheels
    reasons = {}
    for allowed in (False, True):
        package = Package(tmp_path / "tiny", allow_native=allowed)
        drawn = package.generate([PROMPT], [SEED])[0]
        np.testing.assert_array_equal(drawn, read_picture(tmp_path / "tiny" / "golden.png"))
        ((variant, reasons[allowed]),) = package.choices["decoder"].passed_over
        assert variant == "tensorrt-cuda-fp32"
    assert "machine code (model.engine)" in reasons[False]
    assert "model.engine cannot be opened by TensorRT-RTX" in reasons[True]
    assert "run another variant." in reasons[True]


def test_what_is_no_plan_and_a_missing_driver_get_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.engine").write_bytes(b"no plan" * 100)
    with pytest.raises(PackageError, match=r"cannot be opened by TensorRT-RTX .* on this machine: MALFORMED"):
        open_plan(tmp_path / "model.engine")
    with pytest.raises(PackageError, match=r"There is no NVIDIA driver \(libnothing\.so\.9 was not found\)"):
        Driver("libnothing.so.9")
