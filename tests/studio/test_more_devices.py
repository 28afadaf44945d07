"""Engines for other devices go into a package with what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from engines.models.load import open_model
from engines.models.model import Model
from engines.pipeline import plan
from engines.plan import Plan
from engines.workload import Workload
from studio.errors import ExportError
from studio.work.more_devices import openers, variants
from tests.engines.small_model import write_small_model


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    model: Model = open_model(write_small_model(tmp_path_factory.mktemp("more") / "model"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield plan(str(model.path), "cpu", Workload(steps=2))


@pytest.mark.parametrize(
    ("device", "said"), [("toaster", "There is no device toaster"), ("cpu", "for cpu already")]
)
def test_a_device_that_makes_no_sense_is_refused(wanted: Plan, device: str, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        variants(wanted, [device])


def test_a_device_that_no_package_can_open_is_refused(wanted: Plan) -> None:
    with pytest.raises(ExportError, match="No engine of mps has files that a package can open"):
        variants(wanted, ["mps"])
    assert not openers("mps")  # by which the window does not offer it
    assert openers("windowsml") == ["onnxruntime"]
    assert openers("coreml") == ["coreml"]
    assert openers("cuda") == ["onnxruntime", "tensorrt"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("coremltools") is None or find_spec("mlx") is None, reason="not installed")
def test_directml_mlx_and_core_ml_go_into_one_package(wanted: Plan) -> None:
    found = variants(wanted, ["directml", "mlx", "coreml"])
    assert len(found) == 9
    assert {part.built_for.device for part in found} == {"directml", "mlx", "coreml"}
    for part in found:
        assert part.engine.device == part.built_for.device
        assert (part.parity is None) == (part.engine.engine == "coreml")
        assert part.engine.model_file in part.files
        assert all(isinstance(path, Path) and path.is_file() for path in part.files.values())
    apple = next(part for part in found if part.engine.engine == "coreml")
    assert apple.engine.model_file.startswith("model.mlpackage/")
    assert apple.engine.options["compute_units"] == "ALL"
